"""Photos a second from JPEG file to batch, per core, against the plain pipeline of the papers' programs.

    python benchmarks/input_pipeline.py --images PHOTOS --out input_pipeline.json

The plain pipeline is what the references describe: Pillow decodes to RGB, resizes (bilinear) to a square, mirrors and
augments; `ToTensor` makes floats and `Normalize` standardises them image by image in the loader; the default collation
stacks floats. Ours is measured with `data.pixels: exact` (the same pixels) and `fast`: bytes are stacked, and
standardised per batch (on the device in training, here on the CPU, and counted). They take turns in one process, the
first one changing; medians of paired rounds of processor time count, so that a busy machine disturbs little. `--from`
also measures files enlarged to 12 megapixels (as phones take them) and photos as `hlcli preprocess` stores them;
`--stages` the time of each stage; `--loader` a DataLoader with one worker process, whose batches travel through shared
memory, by the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms

from hlcli.data.augment import rand_augment
from hlcli.data.encoding import encode_image
from hlcli.data.image_files import find_images
from hlcli.data.images import load_image
from hlcli.data.loader import TrainingImages, stack
from hlcli.data.loader_processes import make_loader
from hlcli.data.records import Record
from hlcli.data.transforms import NORMALIZATIONS, Normalize, Pixels, TrainTransform, stack_images

WAYS: tuple[Pixels, ...] = ("exact", "fast")
_MEGAPIXELS = 12
_BATCH = 16


class PlainImages(Dataset):
    """The references' data set: floats, standardised one by one."""

    def __init__(self, records: Sequence[Record], side: int, *, augment: bool) -> None:
        self.records, self.side, self.augment = records, side, augment
        self.to_tensor, self.normalize = transforms.ToTensor(), transforms.Normalize(*NORMALIZATIONS["imagenet"])

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        image = Image.open(_path(self.records[row])).convert("RGB")
        image = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        rng = random.Random(f"0/0/{row}")
        if self.augment:
            if rng.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            image = rand_augment(image, rng)
        return self.normalize(self.to_tensor(image)), torch.zeros(80)


def _path(record: Record) -> Path:
    assert isinstance(record.image, Path)
    return record.image


def our_images(records: Sequence[Record], side: int, pixels: Pixels, *, augment: bool) -> TrainingImages:
    """What training reads."""
    transform = TrainTransform(side, horizontal_flip=augment, randaugment=augment, pixels=pixels)
    return TrainingImages(records, 80, transform, 0)


def run_plain(records: Sequence[Record], side: int, *, augment: bool) -> Tensor:
    """Batches of the plain pipeline, one after the other; gives the last one."""
    images = PlainImages(records, side, augment=augment)
    for keys in _batches(len(records)):
        batch = default_collate([images[row] for row in keys])[0]
    return batch


def run_ours(records: Sequence[Record], side: int, pixels: Pixels, *, augment: bool) -> Tensor:
    """Batches of ours, one after the other; gives the last one."""
    images, normalize = our_images(records, side, pixels, augment=augment), Normalize.named("imagenet")
    for keys in _batches(len(records)):
        batch = normalize.channels_last(stack([images[0, row] for row in keys]).images)  # type: ignore[misc]
    return batch


def _batches(count: int) -> list[list[int]]:
    return [list(range(start, min(start + _BATCH, count))) for start in range(0, count, _BATCH)]


def run_loader(records: Sequence[Record], side: int, way: str) -> Tensor:
    """All batches through a loader with one worker process."""
    device, normalize = torch.device("cpu"), Normalize.named("imagenet")
    if way == "plain":
        plain = PlainImages(records, side, augment=False)
        for images, _ in DataLoader(plain, batch_sampler=_batches(len(records)), num_workers=1):
            batch = images
        return batch
    ours = our_images(records, side, way, augment=False)  # type: ignore[arg-type]
    keys = [[(0, row) for row in rows] for rows in _batches(len(records))]
    for found in make_loader(ours, keys, workers=1, device=device):
        batch = normalize.channels_last(found.images)
    return batch


def compare(
    calls: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of every call in every round; the order turns from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for name in names:
        calls[name]()  # the first call of a library is not typical
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = clock()
            calls[name]()
            seconds[name].append(clock() - start)
    return seconds


def as_row(what: str, photos: int, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Photos a second of each way, and how many times those of the plain one."""
    rates = {name: photos / statistics.median(times) for name, times in seconds.items()}
    pairs = {name: [a / b for a, b in zip(seconds["plain"], times, strict=True)] for name, times in seconds.items()}
    return {"what": what, "rates": rates, "ratios": {name: statistics.median(values) for name, values in pairs.items()}}


def measure(records: dict[str, Sequence[Record]], sizes: Sequence[int], rounds: int, *, loader: bool) -> list[dict]:
    """A row per kind of files, size and augmentation."""
    rows = []
    for (kind, some), side in product(records.items(), sizes):
        for augment in (False, True):
            calls: dict[str, Callable[[], Any]] = {"plain": partial(run_plain, some, side, augment=augment)}
            calls |= {way: partial(run_ours, some, side, way, augment=augment) for way in WAYS}
            what = f"{kind}, {side} px, {'flip + RandAugment' if augment else 'resize alone'}"
            rows.append(as_row(what, len(some), compare(calls, rounds)))
            show(rows[-1])
        if loader:
            ways = {way: partial(run_loader, some, side, way) for way in ("plain", *WAYS)}
            found = compare(ways, rounds, time.perf_counter)
            rows.append(as_row(f"{kind}, {side} px, one loader process", len(some), found))
            show(rows[-1])
    return rows


def our_stages(records: Sequence[Record], side: int, way: Pixels) -> dict[str, Callable[[], Any]]:
    """Each stage alone, from what the one before gives."""
    paths, rng, normalize = [_path(record) for record in records], random.Random(0), Normalize.named("imagenet")
    transform = TrainTransform(side, pixels=way)
    decoded = [load_image(path, shrink_to=transform.decode_size) for path in paths]
    resized = [transform(image, rng) for image in decoded]
    batch = stack_images(resized)
    return {
        "read": lambda: [path.read_bytes() for path in paths],
        "read and decode": lambda: [load_image(path, shrink_to=transform.decode_size) for path in paths],
        "resize, to tensor": lambda: [transform(image, rng) for image in decoded],
        "collate": lambda: stack_images(resized),
        "normalise": lambda: normalize.channels_last(batch),
    }


def plain_stages(records: Sequence[Record], side: int) -> dict[str, Callable[[], Any]]:
    """Likewise, of the plain pipeline; RandAugment is the same in both."""
    paths, rng = [_path(record) for record in records], random.Random(0)
    to_tensor, to_floats = transforms.ToTensor(), transforms.Normalize(*NORMALIZATIONS["imagenet"])
    decoded = [Image.open(path).convert("RGB") for path in paths]
    resized = [image.resize((side, side), Image.Resampling.BILINEAR) for image in decoded]
    floats = [to_tensor(image) for image in resized]
    return {
        "read, decode, to RGB": lambda: [Image.open(path).convert("RGB") for path in paths],
        "to RGB": lambda: [image.convert("RGB") for image in decoded],
        "resize": lambda: [image.resize((side, side), Image.Resampling.BILINEAR) for image in decoded],
        "RandAugment": lambda: [rand_augment(image, rng) for image in resized],
        "ToTensor": lambda: [to_tensor(image) for image in resized],
        "Normalize": lambda: [to_floats(image) for image in floats],
        "collate floats": lambda: default_collate(floats),
    }


def measure_stages(kind: str, records: Sequence[Record], side: int, rounds: int) -> list[dict]:
    """Milliseconds a photo of each stage."""
    rows = []
    for way in ("plain", *WAYS):
        stages = plain_stages(records, side) if way == "plain" else our_stages(records, side, way)  # type: ignore[arg-type]
        for name, times in compare(stages, rounds).items():
            row = {"what": f"{kind}, {side} px, {way}: {name}"}
            rows.append(row | {"milliseconds": statistics.median(times) / len(records) * 1e3})
            print(f"{row['what']:52} {rows[-1]['milliseconds']:8.3f} ms a photo", flush=True)
    return rows


def show(row: dict[str, Any]) -> None:
    """One line of the table."""
    cells = [f"{way} {row['rates'][way]:7.1f}/s {row['ratios'][way]:5.2f}x" for way in row["rates"]]
    print(f"{row['what']:52}", "  ".join(cells), flush=True)


def make_records(folder: Path, count: int, kinds: Sequence[str], temporary: Path) -> dict[str, Sequence[Record]]:
    """The photos as they are, enlarged, and as a store keeps them."""
    found = find_images([folder])
    paths = found[:: max(1, len(found) // count)][:count]
    records: dict[str, Sequence[Record]] = {}
    if "files" in kinds:
        records["files"] = [Record(path.name, path) for path in paths]
    if "large" in kinds:
        records[f"{_MEGAPIXELS} megapixels"] = [
            Record(path.name, enlarge(path, temporary / f"large{i}.jpg")) for i, path in enumerate(paths[:_BATCH])
        ]
    if "store" in kinds:
        records["shrunk by preprocess"] = [
            Record(path.name, keep(encode_image(Record(path.name, path), 256).image, temporary / f"store{i}.jpg"))
            for i, path in enumerate(paths)
        ]
    return records


def enlarge(path: Path, place: Path) -> Path:
    """The photo with 12 megapixels, and noise as sensors make it."""
    image = Image.open(path).convert("RGB")
    factor = (_MEGAPIXELS * 1e6 / (image.width * image.height)) ** 0.5
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (image.height, image.width, 3))
    Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8)).save(place, quality=92)
    return place


def keep(content: bytes | Path, place: Path) -> Path:
    """What a store holds of a photo, as a file, which the plain pipeline reads."""
    assert isinstance(content, bytes)
    place.write_bytes(content)
    return place


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=64, help="photos taken of it, evenly")
    parser.add_argument("--size", type=int, nargs="+", default=[224, 384, 448])
    parser.add_argument("--from", dest="kinds", nargs="+", choices=["files", "large", "store"], default=["files"])
    parser.add_argument("--stages", action="store_true", help="also the stages, at the largest size")
    parser.add_argument("--loader", action="store_true", help="also through a DataLoader with one worker")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        records = make_records(options.images, options.count, options.kinds, Path(temporary))
        rows = measure(records, options.size, options.rounds, loader=options.loader)
        if options.stages:
            for kind, some in records.items():
                rows += measure_stages(kind, some, max(options.size), options.rounds)
    if options.out is not None:
        setting = {key: str(value) for key, value in vars(options).items() if key != "out"}
        options.out.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
