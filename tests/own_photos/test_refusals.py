"""What `init` refuses speaks of the person's own files, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run
from PIL import Image

import hlcli
from hlcli.errors import DataError, InputError


@pytest.fixture(autouse=True)
def here(work_folder: Path) -> None:
    """Photos of two labels, in a folder for each, and their table; all paths are relative to it."""
    for name in ("dog/001.jpg", "dog/002.jpg", "cat/101.jpg", "cat/102.jpg"):
        path = Path("photos") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(path)
    rows = "dog/001.jpg,dog\ndog/002.jpg,dog\ncat/101.jpg,cat\ncat/102.jpg,cat\ncat/001.jpg,cat\n"
    Path("labels.csv").write_text("image,label\n" + rows, encoding="utf-8")


def start(folder: str = "mine", **options: str) -> hlcli.StartedRecipe:
    return hlcli.init_recipe(folder, **{"images": "photos", "labels": "labels.csv", **options})


def test_an_absent_photo_gives_its_labels_to_no_other():
    assert start().without_image == ("cat/001.jpg (line 6)",)
    assert "dog/001.jpg,dog," in Path("mine/labels.csv").read_text(encoding="utf-8")


def test_names_that_were_found_by_their_end_are_shown():
    Path("labels.csv").write_text("image,label\n001,dog\nx/002.jpg,dog\ncat/101.jpg,cat\n", encoding="utf-8")
    shown = run("init", "mine", "--images", "photos", "--labels", "labels.csv").stdout
    assert "2 (001 → dog/001.jpg, x/002.jpg → dog/002.jpg)" in " ".join(shown.replace("│", " ").split())


def test_photos_of_another_folder_do_not_pass_for_those_of_the_same_name():
    Path("labels.csv").write_text("image,label\ntrain/001.jpg,dog\nval/001.jpg,cat\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train/001\.jpg in line 2 and val/001\.jpg in line 3 both mean 001\.jpg"):
        start(images="photos/dog")


def test_a_label_that_the_hierarchy_lacks_is_named_with_the_table_and_its_line():
    Path("tree.yaml").write_text("animals: [dog, ca]\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^labels.csv: 1 label is not .*: cat \(line 4\)\. Did you mean ca\?"):
        start(hierarchy="tree.yaml")
    assert not Path("mine").exists()


def test_a_hierarchy_of_another_unicode_form_has_the_same_labels():
    Path("labels.csv").write_text("image,label\n001.jpg,a\u0308\n002.jpg,b\n101.jpg,b\n", encoding="utf-8")
    for form in ("a\u0308", "\u00e4"):
        Path("tree.yaml").write_text(f"animals: [{form}, b]\n", encoding="utf-8")
        started = start(f"mine{len(form)}", hierarchy="tree.yaml")
        assert set(started.inspection.positives) == {form, "b"}


def test_folders_are_taken_as_they_are_meant_or_refused():
    assert start("out/x/..").recipe == Path("out/recipe.yaml")
    assert sorted(path.name for path in Path("out").iterdir()) == ["labels.csv", "recipe.yaml", "tree.yaml"]
    for folder in ("a\nb", "a\u2028b", "a\x07"):
        with pytest.raises(InputError, match="holds a line break or another control character"):
            start(folder)
        assert not Path(folder).exists()
