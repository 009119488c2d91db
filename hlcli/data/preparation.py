"""The `preprocess` verb: official layout → store, images shrunk once if asked for."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError, create_model

from hlcli.captioning.caption_text import build_caption_text, write_caption_text
from hlcli.data.datasets.base import check_disjoint
from hlcli.data.export import check_format, write_exports
from hlcli.data.images import load_image
from hlcli.data.records import Record, Records
from hlcli.data.store import StoreSplit, store_folder, write_store
from hlcli.errors import DataError, InputError
from hlcli.files import whole_file, write_json
from hlcli.progress import Progress
from hlcli.recipe_reading.mistakes import Variants, describe_mistakes
from hlcli.sections import DataSection, PrepareOptions, Section

logger = logging.getLogger(__name__)

_JPEG_QUALITY = 92
_LONGEST_JPEG = 65_500
"""Pixels along a side that the encoder takes."""


class Preparation(NamedTuple):
    """What `preprocess` made."""

    folder: Path
    meta: dict[str, Any]
    failures: list[dict[str, str]]
    exported: list[Path]


def preprocess(
    data: DataSection,
    *,
    source: Path | None = None,
    options: Mapping[str, Any] | PrepareOptions | None = None,
    image_size: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    export: str | None = None,
) -> Preparation:
    """Write a data set's store.

    Args:
        data: the data set.
        source: folder of the official layout; default ROOT/NAME. Not for sets that are read directly.
        options: the set's own options by name, or an object of the section's `prepare_options`.
        image_size: shrink so that the shorter side has this many pixels, once, stored in the file;
            0 keeps the originals where they are (drawn images are stored as PNG).
        workers: processes that decode and shrink.
        overwrite: replace an existing store.
        export: also write the papers' own files, see `write_exports`.

    Raises:
        InputError: listing every mistake in the options; or for an unknown format to export.
        DataError: when a store exists already, a split has no image, or two splits share images.
    """
    if export is not None:
        check_format(export, data)
    chosen = read_options(data, options or {})
    folder = store_folder(data)
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} exists.", "Give --overwrite to replace it.")
    splits: Mapping[str, Records]
    notes: dict[str, Any] = {}
    labels, documents = None, dict[str, Any]()
    if data.reads_directly:
        splits = {split: data.records(split) for split in data.split_names()}
    else:
        prepared = data.prepare(source or data.folder(), chosen)
        splits, notes, labels = prepared.splits, prepared.notes, prepared.labels
        documents = dict(prepared.documents)
        if not prepared.shares_images:
            check_disjoint(prepared.splits)
    for split, records in splits.items():
        if not len(records):
            raise DataError(f"Split {split!r} of {data.name} has no image.", "Are its files and the options right?")
    labels = labels or data.label_space()
    failures: list[dict[str, str]] = []
    total = sum(len(records) for records in splits.values())
    meta = {
        "dataset": data.name,
        "image_size": image_size,
        "encoding": _encoding(image_size),
        "notes": notes,
    }
    with Progress("Preparing", total=total, unit="image") as bar:
        encode = partial(_encode_all, image_size=image_size, workers=workers, failures=failures, advance=bar.advance)
        complete = partial(_complete, splits=tuple(splits), documents=documents)
        facts = {**meta, "versions": _versions()}
        try:
            written = write_store(folder, labels, splits, facts, encode=encode, complete=complete)
        finally:
            _report_failures(folder, failures)
    return Preparation(folder, written, failures, [] if export is None else write_exports(data, export))


def read_options(data: DataSection, options: Mapping[str, Any] | PrepareOptions) -> PrepareOptions:
    """A data set's own options, validated.

    Raises:
        ValueError: for the options of another data set.
        InputError: listing every mistake.
    """
    expected = data.prepare_options
    if isinstance(options, PrepareOptions):
        if not isinstance(options, expected):
            raise ValueError(f"options must be {expected.__name__} for {data.name}, got {type(options).__name__}.")
        return options
    tree = {"options": dict(options)}
    wrapped: Any = create_model("Wrapped", __base__=Section, options=(expected, ...))
    try:
        model: Any = wrapped.model_validate(tree)
    except ValidationError as error:
        known = {"options": Variants(None, {"": expected})}
        raise InputError(describe_mistakes(error, known, tree, f"hlcli preprocess {data.name}")) from error
    options = model.options
    assert isinstance(options, expected)
    return options


def _complete(folder: Path, *, splits: Sequence[str], documents: Mapping[str, Any]) -> None:
    """Add to a store its data set's documents, and what training on its captions needs: words and their counts."""
    for name, document in documents.items():
        write_json(folder / name, document)
    captions = {split: StoreSplit(folder / split, folder).captions() for split in ("train", "val") if split in splits}
    if any(captions.get("train", ())):
        logger.info("Counting the words of the captions.")
        write_caption_text(folder, build_caption_text(captions["train"], captions.get("val", [])))


def _report_failures(folder: Path, failures: list[dict[str, str]]) -> None:
    """Keep the list of undecodable images beside the store."""
    path = folder.parent / "preprocess.failures.jsonl"
    if path.is_file():
        path.unlink()
    if failures:
        import json

        with whole_file(path) as handle:
            handle.writelines(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
        logger.warning("%d images could not be decoded and are left out; they are listed in %s.", len(failures), path)


def _encode_all(
    records: Iterable[Record],
    *,
    image_size: int,
    workers: int,
    failures: list[dict[str, str]],
    advance: Callable[[int], None],
) -> Iterator[Record]:
    """Records with encoded images, in order; the undecodable ones go to `failures`."""
    work = partial(encode_image, image_size=image_size)
    iterator = iter(records)
    with ProcessPoolExecutor(workers) as pool:
        while chunk := list(islice(iterator, 64 * workers)):
            results = pool.map(work, chunk, chunksize=16) if workers > 1 else map(work, chunk)
            for record, (image, error) in zip(chunk, results, strict=True):
                advance(1)
                if error is not None:
                    failures.append({"image": record.image_id, "error": error})
                else:
                    yield Record(
                        record.image_id, image, record.labels, record.ignore, record.captions, record.object_mask
                    )


def encode_image(record: Record, image_size: int) -> tuple[bytes | Path, str | None]:
    """The image of a record as it is stored, and what went wrong if anything did.

    Files stay where they are unless images are shrunk; drawn images become PNG, shrunk photos JPEG.
    """
    if image_size == 0 and isinstance(record.image, Path | bytes):
        return record.image, None
    try:
        image = load_image(record.image, name=record.image_id)
    except DataError as error:
        return b"", error.message
    buffer = io.BytesIO()
    if not isinstance(record.image, Path | bytes):
        image.save(buffer, "PNG")
        return buffer.getvalue(), None
    from PIL.Image import Resampling

    factor = image_size / min(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Resampling.LANCZOS)
    if max(image.size) > _LONGEST_JPEG:
        return b"", f"Image {record.image_id} cannot be stored: {max(image.size):,} pixels are too long for JPEG."
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue(), None


def _encoding(image_size: int) -> str:
    if image_size == 0:
        return "originals; drawn images as PNG"
    return f"shorter side at most {image_size} px, Lanczos, JPEG quality {_JPEG_QUALITY}, 4:4:4; drawn images as PNG"


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from hlcli import __version__

    return {"hlcli": __version__, "pillow": version("pillow"), "datasets": version("datasets")}
