"""Generated captions as COCO's online test takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hlcli.errors import DataError
from hlcli.files import write_json

NUMBER_AT_END = re.compile(r"(?:.*[^0-9])?([0-9]{1,18})", re.DOTALL)


def coco_image_id(image: str) -> int:
    """COCO's number of an image: its id, or the number at the end of its file's name.

    Args:
        image: `42`, `COCO_test2014_000000000042` or `test2014/COCO_test2014_000000000042.jpg`.

    Raises:
        DataError: when there is no number.
    """
    match = NUMBER_AT_END.fullmatch(re.sub(r"\.(jpe?g|png)$", "", image, flags=re.IGNORECASE))
    if match is None:
        raise DataError(
            f"Image {image[:80]!r} has no number, which COCO's result files need.", "Write captions as jsonl instead."
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
        DataError: when an image has no number, or two captions.
    """
    results: dict[int, str] = {}
    for image, caption in captions:
        number = coco_image_id(image)
        if number in results:
            raise DataError(f"Image {number} has two captions; a result file has one of each.")
        results[number] = caption
    write_json(path, [{"image_id": number, "caption": caption} for number, caption in results.items()])
    return len(results)
