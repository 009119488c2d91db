"""The `embed_images` verb: features of all images of a data set or a folder into one file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.filesize import decimal

from hlcli import __version__
from hlcli.data.data_set_names import as_data_section
from hlcli.data.failures import Failure, failures_file, read_failures, write_failures
from hlcli.data.loader_processes import loading, make_loader
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.features.extractors import Extractor, FeatureOptions, build_extractor
from hlcli.features.file_report import FeaturePlan, FeatureReport
from hlcli.features.images import ImageList, Loaded, LoadedImages, list_images
from hlcli.features.layout import feature_key
from hlcli.features.reading import FeatureFile
from hlcli.features.shards import Shards
from hlcli.files import check_writable, free_bytes
from hlcli.interrupts import Interrupts
from hlcli.launching import find_processes
from hlcli.plain_text import counted
from hlcli.progress import Progress
from hlcli.recipe import data_set_name
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

_DTYPES = ("float16", "float32")


def plan_images(
    source: DataSection | str | Path,
    options: FeatureOptions,
    *,
    out: str | Path | None = None,
    splits: Sequence[str] = (),
    dtype: str = "float16",
) -> FeaturePlan:
    """What `embed_images` would write; nothing is written or fetched.

    Raises:
        HlcliError: when something that was given cannot be used; the kind says why.
    """
    source = _source(source)
    extractor = build_extractor(options, initial_weights=False)
    plan = _plan(extractor, options, _target(source, options, out), list_images(source, splits), dtype)
    return plan._replace(facts={name: fact for name, fact in plan.facts.items() if "weights" not in name})


def embed_images(
    source: DataSection | str | Path,
    options: FeatureOptions,
    *,
    out: str | Path | None = None,
    splits: Sequence[str] = (),
    dtype: str = "float16",
    batch_size: int = 16,
    workers: int = 2,
    overwrite: bool = False,
    resume: bool = False,
) -> FeatureReport:
    """Write the features of all images; several processes share the work.

    Args:
        source: a data set, its name, or the path of a folder of images.
        options: which features.
        out: file to write; default `KIND_features.hdf5` in the data set's folder, or in the folder.
        splits: of the data set; empty for all.
        dtype: precision in the file, `float16` or `float32`; the network itself runs in float32.
        batch_size: images per step.
        workers: loader processes per process.
        overwrite: replace a file or an unfinished one.
        resume: go on with an unfinished one.

    Raises:
        HlcliError: when something that was given cannot be used, or the file cannot be written; the kind says why.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what is finished stays for `resume`.

    Examples:
        >>> options = hlcli.FeatureOptions(backbone="test_resnet.r160_in1k", pretrained=False, image_size=64)
        >>> hlcli.embed_images(Path("photos"), options, workers=0).num_images
        8
    """
    processes = find_processes(precision="fp32")
    source = _source(source)
    path = _target(source, options, out)
    images = list_images(source, splits)
    shards = Shards(path, len(images), batch_size, dtype)
    is_done = _check_target(shards, overwrite=overwrite, resume=resume)
    extractor = build_extractor(options)
    plan = _plan(extractor, options, path, images, dtype)
    if is_done:
        return _finished(plan)
    processes.wait_for_everyone()  # everybody has looked at the folder before it is made
    if processes.is_main_process:
        _announce(plan, shards)
        shards.begin(plan.facts, resume=resume)
    processes.wait_for_everyone()
    pending = shards.pending()
    processes.wait_for_everyone()
    own = pending[processes.process_index :: processes.num_processes]
    _make_shards(shards, own, images, extractor.to(processes.device), workers=workers)
    processes.wait_for_everyone()
    failures = shards.failures()
    processes.wait_for_everyone()  # everybody has read them before they are removed
    report = FeatureReport(path, len(images) - len(failures), failures, plan.facts)
    if processes.is_main_process:
        _finish(shards, report)
    return report


def _source(given: DataSection | str | Path) -> DataSection | Path:
    """Text is the name of a data set where there is one, else a folder."""
    if isinstance(given, str):
        return Path(given) if data_set_name(given) is None else as_data_section(given)
    return given


def _target(source: DataSection | Path, options: FeatureOptions, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    return (source if isinstance(source, Path) else source.folder()) / f"{options.kind}_features.hdf5"


def _plan(extractor: Extractor, options: FeatureOptions, path: Path, images: ImageList, dtype: str) -> FeaturePlan:
    """The size is found with one empty image."""
    if dtype not in _DTYPES:
        raise InputError(f"--dtype must be {' or '.join(_DTYPES)} (got {dtype}).")
    size = extractor.most_bytes(np.dtype(dtype))
    facts = {**extractor.facts, "dtype": dtype, "images": images.digest(), "hlcli": __version__}
    return FeaturePlan(path, len(images), len(images) * size, free_bytes(path), facts, options.uses_detector)


def _check_target(shards: Shards, *, overwrite: bool, resume: bool) -> bool:
    """Refuse to replace anything unasked; returns whether all work is done.

    Raises:
        InputError: for both or neither of the options where one is needed.
    """
    if overwrite and resume:
        raise InputError("--overwrite begins anew and --resume goes on: give one of them.")
    if shards.out.is_dir():
        raise InputError(f"--out {shards.out} is a folder; a file was expected.")
    check_writable(shards.out.parent)
    if shards.is_begun:
        if not overwrite and not resume:
            raise InputError(
                f"{shards.out} was begun before: {shards.folder} holds {shards.count - len(shards.pending())} of "
                f"{shards.count} parts.",
                "Give --resume to go on, or --overwrite to begin anew.",
            )
        return False
    if shards.out.exists() and not (overwrite or resume):
        raise InputError(f"{shards.out} exists.", "Give --overwrite to replace it.")
    return shards.out.exists() and resume


def _finished(plan: FeaturePlan) -> FeatureReport:
    """The report on a file that needs no more work.

    Raises:
        DataError: when it was made in another way, or of other images.
    """
    file = FeatureFile(plan.path, plan.facts["kind"])
    file.check(plan.facts)
    made = file.facts or {}
    if any(made.get(name) != plan.facts[name] for name in ("images", "dtype")):
        raise DataError(f"{plan.path} is finished, but of other images or precision.", "Give --overwrite, or --out.")
    failures = read_failures(plan.path)
    logger.info("%s is finished already.", plan.path)
    return FeatureReport(plan.path, plan.num_images - len(failures), failures, made)


def _announce(plan: FeaturePlan, shards: Shards) -> None:
    """Say how much is going to be written.

    Raises:
        HlcliError: when there is no room for it.
    """
    needed = max(0, plan.peak_bytes - shards.bytes_done())
    logger.info(
        "%s: %s, %s%s; %s while it is put together, %s free.",
        plan.path,
        counted(plan.num_images, "image"),
        "at most " if plan.at_most else "",
        decimal(plan.num_bytes),
        decimal(plan.peak_bytes),
        decimal(plan.free_bytes),
    )
    if needed > plan.free_bytes:
        raise HlcliError(
            f"{plan.path} needs {decimal(needed)} of room, and {decimal(plan.free_bytes)} are free.",
            "Give --out on another disk, --dtype float16, or fewer splits with --split.",
        )


def _make_shards(shards: Shards, own: Sequence[int], images: ImageList, extractor: Extractor, *, workers: int) -> None:
    """Write the parts of this process."""
    batches_of_rows = [batch for shard in own for batch in shards.batches(shard)]
    dataset = LoadedImages(images, extractor.transform)
    loader = make_loader(dataset, batches_of_rows, workers=workers, device=torch.device("cpu"), collate=list)
    total = sum(len(shards.rows(shard)) for shard in own)
    with (
        Progress("Embedding", total=total, unit="image") as bar,
        Interrupts() as interrupts,
        loading(loader) as batches,
    ):
        for shard in own:
            keys: list[str] = []
            failures: list[Failure] = []
            with shards.open(shard) as writer:
                for _ in shards.batches(shard):
                    batch = next(batches)
                    for item, found in zip(batch, _extract(extractor, batch), strict=True):
                        image_id = images.image_ids[item.row]
                        if isinstance(found, str):
                            failures.append(Failure(image_id, found))
                        else:
                            writer.write(image_id, found)
                            keys.append(feature_key(image_id))
                    bar.advance(len(batch))
                    if interrupts.requested:
                        raise KeyboardInterrupt(f"{shards.folder} keeps what is done; --resume goes on.")
            shards.finish(shard, keys, failures)


@torch.inference_mode()
def _extract(extractor: Extractor, batch: list[Loaded]) -> list[dict[str, np.ndarray] | str]:
    """Arrays of each image of a batch, or why there are none."""
    device = next(extractor.parameters()).device
    decoded = [(item.image.to(device), item.size) for item in batch if item.image is not None]
    found = iter(extractor(*zip(*decoded, strict=True)) if decoded else ())
    return [item.error if item.image is None else next(found) for item in batch]


def _finish(shards: Shards, report: FeatureReport) -> None:
    """Put the parts together and list the failures.

    Raises:
        DataError: when not one image could be decoded.
    """
    write_failures(report.path, report.failures)
    if not report.num_images:
        shards.remove()
        raise DataError(
            f"None of {counted(len(report.failures), 'image')} could be decoded: {report.failures[0].error}",
            f"{failures_file(report.path)} lists them.",
        )
    with Progress("Putting together", total=shards.num_images, unit="image") as bar:
        shards.merge(report.facts, bar.advance)
