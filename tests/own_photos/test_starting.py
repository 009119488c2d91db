"""From photos and a table to a recipe: what is chosen, what is written, what is said."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from command_line import failed, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import hlcli
from hlcli.errors import DataError, InputError
from hlcli.methods.base import MethodSection
from hlcli.own_photos.drawing_splits import draw_splits, fill_splits
from hlcli.own_photos.recipe_text import Facts, choose_method, write_recipe
from hlcli.own_photos.tables import OwnRow
from hlcli.recipe_reading.text import parse_yaml


def photos(count: int, size: tuple[int, int] = (120, 90)) -> list[str]:
    """A folder `photos` here, of so many plain photos; their names."""
    Path("photos").mkdir()
    names = [f"{number:02}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        Image.new("RGB", size, (10 * number % 256, 99, 200)).save(Path("photos") / name)
    return names


def write(text: str, name: str = "labels.csv") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def start(labels: str = "labels.csv", **options: str) -> hlcli.StartedRecipe:
    return hlcli.init_recipe("mine", images="photos", labels=labels, **options)


@pytest.fixture(autouse=True)
def here(work_folder: Path) -> None:
    """All paths are relative to an empty folder."""


def test_a_label_file_of_ours_is_used_as_it_is():
    names = photos(4)
    text = "image,labels,split\n" + "".join(f"{name},x;y,{'val' if name > '02' else 'train'}\n" for name in names)
    started = start(write(text))
    assert [path.name for path in started.written] == ["recipe.yaml", "tree.yaml"]
    assert started.settings.data.labels == Path("labels.csv")  # type: ignore[attr-defined]
    assert started.splits == {"train": 2, "val": 2}


def test_another_file_is_written_anew_beside_the_recipe_and_stays_itself():
    names = photos(10)
    write(text := "file|tags\n" + "".join(f"{name}|dog, cat\n" for name in [*names[:9], "gone.jpg"]))
    started = start()
    assert Path("labels.csv").read_text(encoding="utf-8") == text
    with open("mine/labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["labels"]) for row in rows] == [(name, "dog;cat") for name in names[:9]]
    assert Counter(row["split"] for row in rows) == started.splits == {"train": 7, "val": 2}
    assert (started.num_rows, started.num_images) == (10, 10)
    assert (started.without_row, started.without_image) == (("09.jpg",), ("gone.jpg (line 11)",))
    assert started.inspection.positives == {"cat": {"train": 7, "val": 2}, "dog": {"train": 7, "val": 2}}


def test_the_recipe_is_what_is_read_again_and_its_folder_stands_for_it():
    names = photos(8)
    started = start(write("image,labels\n" + "".join(f"{name},x\n" for name in names)))
    assert hlcli.Recipe.from_yaml("mine") == hlcli.Recipe.from_yaml("mine/recipe.yaml") == started.settings
    assert started.settings.data.image_size == 64
    found = hlcli.debug_data(hlcli.Recipe.from_yaml("mine"), images=False)
    assert found == started.inspection


def test_a_hierarchy_leads_to_a_method_that_learns_its_levels():
    names = photos(8)
    write("animals: [dog, cat]\nthings: [saw]\n", "groups.yaml")
    write("image,labels\n" + "".join(f"{name},{'dog;saw' if i % 2 else 'cat'}\n" for i, name in enumerate(names)))
    started = start(hierarchy="groups.yaml")
    assert (started.levels, started.settings.model.name) == ({"coarse": 2, "fine": 3}, "hleg")
    assert "mine/tree.yaml" not in map(str, started.written)
    write("animals: [dgo, cat]\nthings: [saw]\n", "groups.yaml")
    with pytest.raises(InputError, match="not in the label space: dog"):
        hlcli.init_recipe("other", images="photos", labels="labels.csv", hierarchy="groups.yaml")
    assert not Path("other").exists()


def test_the_tree_to_sort_labels_in_is_a_hierarchy_of_all_labels():
    names = photos(8)
    write("image,labels\n" + "".join(f"{name},{'a: b' if i % 2 else 'no'}\n" for i, name in enumerate(names)))
    start()
    started = hlcli.init_recipe("levels", images="photos", labels="labels.csv", hierarchy="mine/tree.yaml")
    assert started.levels == {"coarse": 1, "fine": 2}


def test_captions_alone_lead_to_a_captioner():
    names = photos(8, (300, 260))
    rows = "".join(f'{name},"A {word} box, seen."\n' for name in names[1:] for word in ("red", "big"))
    write(f"image,caption\n00.jpg,\n{rows}")
    started = start()
    assert (started.settings.model.task, started.levels, started.splits) == ("captions", {}, {"train": 6, "val": 1})
    assert started.without_caption == ("00.jpg",)
    assert sum(counts.captions for counts in started.inspection.splits) == 14
    with pytest.raises(InputError, match="learns labels, and the table has captions alone"):
        hlcli.init_recipe("other", images="photos", labels="labels.csv", method="linear")
    with pytest.raises(InputError, match="a hierarchy is for labels"):
        hlcli.init_recipe("other", images="photos", labels="labels.csv", hierarchy="labels.csv")


def test_a_table_of_train_and_test_alone_gives_some_of_train_to_val():
    names = photos(12)
    write("image,label,split\n" + "".join(f"{name},x,{'test' if name >= '10' else 'train'}\n" for name in names))
    assert start().splits == {"train": 8, "val": 2, "test": 2}
    with open("mine/labels.csv", encoding="utf-8", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file) if row["split"] == "test"] == ["10.jpg", "11.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,labels\nno.jpg,x\nnone.jpg,x\n", "none of its 2 images is in photos"),
        ("image,labels\n00.jpg,\n01.jpg,\n", "no image has a label"),
        ("image,labels\n00.jpg,x\n", "too few to train and to measure"),
        ("image,labels,split\n00.jpg,x,val\n01.jpg,x,test\n", "no image belongs to train"),
        ('image;labels\n00.jpg;"[""x;y""]"\n01.jpg;"[""x""]"\n', "1 time a label holds ';'"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_and_leaves_nothing(text: str, message: str):
    photos(2)
    with pytest.raises(DataError, match=message):
        start(write(text))
    assert not Path("mine").exists()


def test_commands_refuse_in_words_and_overwrite_nothing():
    names = photos(8)
    write("image,labels\n" + "".join(f"{name},x\n" for name in names))
    words = ["init", "mine", "--images", "photos", "--labels", "labels.csv"]
    failed(run(*words, "--method", "zero_shot"), f"one of {', '.join(OWN)} was")
    failed(run(*words, "--method", "hin"), "the table has none")
    failed(run("init", "coco", "--images", "photos", "--labels", "labels.csv"), "the name of a recipe or a data set")
    failed(run("init", "mine", "--images", "nowhere", "--labels", "labels.csv"), "nowhere is not a folder of images")
    failed(run("init", "mine", "--images", "photos", "--labels", "none.csv"), "none.csv does not exist")
    assert not Path("mine").exists()
    done = run(*words)
    assert done.exit_code == 0, done.output
    before = Path("mine/recipe.yaml").read_bytes()
    failed(run(*words), "mine exists")
    assert Path("mine/recipe.yaml").read_bytes() == before


def test_what_was_found_is_shown_in_a_table_or_as_json():
    names = photos(8)
    rows = "".join(f"{name},{'rare' if name == '00.jpg' else 'often'},y\n" for name in names[1:])
    write("file,tag,author\n00.jpg,rare,z\ngone.jpg,often,z\n" + rows)
    words = ["--images", "photos", "--labels", "labels.csv"]
    shown = run("init", "mine", *words).stdout
    for text in ("gone.jpg (line 3)", "left out", "author", "train 7, val 1", "rare (1)", "wrote mine/recipe.yaml"):
        assert text in " ".join(shown.replace("│", " ").split()), shown
    document = json.loads(run("init", "other", *words, "--json").stdout)
    assert (document["num_images"], document["splits"]) == (8, {"train": 7, "val": 1})
    assert document["without_image"] == ["gone.jpg (line 3)"]
    assert document["written"] == ["other/labels.csv", "other/recipe.yaml", "other/tree.yaml"]


def facts(**changes: object) -> Facts:
    known = Facts("mine", Path("photos"), Path("labels.csv"), None, 0.1, 0.1, True, 1, 5000, 5000, 500)
    return known._replace(**changes)  # type: ignore[arg-type]


METHODS: Mapping[str, type[MethodSection]] = hlcli.section_classes("model")  # type: ignore[assignment]
OWN = [name for name, method in METHODS.items() if method.own_photos is not None]
"""Of all methods those that say how they learn a person's own photos."""


def test_methods_that_need_more_than_photos_are_refused_and_the_guide_names_the_others():
    assert len(OWN) >= 6
    for name in METHODS.keys() - OWN:
        with pytest.raises(InputError, match=f"^method: one of {', '.join(OWN)} was expected"):
            choose_method(facts(), name)
    *most, last = (f"`{name}`" for name in OWN)
    page = (Path(__file__).parents[2] / "docs" / "own_photos.md").read_text(encoding="utf-8")
    assert f"`--method` takes another method: {', '.join(most)} or {last}." in page


@pytest.mark.parametrize("method", OWN)
@pytest.mark.parametrize("num_train", [2, 60, 3000, 200_000])
def test_every_method_gets_a_recipe_that_is_valid_for_any_number_of_photos(method: str, num_train: int):
    text = write_recipe(facts(num_train=num_train), choose_method(facts(), method))
    recipe = hlcli.Recipe.from_dict(parse_yaml(text.encode(), "recipe.yaml"))
    assert recipe.model.name == method
    own = METHODS[method].own_photos
    assert own is not None
    assert {"lr": recipe.optim.lr, **own.settings} == {  # type: ignore[union-attr]
        "lr": own.lr, **{key: getattr(recipe.model, key) for key in own.settings}
    }  # fmt: skip
    assert recipe.train.batch_size <= num_train
    assert max(len(line) for line in text.splitlines()) <= 120


def test_odd_names_survive_the_recipe():
    names = {"images": Path("my: photos #1"), "labels": Path("'l,\t.csv"), "hierarchy": Path("yes")}
    recipe = hlcli.Recipe.from_dict(parse_yaml(write_recipe(facts(**names), "linear").encode(), "recipe.yaml"))
    assert {key: getattr(recipe.data, key) for key in names} == names


def rows_of(label_lists: list[list[int]]) -> list[OwnRow]:
    return [OwnRow(2 + i, f"{i}", f"{i}.jpg", tuple(map(str, one)), (), "") for i, one in enumerate(label_lists)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 6), max_size=3, unique=True), min_size=3, max_size=60))
def test_drawn_splits_depend_on_names_alone_and_leave_none_empty(label_lists: list[list[int]]):
    rows, shares = rows_of(label_lists), {"train": 0.7, "val": 0.2, "test": 0.1}
    drawn = draw_splits(rows, shares)
    assert {row.split for row in drawn} == set(shares)
    assert [row._replace(split="") for row in drawn] == rows
    backwards = draw_splits(rows[::-1], shares)[::-1]
    assert backwards == drawn


def test_drawn_splits_share_out_every_label():
    lists = [[i % 2, 2 + i % 5] for i in range(100)]
    drawn = draw_splits(rows_of(lists), {"train": 0.8, "val": 0.2})
    for label in range(7):
        have = [row.split for row in drawn if str(label) in row.labels]
        assert have.count("val") == pytest.approx(len(have) / 5, abs=1), label


def test_given_splits_stay_and_gaps_are_filled():
    rows = [
        row._replace(split=split) for row, split in zip(rows_of([[0]] * 4), ("val", "", "train", "test"), strict=True)
    ]
    assert [row.split for row in fill_splits("x", rows, {"train": 0.8, "val": 0.2})] == [
        "val",
        "train",
        "train",
        "test",
    ]
