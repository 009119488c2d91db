"""`hlcli preprocess`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def preprocess(
    name: Annotated[str, typer.Argument(help="Data set: intentonomy, shapes, folder or huggingface.")],
    root: Annotated[Path | None, typer.Option(help="Data root; default $HLCLI_DATA, else ./data.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="Folder of the official layout; default ROOT/NAME. For intentonomy.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of the recipe's data section, e.g. num_train=500."),
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=0, help="Shrink photos once so that the shorter side has this many pixels; 0 does not.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode and shrink.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    export: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Also write the papers' own files: npy (label matrices).")
    ] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the annotation files. For intentonomy.")] = None,
    labels: Annotated[str, typer.Option(help="Where labels come from: json or matrix. For intentonomy.")] = "json",
    train_label_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="A training label counts above this share of votes. For intentonomy.")
    ] = 0.0,
    max_missing: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of photos that may be missing. For intentonomy.")
    ] = 0.02,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Accept annotation files with fewer images. For intentonomy.")
    ] = False,
    without_images: Annotated[
        bool, typer.Option("--without-images", help="Keep records whose photo is not there. For intentonomy.")
    ] = False,
    masks: Annotated[
        Path | None,
        typer.Option(help="Object masks, coco_maskrcnn.json, for HLEG's localisation loss. For intentonomy."),
    ] = None,
    mask_grid: Annotated[int, typer.Option(min=1, help="Cells on each side of an object mask. For intentonomy.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Turn a data set's official layout into a store that training reads.

    Example: hlcli preprocess intentonomy --image-size 256
    Example: hlcli preprocess folder --set images=photos --set labels=labels.csv
    """
    from hlcli.cli import preparation_report as report

    options = {
        "labels": labels,
        "train_label_threshold": train_label_threshold,
        "max_missing": max_missing,
        "allow_partial": allow_partial,
        "images_required": not without_images,
        "annotations": annotations,
        "masks": masks,
        "mask_grid": mask_grid,
    }
    section = report.data_section(name, root, overrides or [])
    made = report.prepare(
        section, source, options, image_size=image_size, workers=workers, overwrite=overwrite, export=export
    )
    report.show(made, as_json=as_json)
    if made.failures:
        raise typer.Exit(3)
