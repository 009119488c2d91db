"""What `hlcli embed images` reads and shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import typer
from rich.filesize import decimal

import hlcli
from hlcli import InputError
from hlcli.cli.commands import SOME_FAILED
from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import suggest, suggest_training
from hlcli.launching import is_first_process
from hlcli.plain_text import counted
from hlcli.progress import waiting

if TYPE_CHECKING:
    from hlcli.features.embedding import FeatureReport
    from hlcli.features.extractors import FeatureOptions
    from hlcli.sections import DataSection

CHOICES: dict[str, Any] = {
    "kind": Literal["grid", "region", "global"],
    "resize": Literal["crop", "stretch"],
    "normalization": Literal["imagenet", "clip", "half", "none"],
}
FROM_SECTION = ("image_size", "resize", "normalization")
"""Options that a data section may give with `--set`."""


def find_source(
    name: str | None, root: Path | None, overrides: Sequence[str], splits: Sequence[str]
) -> DataSection | Path:
    """A data set by its name, else a folder.

    Raises:
        InputError: when it is neither, or a folder is given options of data sets.
    """
    if name is None:
        raise InputError("Which images? Give a data set or a folder.", "`hlcli embed images --help` shows examples.")
    known = hlcli.data_set_classes()
    if hlcli.data_set_name(name) is not None:
        return hlcli.data_section(name, root, overrides, source="hlcli embed images")
    folder = Path(name).expanduser()
    if {"/", "\\"} & set(name) and not folder.is_dir():  # a name without a slash may be a data set's
        if folder.exists():
            raise InputError(f"{name} is not a folder.", "Give the folder that the images are in.")
        raise InputError(f"The folder {name} does not exist.", "Give a folder of images, or a data set by its name.")
    if not folder.is_dir():
        near = hlcli.near_data_set(name)
        raise InputError(
            f"{name} is neither a data set nor a folder.",
            f"Did you mean {near}?" if near else f"Data sets: {', '.join(known)}.",
        )
    if root is not None or overrides or splits:
        raise InputError(f"{name} is a folder: --root, --set and --split belong to data sets.")
    return folder


def read_options(source: DataSection | Path, given: Mapping[str, Any]) -> FeatureOptions:
    """The options of the features; what the command line leaves open, the data section may say.

    Raises:
        InputError: for a word that is none of an option's.
    """
    values = dict(given)
    for name in FROM_SECTION:
        if values[name] is None and not isinstance(source, Path) and name in source.model_fields_set:
            values[name] = getattr(source, name)
    for name, choice in CHOICES.items():
        if values[name] is not None and values[name] not in get_args(choice):
            raise InputError(f"--{name} must be {' or '.join(get_args(choice))} (got {values[name]}).")
    return hlcli.FeatureOptions(**values)


def show_plan(
    source: DataSection | Path,
    options: FeatureOptions,
    out: Path | None,
    splits: Sequence[str],
    *,
    dtype: str,
    as_json: bool,
) -> None:
    """How large the file would be."""
    with waiting("Loading"):
        plan = hlcli.plan_images(source, options, out=out, splits=splits, dtype=dtype)
    if as_json:
        document = {
            "file": str(plan.path),
            "images": plan.num_images,
            "bytes": plan.num_bytes,
            "peak_bytes": plan.peak_bytes,
            "free_bytes": plan.free_bytes,
            "facts": plan.facts,
        }
        print_json(document)
        return
    at_most = "at most " if plan.at_most else ""
    typer.echo(f"{plan.path}: {counted(plan.num_images, 'image')}, {plan.description}")
    typer.echo(
        f"{at_most}{decimal(plan.num_bytes)}; {at_most}{decimal(plan.peak_bytes)} while it is put together; "
        f"{decimal(plan.free_bytes)} free"
    )


def embed(
    source: DataSection | Path,
    options: FeatureOptions,
    out: Path | None,
    splits: Sequence[str],
    *,
    as_json: bool,
    **how: Any,
) -> int:
    """Make the file; returns the exit code.

    Args:
        source: the images.
        options: which features.
        out: the file.
        splits: of the data set.
        as_json: print one JSON document.
        how: what else `embed_images` takes.
    """
    with waiting("Loading"):
        report = hlcli.embed_images(source, options, out=out, splits=splits, **how)
    if not is_first_process():
        return 0
    _show(report, as_json=as_json)
    if isinstance(source, Path) and options.kind != "global" and not as_json:
        suggest("caption", "MODEL", source, f"--{options.kind}-features", report.path)
    elif not isinstance(source, Path) and not as_json:
        suggest_training(source.name)
    return SOME_FAILED if report.failures else 0


def import_tsv(
    folder: Path, source: str | None, out: Path | None, *, dtype: str, overwrite: bool, as_json: bool
) -> None:
    """Take over VinVL's own files.

    Raises:
        InputError: when images are given beside them, or no file to write.
    """
    if source is not None:
        raise InputError("--from-tsv takes features as they are: no data set or folder beside it.")
    _show(hlcli.import_vinvl(folder, out=out, dtype=dtype, overwrite=overwrite), as_json=as_json)


def _show(report: FeatureReport, *, as_json: bool) -> None:
    num_bytes = report.path.stat().st_size
    if as_json:
        document = {
            "file": str(report.path),
            "images": report.num_images,
            "failures": len(report.failures),
            "bytes": num_bytes,
            "facts": report.facts,
        }
        print_json(document)
    else:
        facts = report.description
        typer.echo(f"{report.path}: {counted(report.num_images, 'image')}, {facts}, {decimal(num_bytes)}")
    if report.failures:
        typer.echo(
            f"{counted(len(report.failures), 'image')} could not be decoded, so that features are missing; all are "
            f"listed in {hlcli.failures_file(report.path)}.",
            err=True,
        )
