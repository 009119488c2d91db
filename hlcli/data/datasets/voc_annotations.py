"""Reading PASCAL VOC: image lists, the XML file of every image, and the lists `<class>_<list>.txt` of every label.

A label is *present* in an image with at least one object of it that is not difficult, and *difficult* where all its
objects are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from hlcli.data.datasets.base import check_counts, read_lines
from hlcli.data.datasets.voc_labels import LABEL_NAMES, Counts
from hlcli.errors import DataError

_INCOMPLETE = "The folder of the official layout may be incomplete."
LARGEST_FILE = 1 << 20
"""Bytes of an annotation; real ones have a few thousand."""

_IMAGE_ID = re.compile(r"\w+", re.ASCII)
_INDEX = {name: label for label, name in enumerate(LABEL_NAMES)}


class Objects(NamedTuple):
    """Labels of an image, by index, ascending."""

    present: tuple[int, ...]
    difficult: tuple[int, ...]


def read_image_list(path: Path) -> list[str]:
    """The image ids of `ImageSets/Main/<list>.txt`.

    Raises:
        DataError: when the file is missing or damaged, or an image is listed twice.
    """
    ids: dict[str, int] = {}
    for number, image_id in read_lines(path, _INCOMPLETE):
        if not _IMAGE_ID.fullmatch(image_id):
            raise DataError(f"{path}, line {number}: an image id was expected, e.g. 000005 (got {image_id[:40]!r}).")
        if image_id in ids:
            raise DataError(f"{path}, line {number}: {image_id} was listed before, in line {ids[image_id]}.")
        ids[image_id] = number
    if not ids:
        raise DataError(f"{path} lists no image.")
    return list(ids)


def read_objects(path: Path) -> Objects:
    """The labels in `Annotations/<id>.xml`.

    Only the direct children of an object count: the parts of a person have names of their own.

    Raises:
        DataError: when the file is missing or damaged, or an object is none of the 20 labels.
    """
    root = _parse(path)
    simple, hard = set[int](), set[int]()
    for number, entry in enumerate(root.iter("object"), 1):
        name = (entry.findtext("name") or "").strip().lower()
        if name not in _INDEX:
            raise DataError(f"{path}: object {number} is {name!r}, not one of VOC's 20 labels.")
        difficult = (entry.findtext("difficult") or "0").strip()
        if difficult not in ("0", "1"):
            raise DataError(f"{path}: `difficult` of object {number} must be 0 or 1 (got {difficult!r}).")
        (hard if difficult == "1" else simple).add(_INDEX[name])
    return Objects(tuple(sorted(simple)), tuple(sorted(hard - simple)))


def _parse(path: Path) -> ElementTree.Element:
    """A small XML document that declares nothing of its own, so that no entity can grow or fetch anything."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise DataError(f"{path} is larger than {LARGEST_FILE // 1024} KiB; it is not an annotation of VOC.")
        text = content.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError(f"{path} declares a document type; annotations of VOC have none.")
        root = ElementTree.fromstring(text)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", _INCOMPLETE) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise DataError(f"{path} is not XML: {error}.", "The file is damaged; unpack the archive again.") from error
    if root.tag != "annotation":
        raise DataError(f"{path} must hold an <annotation> (got <{root.tag[:40]}>).")
    return root


def read_class_lists(folder: Path, name: str, required: Sequence[str] = ()) -> dict[str, Objects] | None:
    """What the 20 files `<class>_<name>.txt` say: 1 present, 0 difficult, -1 absent.

    Args:
        folder: `ImageSets/Main`.
        name: the image list, e.g. `trainval`.
        required: ids that every file must have.

    Returns:
        Labels by image id; None unless all 20 files are there.

    Raises:
        DataError: when a line is not an id with one of the three numbers, an id has two of them, or one is missing.
    """
    paths = [folder / f"{label}_{name}.txt" for label in LABEL_NAMES]
    if not all(path.is_file() for path in paths):
        return None
    found: dict[str, tuple[set[int], set[int]]] = {}
    for label, path in enumerate(paths):
        values = _read_class_list(path)
        missing = next((image_id for image_id in required if image_id not in values), None)
        if missing is not None:
            raise DataError(f"{path} does not say whether {missing} has this label.", "Use --labels annotations.")
        for image_id, value in values.items():
            present, difficult = found.setdefault(image_id, (set(), set()))
            if value != "-1":
                (present if value == "1" else difficult).add(label)
    return {image_id: Objects(tuple(sorted(a)), tuple(sorted(b))) for image_id, (a, b) in found.items()}


def _read_class_list(path: Path) -> dict[str, str]:
    """1, 0 or -1 by image id."""
    values: dict[str, str] = {}
    for number, line in read_lines(path, _INCOMPLETE):
        image_id, _, rest = line.partition(" ")
        value = rest.strip()
        if value not in ("1", "0", "-1"):
            raise DataError(f"{path}, line {number}: an id with 1, 0 or -1 was expected (got {line[:40]!r}).")
        if values.setdefault(image_id, value) != value:
            raise DataError(f"{path}, line {number}: {image_id} has {value}, but {values[image_id]} in a line before.")
    return values


def compare_with_published(path: Path, objects: Sequence[Objects], expected: Counts) -> None:
    """Compare an image list with the published numbers.

    Args:
        path: the list, for the message.
        objects: the labels of each of its images.
        expected: what is known of it.

    Raises:
        DataError: naming the first number that differs.
    """
    counts: list[tuple[str, int | None, int]] = [
        ("images", expected.images, len(objects)),
        ("labels", expected.labels, sum(len(entry.present) for entry in objects)),
    ]
    present = Counter(label for entry in objects for label in entry.present)
    difficult = Counter(label for entry in objects for label in entry.difficult)
    for label, known in enumerate(expected.positives or ()):
        counts.append((f"images with {LABEL_NAMES[label]}", known, present[label]))
    for label, known in enumerate(expected.difficult or ()):
        counts.append((f"images with difficult {LABEL_NAMES[label]} only", known, difficult[label]))
    check_counts(path, counts)


def differing(ids: Sequence[str], ours: Mapping[str, Objects], theirs: Mapping[str, Objects]) -> list[str]:
    """The images of which two sources say different things."""
    return [image_id for image_id in ids if ours[image_id] != theirs.get(image_id)]
