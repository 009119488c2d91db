"""The `caption` verb: sentences about anybody's images, into a file or returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Unpack

from hlcli.data.failures import Failure, printable_path
from hlcli.data.image_files import find_images
from hlcli.models.opening import GivenModel, open_model, refuse_beside_predictor
from hlcli.prediction.caption_files import caption_file, check_caption_file
from hlcli.prediction.caption_inputs import FeatureSources, NamedImages
from hlcli.prediction.caption_predictor import CaptionOptions, CaptionPredictor, stream_named
from hlcli.prediction.caption_rows import Caption
from hlcli.progress import Progress
from hlcli.recipe import Recipe

__all__ = ["Caption", "CaptionPredictor", "Captions", "FeatureSources", "caption"]


class Captions(NamedTuple):
    """What was said of images, and the images that could not be decoded."""

    captions: list[Caption]
    failures: list[Failure]


def caption(
    model: GivenModel | CaptionPredictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    resume: bool = False,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    show: Callable[[Caption], None] | None = None,
    **options: Unpack[CaptionOptions],
) -> Captions:
    """Caption files, folders and globs; write the captions to a file, or return them.

    Args:
        model: whatever `open_model` opens, or what it gave, or a ready predictor.
        images: files, folders (searched with everything below) and patterns.
        out: `.jsonl`, or `.json` for COCO's result format; failures go to `….failures.jsonl` beside it.
        resume: go on with a file that was begun with the same images and options.
        recipe: what an upstream checkpoint is.
        overrides: `section.key=value`, changes of the recipe.
        show: is told each caption as soon as it is found.
        **options: those of `CaptionPredictor`.

    Returns:
        The captions (empty with `out`), and the images that could not be decoded.

    Raises:
        InputError: when there is no image, the file has another ending, or there is nothing to go on with.

    Examples:
        >>> captions, failures = hlcli.caption("runs/captions", "photos")
        >>> captions[0].image, len(captions), failures
        ('photos/cat0.jpg', 8, [])
    """
    out = None if out is None else Path(out)
    if out is not None:
        check_caption_file(out)
    found = named_images(images)
    model = as_captioner(model, recipe, overrides, **options)
    return caption_images(model, found, out, resume=resume, show=show)


def as_captioner(
    model: GivenModel | CaptionPredictor,
    recipe: Recipe | None,
    overrides: Sequence[str],
    **options: Unpack[CaptionOptions],
) -> CaptionPredictor:
    """A ready predictor as it is, or one that is made of a model."""
    if not isinstance(model, CaptionPredictor):
        return CaptionPredictor(open_model(model, recipe, overrides), **options)
    refuse_beside_predictor(recipe, overrides, options)
    return model


def named_images(places: str | Path | Sequence[str | Path]) -> NamedImages:
    """Files, folders and patterns as images that are called by their paths.

    Raises:
        InputError: for a place without an image.
    """
    paths = find_images(places)
    return NamedImages(list(map(printable_path, paths)), paths.__getitem__)


def caption_images(
    predictor: CaptionPredictor,
    images: NamedImages,
    out: Path | None = None,
    *,
    resume: bool = False,
    keep: bool | None = None,
    show: Callable[[Caption], None] | None = None,
    title: str = "Captioning",
) -> Captions:
    """Caption named images; write the captions to a file, or return them.

    Args:
        predictor: the model.
        images: every name once if there is a file.
        out: as for `caption`.
        resume: as for `caption`.
        keep: return the captions; default where there is no file.
        show: is told each caption as soon as it is found.
        title: of the progress display.
    """
    predictor.check_names(images.names)
    if out is None:
        results = list(_results(predictor, images, 0, show, title))
        captions = [row for row in results if isinstance(row, Caption)] if keep is not False else []
        return Captions(captions, [row for row in results if isinstance(row, Failure)])
    with caption_file(out, images.names, predictor.describe(), predictor.processes) as file:
        start = file.begin(resume=resume, batch_size=predictor.batch_size)
        for result in _results(predictor, images, start, show, title):
            file.write(result)
        return Captions(*file.finish(keep=bool(keep)))


def _results(
    predictor: CaptionPredictor,
    images: NamedImages,
    start: int,
    show: Callable[[Caption], None] | None,
    title: str,
) -> Iterator[Caption | Failure]:
    """The results from image `start` on, shown as soon as they have been taken."""
    with Progress(title, total=len(images.names), unit="image", start=start) as bar:
        for result in stream_named(predictor, images, start=start):
            yield result
            if show is not None and isinstance(result, Caption):
                show(result)
            bar.advance()
