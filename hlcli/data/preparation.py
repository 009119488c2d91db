"""The `preprocess` verb: official layout → store, images shrunk once if asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError, create_model

from hlcli.captioning.caption_text import build_caption_text, write_caption_text
from hlcli.data.data_set_names import as_data_section
from hlcli.data.datasets.base import Prepared, check_disjoint
from hlcli.data.encoding import EncodedParts, describe_encoding, encode_all
from hlcli.data.export import check_format, write_exports
from hlcli.data.failures import Failure, failures_file, write_failures
from hlcli.data.store import StoreSplit, store_folder
from hlcli.data.store_writing import write_store
from hlcli.errors import DataError, InputError
from hlcli.files import write_json
from hlcli.interrupts import Interrupts
from hlcli.locks import lock_folder
from hlcli.plain_text import counted
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
    data: DataSection | str,
    *,
    source: str | Path | None = None,
    options: Mapping[str, Any] | PrepareOptions | None = None,
    image_size: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    export: str | None = None,
) -> Preparation:
    """Write a data set's store. Shrunk images of a run that was cut short are taken over if nothing has changed.

    Args:
        data: the data set, or its name.
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

    Examples:
        >>> data = hlcli.data_section("folder", "data", ["images=photos", "labels=photos/labels.csv"])
        >>> made = hlcli.preprocess(data, image_size=32)
        >>> print(made.folder, made.meta["counts"]["train"]["images"], made.failures)
        data/folder/store 7 []
    """
    data = as_data_section(data)
    if export is not None:
        check_format(export, data)
    chosen = read_options(data, options or {})
    folder = store_folder(data)
    _check_target(folder, overwrite=overwrite)
    prepared = _read_splits(data, data.folder() if source is None else Path(source), chosen)
    with lock_folder(folder.parent, "preparing a data set in", name=f".{folder.name}.lock"):
        _check_target(folder, overwrite=overwrite)  # another process may have made it since
        meta, failures = _write(folder, data, chosen, prepared, image_size, workers)
    return Preparation(folder, meta, failures, [] if export is None else write_exports(data, export))


def _check_target(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} exists.", "Give --overwrite to replace it.")


def _read_splits(data: DataSection, source: Path, options: PrepareOptions) -> Prepared:
    """The records of all splits, none of them empty, and none sharing images by accident."""
    if data.reads_directly:
        prepared = Prepared({split: data.records(split) for split in data.split_names()}, {}, shares_images=True)
    else:
        prepared = data.prepare(source, options)
    if not prepared.shares_images:
        check_disjoint(prepared.splits)
    for split, records in prepared.splits.items():
        if not len(records):
            raise DataError(f"Split {split!r} of {data.name} has no image.", "Are its files and the options right?")
    return prepared


def _write(
    folder: Path, data: DataSection, options: PrepareOptions, prepared: Prepared, image_size: int, workers: int
) -> tuple[dict[str, Any], list[Failure]]:
    """Write the store; gives what `meta.json` says, and the images that were left out."""
    splits, failures = prepared.splits, list[Failure]()
    parts = EncodedParts(folder.with_name(f".{folder.name}.parts"), image_size)
    ready = parts.count_ready(splits.values())
    if ready:
        logger.info("%s prepared by a run that was cut short.", counted(ready, "image was", "images were"))
    meta = {
        "dataset": data.name,
        "options": _written_options(data, options),
        "image_size": image_size,
        "encoding": describe_encoding(image_size),
        "notes": prepared.notes,
        "versions": _versions(),
    }
    total = sum(len(records) for records in splits.values())
    with Progress("Preparing", total=total, unit="image", start=ready) as bar, Interrupts() as interrupts:

        def advance(images: int) -> None:
            bar.advance(images)
            if interrupts.requested:
                raise KeyboardInterrupt

        encode = partial(encode_all, parts=parts, workers=workers, failures=failures, advance=advance)
        complete = partial(_complete, splits=tuple(splits), documents=dict(prepared.documents))
        try:
            labels = prepared.labels or data.label_space()
            written = write_store(folder, labels, splits, meta, encode=encode, complete=complete)
        except KeyboardInterrupt as error:
            kept = (
                f"{counted(parts.num_kept, 'image is', 'images are')} kept; the same command goes on with the others."
            )
            raise KeyboardInterrupt(kept if parts.num_kept else "") from error
        finally:
            _report_failures(folder, failures)
    parts.remove()
    return written, failures


def _written_options(data: DataSection, options: PrepareOptions) -> dict[str, Any]:
    """What a store was made with: the keys that the set's section adds to all sections', and its own options."""
    own = set(type(data).model_fields) - set(DataSection.model_fields) - {"dataset"}
    written = data.model_dump(include=own) | options.model_dump()
    # of a file its name alone: equal inputs give equal bytes wherever they lie
    return {key: value.name if isinstance(value, Path) else value for key, value in written.items()}


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
        count = counted(len(failures), "image")
        logger.warning("%s could not be decoded, left out of the store; all are listed in %s.", count, path)


def _files_beside(store: Path) -> Path:
    """What the files beside a store are called, but for their endings: `preprocess`, or `preprocess-NAME` for a set
    that shares its folder."""
    return store.with_name(store.name.replace("store", "preprocess", 1))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from hlcli import __version__

    return {"hlcli": __version__, "pillow": version("pillow"), "datasets": version("datasets")}
