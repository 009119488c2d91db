"""What `hlcli caption` reads and shows, and `hlcli eval` of captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import hlcli
from hlcli import InputError
from hlcli.cli.commands import SOME_FAILED
from hlcli.cli.failure_report import show_failures
from hlcli.cli.image_places import refuse_models
from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import asked_images, say, suggest
from hlcli.launching import is_first_process
from hlcli.plain_text import counted, printable
from hlcli.progress import print_line, waiting

if TYPE_CHECKING:
    from hlcli.evaluation.captions import CaptionEvaluation
    from hlcli.metrics.captioning.summary import CaptionMetrics
    from hlcli.models.folder import LoadedModel
    from hlcli.prediction.caption_rows import Caption
    from hlcli.prediction.captions import CaptionPredictor, Captions, FeatureSources
    from hlcli.recipe import EvalSection

NUM_EXAMPLES = 3
NO_WORD = "(no word)"
OPTIONS = {
    "temperature": "--temperature",
    "top_p": "--top-p",
    "seed": "--seed",
    "max_words": "--max-length",
    "beam_size": "--beam",
    "length_penalty": "--length-penalty",
    "block_ngrams": "--block-ngrams",
}
"""Keys of `eval` and the options of `hlcli caption` that change them."""


def check_options(images: Sequence[Path], split: str | None, out: Path | None, *, resume: bool) -> None:
    """Refuse options that contradict each other, and models among the images.

    Raises:
        InputError: naming them.
    """
    refuse_models(images, "Give --ensemble before each model but the first.")
    if not images and split is None:
        raise InputError("There is nothing to caption.", "Give images: files, folders, patterns; or --split test.")
    if images and split is not None:
        raise InputError("--split and images exclude each other.", "Leave one of them out.")
    if resume and out is None:
        raise InputError("--resume goes on with a file.", "Give --out FILE.jsonl.")
    if out is not None:
        hlcli.check_caption_file(out)


def change_decoding(section: EvalSection, asked: Mapping[str, float | None], *, sample: bool) -> EvalSection:
    """A recipe's evaluation section with what options say of captions; one of a search means a search.

    Args:
        section: of the recipe.
        asked: keys of `eval`, each as its option has it, or None.
        sample: `--sample`.

    Raises:
        InputError: for options of a search with `--sample`, or of sampling without.
        RecipeError: for a value that a key cannot have.
    """
    changes = {key: value for key, value in asked.items() if value is not None}
    decoders: Mapping[str, Any] = hlcli.section_classes("eval")
    searches = any(key in decoders["beam"].own_keys() for key in changes)
    decoder = "sample" if sample else "beam" if searches else section.decoder
    useless = [OPTIONS[key] for key in changes if key not in decoders[decoder].model_fields]
    if useless:
        how, hint = ("Drawing words (--sample)", "Leave") if sample else ("A search", "Give --sample, or leave")
        raise InputError(f"{how} has no use for {', '.join(useless)}.", f"{hint} it out.")
    source = " ".join(f"{OPTIONS[key]} {value}" for key, value in changes.items())
    return hlcli.change_section("eval", section, {"decoder": decoder, **changes}, source=source)  # type: ignore[no-any-return]


def open_captioners(paths: Sequence[Path], recipe: str | None, overrides: Sequence[str]) -> list[LoadedModel]:
    """The models, each with its recipe changed where asked.

    Raises:
        InputError: when one cannot be used, or is no captioner.
    """
    given = None if recipe is None else hlcli.Recipe.from_yaml(recipe, overrides)
    with waiting("Loading"):
        return [hlcli.open_model(path, given, () if given else overrides, task="captions") for path in paths]


def make_predictor(
    models: Sequence[LoadedModel],
    decoding: EvalSection,
    features: FeatureSources,
    batch_size: int | None,
    workers: int | None,
    num_captions: int = 1,
) -> CaptionPredictor:
    """The models as one."""
    return hlcli.CaptionPredictor(
        models,
        decoding=decoding,
        num_captions=num_captions,
        features=features,
        batch_size=batch_size,
        workers=models[0].recipe.data.workers if workers is None else workers,
    )


def caption_and_show(
    predictor: CaptionPredictor, images: Sequence[Path], out: Path | None, *, resume: bool, as_json: bool
) -> int:
    """Caption and show; returns the exit code."""
    is_first = is_first_process()
    show = _show_caption if is_first and out is None and not as_json else None
    with waiting("Loading"):
        done = hlcli.caption(predictor, images, out=out, resume=resume, show=show)
    if is_first:
        _show_rest(done, out, as_json=as_json)
    return SOME_FAILED if done.failures else 0


def _show_caption(caption: Caption) -> None:
    print_line(printable(f"{caption.image}: {caption.caption or NO_WORD}"))
    for other in caption.alternatives:
        print_line(printable(f"    {other.text}"))


def _show_rest(done: Captions, out: Path | None, *, as_json: bool) -> None:
    """The document where it is asked for, and what failed."""
    if as_json:
        told: dict[str, Any] = {"failures": [failure.to_json() for failure in done.failures]}
        print_json(
            {"captions": [caption.to_json() for caption in done.captions], **told}
            if out is None
            else {"out": str(out), **told}
        )
    elif out is not None:
        say(f"Captions: {out}")
    show_failures(done.failures, "captioned", None if out is None else hlcli.failures_file(out))


def measure_split(
    predictor: CaptionPredictor,
    split: str | None,
    out: Path | None,
    page: Path | None = None,
    *,
    resume: bool = False,
    as_json: bool,
) -> None:
    """Caption a split, score it and show."""
    with waiting("Loading"):
        result = hlcli.evaluate_captions(predictor, split, out=out, report=page, resume=resume)
    if not is_first_process():
        return
    if out is not None:
        say(f"Captions: {out}")
    if page is not None:
        say(f"Report: {page}")
    if result.metrics is None:
        typer.echo(f"Split {result.split} has no true captions: there is nothing to score.", err=True)
    elif as_json:
        _show_json(result.split, result.metrics)
    else:
        _show_table(result.split, result.metrics)
        _show_examples(result)


def suggest_captions(model: Path | None, images: Sequence[Path] = (), out: Path | None = None) -> None:
    """What to type after captions of a split, or of images."""
    if model is None:
        return
    if not images:
        suggest("caption", model, "FOLDER")
    elif out is None:
        suggest("caption", model, asked_images(images), "--out", "captions.jsonl")
    else:
        suggest("visualize", "captions", model, "--images", asked_images(images))


def measure_captioner(
    loaded: LoadedModel,
    split: str | None,
    out: Path | None,
    page: Path | None,
    *,
    useless: Mapping[str, object],
    batch_size: int | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """`hlcli eval` of a captioner; `useless` are options for labels.

    Raises:
        InputError: naming those that were given.
    """
    given = [name for name, value in useless.items() if value]
    if given:
        hint = "Use hlcli caption MODEL IMAGES…" if "--images" in given else "Leave it out."
        raise InputError(f"The model makes captions, and has no use for {', '.join(given)}.", hint)
    if out is not None:
        hlcli.check_caption_file(out)
    predictor = make_predictor([loaded], loaded.recipe.eval, hlcli.FeatureSources(of_data=True), batch_size, workers)
    measure_split(predictor, split, out, page, as_json=as_json)


def score_files(
    captions: Path | None,
    references: Path | None,
    *,
    metrics: str | None,
    split: str | None,
    useless: Mapping[str, object],
    as_json: bool,
) -> None:
    """`hlcli eval --captions FILE --references FILE`.

    Raises:
        InputError: when one of the two is missing, or another option has no use.
    """
    if captions is None or references is None:
        missing, other = ("--captions", "--references") if captions is None else ("--references", "--captions")
        raise InputError(f"{missing} is missing: {other} alone cannot be scored.", "Give --captions and --references.")
    given = [name for name, value in useless.items() if value]
    if given:
        raise InputError(f"Files of captions are scored as they are; {', '.join(given)} has no use.", "Leave it out.")
    names = {} if metrics is None else {"names": tuple(name.strip() for name in metrics.split(","))}
    found = hlcli.score_captions(captions, references, split=split, **names)
    if as_json:
        _show_json(split, found)
    else:
        _show_table(split or captions.name, found)


def _show_json(split: str | None, metrics: CaptionMetrics) -> None:
    document: dict[str, Any] = {} if split is None else {"split": split}
    print_json({**document, "images": metrics.num_images, "metrics": metrics.to_json()})


def _show_table(title: str, metrics: CaptionMetrics) -> None:
    from rich.console import Console

    from hlcli.cli.tables import scores_table

    console = Console()
    console.print(scores_table(metrics.to_json(), title=title))
    console.print(counted(metrics.num_images, "image"), highlight=False)


def _show_examples(result: CaptionEvaluation) -> None:
    """A few captions, evenly spread, with the first true one of each."""
    count = len(result.captions)
    for row in sorted({number * count // NUM_EXAMPLES for number in range(NUM_EXAMPLES)}):
        caption, references = result.captions[row], result.references[row]
        typer.echo(printable(f"{caption.image}: {caption.caption or NO_WORD}"))
        typer.echo(printable(f"    true: {references[0]}"))
