"""`hlcli embed images`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.completion import data_set_names
from hlcli.cli.options import AsJson, Root, data_keys

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET|FOLDER",
        help="A data set, all its splits; or a folder of images.",
        autocompletion=data_set_names,
    ),
]
Kind = Annotated[
    str, typer.Option(metavar="grid|region|global", help="What to store; grid has the global vector beside it.")
]
NoPretrained = Annotated[bool, typer.Option("--no-pretrained", help="Fetch no weights: random ones, for trials.")]
ImageSize = Annotated[
    int | None, typer.Option(min=8, help="Side in pixels; default what the backbone was trained with.")
]
Resize = Annotated[
    str | None, typer.Option(metavar="crop|stretch", help="Default crop for CLIP models, stretch for others.")
]
Normalization = Annotated[
    str | None, typer.Option(metavar="imagenet|clip|half|none", help="Default what the backbone was trained with.")
]
Detector = Annotated[
    str, typer.Option(help="Of regions: windows of the backbone's grid, or a detector of torchvision.")
]
FromTsv = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Take VinVL's features.tsv and predictions.tsv; embed nothing."),
]
Out = Annotated[Path | None, typer.Option(help="File to write; default KIND_features.hdf5 beside the images.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be given again. Default all.")]


def images(
    source: Source = None,
    kind: Kind = "grid",
    backbone: Annotated[str, typer.Option(help="Any timm model, or clip:NAME of open_clip.")] = "clip:ViT-L-14",
    weights: Annotated[Path | None, typer.Option(help="A local file of the backbone's weights.")] = None,
    no_pretrained: NoPretrained = False,
    image_size: ImageSize = None,
    resize: Resize = None,
    normalization: Normalization = None,
    detector: Detector = "windows",
    detector_weights: Annotated[Path | None, typer.Option(help="A local file of the detector's weights.")] = None,
    max_regions: Annotated[int, typer.Option(min=1, help="Most regions of an image.")] = 50,
    from_tsv: FromTsv = None,
    out: Out = None,
    dtype: Annotated[str, typer.Option(metavar="float16|float32", help="Precision in the file.")] = "float16",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes per process.")] = 2,
    splits: Splits = None,
    root: Root = None,
    overrides: Annotated[list[str] | None, data_keys("images=photos")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file, or an unfinished one.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how large the file will be; write nothing.")] = False,
    as_json: AsJson = False,
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
    place = report.find_source(source, root, overrides or [], splits or [])
    options = report.read_options(
        place,
        {"kind": kind, "backbone": backbone, "weights": weights, "pretrained": not no_pretrained,
         "image_size": image_size, "resize": resize, "normalization": normalization,
         "detector": detector, "detector_weights": detector_weights, "max_regions": max_regions},
    )  # fmt: skip
    if dry_run:
        report.show_plan(place, options, out, splits or [], dtype=dtype, as_json=as_json)
        return
    code = report.embed(
        place, options, out, splits or [],
        dtype=dtype, batch_size=batch_size, workers=workers, overwrite=overwrite, resume=resume, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)
