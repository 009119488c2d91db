"""The `init_recipe` verb: from a folder of photos and a table to a recipe that trains at once."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from hlcli.data.datasets.folder import read_hierarchy
from hlcli.data.image_files import find_images
from hlcli.data.images import stored_form
from hlcli.data.labels import LabelSpace
from hlcli.errors import DataError, InputError
from hlcli.files import whole_file, whole_folder
from hlcli.inspection.data import debug_data
from hlcli.inspection.findings import Inspection
from hlcli.own_photos.drawing_splits import fill_splits
from hlcli.own_photos.image_names import ImageNames
from hlcli.own_photos.label_file import count_splits, found_by_end, is_ours, merge_rows, spell_labels, write_label_file
from hlcli.own_photos.recipe_text import Facts, choose_method, write_recipe
from hlcli.own_photos.tables import OwnRow, OwnTable, read_own_table
from hlcli.recipe import Recipe, data_set_name
from hlcli.recipe_reading.shipped import list_recipes
from hlcli.recipe_reading.text import parse_yaml, write_yaml

_FEW_TO_SPLIT = 500
"""Fewer images are parted into train and val alone."""

_LOOKED_AT = 100
"""So many photos are asked for their size."""

_TREE = """# All labels under one parent that is none: sort them under parents of your own, such as
#   animals: [cat, dog]
#   things: [chair, lamp]
# or deeper, every label below the same number of parents. Then make a recipe that learns all levels:
#   hlcli init NEW_FOLDER --images … --labels … --hierarchy THIS_FILE
"""


class StartedRecipe(NamedTuple):
    """A recipe for one's own photos, and what was found on the way.

    Args:
        recipe: its file.
        written: all files that were written.
        settings: the recipe.
        form: how the table was read, in words.
        left_aside: columns of the table without a meaning here.
        num_rows: lines of the table.
        num_images: photos in the folder.
        without_row: photos that the table does not name.
        without_image: names in the table without a photo; with their lines.
        found_by_end: names in the table that are no path in the folder, with the photo that each was taken for.
        without_caption: photos that were left out because nothing is said of them.
        splits: images of every split.
        levels: labels of every level, coarse → fine; none for captions.
        inspection: what `debug_data` says of the lists.
    """

    recipe: Path
    written: tuple[Path, ...]
    settings: Recipe
    form: str
    left_aside: tuple[str, ...]
    num_rows: int
    num_images: int
    without_row: tuple[str, ...]
    without_image: tuple[str, ...]
    found_by_end: tuple[str, ...]
    without_caption: tuple[str, ...]
    splits: dict[str, int]
    levels: dict[str, int]
    inspection: Inspection

    def to_json(self) -> dict[str, Any]:
        """Everything but the settings, ready for JSON."""
        values = self._asdict()
        del values["settings"]
        paths = {"recipe": str(self.recipe), "written": [str(path) for path in self.written]}
        return {**values, **paths, "inspection": self.inspection.to_json()}


def init_recipe(
    folder: str | Path,
    *,
    images: str | Path,
    labels: str | Path,
    hierarchy: str | Path | None = None,
    method: str | None = None,
) -> StartedRecipe:
    """Look at photos and at a table of their labels or captions, and write a recipe that trains at once.

    The table is read as it is if the data set `folder` can do so; else the folder gets a `labels.csv` that says the
    same. Without a hierarchy it gets a `tree.yaml` to sort the labels in.

    Args:
        folder: a new folder for `recipe.yaml` and what else is written.
        images: folder of the photos.
        labels: the table.
        hierarchy: YAML tree of label names; its leaves are the labels.
        method: its name; one that needs no further files. Default the one that fits.

    Raises:
        InputError: when the folder is there, or the method cannot be trained on this.
        DataError: when the table is unclear or does not fit the photos: what, and what to do.

    Examples:
        >>> started = hlcli.init_recipe("pets", images="photos", labels="photos/labels.csv")
        >>> print(started.recipe, started.num_images)
        pets/recipe.yaml 8
    """
    folder, images, labels = Path(os.path.normpath(folder)), Path(images), Path(labels)
    hierarchy = None if hierarchy is None else Path(hierarchy)
    _check_places(folder, images, labels, hierarchy)
    names = ImageNames(images, find_images([images]))
    rows = merge_rows(table := read_own_table(labels, names.find))
    shares = _shares(len(rows))
    kept = fill_splits(str(labels), _usable(table, rows, images), shares)
    space = _label_space(table, kept, hierarchy)
    kept = spell_labels(table, kept, space)
    facts = _facts(folder, images, labels, hierarchy, table, kept, shares, space)
    chosen = choose_method(facts, method)
    with whole_folder(folder) as building:
        if not is_ours(table, kept):
            write_label_file(building / "labels.csv", table, kept)
            facts = facts._replace(labels=folder / "labels.csv")
        if space.has_labels and hierarchy is None:
            with whole_file(building / "tree.yaml") as file:
                file.write(_TREE + write_yaml({"everything": list(space.label_names)}))
        settings, inspection = _write_recipe(building, facts, chosen)
        written = tuple(folder / path.name for path in sorted(building.iterdir()))
    listed = {row.file for row in rows}
    return StartedRecipe(
        folder / "recipe.yaml", written, settings, table.form, table.left_aside, len(table.rows), len(names.names),
        without_row=tuple(name for name in names.names if name not in listed),
        without_image=tuple(f"{row.image} (line {row.line})" for row in rows if row.file is None),
        found_by_end=found_by_end(rows),
        without_caption=tuple(row.image for row in rows if not (table.has_labels or row.captions)),
        splits=count_splits(kept),
        levels={level.name: len(level) for level in space.levels},
        inspection=inspection,
    )  # fmt: skip


def _usable(table: OwnTable, rows: Sequence[OwnRow], images: Path) -> list[OwnRow]:
    """The rows whose image is there and of which anything is said.

    Raises:
        DataError: when there is none.
    """
    there = [row for row in rows if row.file is not None]
    if not there:
        raise DataError(
            f"{table.path}: none of its {len(rows):,} images is in {images}, as {rows[0].image}.",
            "Give the folder that holds the images with --images.",
        )
    spoken = [row for row in there if table.has_labels or row.captions]
    if not spoken:
        raise DataError(f"{table.path}: no image has a caption.")
    return spoken


def _write_recipe(building: Path, facts: Facts, method: str) -> tuple[Recipe, Inspection]:
    """Write the recipe, once its data could be read; what it says, and what `debug_data` says of its lists."""
    text = write_recipe(facts, method)
    settings = Recipe.from_dict(parse_yaml(text.encode(), "recipe.yaml"))
    labels = building / "labels.csv"
    data = settings.data.model_copy(update={"labels": labels}) if labels.is_file() else settings.data
    inspection = debug_data(settings.model_copy(update={"data": data}), images=False)
    with whole_file(building / "recipe.yaml") as file:
        file.write(text)
    return settings, inspection


def _shares(num_images: int) -> dict[str, float]:
    """Shares of the splits that are drawn: of few images none are spared for a test."""
    if num_images < _FEW_TO_SPLIT:
        return {"train": 0.8, "val": 0.2}
    return {"train": 0.8, "val": 0.1, "test": 0.1}


def _check_places(folder: Path, images: Path, labels: Path, hierarchy: Path | None) -> None:
    """Refuse a folder that is there or means something else, and paths that a recipe cannot hold.

    Raises:
        InputError: naming it.
    """
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists.", "Choose another name: nothing is overwritten.")
    if str(folder) in list_recipes() or data_set_name(str(folder)):
        raise InputError(f"{folder} is the name of a recipe or a data set that hlcli has.", "Choose another one.")
    if not images.is_dir():
        raise InputError(f"{images} is not a folder of images.")
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in str(folder)):
        raise InputError(f"{str(folder)!r} holds a line break or another control character.", "Choose another name.")
    for path in filter(None, (folder, images, labels, hierarchy)):
        if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
            raise InputError(f"{str(path)!r} is no UTF-8 text; a recipe cannot name it.", "Rename it.")


def _label_space(table: OwnTable, rows: Sequence[OwnRow], hierarchy: Path | None) -> LabelSpace:
    """The labels as the data set will have them.

    Raises:
        DataError: when there is none, or a hierarchy for captions.
    """
    if hierarchy is not None:
        if not table.has_labels:
            raise DataError(f"{table.path} has captions alone; a hierarchy is for labels.", "Leave --hierarchy out.")
        return read_hierarchy(hierarchy)
    if not table.has_labels:
        return LabelSpace.empty()
    names = sorted({label for row in rows for label in row.labels})
    if not names:
        raise DataError(f"{table.path}: no image has a label.")
    try:
        return LabelSpace.flat(names)
    except DataError as error:
        raise DataError(f"{table.path}: {error.message}", error.hint) from error


def _facts(
    folder: Path,
    images: Path,
    labels: Path,
    hierarchy: Path | None,
    table: OwnTable,
    rows: Sequence[OwnRow],
    shares: Mapping[str, float],
    space: LabelSpace,
) -> Facts:
    return Facts(
        name=str(folder),
        images=images,
        labels=labels,
        hierarchy=hierarchy,
        val_fraction=shares["val"],
        test_fraction=shares.get("test", 0.0),
        has_labels=table.has_labels,
        num_levels=len(space.levels),
        num_train=count_splits(rows)["train"],
        num_captions=sum(len(row.captions) for row in rows),
        image_side=_usual_side(images, [row.file for row in rows if row.file is not None]),
    )


def _usual_side(folder: Path, names: Sequence[str]) -> int:
    """The median of the shorter sides of some photos, in pixels; those that cannot be read are passed over."""
    sides = []
    for name in names[:: -(-len(names) // _LOOKED_AT)]:
        with suppress(DataError):  # `debug_data` tells of it
            size, _ = stored_form(folder / name)
            sides.append(min(size))
    return int(median(sides)) if sides else 224
