"""Generated captions as COCO's online test takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hlcli.errors import DataError
from hlcli.files import write_json

NUMBER = re.compile(r"[0-9]{1,18}")
_COCO_NAME = re.compile(r"(?:.*/)?(?:COCO_[a-z]+[0-9]{4}_)?([0-9]{12})(?:\.(?i:jpe?g|png))?", re.DOTALL)


def coco_image_id(image: str) -> int:
    """COCO's number of an image: its id, or the number in a file name that COCO gave.

    Args:
        image: `42`, `COCO_test2014_000000000042`, `test2014/COCO_test2014_000000000042.jpg` or, as of 2017,
            `000000000042.jpg`.

    Raises:
        DataError: for any other name, whose digits may be anything.
    """
    if NUMBER.fullmatch(image) is not None:
        return int(image)
    match = _COCO_NAME.fullmatch(image.replace("\\", "/"))
    if match is None:
        raise DataError(
            f"Image {image[:80]!r} has no number of COCO's, which COCO's result files (.json) need.",
            "Write a .jsonl file: it takes any name.",
        )
    return int(match[1])


def write_coco_results(path: Path, captions: Iterable[tuple[str, str]]) -> int:
    """Write a result file: a JSON list of `{"image_id": int, "caption": str}`.

    Args:
        path: the file; COCO wants `captions_test2014_NAME_results.json`.
        captions: an image's id or file, and its caption.

    Returns:
        The number of captions.

    Raises:
        DataError: when an image has no number of COCO's, or two captions.
    """
    results: dict[int, str] = {}
    for image, caption in captions:
        number = coco_image_id(image)
        if number in results:
            raise DataError(f"Image {number} has two captions; a result file has one of each.")
        results[number] = caption
    write_json(path, [{"image_id": number, "caption": caption} for number, caption in results.items()])
    return len(results)
