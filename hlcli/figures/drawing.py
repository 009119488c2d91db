"""The `visualize` verb: a run, a model or a recipe → figures in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from hlcli.errors import InputError, nearest
from hlcli.figures.files import Figures
from hlcli.files import check_writable
from hlcli.report.files import PAGE_SUFFIXES
from hlcli.visualization.saving import check_format, check_out_folder

if TYPE_CHECKING:
    from hlcli.models.opening import GivenModel
    from hlcli.recipe import Recipe

Draw = Callable[..., Figures]
"""`draw(model, out, file_format, **options)`, with the options that its kind takes."""


class FigureOptions(TypedDict, total=False):
    """What figures can be asked for; every kind takes some of it."""

    images: Sequence[str | Path]  # files, folders and patterns
    split: str | None  # where images are taken from, or what is counted
    max_images: int | None  # so many of the images, evenly spread
    labels: Sequence[str]  # names; for `attention` also true and predicted
    level: str | None  # of the labels that are chosen by themselves, or that colour images
    top_k: int | None  # so many labels of each level, or so many neighbours
    projection: str | None  # how vectors become points: tsne, umap or pca
    raw: bool  # also each overlay as a picture of its own
    recipe: Recipe | None  # says where the data is, or what an upstream checkpoint is


class _Kind(NamedTuple):
    """A kind of figures: the options it takes, and what loads the function that draws it (most need torch)."""

    name: str
    options: tuple[str, ...]
    load: Callable[[], Draw]
    is_page: bool = False
    """Whether `out` may be the name of a web page."""


def _curves() -> Draw:
    from hlcli.figures.curves import draw_curves

    return draw_curves


def _labels() -> Draw:
    from hlcli.figures.labels import draw_labels

    return draw_labels


def _levels() -> Draw:
    from hlcli.figures.levels import draw_levels

    return draw_levels


def _attention() -> Draw:
    from hlcli.figures.attention import draw_attention

    return draw_attention


def _scenes() -> Draw:
    from hlcli.figures.scenes import draw_scenes

    return draw_scenes


def _embeddings() -> Draw:
    from hlcli.figures.embeddings import draw_embeddings

    return draw_embeddings


def _captions() -> Draw:
    from hlcli.figures.captions import draw_captions

    return draw_captions


def _report() -> Draw:
    from hlcli.report.drawing import draw_report

    return draw_report


KINDS = (
    _Kind("curves", (), _curves),
    _Kind("labels", ("split", "labels", "recipe"), _labels),
    _Kind("levels", ("images", "split", "max_images", "labels", "top_k", "recipe"), _levels),
    _Kind("attention", ("images", "split", "max_images", "labels", "level", "raw", "recipe"), _attention),
    _Kind("scenes", ("images", "split", "max_images", "labels", "recipe"), _scenes),
    _Kind("embeddings", ("images", "split", "max_images", "level", "top_k", "projection", "recipe"), _embeddings),
    _Kind("captions", ("images", "split", "max_images", "recipe"), _captions),
    _Kind("report", ("split", "recipe"), _report, is_page=True),
)


def list_figures() -> list[str]:
    """Names of the kinds of figures that `visualize` draws."""
    return [kind.name for kind in KINDS]


def visualize(
    kind: str,
    model: GivenModel,
    *,
    out: str | Path | None = None,
    file_format: str = "png",
    overrides: Sequence[str] = (),
    **options: Unpack[FigureOptions],
) -> Figures:
    """Draw figures and write them to files.

    Args:
        kind: `curves` (how a run went), `labels` (the label tree with counts), `levels` (where the model looks for
            the best labels of each level), `attention` (where it looks for chosen labels), `scenes` (the kinds of
            scene it tells apart), `embeddings` (the images and labels that it finds alike), `captions` (where a
            captioner looks for each word), `report` (all that is known of a model and how it does on a split, as one
            web page).
        model: a run folder; for all but `curves` also a model folder; for `labels` also a recipe, for the others
            also an upstream checkpoint (then with `recipe`); for all but `curves` also a loaded model.
        out: folder for the files, of a report also its own name; default `figures` inside the run or model folder,
            else `./figures`.
        file_format: png, svg or pdf; a report has none.
        overrides: `section.key=value`, changes of the recipe.
        **options: see `FigureOptions`; each kind takes those that `KINDS` lists.

    Raises:
        InputError: for an unknown kind, options that it has no use for, or a place that cannot be written.
        MissingDependencyError: when matplotlib is not installed.

    Examples:
        >>> drawn = hlcli.visualize("labels", "runs/shapes", out="figures")
        >>> print(*drawn.files)
        figures/labels.png
    """
    if overrides:
        options["recipe"] = _changed(options.get("recipe"), model, overrides)
    chosen: dict[str, Any] = {name: value for name, value in options.items() if value}
    if "images" in chosen:
        chosen["images"] = [Path(place) for place in chosen["images"]]
    found = _find_kind(kind, list(chosen))
    check_format(file_format)
    place = _figures_folder(model) if out is None else Path(out)
    is_page = found.is_page and place.suffix.lower() in PAGE_SUFFIXES
    if not is_page:
        check_out_folder(place)
    check_writable(place.parent if is_page else place)
    return found.load()(model, place, file_format, **chosen)


def _find_kind(name: str, given: Sequence[str]) -> _Kind:
    """The kind of that name, if it has a use for all options that are given.

    Raises:
        InputError: naming what there is instead.
    """
    kinds = {kind.name: kind for kind in KINDS}
    if name not in kinds:
        near = nearest(name, kinds)
        raise InputError(
            f"There is no figure {name!r}; there are {', '.join(kinds)}.", f"Did you mean {near[0]}?" if near else None
        )
    for option in given:
        if option not in FigureOptions.__annotations__:
            raise TypeError(f"visualize() got an unexpected keyword argument {option!r}")
        if option not in kinds[name].options:
            users = [kind.name for kind in KINDS if option in kind.options]
            listed = " and ".join(filter(None, [", ".join(users[:-1]), users[-1]]))
            raise InputError(f"{name} has no use for --{option.replace('_', '-')}; it is for {listed}.")
    if "images" in given and "split" in given:
        raise InputError("--images and --split exclude each other.", "Leave one of them out.")
    return kinds[name]


def _changed(recipe: Recipe | None, model: GivenModel, overrides: Sequence[str]) -> Recipe:
    """The recipe, or that of the model, with changes."""
    from hlcli.figures.labels import recipe_of

    return recipe_of(model, overrides) if recipe is None else recipe.changed(overrides)


def _figures_folder(model: GivenModel) -> Path:
    """Where figures go when nobody says."""
    return Path(model) / "figures" if isinstance(model, str | Path) and Path(model).is_dir() else Path("figures")
