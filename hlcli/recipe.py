"""A recipe: everything that decides a run, as one validated value. Reading one never imports torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import Field, ValidationError, create_model, model_validator

from hlcli.captioning.config import CrossEntropy, SelfCritical
from hlcli.captioning.decoders.beam import BeamSearch
from hlcli.captioning.decoders.sampling import Sampling
from hlcli.data.datasets.captions import Captions
from hlcli.data.datasets.coco import Coco
from hlcli.data.datasets.cub import Cub
from hlcli.data.datasets.folder import Folder
from hlcli.data.datasets.huggingface import HuggingFace
from hlcli.data.datasets.intentonomy import Intentonomy
from hlcli.data.datasets.karpathy import CocoKarpathy, Flickr8k, Flickr30k
from hlcli.data.datasets.nuswide import Nuswide
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.datasets.vg500 import Vg500
from hlcli.data.datasets.voc import Voc2007, Voc2012
from hlcli.errors import RecipeError
from hlcli.losses.config import Asymmetric, LabelObjective
from hlcli.methods.hin.config import Hin
from hlcli.methods.hleg.config import Hleg
from hlcli.methods.hspnet.config import Hspnet
from hlcli.methods.linear.config import Linear
from hlcli.methods.query2label.config import Query2Label
from hlcli.methods.salgl.config import Salgl
from hlcli.methods.sgre.config import Sgre
from hlcli.methods.zero_shot.config import ZeroShot
from hlcli.recipe_reading.conflicts import find_conflicts
from hlcli.recipe_reading.mistakes import Variants, describe_mistakes
from hlcli.recipe_reading.shipped import find_recipe
from hlcli.recipe_reading.text import apply_overrides, read_yaml, type_name, write_yaml
from hlcli.sections import AdamW, Backbone, DataSection, OneCycle, Optim, Schedule, Section, Train

Dataset = Annotated[
    Shapes
    | Folder
    | Captions
    | HuggingFace
    | Intentonomy
    | Coco
    | CocoKarpathy
    | Voc2007
    | Voc2012
    | Nuswide
    | Vg500
    | Cub
    | Flickr8k
    | Flickr30k,
    Field(discriminator="dataset"),
]

Method = Annotated[Linear | Query2Label | Hleg | Salgl | Sgre | Hspnet | ZeroShot | Hin, Field(discriminator="method")]

_Objective = Annotated[LabelObjective | CrossEntropy | SelfCritical, Field(discriminator="loss")]

EvalSection = Annotated[BeamSearch | Sampling, Field(discriminator="decoder")]

TAGS = {
    "data": "dataset",
    "model": "method",
    "objective": "loss",
    "optim": "optimizer",
    "schedule": "schedule",
    "eval": "decoder",
}
"""The key of a section that says which of its variants it is; always written first."""


_Model = TypeVar("_Model", bound=Section)


class Recipe(Section):
    """The sections of a recipe; `data` and `model` are required."""

    data: Dataset
    backbone: Backbone = Backbone()
    model: Method
    objective: _Objective = Asymmetric()
    optim: Optim = AdamW()
    schedule: Schedule = OneCycle()
    train: Train = Train()
    eval: EvalSection = BeamSearch()

    @classmethod
    def from_yaml(cls, path_or_name: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a file or a shipped recipe.

        Args:
            path_or_name: a file, or the name of a shipped recipe such as `hleg/intentonomy`.
            overrides: `section.key=value`, as given to `--set`.

        Raises:
            RecipeError: listing every mistake.
        """
        path = find_recipe(path_or_name)
        return cls.from_dict(read_yaml(path), overrides, source=str(path))

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str = "recipe") -> Self:
        """Validate nested mappings; `source` is what messages call them.

        Raises:
            RecipeError: listing every mistake.

        Examples:
            >>> tree = {"data": {"dataset": "shapes"}, "model": {"method": "linear"}}
            >>> recipe = Recipe.from_dict(tree, ["train.epochs=3"])
            >>> recipe.train.epochs, recipe.data.name
            (3, 'shapes')
        """
        if not isinstance(tree, Mapping):
            raise RecipeError(f"{source}: sections were expected, got {type_name(tree)}.")
        return _validate(cls, tree, overrides, source)

    def changed(self, overrides: Sequence[str], *, source: str = "recipe") -> Self:
        """The recipe with other settings, `section.key=value` each; `source` is what messages call it.

        Raises:
            RecipeError: listing every mistake.

        Examples:
            >>> recipe = Recipe.from_yaml("quickstart")
            >>> recipe.changed(["optim.lr=1e-4"]).optim.lr
            0.0001
            >>> recipe.changed(["data.image_sise=96"])
            Traceback (most recent call last):
            hlcli.errors.RecipeError: recipe: data.image_sise: unknown key (from --set). Did you mean image_size?
        """
        return self.from_dict(self.to_dict(), overrides, source=source)

    @property
    def select_by(self) -> str:
        """The metric that chooses the best model."""
        return self.eval.select_by or self.model.default_metric

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The whole recipe, defaults included, ready for JSON or YAML."""
        return {section: _tag_first(section, values) for section, values in self.model_dump(mode="json").items()}

    def to_yaml(self) -> str:
        """The whole recipe as text from which an equal one is read."""
        return write_yaml(self.to_dict())

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, tree: Any) -> Any:
        """Let an empty section stand for its defaults, and a section without its tag for the default variant."""
        if not isinstance(tree, dict):
            return tree
        filled = dict(tree)
        for section, field in cls.model_fields.items():
            if section in filled and not field.is_required():
                filled[section] = _with_default_tag(section, filled[section], field.default)
        return filled

    @model_validator(mode="after")
    def _check_conflicts(self) -> Self:
        conflicts = find_conflicts(self)
        if conflicts:
            raise ValueError("\n".join(conflicts))
        return self


def section_classes(section: str) -> Mapping[str, type[Section]]:
    """The classes that a section can be, by the value of its tag: for `data` the data sets by name.

    Examples:
        >>> sorted(section_classes("eval"))
        ['beam', 'sample']
    """
    return _variants(Recipe)[section].classes


def data_set_name(name: str) -> str | None:
    """A data set's own name, for it or another one that the set goes by; None for an unknown name."""
    sections: Mapping[str, type[DataSection]] = section_classes("data")  # type: ignore[assignment]
    return next((own for own, one in sections.items() if name == own or name in one.other_names), None)


def read_section(
    section: str, values: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str = "recipe"
) -> Any:
    """One section of a recipe, validated without the others.

    Args:
        section: its name, e.g. `data`.
        values: its keys, the tag among them: `{"dataset": "coco"}`.
        overrides: `section.key=value`, as given to `--set`.
        source: what messages call it.

    Returns:
        An object of one of the section's classes.

    Raises:
        RecipeError: listing every mistake.
    """
    field = Recipe.model_fields[section]
    alone: Any = create_model("OneSection", __base__=Section, **{section: (field.annotation, field)})  # type: ignore[call-overload]
    return getattr(_validate(alone, {section: dict(values)}, overrides, source), section)


def change_section(section: str, old: Section, changes: Mapping[str, Any], *, source: str = "recipe") -> Any:
    """A section of a recipe with other values, its tag perhaps; of another variant it has none of its own keys left.

    Args:
        section: its name, e.g. `eval`.
        old: what is changed.
        changes: values by key.
        source: what messages call the changes.

    Raises:
        RecipeError: listing every mistake.

    Examples:
        >>> searching = Recipe.from_yaml("quickstart-caption").eval
        >>> change_section("eval", searching, {"decoder": "sample", "temperature": 0.5}).temperature
        0.5
    """
    before = {section: old.model_dump(mode="json")}
    after = {section: {**before[section], **changes}}
    values = _without_other_variants(before, after, {f"{section}.{key}" for key in changes})[section]
    return read_section(section, values, source=source)


def _validate(cls: type[_Model], tree: Mapping[str, Any], overrides: Sequence[str], source: str) -> _Model:
    """Nested mappings with overrides as a recipe, or as a part of one.

    Raises:
        RecipeError: listing every mistake.
    """
    places = {override.partition("=")[0].replace(" ", "") for override in overrides}
    changed = _by_own_name(apply_overrides(dict(tree), overrides))
    tree = _without_other_variants(_by_own_name(tree), changed, places)
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(describe_mistakes(error, _variants(Recipe), tree, source, places)) from error


def _by_own_name(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree whose data set is called by its own name."""
    data = tree.get("data")
    own = data_set_name(str(data.get("dataset"))) if isinstance(data, dict) else None
    return dict(tree) if not isinstance(data, dict) or own is None else {**tree, "data": {**data, "dataset": own}}


def _without_other_variants(
    given: Mapping[str, Any], tree: dict[str, Any], overridden: Collection[str]
) -> dict[str, Any]:
    """A tree in which an override that chooses another variant of a section leaves none of the old one's own keys.

    Args:
        given: the tree before overrides.
        tree: the tree with them.
        overridden: `section.key` of every override; these keys stay, whoever's they are.
    """
    variants = _variants(Recipe)
    for section, tag in TAGS.items():
        old, new = given.get(section), tree.get(section)
        if not isinstance(old, dict) or not isinstance(new, dict) or tag not in new:
            continue
        if new[tag] == old.get(tag, getattr(Recipe.model_fields[section].default, tag, new[tag])):
            continue
        chosen = variants[section].classes.get(str(new[tag]))
        if chosen is not None:
            names = {*chosen.model_fields, *(place.partition(".")[2] for place in overridden if f"{section}." in place)}
            tree = {**tree, section: {key: value for key, value in new.items() if key in names}}
    return tree


def _with_default_tag(section: str, value: Any, default: Section) -> Any:
    tag = TAGS.get(section)
    if value is None:
        value = {}
    if tag is None or not isinstance(value, dict) or tag in value:
        return value
    return {tag: getattr(default, tag), **value}


def _tag_first(section: str, values: dict[str, Any]) -> dict[str, Any]:
    tag = TAGS.get(section)
    return values if tag is None else {tag: values[tag], **values}


def _variants(recipe: type[Recipe]) -> dict[str, Variants]:
    """For every section its possible classes, by the value of its tag."""
    found = {}
    for section, field in recipe.model_fields.items():
        tag = TAGS.get(section)
        classes = get_args(field.annotation) or (field.annotation,)
        found[section] = Variants(tag, {str(c.model_fields[tag].default) if tag else "": c for c in classes})
    return found
