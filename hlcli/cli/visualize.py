"""`hlcli visualize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hlcli.cli.commands import SOME_FAILED
from hlcli.cli.completion import figure_names
from hlcli.cli.failure_report import show_failures
from hlcli.cli.image_places import MoreImages, holds_model, refuse_models
from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import say, suggest
from hlcli.cli.options import AsJson, Overrides, WhichRecipe

if TYPE_CHECKING:
    from hlcli.figures.drawing import Figures

Images = Annotated[
    list[Path] | None,
    typer.Option(
        help="levels, attention, scenes, embeddings, captions: a folder, files, or a pattern in quotes; may be "
        "repeated. Default: scenes none, embeddings 1,000 images of test (else the recipe's split), the others six."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="attention, scenes, captions: all images of this split; levels: six of it; embeddings: 1,000 of it; "
        "labels: count it, default train; report: measure it, default test."
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        help="Only this label (attention: or `true`, or `predicted`; the others: with its parents and its children); "
        "may be repeated. Default: attention the true ones (unknown: the predicted ones), levels the best ones, labels "
        "and scenes all."
    ),
]
Level = Annotated[
    str | None,
    typer.Option(
        help="attention: level of the labels, such as coarse; default fine. embeddings: of the labels that colour "
        "images; default the coarsest."
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(min=1, help="levels: labels of each level; default 1. embeddings: neighbours; default 5."),
]
Projection = Annotated[
    str | None, typer.Option(help="embeddings: tsne, umap or pca make points of vectors; default tsne.")
]


def visualize(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="curves, labels, levels, attention, scenes, embeddings, captions or report.",
            autocompletion=figure_names,
        ),
    ],
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Run, model folder or hf://OWNER/NAME; labels: or a recipe; the others: or an upstream checkpoint.",
        ),
    ],
    more_images: MoreImages = None,
    images: Images = None,
    split: Split = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="So many of the images, evenly spread over the split or the files found.")
    ] = None,
    labels: Labels = None,
    level: Level = None,
    top_k: TopK = None,
    projection: Projection = None,
    raw: Annotated[bool, typer.Option("--raw", help="attention: also one plain JPEG file per label.")] = False,
    recipe: WhichRecipe = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the files (report: or FILE.html); default MODEL/figures, or ./figures where MODEL is no "
            "folder."
        ),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
    as_json: AsJson = False,
) -> None:
    """Draw how a run went, its labels, where a model looks.

    Kinds: curves of a run, labels (the tree with counts), levels and attention (where a model looks), scenes (those
    it tells apart), embeddings (images and labels that it finds alike), captions (where a captioner looks for each
    word), report (all of it as one web page).

    Example: hlcli visualize curves runs/quickstart
    Example: hlcli visualize labels hleg/intentonomy --format pdf
    Example: hlcli visualize levels runs/quickstart --images photos --top-k 2
    Example: hlcli visualize attention runs/coco-sgre --images photos --labels dog --labels cat
    Example: hlcli visualize scenes runs/coco-salgl
    Example: hlcli visualize embeddings runs/quickstart --level fine
    Example: hlcli visualize captions runs/quickstart-caption --images photos
    """
    import hlcli
    from hlcli.progress import waiting

    places = [*(images or []), *(more_images or [])]
    refuse_models(places, "Figures are of one model: `hlcli visualize KIND MODEL --images …`.")
    given = None if recipe is None else hlcli.Recipe.from_yaml(recipe, overrides or [])
    with waiting("Loading"):
        drawn = hlcli.visualize(
            kind, model, images=places, split=split, max_images=max_images, labels=labels or (), level=level,
            top_k=top_k, raw=raw, projection=projection, recipe=given, overrides=() if given else overrides or (),
            out=out, file_format=file_format,
        )  # fmt: skip
    _show(drawn, as_json=as_json)
    if not as_json:
        _suggest(kind, model, drawn)
    if drawn.failures:
        raise typer.Exit(SOME_FAILED)


def _suggest(kind: str, model: str, drawn: Figures) -> None:
    """What to do after a figure."""
    if kind == "report":
        say(f"Next: open {drawn.files[0]} in a browser")
    elif kind == "labels" and not holds_model(Path(model)):  # a folder of `hlcli init` has a recipe alone
        suggest("train", "--recipe", model)
    else:
        suggest("visualize", "report", model)


def _show(drawn: Figures, *, as_json: bool) -> None:
    """The files on stdout, what failed on stderr."""
    files = [str(path) for path in drawn.files]
    if as_json:
        rows = [failure.to_json() for failure in drawn.failures]
        print_json({"files": files, "failures": rows})
    else:
        for file in files:
            typer.echo(file)
    show_failures(drawn.failures, "shown", drawn.listed)
