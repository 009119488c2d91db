"""Scores of caption files that any program wrote, against files of true captions.

Results are COCO's result format, `[{"image_id", "caption"}, …]`, or JSON lines `{"image", "caption"}` as
`hlcli caption` writes them. References are COCO's caption annotations or one of Karpathy's `dataset_*.json`. Every
result must have references, and every image of the references a result: nothing is left out in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from hlcli.errors import DataError, InputError, named
from hlcli.json_text import parse_json, read_json
from hlcli.metrics.captioning.names import METRICS, WITHOUT_JAVA
from hlcli.metrics.captioning.summary import CaptionMetrics, caption_metrics, check_metrics
from hlcli.plain_text import counted

_COCO_NAME = re.compile(r"(?:COCO_\w+_)?(\d{12})")
_PART_OF_TRAIN = {"restval": "train"}  # Karpathy's name for the rest of COCO's val, which all papers train on


class Result(NamedTuple):
    """A caption of one image, which the file calls `name`."""

    name: str
    caption: str


class _Reference(NamedTuple):
    """The true captions of one image.

    Args:
        image_id: its number in the file, else its file name without the ending.
        file: its path, as far as the file knows it; may be empty.
        split: train, val or test where the file has splits.
        captions: one or more.
    """

    image_id: str
    file: str
    split: str | None
    captions: tuple[str, ...]


def score_captions(
    results: str | Path, references: str | Path, *, names: Sequence[str] = WITHOUT_JAVA, split: str | None = None
) -> CaptionMetrics:
    """Score a file of captions.

    Args:
        results: the generated captions, one per image.
        references: the true ones.
        names: which metrics, of `METRICS`.
        split: which split of a Karpathy file the results must cover; None: the one in which all of them lie.

    Raises:
        InputError: when a metric is not known.
        MissingDependencyError: when a metric cannot be computed here.
        DataError: when a file is damaged, or results and references do not cover the same images.
    """
    if not names or not set(names) <= set(METRICS):
        raise InputError(f"Caption metrics are {', '.join(METRICS)} (got {', '.join(names) or 'none'}).")
    check_metrics(names)
    results, references = Path(results), Path(references)
    found, known = _read_results(results), _read_references(references)
    captions = _match(found, known, results, references)
    expected = _expected(known, captions, split, references)
    missing = [known[row].image_id for row in expected if row not in captions]
    if missing:
        raise DataError(
            f"{results}: {len(missing):,} of {len(expected):,} images of {references} have no caption: "
            f"{named(missing)}.",
            "Caption these too, or give references of the captioned images alone.",
        )
    metrics = caption_metrics(
        [captions[row] for row in expected], [known[row].captions for row in expected], names=names
    )
    return replace(metrics, image_ids=tuple(known[row].image_id for row in expected))


def _read_results(path: Path) -> list[Result]:
    """Generated captions, in the order of the file.

    Raises:
        DataError: when the file is missing or is not of one of the two formats.
    """
    rows = list(_lines(path)) if path.suffix == ".jsonl" else _document(path)
    if not isinstance(rows, list) or not rows:
        raise DataError(
            f"{path} holds no captions.", 'A list of {"image_id": …, "caption": …} is expected, or .jsonl of such rows.'
        )
    return [_result(path, position, row) for position, row in enumerate(rows)]


def _result(path: Path, position: int, row: Any) -> Result:
    fields = row if isinstance(row, Mapping) else {}
    given = fields.get("image_id", fields.get("image"))
    name = _name(given)
    if given is None:
        raise DataError(f"{path}: entry {position} has neither `image_id` nor `image` (got {str(row)[:80]}).")
    if name is None:
        raise DataError(f"{path}: entry {position} names no image: {given!r:.80} is neither a whole number nor text.")
    if not isinstance(fields.get("caption"), str):
        raise DataError(f"{path}: entry {position}, image {name}, has no text `caption`.")
    return Result(name, fields["caption"])


def _read_references(path: Path) -> list[_Reference]:
    """True captions, for the images that have any, in the order of the file.

    Raises:
        DataError: when the file is missing or is of neither format.
    """
    document = _document(path)
    try:
        if isinstance(document, dict) and isinstance(document.get("annotations"), list):
            found = _read_coco(document)
        elif isinstance(document, dict) and isinstance(document.get("images"), list):
            found = [_read_karpathy(image) for image in document["images"]]
        else:
            raise DataError(f"{path} has neither COCO's `annotations` nor Karpathy's `images`.")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is neither COCO's caption annotations nor Karpathy's: {error!r}.") from error
    found = [reference for reference in found if reference.captions]
    if not found:
        raise DataError(f"{path} holds no captions.")
    return found


def _read_coco(document: Mapping[str, Any]) -> list[_Reference]:
    files = {str(_whole(image["id"])): str(image.get("file_name", "")) for image in document.get("images", ())}
    captions: dict[str, list[str]] = {}
    for entry in document["annotations"]:
        captions.setdefault(str(_whole(entry["image_id"])), []).append(_text(entry["caption"]))
    return [_Reference(image, files.get(image, ""), None, tuple(texts)) for image, texts in captions.items()]


def _read_karpathy(image: Mapping[str, Any]) -> _Reference:
    file = PurePosixPath(image.get("filepath", ""), image["filename"])
    split = str(image["split"])
    return _Reference(
        str(_whole(image["cocoid"])) if "cocoid" in image else file.stem,
        str(file),
        _PART_OF_TRAIN.get(split, split),
        tuple(_text(sentence["raw"]) for sentence in image["sentences"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"caption {value!r}")
    return value


def _match(found: Sequence[Result], known: Sequence[_Reference], results: Path, references: Path) -> dict[int, str]:
    """Row of the reference → generated caption."""
    rows = _rows_by_name(known)
    captions: dict[int, str] = {}
    twice, unclear, strange = [], [], []
    for result in found:
        row = next((rows[name] for name in _possible_names(result.name) if name in rows), None)
        if row is None:
            strange.append(result.name)
        elif row < 0:
            unclear.append(result.name)
        elif row in captions:
            twice.append(result.name)
        else:
            captions[row] = result.caption
    if strange:
        raise DataError(
            f"{results}: {len(strange):,} of {len(found):,} captions are for images without references in "
            f"{references}: {named(strange)}."
        )
    if unclear:
        count = counted(len(unclear), "name fits", "names fit")
        raise DataError(
            f"{results}: {count} several images of {references}: {named(unclear)}.",
            "Name them with their folder or number.",
        )
    if twice:
        raise DataError(
            f"{results}: {counted(len(twice), 'image has', 'images have')} more than one caption: {named(twice)}."
        )
    return captions


def _rows_by_name(known: Sequence[_Reference]) -> dict[str, int]:
    """Everything that an image may be called → its row; -1 where several are called so. Numbers go before files."""
    files: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for row, reference in enumerate(known):
        file = PurePosixPath(reference.file)
        for name in {reference.file, file.name, _plain(file.stem)} - {""}:
            files[name] = row if files.get(name, row) == row else -1
        number = _plain(reference.image_id)
        numbers[number] = row if number not in numbers else -1
    return files | numbers


def _possible_names(name: str) -> Iterator[str]:
    """A result's name, then with fewer and fewer folders, then the number in a name of COCO."""
    yield name
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    yield from ("/".join(parts[first:]) for first in range(len(parts)))
    number = _COCO_NAME.fullmatch(path.stem)
    if number is not None:
        yield str(int(number[1]))


def _expected(known: Sequence[_Reference], captions: Iterable[int], split: str | None, references: Path) -> list[int]:
    """Rows of the references that must have a result."""
    splits = {known[row].split for row in captions} if split is None else {_PART_OF_TRAIN.get(split, split)}
    if len(splits) > 1:
        raise DataError(
            f"The captions are for images of several splits of {references}: {', '.join(sorted(map(str, splits)))}.",
            "Score one split at a time.",
        )
    rows = [row for row, reference in enumerate(known) if reference.split in splits]
    if not rows:
        has = sorted({reference.split for reference in known if reference.split is not None})
        raise DataError(f"{references} has no split {split!r}; it has {', '.join(has) or 'no splits at all'}.")
    outside = [known[row].image_id for row in captions if known[row].split not in splits]
    if outside:
        raise DataError(
            f"{counted(len(outside), 'caption is', 'captions are')} for images outside split {split}: {named(outside)}."
        )
    return rows


def _name(value: Any) -> str | None:
    """A number or text that names an image, else None; numbers without leading zeros."""
    value = _whole(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        return None
    return _plain(str(value))


def _whole(value: Any) -> Any:
    """Tables often keep whole numbers as 1.0; as far as these are exact, they are whole numbers here."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _plain(name: str) -> str:
    return (name.lstrip("0") or "0") if name.isascii() and name.isdigit() else name


def _document(path: Path) -> Any:
    try:
        return read_json(path)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}. It may be cut short."
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _lines(path: Path) -> Iterator[Any]:
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                try:
                    yield parse_json(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path}: line {number} is not JSON: {line[:80]!r}.") from error
                except ValueError as error:
                    raise DataError(f"{path}: line {number} cannot be read: {error}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} is missing.")
    reason = error.strerror if isinstance(error, OSError) else None
    return DataError(f"{path} cannot be read: {reason or error}.")
