from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from cub_files import IMAGES, attribute_rows, write_cub

from hlcli.data.datasets import cub, cub_labels, published_lists
from hlcli.data.datasets.cub import Cub
from hlcli.data.datasets.cub_labels import ATTRIBUTES, LABEL_NAMES, OFFICIAL_PARENTS, PARENTS
from hlcli.data.datasets.published_lists import ListOptions, PublishedList
from hlcli.data.export import write_exports
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_label_space, open_records
from hlcli.data.transfers.archives import unpack
from hlcli.errors import DataError, RecipeError
from hlcli.recipe import Recipe

ALBATROSS = "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg"
LAYSAN = "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cub(tmp_path / "cub")


def prepare(folder: Path, **options):
    return Cub(root=folder).prepare(folder, ListOptions(**{"allow_partial": True} | options))


def labels_file(folder: Path) -> Path:
    return folder / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"


def test_labels_are_named_and_ordered_as_in_hspnet():
    """The sum is that of HSPNet's own list of names, joined by newlines."""
    assert hashlib.sha256("\n".join(LABEL_NAMES).encode()).hexdigest() == (
        "869fda313028ccf0fc41b0483f6244afac69cdc058a361d034553bbde5cd2dbc"
    )
    assert len(LABEL_NAMES) == len(set(LABEL_NAMES)) == len(ATTRIBUTES) == 312
    assert [LABEL_NAMES[label] for label in (0, 4, 73, 79, 149, 167, 212, 219, 222, 311)] == [
        "curved bill", "hooked_seabird bill", "forked_tail tail", "blue upper", "about_the_same_as_head bill",
        "blue under", "rounded-wings wing", "very_large size", "upright-perching-water-like shape",
        "multi-colored wing",
    ]  # fmt: skip
    assert [ATTRIBUTES[label] for label in (0, 79, 219, 222)] == [
        "has_bill_shape::curved_(up_or_down)", "has_upper_tail_color::blue", "has_size::very_large_(32_-_72_in)",
        "has_shape::upright-perching_water-like",
    ]  # fmt: skip


def test_parts_of_the_body_are_the_level_above_in_hspnets_order():
    labels = Cub(hierarchy=True).label_space()
    assert labels.level_sizes == (20, 312)
    coarse, fine = labels.levels
    assert [(name, len(PARENTS[name])) for name in coarse.label_names] == [
        ("throat", 15), ("breast", 19), ("crown", 15), ("head", 11), ("forehead", 15), ("primary", 15), ("back", 19),
        ("shape", 14), ("belly", 19), ("bill", 27), ("nape", 15), ("underparts", 15), ("upperparts", 15), ("wing", 24),
        ("under", 15), ("upper", 15), ("leg", 15), ("tail", 10), ("size", 5), ("eye", 14),
    ]  # fmt: skip
    assert [fine.parent_index.index(parent) for parent in range(20)] == [
        120, 54, 293, 94, 152, 248, 58, 222, 197, 0, 182, 39, 24, 9, 167, 79, 263, 73, 217, 135,
    ]  # fmt: skip
    parents = [coarse.label_names[parent] for parent in fine.parent_index]
    assert parents == [name.rpartition(" ")[2] for name in LABEL_NAMES]


def test_the_official_parents_are_another_level_above():
    labels = Cub(hierarchy="official").label_space()
    assert labels.level_sizes == (28, 312)
    coarse, fine = labels.levels
    assert coarse.label_names[:3] == ("bill shape", "wing color", "upperparts color")
    assert fine.label_names == LABEL_NAMES
    assert list(fine.parent_index) == sorted(fine.parent_index)
    assert [len(members) for members in OFFICIAL_PARENTS.values()] == [
        9, 15, 15, 15, 4, 15, 6, 15, 11, 15, 15, 14, 3, 15, 15, 15, 15, 5, 5, 14, 4, 4, 4, 15, 15, 15, 15, 4,
    ]  # fmt: skip
    assert Cub().label_space().level_sizes == (312,)


def test_recipes_choose_a_grouping_by_name():
    def read(value: object) -> Recipe:
        return Recipe.from_dict({"data": {"dataset": "cub", "hierarchy": value}, "model": {"method": "linear"}})

    for value in (True, False, "official"):
        recipe = read(value)
        assert recipe.data.hierarchy == value
        assert Recipe.from_dict(recipe.to_dict()).data == recipe.data
    with pytest.raises(RecipeError, match=r"data\.hierarchy: must be true or false, or must be official .got 'parts'"):
        read("parts")


def test_present_attributes_are_labels_however_certain(folder, caplog):
    prepared = prepare(folder)
    assert [(record.image_id, record.labels) for record in prepared.splits["train"]] == [
        (ALBATROSS, (4, 23, 212)), (LAYSAN, (9, 24)), (IMAGES[3][0], ()),
    ]  # fmt: skip
    assert [record.labels for record in prepared.splits["test"]] == [(0, 8, 311)]
    assert prepared.splits["train"][0].image == folder / "CUB_200_2011" / "images" / ALBATROSS
    assert prepared.notes["attributes_checked"] is True
    assert set(prepared.notes["sources"]) == {"images.txt", "train_test_split.txt", "image_attribute_labels.txt"}
    json.dumps(prepared.notes)
    assert caplog.text == ""


@pytest.mark.parametrize("place", [".", "CUB_200_2011", "CUB_200_2011/attributes", None])
def test_the_names_of_attributes_are_checked_wherever_they_lie(tmp_path, place, caplog):
    write_cub(tmp_path, attributes_at=place)
    assert prepare(tmp_path).notes["attributes_checked"] is (place is not None)
    assert ("attributes.txt is missing; the attributes are taken to be the official ones" in caplog.text) is (not place)
    if place is None:
        return
    path = tmp_path / place / "attributes.txt"
    whole = path.read_text()
    for wrong, message in (
        (whole.replace("::cone", "::round"), r"attribute 8 must be has_bill_shape::cone \(got has_bill_shape::round\)"),
        (whole.partition("312")[0], r"attribute 312 must be has_wing_pattern::multi-colored \(got None\)"),
        (whole + "313 has_hat::yes\n", "312 attributes were expected, got 313"),
    ):
        path.write_text(wrong)
        with pytest.raises(DataError, match=rf"attributes\.txt: {message}"):
            prepare(tmp_path)


def test_the_layout_may_begin_at_the_source(folder):
    assert prepare(folder / "CUB_200_2011").splits == prepare(folder).splits
    with pytest.raises(DataError, match=r"has no CUB_200_2011/images\.txt\..*hlcli download cub"):
        prepare(folder / "CUB_200_2011" / "attributes")


def test_files_are_compared_with_the_published_numbers(folder, monkeypatch, caplog):
    def refused(message: str) -> None:
        with pytest.raises(DataError, match=rf"{message}\..*--allow-partial"):
            prepare(folder, allow_partial=False)

    refused(r"train_test_split\.txt: 5,994 train images were expected, found 3")
    monkeypatch.setitem(cub_labels.COUNTS, "train", 3)
    refused(r"train_test_split\.txt: 5,794 test images were expected, found 1")
    monkeypatch.setitem(cub_labels.COUNTS, "test", 1)
    refused(r"image_attribute_labels\.txt: 3,677,856 rows were expected, found 1,248")
    monkeypatch.setattr(cub, "NUM_ROWS", 4 * 312)
    assert len(prepare(folder, allow_partial=False).splits["test"]) == 1
    assert "182,704 labels of test images were expected, found 3." in caplog.text


def test_the_published_numbers_agree_with_each_other():
    assert 312 * sum(cub_labels.COUNTS.values()) == cub_labels.NUM_ROWS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "has no row for attribute 312 of image 3"),
        (lambda rows: [*rows, "1 1 0 4 1.5"], "line 1249: image 1 has attribute 1 and has it not"),
        (lambda rows: [*rows[:4], "1 5", *rows[5:]], "line 5: an image, an attribute from 1 to 312 and 0 or 1"),
        (lambda rows: ["9 1 1 1 1", *rows], "line 1: an image, .* got '9 1 1 1 1'"),
        (lambda rows: ["1 0 1 1 1", *rows], "line 1: an image"),
        (lambda rows: ["1 313 1 1 1", *rows], "line 1: an image"),
        (lambda rows: ["1 1 2 1 1", *rows], "line 1: an image"),
        (lambda rows: [], "has no row for attribute 1 of image 1"),
    ],
)
def test_a_damaged_file_of_attributes_is_named(folder, change, message):
    labels_file(folder).write_text("\n".join(change(attribute_rows())))
    with pytest.raises(DataError, match=rf"image_attribute_labels\.txt.*{message}"):
        prepare(folder)


def test_files_that_are_missing_or_no_text_are_named(folder):
    labels_file(folder).write_bytes(b"1 1 \xff\n")
    with pytest.raises(DataError, match=r"image_attribute_labels\.txt cannot be read: .*incomplete"):
        prepare(folder)
    labels_file(folder).unlink()
    with pytest.raises(DataError, match=r"image_attribute_labels\.txt cannot be read: No such file.*incomplete"):
        prepare(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images.txt", "", "lists no image"),
        ("images.txt", "1 a.jpg\n1 b.jpg\n", "line 2: number 1 was there before"),
        ("images.txt", "1 a.jpg\n2 a.jpg\n", "a.jpg is both image 1 and image 2"),
        ("images.txt", "one a.jpg\n", "line 1: a number and a word were expected, got 'one a.jpg'"),
        ("images.txt", "1\n", "line 1: a number and a word"),
        ("images.txt", "1 ../../a.jpg\n", "image 1: a path below the folder of images was expected"),
        ("train_test_split.txt", "1 0\n2 1\n4 1\n", "must have 0 or 1 for image 3 .got None"),
        ("train_test_split.txt", "1 0\n2 1\n4 1\n3 2\n", "must have 0 or 1 for image 3 .got 2"),
    ],
)
def test_a_damaged_list_is_named(folder, name, content, message):
    (folder / "CUB_200_2011" / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        prepare(folder)


def test_missing_photos_are_refused_beyond_a_share(folder):
    (folder / "CUB_200_2011" / "images" / LAYSAN).unlink()
    with pytest.raises(DataError, match=r"1 of 3 train images are missing below .*CUB_200_2011/images: 002\.Laysan"):
        prepare(folder)
    prepared = prepare(folder, max_missing=0.34)
    assert [record.image_id for record in prepared.splits["train"]] == [ALBATROSS, IMAGES[3][0]]


def test_single_labels_come_from_hspnets_list(folder, tmp_path, monkeypatch):
    path = tmp_path / "cub_train.txt"
    path.write_text(f"{LAYSAN}, 24\n{ALBATROSS}, 212\n")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(published_lists.PUBLISHED, md5, PublishedList("HSPNet's list", 2, 2))
    prepared = prepare(folder, labels=path)
    assert [(record.image_id, record.labels) for record in prepared.splits["train"]] == [
        (ALBATROSS, (212,)), (LAYSAN, (24,)),
    ]  # fmt: skip
    assert prepared.splits["test"] == prepare(folder).splits["test"]
    assert prepared.notes["label_lists"]["train"] == {
        "file": "cub_train.txt", "published": "HSPNet's list", "images": 2, "labels": 2, "images_not_listed": 1,
        "listed_images_missing": 0, "images_with_other_labels": 0,
    }  # fmt: skip


def test_one_store_serves_all_groupings_and_its_export_reads_back(folder, tmp_path):
    data = Cub(root=tmp_path / "made")
    preprocess(data, source=folder, options={"allow_partial": True})
    for hierarchy, sizes in ((False, (312,)), (True, (20, 312)), ("official", (28, 312))):
        assert open_label_space(data.model_copy(update={"hierarchy": hierarchy})).level_sizes == sizes
    assert [record.labels for record in open_records(data, "test")] == [(0, 8, 311)]
    written = write_exports(data, "indices")
    assert written[0].read_text() == f"{ALBATROSS},4 23 212\n{LAYSAN},9 24\n{IMAGES[3][0]},\n"
    assert prepare(folder, labels=written[0]).splits == prepare(folder).splits


def test_the_archive_keeps_the_names_of_attributes_beside_its_folder(folder, tmp_path):
    archive, made = tmp_path / Cub().sources[0].name, tmp_path / "unpacked" / "cub"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("attributes.txt", "CUB_200_2011"):
            tar.add(folder / name, f"./{name}")
        extra = tarfile.TarInfo("./CUB_200_2011/README")
        tar.addfile(extra, io.BytesIO())
    unpack(archive, made, staging=tmp_path / "staging")
    assert prepare(made).notes["attributes_checked"] is True


def test_the_archive_is_the_published_one():
    (source,) = Cub().sources
    assert (source.size, source.checksum.algorithm) == (1_150_585_339, "md5")
    assert source.urls[0] == "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
    assert Cub().licence
