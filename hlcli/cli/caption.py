"""`hlcli caption`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.options import AsJson, BatchSize, Overrides, Profiled, WhichRecipe, Workers

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="Run folder, model folder, hf://OWNER/NAME, or upstream checkpoint (--recipe)."
    ),
]
Images = Annotated[list[Path] | None, typer.Argument(metavar="IMAGES", help="Files, folders, or patterns in quotes.")]
Ensemble = Annotated[
    list[Path] | None, typer.Option(help="Another model to average with, of the same words; may be repeated.")
]
GridFeatures = Annotated[
    Path | None, typer.Option(help="File of the images' grid features, for models that read stored ones.")
]
BackboneWeights = Annotated[
    Path | None, typer.Option(help="Local weights of the backbone that computes the images' features.")
]
Beam = Annotated[
    int | None, typer.Option(help="Captions kept while one is searched; 1 is greedy; default the recipe's.")
]
MaxLength = Annotated[
    int | None, typer.Option(help="Longest caption in words, its end mark counted; default the recipe's.")
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        help="Power of the length that log-probabilities are divided by; 0 favours short; default the recipe's."
    ),
]
BlockNgrams = Annotated[
    int | None,
    typer.Option(help="Never repeat so many words in a row within a caption; 0 may; default the recipe's."),
]
Temperature = Annotated[
    float | None,
    typer.Option(help="--sample: above 1 makes rare words likelier, below 1 rarer; default the recipe's."),
]
TopP = Annotated[
    float | None,
    typer.Option(
        help="--sample: only the likeliest words, which together reach this probability; default the recipe's."
    ),
]


def caption(
    model: Model,
    images: Images = None,
    split: Annotated[str | None, typer.Option(help="Caption this split of the data set instead and score it.")] = None,
    beam: Beam = None,
    max_length: MaxLength = None,
    num_captions: Annotated[int, typer.Option(help="Captions per image.")] = 1,
    length_penalty: LengthPenalty = None,
    block_ngrams: BlockNgrams = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw words instead of searching the likeliest.")] = False,
    temperature: Temperature = None,
    top_p: TopP = None,
    seed: Annotated[int | None, typer.Option(min=0, help="--sample: of the draws; default 0.")] = None,
    ensemble: Ensemble = None,
    grid_features: GridFeatures = None,
    region_features: Annotated[Path | None, typer.Option(help="File of the images' region features.")] = None,
    backbone_weights: BackboneWeights = None,
    out: Annotated[Path | None, typer.Option(help="Write to FILE.jsonl, or FILE.json for COCO's online test.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out where it was interrupted.")] = False,
    batch_size: BatchSize = None,
    workers: Workers = None,
    recipe: WhichRecipe = None,
    overrides: Overrides = None,
    profile: Profiled = False,
    as_json: AsJson = False,
) -> None:
    """Describe images in sentences, or score a split.

    Example: hlcli caption runs/quickstart-caption photos --out captions.jsonl
    Example: hlcli caption runs/coco dog.jpg --num-captions 3
    Example: hlcli caption runs/coco --split test
    Example: hlcli caption runs/coco-1 photos --ensemble runs/coco-2 --ensemble runs/coco-3
    """
    import hlcli
    from hlcli.cli import caption_report as report
    from hlcli.cli.profile_report import profiled

    report.check_options(images or [], split, out, resume=resume)
    with profiled(profile, "open_model", "caption", "evaluate_captions"):
        models = report.open_captioners([model, *(ensemble or [])], recipe, overrides or [])
        features = hlcli.FeatureSources(grid_features, region_features, backbone_weights, of_data=split is not None)
        asked = {
            "temperature": temperature, "top_p": top_p, "seed": seed, "max_words": max_length,
            "beam_size": beam, "length_penalty": length_penalty, "block_ngrams": block_ngrams,
        }  # fmt: skip
        decoding = report.change_decoding(models[0].recipe.eval, asked, sample=sample)
        predictor = report.make_predictor(models, decoding, features, batch_size, workers, num_captions)
        if split is not None:
            code = 0
            report.measure_split(predictor, split, out, resume=resume, as_json=as_json)
        else:
            code = report.caption_and_show(predictor, images or [], out, resume=resume, as_json=as_json)
    if not as_json:
        report.suggest_captions(model, images or [], out)
    if code:
        raise typer.Exit(code)
