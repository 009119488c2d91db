"""The `preprocess` verb: official layout → store, images shrunk once if asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError, create_model

from hlcli.captioning.caption_text import build_caption_text, write_caption_text
from hlcli.data.datasets.base import check_disjoint
from hlcli.data.encoding import EncodedParts, describe_encoding, encode_all
from hlcli.data.export import check_format, write_exports
from hlcli.data.failures import Failure, failures_file, write_failures
from hlcli.data.records import Records
from hlcli.data.store import StoreSplit, store_folder, write_store
from hlcli.errors import DataError, InputError
from hlcli.files import write_json
from hlcli.progress import Progress
from hlcli.recipe_reading.mistakes import Variants, describe_mistakes
from hlcli.sections import DataSection, PrepareOptions, Section

logger = logging.getLogger(__name__)


class Preparation(NamedTuple):
    """What `preprocess` made."""

    folder: Path
    meta: dict[str, Any]
    failures: list[Failure]
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
    """Write a data set's store. Shrunk images of a run that was cut short are taken over if nothing has changed.

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
    failures: list[Failure] = []
    parts = EncodedParts(folder.with_name(f".{folder.name}.parts"), image_size)
    ready = parts.count_ready(splits.values())
    if ready:
        logger.info("%s images were prepared by a run that was cut short.", f"{ready:,}")
    meta = {
        "dataset": data.name,
        "image_size": image_size,
        "encoding": describe_encoding(image_size),
        "notes": notes,
        "versions": _versions(),
    }
    total = sum(len(records) for records in splits.values())
    with Progress("Preparing", total=total, unit="image", start=ready) as bar:
        encode = partial(encode_all, parts=parts, workers=workers, failures=failures, advance=bar.advance)
        complete = partial(_complete, splits=tuple(splits), documents=documents)
        try:
            written = write_store(folder, labels, splits, meta, encode=encode, complete=complete)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt("The same command goes on with what was prepared.") from error
        finally:
            _report_failures(folder, failures)
    parts.remove()
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


def _report_failures(store: Path, failures: list[Failure]) -> None:
    """Keep the list of undecodable images beside the store."""
    files = _files_beside(store)
    write_failures(files, failures)
    if failures:
        path = failures_file(files)
        logger.warning("%d images could not be decoded and are left out; they are listed in %s.", len(failures), path)


def _files_beside(store: Path) -> Path:
    """What the files beside a store are called, but for their endings: `preprocess`, or `preprocess-NAME` for a set
    that shares its folder."""
    return store.with_name(store.name.replace("store", "preprocess", 1))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from hlcli import __version__

    return {"hlcli": __version__, "pillow": version("pillow"), "datasets": version("datasets")}
