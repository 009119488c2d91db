"""`hlcli embed images`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def images(
    source: Annotated[
        str | None, typer.Argument(metavar="DATASET|FOLDER", help="A data set, all its splits; or a folder of images.")
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="grid|region|global", help="What to store; grid has the global vector beside it.")
    ] = "grid",
    backbone: Annotated[str, typer.Option(help="Any timm model, or clip:NAME of open_clip.")] = "clip:ViT-L-14",
    weights: Annotated[Path | None, typer.Option(help="A local file of the backbone's weights.")] = None,
    no_pretrained: Annotated[
        bool, typer.Option("--no-pretrained", help="Fetch no weights: random ones, for trials.")
    ] = False,
    image_size: Annotated[
        int | None, typer.Option(min=8, help="Side in pixels; default what the backbone was trained with.")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(metavar="crop|stretch", help="Default crop for CLIP models, stretch for others.")
    ] = None,
    normalization: Annotated[
        str | None, typer.Option(metavar="imagenet|clip|half|none", help="Default what the backbone was trained with.")
    ] = None,
    detector: Annotated[
        str, typer.Option(help="Of regions: windows of the backbone's grid, or a detector of torchvision.")
    ] = "windows",
    detector_weights: Annotated[Path | None, typer.Option(help="A local file of the detector's weights.")] = None,
    max_regions: Annotated[int, typer.Option(min=1, help="Most regions of an image.")] = 50,
    from_tsv: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Take VinVL's features.tsv and predictions.tsv; embed nothing."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default KIND_features.hdf5 beside the images.")
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="float16|float32", help="Precision in the file.")] = "float16",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes per process.")] = 2,
    splits: Annotated[
        list[str] | None, typer.Option("--split", help="Only this split; may be given again. Default all.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Data root; default $HLCLI_DATA, else ./data.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of the recipe's data section, e.g. images=photos."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file, or an unfinished one.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how large the file will be; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write image features to an HDF5 file for captioning; several processes share the work.

    Example: hlcli embed images coco-karpathy
    Example: hlcli embed images photos --backbone clip:ViT-B-32 --kind grid --dry-run
    Example: accelerate launch -m hlcli embed images flickr8k --kind region --detector fasterrcnn_resnet50_fpn_v2
    Example: hlcli embed images --from-tsv vinvl/train2014 --out region_features.hdf5
    """
    from hlcli.cli import feature_report as report

    if from_tsv is not None:
        report.import_tsv(from_tsv, source, out, dtype=dtype, overwrite=overwrite, as_json=as_json)
        return
    _check_path(source)
    place = report.find_source(source, root, overrides or [], splits or [])
    options = report.read_options(
        place,
        {
            "kind": kind,
            "backbone": backbone,
            "weights": weights,
            "pretrained": not no_pretrained,
            "image_size": image_size,
            "resize": resize,
            "normalization": normalization,
            "detector": detector,
            "detector_weights": detector_weights,
            "max_regions": max_regions,
        },
    )
    if dry_run:
        report.show_plan(place, options, out, splits or [], dtype=dtype, as_json=as_json)
        return
    code = report.embed(
        place, options, out, splits or [],
        dtype=dtype, batch_size=batch_size, workers=workers, overwrite=overwrite, resume=resume, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


def _check_path(source: str | None) -> None:
    """Refuse a path that leads to no folder; a name without a slash may be a data set's.

    Raises:
        InputError: when nothing is there, or no folder.
    """
    from hlcli.errors import InputError

    if source is None or not {"/", "\\"} & set(source) or Path(source).expanduser().is_dir():
        return
    if Path(source).expanduser().exists():
        raise InputError(f"{source} is not a folder.", "Give the folder that the images are in.")
    raise InputError(f"The folder {source} does not exist.", "Give a folder of images, or a data set by its name.")
