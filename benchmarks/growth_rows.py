"""What `growth.py` measures of rows: metrics, lists, stores and files of ever more images, captions or photos.

Photos are hard links to a few tiny files, in folders of a thousand; captions draw their words as often as people do.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
from growth_networks import LABELS, Work, tree
from numpy.typing import NDArray
from PIL import Image

import hlcli
from hlcli.data.datasets.folder import Folder
from hlcli.data.image_files import find_images
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import BatchOrder
from hlcli.data.records import Record
from hlcli.data.store import open_records, split_labels
from hlcli.data.store_writing import write_store
from hlcli.metrics.captioning.cider import cider_d
from hlcli.metrics.captioning.ptb import ptb_tokenize
from hlcli.metrics.captioning.summary import caption_metrics
from hlcli.metrics.multilabel import average_precision, f1_curve, tune_threshold
from hlcli.metrics.summary import summarise
from hlcli.prediction.label_files import write_predictions
from hlcli.prediction.label_rows import make_prediction

ROWS = (1_000, 10_000, 100_000, 1_000_000)
_FEWER = (1_000, 10_000, 100_000)
_NUM_LABELS = 20
_IMAGES_OF_LABELS = 2_000
_PER_FOLDER = 1_000
_LINKS = 50_000
"""Of one file; some disks allow no more than 65,000."""

_CAPTION_ROUNDS = 3
"""Captions that were tokenised once are known; each round has its own."""
_seeds = count()

Call = Callable[[], object]


def scores_and_targets(rows: int, labels: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Random ones; three labels of an image are true."""
    rng = np.random.default_rng(0)
    targets = rng.random((rows, labels), dtype=np.float32) < 3 / labels
    targets[0] = True
    return np.clip(rng.random((rows, labels), dtype=np.float32) * 0.9 + 0.1 * targets, 0, 1), targets


def all_metrics(rows: int, labels: int) -> Call:
    """What `hlcli eval` measures, on three levels."""
    space = tree(labels)
    levels = [scores_and_targets(rows, size) for size in space.level_sizes]
    scores, targets = zip(*levels, strict=True)
    return lambda: summarise(scores, targets, space)


def on_scores(function: Callable[..., object], rows: int) -> Call:
    """A metric of random scores."""
    scores, targets = scores_and_targets(rows, _NUM_LABELS)
    return lambda: function(scores, targets)


def word_of(number: int) -> str:
    """A word of letters alone; digits would take longer to tokenise than what people write."""
    return "w" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def captions_of(images: int, each: int) -> list[list[str]]:
    """Sentences of ten words, frequent ones more often (Zipf); others in every call."""
    rng = np.random.default_rng(next(_seeds))
    numbers = np.minimum(rng.zipf(1.3, (images, each, 10)), 9_999).tolist()
    words = [word_of(number) for number in range(10_000)]
    return [[" ".join(words[number] for number in sentence) + "." for sentence in image] for image in numbers]


def on_captions(function: Callable[..., object], images: int) -> Call:
    """A metric of a sentence for each image, against five references."""
    rounds = [([image[0] for image in captions_of(images, 1)], captions_of(images, 5)) for _ in range(_CAPTION_ROUNDS)]
    return lambda: function(*rounds.pop())


def tokenizing(captions: int) -> Call:
    """Every caption into words."""
    rounds = [[image[0] for image in captions_of(captions, 1)] for _ in range(_CAPTION_ROUNDS)]
    return lambda: [ptb_tokenize(text) for text in rounds.pop()]


def _names(rows: int) -> Iterator[str]:
    return (f"{row // _PER_FOLDER:04d}/{row:07d}.jpg" for row in range(rows))


def _labels(rows: int) -> list[tuple[int, ...]]:
    drawn = np.random.default_rng(0).integers(0, _NUM_LABELS, (rows, 3)).tolist()
    return [tuple(sorted(set(image))) for image in drawn]


def photos(rows: int) -> Path:
    """A folder of photos and `labels.csv`, made once."""
    folder = Path(tempfile.gettempdir(), f"photos{rows}")
    if folder.is_dir():
        return folder
    images = folder / "images"
    for row, name in enumerate(_names(rows)):
        if row % _PER_FOLDER == 0:
            (images / name).parent.mkdir(parents=True)
        if row % _LINKS == 0:
            source = images / name
            Image.new("RGB", (16, 12), (row % 255, 90, 30)).save(source)
        else:
            os.link(source, images / name)
    with open(folder / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "labels"])
        table.writerows(
            (name, ";".join(f"label{label}" for label in labels))
            for name, labels in zip(_names(rows), _labels(rows), strict=True)
        )
    return folder


def listing(rows: int) -> Call:
    """All images below a folder."""
    folder = photos(rows) / "images"
    return lambda: find_images([folder])


def reading_folder(rows: int) -> Call:
    """`dataset: folder`: its labels, and the records of train."""
    folder = photos(rows)
    return lambda: Folder(images=folder / "images", labels=folder / "labels.csv").records("train")


def starting(rows: int) -> Call:
    """`hlcli init`."""
    folder = photos(rows)

    def start() -> None:
        place = Path(tempfile.mkdtemp())
        hlcli.init_recipe(place / "recipe", images=folder / "images", labels=folder / "labels.csv")

    return start


def _label_space() -> LabelSpace:
    return LabelSpace.flat([f"label{label}" for label in range(_NUM_LABELS)])


def write_rows(folder: Path, rows: int) -> None:
    """A store of images that stay where they are."""
    records = [Record(name, folder / name, labels) for name, labels in zip(_names(rows), _labels(rows), strict=True)]
    write_store(folder / "store", _label_space(), {"train": records}, {}, encode=iter)


def writing_store(rows: int) -> Call:
    """The table of `hlcli preprocess`, without any work on images; the records are made one by one."""
    folder, labels = Path(tempfile.gettempdir(), f"written{os.getpid()}"), _labels(rows)

    def records() -> Iterator[Record]:
        return (Record(name, folder / name, labels[row]) for row, name in enumerate(_names(rows)))

    def write() -> None:
        write_store(folder / "store", _label_space(), {"train": []}, {}, encode=lambda _: records())

    return write


def _store(rows: int) -> Folder:
    folder = Path(tempfile.gettempdir(), f"stored{rows}")
    if not folder.is_dir():
        write_rows(folder, rows)
    return Folder(images=folder, labels=folder / "none.csv", store=folder / "store")


def opening_store(rows: int) -> Call:
    """Open a split, and read its last row."""
    data = _store(rows)
    return lambda: open_records(data, "train")[-1]


def reading_store(rows: int) -> Call:
    """Ids and labels of all rows."""
    data = _store(rows)
    return lambda: split_labels(open_records(data, "train"))


def predictions(ending: str, rows: int) -> Call:
    """A file of predictions, three labels each, made one by one."""
    space, path = _label_space(), Path(tempfile.gettempdir(), f"predictions{os.getpid()}{ending}")
    scores = scores_and_targets(1_000, _NUM_LABELS)[0]

    def write() -> None:
        made = (
            make_prediction(name, (scores[row % 1_000],), space, (0.9,), top_k=3)
            for row, name in enumerate(_names(rows))
        )
        write_predictions(path, made, space)

    return write


def order(rows: int) -> Call:
    """All batches of an epoch, 32 rows each; nothing is loaded."""
    return lambda: list(islice(BatchOrder(rows, 32, seed=0), 10))


WORKS = (
    Work("labels", f"metrics of {_IMAGES_OF_LABELS:,} images", LABELS, partial(all_metrics, _IMAGES_OF_LABELS)),
    Work("rows", "average precision, 20 labels", ROWS, partial(on_scores, average_precision)),
    Work("rows", "F1 at 19 thresholds, 20 labels", ROWS, partial(on_scores, f1_curve)),
    Work("rows", "thresholds, 20 labels", ROWS, partial(on_scores, tune_threshold)),
    Work("rows", "all metrics, 20 labels in a tree", ROWS, lambda rows: all_metrics(rows, _NUM_LABELS)),
    Work("rows", "tokenising captions", _FEWER, tokenizing),
    Work("rows", "CIDEr-D", _FEWER, partial(on_captions, cider_d)),
    Work("rows", "BLEU, ROUGE-L, CIDEr-D", _FEWER, partial(on_captions, caption_metrics)),
    Work("files", "writing a store", ROWS, writing_store),
    Work("files", "opening a store, one row", ROWS, opening_store),
    Work("files", "labels of a store", ROWS, reading_store),
    Work("files", "listing a folder", ROWS, listing),
    Work("files", "dataset: folder, its records", ROWS, reading_folder),
    Work("files", "hlcli init", ROWS, starting),
    *(
        Work("files", f"predictions, {kind}", ROWS, partial(predictions, f".{kind}"))
        for kind in ("jsonl", "csv", "parquet")
    ),
    Work("rows", "batch order, ten batches", ROWS, order),
)
