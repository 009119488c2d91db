"""Reading the split of Karpathy and Fei-Fei: its own JSON files, or the id lists that M2, DFT and HIN read.

`dataset_coco.json`, `dataset_flickr8k.json` and `dataset_flickr30k.json` have `images`: filename, split, sentids,
sentences (raw, sentid), and for COCO also cocoid and filepath (the folder).

The id lists are `coco_{train,restval,dev,test}_ids.npy`, numbers of captions in `captions_{train,val}2014.json`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from hlcli.data.coco_captions import CaptionedImage, read_caption_annotations
from hlcli.data.datasets.base import check_path
from hlcli.data.json_lists import LARGEST_ID, field, is_id, read_lists
from hlcli.errors import DataError, named

SPLITS = ("train", "restval", "val", "test")
"""In this order; restval is the part of val2014 that is trained on."""

ID_LISTS = {"train": "coco_train_ids", "restval": "coco_restval_ids", "val": "coco_dev_ids", "test": "coco_test_ids"}
"""Names of the lists of caption ids, without `.npy`."""

YEARS = {"train": "train2014", "restval": "val2014", "val": "val2014", "test": "val2014"}
"""The part of COCO 2014 in which the images of a split lie."""


class Counts(NamedTuple):
    """Numbers of images; `is_verified` says whether anybody confirmed them."""

    train: int
    val: int
    test: int
    is_verified: bool = False


COCO_COUNTS = Counts(113_287, 5_000, 5_000, is_verified=True)
FLICKR8K_COUNTS = Counts(6_000, 1_000, 1_000)
FLICKR30K_COUNTS = Counts(29_000, 1_014, 1_000)

_AGAIN = (
    "Is it one of the files that come with `hlcli download coco-karpathy`? COCO's own caption files are for the data "
    "set `captions`."
)

_KEPT = ("filepath", "filename", "cocoid", "split", "sentids", "sentences", "raw", "sentid")


class KarpathyImage(NamedTuple):
    """One image.

    Args:
        image_id: COCO's number, or the file's name without its extension.
        file: below the folder of images.
        split: train, restval, val or test.
        captions: true sentences, as written, in the order of `sentids`.
        caption_ids: the number of every caption.
    """

    image_id: str
    file: str
    split: str
    captions: tuple[str, ...]
    caption_ids: tuple[int, ...]


def read_karpathy(path: Path) -> list[KarpathyImage]:
    """Read one of the JSON files; images in its order.

    Raises:
        DataError: when the file is missing, damaged or another one; the message says where.
    """
    kind = "one of the files of Karpathy's split"
    document = read_lists(path, ("images",), kept=_KEPT, kind=kind, hint=_AGAIN, again=_AGAIN)
    images = [_read_image(f"{path}: images[{position}]", entry) for position, entry in enumerate(document["images"])]
    _check_unique(path, images)
    return images


def _read_image(where: str, entry: Any) -> KarpathyImage:
    split, filename, folder = (field(entry, key) for key in ("split", "filename", "filepath"))
    if split not in SPLITS:
        raise DataError(f"{where}.split must be train, restval, val or test (got {_shown(split)}).", _AGAIN)
    if not isinstance(filename, str) or not filename:
        raise DataError(f"{where}.filename must be the name of an image (got {_shown(filename)}).", _AGAIN)
    if not isinstance(folder, str | None):
        raise DataError(f"{where}.filepath must be the name of a folder (got {_shown(folder)}).", _AGAIN)
    file = f"{folder}/{filename}" if folder else filename
    check_path(where, file)
    image_id = PurePosixPath(filename).stem
    if isinstance(entry, dict) and "cocoid" in entry:
        image_id = str(_number(f"{where}.cocoid", entry["cocoid"]))
    captions, numbers = _read_sentences(where, field(entry, "sentids"), field(entry, "sentences"))
    return KarpathyImage(image_id, file, split, captions, numbers)


def _read_sentences(where: str, order: Any, sentences: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Sentences in the order of `sentids`, and these."""
    if not isinstance(order, list) or not isinstance(sentences, list):
        raise DataError(f"{where} needs the lists `sentids` and `sentences`.", _AGAIN)
    if not order:
        raise DataError(f"{where} has no sentence.", _AGAIN)
    texts: dict[int, str] = {}
    for position, sentence in enumerate(sentences):
        here = f"{where}.sentences[{position}]"
        number, text = _number(f"{here}.sentid", field(sentence, "sentid")), field(sentence, "raw")
        if not isinstance(text, str):
            raise DataError(f"{here}.raw must be text (got {_shown(text)}).", _AGAIN)
        texts[number] = text
    numbers = tuple(_number(f"{where}.sentids", number) for number in order)
    if len(texts) != len(sentences) or len(set(numbers)) != len(numbers) or set(numbers) != set(texts):
        raise DataError(f"{where}: `sentids` and the numbers of `sentences` must be the same, each once.", _AGAIN)
    return tuple(texts[number] for number in numbers), numbers


def read_id_lists(folder: Path) -> list[KarpathyImage]:
    """Read the four id lists with COCO's captions; images and captions in the order in which the lists name them.

    Raises:
        DataError: when a file is missing or damaged, or a list has numbers that its captions have not.
    """
    images: list[KarpathyImage] = []
    for year in ("train2014", "val2014"):
        path = folder / f"captions_{year}.json"
        homes = _homes(read_caption_annotations(path))
        for split in (split for split in SPLITS if YEARS[split] == year):
            ids_path = folder / f"{ID_LISTS[split]}.npy"
            images += _pick(split, _read_ids(ids_path), homes, where=f"{ids_path} and {path.name}")
    _check_unique(folder, images)
    return images


def has_id_lists(folder: Path) -> bool:
    """Whether a folder has the lists of caption ids."""
    return (folder / f"{ID_LISTS['train']}.npy").is_file()


def _homes(images: Sequence[CaptionedImage]) -> dict[int, tuple[CaptionedImage, str]]:
    """The image and the text of every caption, by its number."""
    return {
        number: (image, text)
        for image in images
        for number, text in zip(image.caption_ids, image.captions, strict=True)
    }


def _pick(
    split: str, numbers: Sequence[int], homes: dict[int, tuple[CaptionedImage, str]], *, where: str
) -> Iterator[KarpathyImage]:
    """The images of the captions that a list names, with these captions."""
    unknown = [number for number in numbers if number not in homes]
    if unknown:
        raise DataError(
            f"{where}: {len(unknown):,} of {len(numbers):,} captions do not exist: {named(unknown)}.",
            "The lists hold numbers of captions, not of images; both files must be COCO 2014's.",
        )
    chosen: dict[str, list[int]] = {}
    for number in numbers:
        chosen.setdefault(homes[number][0].image_id, []).append(number)
    for image_id, ids in chosen.items():
        image = homes[ids[0]][0]
        captions = tuple(homes[number][1] for number in ids)
        yield KarpathyImage(image_id, f"{YEARS[split]}/{image.file}", split, captions, tuple(ids))


def _read_ids(path: Path) -> list[int]:
    import numpy as np

    try:
        ids = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "The four lists belong beside COCO's two caption files.") from error
    except (OSError, ValueError, TypeError, EOFError, MemoryError, OverflowError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an array of caption ids: {error}.") from error
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        shape, dtype = list(getattr(ids, "shape", ())), getattr(ids, "dtype", "several arrays")
        raise DataError(f"{path}: one row of whole numbers was expected (got shape {shape}, {dtype}).")
    return ids.tolist()


def _check_unique(where: object, images: Sequence[KarpathyImage]) -> None:
    """No image and no caption twice."""
    homes: dict[str, str] = {}
    captions: dict[int, str] = {}
    for image in images:
        if image.image_id in homes:
            raise DataError(
                f"{where}: image {image.image_id} is there twice, in {homes[image.image_id]} and {image.split}.", _AGAIN
            )
        homes[image.image_id] = image.split
        for number in image.caption_ids:
            if number in captions:
                raise DataError(
                    f"{where}: caption {number} is there twice, with images {captions[number]} and {image.image_id}.",
                    _AGAIN,
                )
            captions[number] = image.image_id


def _number(where: str, value: object) -> int:
    if not is_id(value):
        raise DataError(f"{where} must be a whole number up to {LARGEST_ID} (got {_shown(value)}).", _AGAIN)
    assert isinstance(value, int)
    return value


def _shown(value: object) -> str:
    return repr(value)[:40]
