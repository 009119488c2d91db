"""`hlcli eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.completion import recipe_names
from hlcli.cli.image_places import MoreImages
from hlcli.cli.options import AsJson, BatchSize, Overrides, Profiled, Workers

Model = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        help="Run folder, model folder, hf://OWNER/NAME, or upstream checkpoint (--recipe). None for a recipe whose "
        "method needs no training.",
    ),
]
Images = Annotated[
    list[Path] | None, typer.Option(help="Predict images instead: a folder, files, or a pattern in quotes.")
]
Labels = Annotated[
    Path | None, typer.Option(help="CSV file (image,labels): measure on the folder given with --images.")
]
Thresholds = Annotated[
    str | None, typer.Option(help="`self`, `val`, a JSON file, or a number between 0 and 1; default the recipe's.")
]
Captions = Annotated[
    Path | None, typer.Option(help="Score these captions, COCO's results or FILE.jsonl, without MODEL.")
]
References = Annotated[
    Path | None, typer.Option(help="--captions: the true ones, COCO's annotations or Karpathy's file.")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        help="--captions: of BLEU, METEOR, ROUGE-L, CIDEr, SPICE, separated by commas; default those without Java."
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="Write predictions to FILE.jsonl, .csv or .parquet; captions: .jsonl, .json.")
]
Page = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.html", help="Also write one page with curves, tables, images.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Images: go on with --out where it was interrupted.")]
TopK = Annotated[
    int | None, typer.Option(min=1, help="List this many labels per level instead of those above thresholds.")
]
GivenRecipe = Annotated[
    str | None,
    typer.Option(
        help="What an upstream checkpoint is; or, without MODEL, a method without training.",
        autocompletion=recipe_names,
    ),
]


def evaluate(
    model: Model = None,
    more_images: MoreImages = None,
    split: Annotated[str | None, typer.Option(help="Split to measure; default test where there is one.")] = None,
    images: Images = None,
    labels: Labels = None,
    thresholds: Thresholds = None,
    captions: Captions = None,
    references: References = None,
    metrics: Metrics = None,
    out: Out = None,
    page: Page = None,
    resume: Resume = False,
    top_k: TopK = None,
    recipe: GivenRecipe = None,
    overrides: Overrides = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    per_label: Annotated[bool, typer.Option("--per-label", help="Also one row per label.")] = False,
    profile: Profiled = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a split, predict images, or score a file of captions.

    Example: hlcli eval runs/quickstart --split test
    Example: hlcli eval runs/quickstart --report report.html
    Example: hlcli eval runs/quickstart --images photos --out predictions.jsonl
    Example: hlcli eval model_best.pth.tar --recipe hleg/intentonomy
    Example: hlcli eval --recipe hspnet/zero-shot --set data.dataset=coco
    Example: hlcli eval --captions results.json --references captions_val2014.json
    """
    import hlcli
    from hlcli.cli import caption_report
    from hlcli.cli import evaluation_report as report
    from hlcli.cli.profile_report import profiled
    from hlcli.progress import waiting

    for_labels = {"--images": images or more_images, "--labels": labels, "--thresholds": thresholds,
                  "--top-k": top_k, "--per-label": per_label, "--resume": resume}  # fmt: skip
    if captions is not None or references is not None:
        report.check_caption_overrides(overrides or [])
        useless = {"MODEL": model, **for_labels, "--out": out, "--report": page, "--recipe": recipe}
        caption_report.score_files(captions, references, metrics=metrics, split=split, useless=useless, as_json=as_json)
        return
    report.check_metrics_option(metrics)
    given = report.read_recipe(recipe, overrides or [])
    model, places = report.sort_out(model, images or [], more_images or [], given)
    report.check_options(places, labels, out, page, split=split, top_k=top_k, per_label=per_label, resume=resume)
    with profiled(profile, "open_model", "evaluate", "predict"):
        with waiting("Loading"):
            loaded = hlcli.open_model(model, given, () if given else overrides or ())
        if loaded.recipe.model.task == "captions":
            caption_report.measure_captioner(
                loaded, split, out, page,
                useless=for_labels, batch_size=batch_size, workers=workers, as_json=as_json,
            )  # fmt: skip
            if not as_json:
                caption_report.suggest_captions(model)
            return
        code = 0
        if places and labels is None:
            code = report.predict_images(
                loaded, places, out, resume=resume,
                thresholds=thresholds, batch_size=batch_size, workers=workers, top_k=top_k, as_json=as_json,
            )  # fmt: skip
        else:
            report.measure_split(
                loaded, split, places, labels, thresholds,
                out=out, page=page, batch_size=batch_size, workers=workers, per_label=per_label, as_json=as_json,
            )  # fmt: skip
    if not as_json:
        report.suggest_more(model, loaded.recipe, places, labels, out, page)
    if code:
        raise typer.Exit(code)
