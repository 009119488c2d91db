"""Reading captions in COCO's form: `captions_train2014.json` and everything made like it.

A file has `images` (id, file_name) and `annotations`, one per caption (id, image_id, caption). Ids of images are whole
numbers, or names in sets of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.base import check_path
from hlcli.data.json_lists import LARGEST_ID, field, is_id, read_lists
from hlcli.errors import DataError

_KEPT = ("id", "file_name", "image_id", "caption")


class CaptionedImage(NamedTuple):
    """One image.

    Args:
        image_id: its number or name, as text.
        file: its file, as listed.
        captions: true sentences, as written.
        caption_ids: the number of every caption.
    """

    image_id: str
    file: str
    captions: tuple[str, ...]
    caption_ids: tuple[int, ...]


class ListedImage(NamedTuple):
    """One image of a list: its id as text, and its file."""

    image_id: str
    file: str


def read_caption_annotations(path: Path) -> list[CaptionedImage]:
    """Read a caption file; images and the captions of each in the order of the file.

    An image without any caption has an empty row of them: `image_info_*.json` has only such.

    Raises:
        DataError: when the file is missing, damaged or another one; the message says where.
    """
    document = _read(path, ("images", "annotations"))
    images = _read_images(path, document["images"])
    captions: dict[str, list[tuple[int, str]]] = {image.image_id: [] for image in images}
    seen = set[int]()
    for position, entry in enumerate(document["annotations"]):
        where = f"{path}: annotations[{position}]"
        number, image_id, caption = (field(entry, key) for key in ("id", "image_id", "caption"))
        if not is_id(number):
            raise DataError(f"{where}.id must be a whole number up to {LARGEST_ID} (got {_shown(number)}).")
        if number in seen:
            raise DataError(f"{where}.id {number} is there twice.", "Every caption needs a number of its own.")
        seen.add(number)
        if not _names_image(image_id) or str(image_id) not in captions:
            raise DataError(f"{where}.image_id {_shown(image_id)} is not among the images.")
        if not isinstance(caption, str):
            raise DataError(f"{where}.caption must be text (got {_shown(caption)}).", _no_captions(document))
        captions[str(image_id)].append((number, caption))
    return [_captioned(image, captions[image.image_id]) for image in images]


def read_image_list(path: Path) -> list[ListedImage]:
    """Read the images of a caption file, or of one without captions (`image_info_test2014.json`), in its order.

    Raises:
        DataError: when the file is missing, damaged or another one; the message says where.
    """
    return _read_images(path, _read(path, ("images",))["images"])


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, list[Any]]:
    kind = "a list of captions in COCO's form" if "annotations" in keys else "a list of images in COCO's form"
    return read_lists(path, keys, kept=_KEPT, kind=kind, hint=None, again="Is it whole, and the right file?")


def _read_images(path: Path, entries: Sequence[Any]) -> list[ListedImage]:
    images: list[ListedImage] = []
    ids, files = set[str](), set[str]()
    for position, entry in enumerate(entries):
        where = f"{path}: images[{position}]"
        image_id, file = field(entry, "id"), field(entry, "file_name")
        if not _names_image(image_id):
            raise DataError(f"{where}.id must be a whole number up to {LARGEST_ID}, or text (got {_shown(image_id)}).")
        if not isinstance(file, str) or not file:
            raise DataError(f"{where}.file_name must be the name of an image (got {_shown(file)}).")
        check_path(where, file)
        if str(image_id) in ids or file in files:
            raise DataError(f"{where}: image {image_id}, {file}, is listed twice.", "Ids and files must differ.")
        ids.add(str(image_id))
        files.add(file)
        images.append(ListedImage(str(image_id), file))
    return images


def _captioned(image: ListedImage, captions: Sequence[tuple[int, str]]) -> CaptionedImage:
    texts, numbers = tuple(text for _, text in captions), tuple(number for number, _ in captions)
    return CaptionedImage(image.image_id, image.file, texts, numbers)


def _names_image(value: object) -> bool:
    return is_id(value) or (isinstance(value, str) and bool(value.strip()))


def _shown(value: object) -> str:
    return f"{str(value)[:40]!r}" if isinstance(value, str) else repr(value)[:40]


def _no_captions(document: dict[str, list[Any]]) -> str | None:
    """The hint for COCO's files of other tasks."""
    is_other = not any(isinstance(field(entry, "caption"), str) for entry in document["annotations"])
    return "It has no caption at all: an `instances` or `person_keypoints` file?" if is_other else None
