"""Tables in the forms that people have: what is in them is what comes out, or they are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hlcli.errors import DataError
from hlcli.own_photos.image_names import ImageNames
from hlcli.own_photos.label_file import found_by_end, merge_rows
from hlcli.own_photos.tables import OwnTable, read_own_table

NAMES = ("a.jpg", "b.jpg", "c, d.jpg", "below/e.jpg")


@pytest.fixture
def names(tmp_path: Path) -> ImageNames:
    folder = tmp_path / "photos"
    return ImageNames(folder, [folder / name for name in NAMES])


def read(tmp_path: Path, names: ImageNames, text: str) -> OwnTable:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_own_table(path, names.find)


def labels_of(table: OwnTable) -> Mapping[str | None, tuple[str, ...]]:
    return {row.file: row.labels for row in merge_rows(table)}


TWO = {"a.jpg": ("dog", "red cat"), "b.jpg": ("dog",)}


@pytest.mark.parametrize(
    "text",
    [
        "image,labels\na.jpg,dog;red cat\nb.jpg,dog\n",
        "\ufeffFile Name,Tags\r\na.jpg,dog|red cat\r\nb.jpg,dog\r\n",
        'filename,label\na.jpg,"dog, red cat"\nb.jpg,dog\n',
        'image,labels\na.jpg,"dog,red cat"\nb.jpg,dog\n',
        'path;labels\nphotos/a.jpg;dog,red cat\n"/home/me/photos/b.jpg";dog\n',
        "file\tkeywords\na.jpg\tdog;red cat\nb.jpg\tdog\n",
        "image|label\na.jpg|dog\nb.jpg|dog\na.jpg|red cat\n",
        "image,label\na,dog\na,red cat\nB.JPG,dog\n",
        ",image,class_name,width\n0,a.jpg,dog,64\n1,a.jpg,red cat,64\n2,b.jpg,dog,64\n",
        "image,dog,red cat\na.jpg,1,1\nb.jpg,1,0\n",
        "id,dog,red cat,source\na,1.0,1.0,web\nb,1.0,0.0,web\n",
        "image;dog;red cat\na.jpg;x;x\nb.jpg;x;\n",
        "image,dog,red cat\na.jpg,True,true\nb.jpg,True,False\n",
        "image,dog,red cat\na.jpg,Y,1\nb.jpg,t,n\n",
        "sep=;\nimage;labels\na.jpg;dog,red cat\nb.jpg;dog\n",
        "image,labels\na.jpg,\"['dog', 'red cat']\"\nb.jpg,\"['dog']\"\n",
    ],
)
def test_tables_that_say_the_same_are_read_the_same(tmp_path: Path, names: ImageNames, text: str):
    table = read(tmp_path, names, text)
    assert labels_of(table) == TWO
    assert (table.has_labels, table.has_captions) == (True, False)


@pytest.mark.parametrize(
    ("text", "aside"),
    [
        ("id,filename,tags,url\n7,a.jpg,dog,http://x\n8,b.jpg,dog,http://y\n", ("id", "url")),
        (",image,dog,source\n0,a.jpg,1,web\n1,b.jpg,0,web\n", ("(without name)", "source")),
    ],
)
def test_columns_without_a_meaning_are_named(tmp_path: Path, names: ImageNames, text: str, aside: tuple[str, ...]):
    table = read(tmp_path, names, text)
    assert table.left_aside == aside
    assert [row.file for row in table.rows] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "image,captions\na.jpg,A dog; two cats, red. | Another.\nb.jpg,One.\n",
        'image,caption\na.jpg,"A dog; two cats, red."\na.jpg,Another.\nb.jpg,One.\n',
        "image_name| comment_number| comment\na.jpg| 0| A dog; two cats, red.\na.jpg| 1| Another.\nb.jpg| 0| One.\n",
    ],
)
def test_captions_in_one_row_or_in_several(tmp_path: Path, names: ImageNames, text: str):
    if "captions" in text:
        text = text.replace("A dog; two cats, red. | Another.", '"A dog; two cats, red. | Another."')
    table = read(tmp_path, names, text)
    assert {row.file: row.captions for row in merge_rows(table)} == {
        "a.jpg": ("A dog; two cats, red.", "Another."),
        "b.jpg": ("One.",),
    }
    assert (table.has_labels, table.has_captions) == (False, True)


def test_splits_go_by_several_names_and_captions_stand_beside_labels(tmp_path: Path, names: ImageNames):
    text = "image,labels,subset,caption\na.jpg,dog,Training,A dog.\nb.jpg,cat,valid,\nbelow/e.jpg,,TEST,No animal.\n"
    table = read(tmp_path, names, text)
    assert [(row.labels, row.split, row.captions) for row in table.rows] == [
        (("dog",), "train", ("A dog.",)), (("cat",), "val", ()), ((), "test", ("No animal.",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a.jpg,dog\nb.jpg,cat\n", "names no column of image names"),
        ("image\na.jpg\n", "names no column of image names"),
        ("image,labels|file\na.jpg,x|y\n", "can be cut in several ways"),
        ("image,labels\n", "lists no image"),
        ("image,labels\na.jpg,dog\nb.jpg,dog,cat\n", r"1 line has not 2 columns as the first, such as line 3"),
        ("image,labels,tags\na.jpg,dog,cat\n", "several columns can be the labels: labels, tags"),
        ("image,colour\na.jpg,red\n", r"no column of labels that is known here \(its columns: image, colour\)"),
        ('image,tags\na.jpg,dog|cat\nb.jpg,"New York, NY"\n', r"hold '\|' and ','"),
        ("image,dog,cat\na.jpg,1,0\nb.jpg,0,-1\n", "holds other numbers: cat"),
        ("image,dog,cat\na.jpg,1,0\nb.jpg,0,0.5\n", "holds other numbers: cat"),
        ("image,dog,cat\na.jpg,1,0\nb.jpg,0,NA\n", "column cat has NA beside 0"),
        ("image,dog,cat\na.jpg,1,0\nb.jpg,,1\ne.jpg,0,1\n", "column dog has empty cells beside 0 and 1"),
        ("ImageID,LabelName,Confidence\na,dog,1\nb,dog,0\n", "column Confidence has 0, 1 beside the labels"),
        ("image,labels,split\na.jpg,dog,somewhere\n", "line 2: split must be train, val or test"),
        ("image,labels\na.jpg,\"['dog', open('x')]\"\n", "is not a list of names"),
        ("image,labels\na.jpg,\"[{'dog': 1}]\"\n", "is not a list of names"),
        ("image,labels\na.jpg,\"['dog'\"\nb.jpg,x\n", None),
        ('image,labels\n"a.jpg,x\n', "not a CSV file"),
    ],
)
def test_what_is_unclear_is_refused_with_what_to_do(tmp_path: Path, names: ImageNames, text: str, message: str | None):
    if message is None:  # only lists are read as lists
        assert read(tmp_path, names, text).rows[0].labels == ("['dog'",)
        return
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, names, text)
    assert "table.csv" in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,labels\na.jpg,dog;cat\na.jpg,dog\n", "a.jpg is listed in line 2 and in line 3, with other labels"),
        ("image,dog,cat\na.jpg,0,1\na.jpg,1,0\n", "with other labels"),
        (
            "image,label\na.jpg,dog\nb.jpg,cat\nphotos/a.jpg,cat\n",
            "in line 2 and photos/a.jpg in line 4 both mean a.jpg",
        ),
        ("image,label\na.jpg,dog\nA.jpg,cat\n", "a.jpg in line 2 and A.jpg in line 3 both mean a.jpg"),
        ("image,label,split\na.jpg,dog,train\na.jpg,cat,val\n", "with other splits"),
    ],
)
def test_rows_of_an_image_that_contradict_each_other_are_refused(
    tmp_path: Path, names: ImageNames, text: str, message: str
):
    with pytest.raises(DataError, match=message):
        merge_rows(read(tmp_path, names, text))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a.jpg", "a.jpg"), ("./a.jpg", "a.jpg"), ("photos/below/e.jpg", "below/e.jpg"), ("e.jpg", "below/e.jpg"),
        ("photos\\below\\e.jpg", "below/e.jpg"), ("E", "below/e.jpg"), ("below/e", "below/e.jpg"),
        ("c, d", "c, d.jpg"), ("f.jpg", None), ("", None), ("below/a.jpg", None), ("x/below/a.jpg", None),
        ("a.jpeg", "a.jpg"), ("x/below/e.PNG", "below/e.jpg"), ("a.txt", None), ("a.b", None), ("a\u0308.jpg", None),
    ],
)  # fmt: skip
def test_names_of_images(names: ImageNames, written: str, meant: str | None):
    assert names.find(written) == meant


def test_a_name_that_means_several_images_is_refused(tmp_path: Path):
    files = [tmp_path / name for name in ("one/a.jpg", "two/a.jpg", "b.jpg", "b.png")]
    names = ImageNames(tmp_path, files)
    assert (names.find("two/a.jpg"), names.find("b.png")) == ("two/a.jpg", "b.png")
    for written in ("a.jpg", "b"):
        with pytest.raises(DataError, match="can mean several images"):
            names.find(written)


def test_only_files_inside_the_folder_are_meant(tmp_path: Path):
    for name in ("photos/odd.raw", "secret.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ImageNames(tmp_path / "photos", [])
    assert names.find("odd.raw") == "odd.raw"
    assert [names.find(written) for written in (str(tmp_path / "secret.raw"), "../secret.raw")] == [None, None]


def test_forms_of_unicode_make_no_difference(tmp_path: Path):
    names = ImageNames(tmp_path, [tmp_path / "\u00e4.jpg", tmp_path / "o\u0308.jpg"])
    table = read(tmp_path, names, "image,labels\na\u0308.jpg,\u00fc\n\u00f6.jpg,u\u0308\n")
    assert labels_of(table) == {"\u00e4.jpg": ("\u00fc",), "o\u0308.jpg": ("\u00fc",)}
    assert found_by_end(merge_rows(table)) == ()


def test_columns_of_labels_count_beside_texts(tmp_path: Path, names: ImageNames):
    table = read(tmp_path, names, "image,comment,dog,cat\na.jpg,A dog.,1,0\nb.jpg,No dog.,0,1\n")
    assert (table.has_labels, table.has_captions, table.left_aside) == (True, True, ())
    assert labels_of(table) == {"a.jpg": ("dog",), "b.jpg": ("cat",)}


def test_names_found_by_their_end_are_told(tmp_path: Path, names: ImageNames):
    table = read(tmp_path, names, "image,labels\n./a.jpg,dog\nx/b.jpg,dog\nbelow\\e.jpg,dog\ngone.jpg,dog\n")
    assert found_by_end(merge_rows(table)) == ("x/b.jpg → b.jpg",)
