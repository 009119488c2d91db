"""Label files as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hlcli.data.datasets.folder import Folder, labelled_records, read_hierarchy, read_table
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Columns
from hlcli.data.store import open_label_space, open_records, split_names
from hlcli.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c, d.jpg", "below/é 漢.jpg"):
        Image.new("RGB", (8, 6)).save(folder / name)
    return folder


def label_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def section(photos: Path, labels: Path, **fields: object) -> Folder:
    return Folder(images=photos, labels=labels, **fields)  # type: ignore[arg-type]


def test_files_from_spreadsheets_are_read(tmp_path: Path, photos: Path):
    text = (
        "\ufeffImage , Labels ,SPLIT\r\n"
        "a.jpg, dog ; cat;;dog ,train\r\n"
        "\r\n"
        '"c, d.jpg","cat",train\r\n'
        " , ,\r\n"
        "below/é 漢.jpg,,train\r\n"
        "b.jpg,dog,val"
    )
    data = section(photos, label_file(tmp_path, text))
    assert open_label_space(data).label_names == ("cat", "dog")
    assert split_names(data) == ("train", "val")
    records = open_records(data, "train")
    assert [(r.image_id, r.labels) for r in records] == [
        ("a.jpg", (0, 1)), ("c, d.jpg", (0,)), ("below/é 漢.jpg", ()),
    ]  # fmt: skip
    assert records[2].image == photos / "below/é 漢.jpg"


def test_captions_are_cut_at_bars_and_may_span_lines(tmp_path: Path, photos: Path):
    text = 'image,labels,captions\na.jpg,x,"One, a dog. | Two\nlines.\u2028Still two. ||"\nb.jpg,x,\n'
    rows = read_table(label_file(tmp_path, text), 0, 0).rows
    assert rows[0].captions == ("One, a dog.", "Two\nlines.\u2028Still two.")
    assert rows[1].captions == ()
    assert [row.line for row in rows][1] == 4
    data = section(photos, tmp_path / "labels.csv", val_fraction=0)
    assert open_records(data, "train")[0].captions == rows[0].captions


def test_a_file_of_captions_needs_no_labels(tmp_path: Path, photos: Path):
    text = 'image,captions,split\na.jpg,"A dog. | Two, of them.",train\nb.jpg,One.,val\n'
    data = section(photos, label_file(tmp_path, text))
    assert not open_label_space(data).has_labels
    assert split_names(data) == ("train", "val")
    assert [(r.image_id, r.captions, r.labels) for r in open_records(data, "train")] == [
        ("a.jpg", ("A dog.", "Two, of them."), ())
    ]
    with pytest.raises(DataError, match="has no column `labels`"):
        labelled_records(photos, data.labels, LabelSpace.flat(["dog"]))
    with pytest.raises(DataError, match="no image has a label"):
        section(photos, label_file(tmp_path, "image,labels,captions\na.jpg,,A dog.\n")).label_space()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must name the columns"),
        ("a.jpg,dog\n", r"beginning with `image,labels` \(got 'a.jpg,dog'\)"),
        ("labels,image\n", "beginning with"),
        ("file,tags\na.jpg,x|y\n", "`hlcli init` reads other forms"),
        ("image,split,captions\n", "beginning with .*Without labels: `image,captions`"),
        ("image,captions\na.jpg,One.\nb.jpg, | \n", r"line 3: b.jpg has no caption"),
        ("image;labels\na.jpg;x\n", "beginning with"),
        ("image,labels,splits\n", "each once"),
        ("image,labels,split,split\n", "each once"),
        ("image,labels\n", "lists no image"),
        ("image,labels\n\n,\n", "lists no image"),
        ("image,labels\na.jpg,x\na.jpg,y\n", r"line 3: a.jpg was listed before, in line 2"),
        ("image,labels\na.jpg,x\n./a.jpg,y\n", r"line 3: ./a.jpg was listed before, in line 2"),
        ("image,labels\na.jpg,x,y\n", "line 2: 2 columns were expected, got 3"),
        ("image,labels\na.jpg\n", "line 2: 2 columns were expected, got 1"),
        ("image,labels\n,x\n", "line 2: the image has no name"),
        ("image,labels,split\na.jpg,x,Train\n", r"line 2: split must be train, val or test \(got 'Train'\)"),
        ('image,labels\n"a.jpg,x\n', "not a CSV file"),
        ('image,labels\n"a.jpg"z,x\n', "not a CSV file"),
        (b"image,labels\n\xff\xfe,x\n", "cannot be read as UTF-8"),
        (b"PK\x03\x04\x14\x00", "is a workbook, no text"),
        ("image,labels\n" + "x" * 200_000 + ",y\n", "not a CSV file"),
    ],
)
def test_wrong_files_are_explained(tmp_path: Path, text: str | bytes, message: str):
    path = label_file(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path, 0.1, 0.1)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_label_files_as_other_programs_write_them(tmp_path: Path, encoding: str):
    path = label_file(tmp_path, "image,labels\r\na.jpg,h\u00fcbsch\r\n".encode(encoding))
    assert [(row.image, row.labels) for row in read_table(path, 0, 0).rows] == [("a.jpg", ("h\u00fcbsch",))]


def test_excel_users_are_told_how_to_save(tmp_path: Path):
    with pytest.raises(DataError, match=r"cannot be read as UTF-8.*In Excel: Save As, CSV UTF-8"):
        read_table(label_file(tmp_path, "image,labels\na.jpg,h\u00fcbsch\n".encode("cp1252")), 0, 0)


def test_missing_label_file_and_folder(tmp_path: Path, photos: Path):
    with pytest.raises(DataError, match=r"data.labels: .*none.csv does not exist"):
        section(photos, tmp_path / "none.csv").split_names()
    with pytest.raises(DataError, match="is a folder; a CSV file was expected"):
        read_table(tmp_path, 0, 0)
    labels = label_file(tmp_path, "image,labels,split\na.jpg,x,train\n")
    with pytest.raises(DataError, match="is not a folder of images"):
        section(tmp_path / "nowhere", labels).records("train")


def test_missing_images_are_counted_with_their_lines(tmp_path: Path, photos: Path):
    names = [*(f"gone{number}.jpg" for number in range(6)), "x" * 300 + ".jpg"]
    text = "image,labels,split\na.jpg,x,train\n" + "".join(f"{name},x,train\n" for name in names)
    shown = r"7 of 8 images are not in .*: gone0.jpg \(line 3\), .*gone4.jpg \(line 7\) and 2 more\."
    with pytest.raises(DataError, match=shown):
        section(photos, label_file(tmp_path, text)).records("train")


def test_labels_without_any_name_are_refused(tmp_path: Path, photos: Path):
    labels = label_file(tmp_path, "image,labels,split\na.jpg,,train\n")
    with pytest.raises(DataError, match=r"labels.csv: no image has a label"):
        section(photos, labels).label_space()


def test_labels_the_hierarchy_does_not_have_get_a_near_match(tmp_path: Path, photos: Path):
    tree = tmp_path / "tree.yaml"
    tree.write_text("animals: [dog, cat]\nthings: [saw]\n")
    labels = label_file(tmp_path, "image,labels,split\na.jpg,dgo,train\nb.jpg,zzz;cat,train\n")
    data = section(photos, labels, hierarchy=tree)
    assert data.label_space().level_sizes == (2, 3)
    with pytest.raises(DataError, match="2 labels are not in the label space: dgo, zzz") as caught:
        data.records("train")
    assert caught.value.hint == "Did you mean dog?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("animals: [dog, dog]", "tree.yaml: Level fine: label 'dog' is listed more than once"),
        ("animals: {pets: [dog]}\nthings: [saw]", "tree.yaml: .*deeper in one branch"),
        ("animals: [007]", "tree.yaml: The hierarchy has 7 where a label name"),
        ("animals: []", "tree.yaml: The hierarchy ends in"),
        ("[dog, cat]", "tree.yaml, line 1"),
        ("a: [x\n", "tree.yaml, line"),
        ("", "tree.yaml, line 1: the file is empty"),
    ],
)
def test_wrong_hierarchies_name_their_file(tmp_path: Path, text: str, message: str):
    path = tmp_path / "tree.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_hierarchy(path)
    with pytest.raises(DataError, match="is missing"):
        read_hierarchy(tmp_path / "none.yaml")


def test_names_like_no_and_dates_stay_text(tmp_path: Path):
    path = tmp_path / "tree.yaml"
    path.write_text("off: [no, 2020-02-22]\n'1': ['007']\n")
    assert read_hierarchy(path).label_names == ("no", "2020-02-22", "007")


def test_drawn_splits_stay_when_rows_are_added_or_moved(tmp_path: Path):
    def splits(names: list[str]) -> dict[str, str]:
        text = "image,labels\n" + "".join(f"{name},x\n" for name in names)
        return {row.image: row.split for row in read_table(label_file(tmp_path, text), 0.2, 0.3).rows}

    names = [f"photo {number}.jpg" for number in range(2000)]
    first, more = splits(names[:1000]), splits(names[::-1])
    assert all(more[name] == split for name, split in first.items())
    shares = {split: sum(value == split for value in more.values()) / 2000 for split in ("train", "val", "test")}
    assert shares == pytest.approx({"train": 0.5, "val": 0.2, "test": 0.3}, abs=0.03)


def test_an_empty_split_cell_draws_one(tmp_path: Path):
    rows = read_table(label_file(tmp_path, "image,labels,split\na.jpg,x,\nb.jpg,x,test\n"), 1.0, 0.0).rows
    assert [row.split for row in rows] == ["val", "test"]


def test_without_a_column_of_splits_each_image_draws_its_own_by_the_shares(tmp_path: Path):
    names = [f"{number}.jpg" for number in range(2000)]
    path = label_file(tmp_path, "image,labels\n" + "".join(f"{name},x\n" for name in names))
    rows = {row.image: row.split for row in read_table(path, 0.1, 0.2).rows}
    drawn = list(rows.values())
    assert [drawn.count(split) / 2000 for split in ("val", "test")] == pytest.approx([0.1, 0.2], abs=0.03)
    fewer = label_file(tmp_path, "image,labels\n" + "".join(f"{name},x\n" for name in names[::7]))
    assert {row.image: row.split for row in read_table(fewer, 0.1, 0.2).rows} == {
        name: rows[name] for name in names[::7]
    }
    moved = {row.image: row.split for row in read_table(fewer, 0.2, 0.2).rows}
    assert {rows[name] for name, split in moved.items() if split != rows[name]} == {"train"}


def test_shares_of_more_than_all_images_are_refused(tmp_path: Path, photos: Path):
    labels = label_file(tmp_path, "image,labels\na.jpg,x\n")
    assert section(photos, labels, val_fraction=0, test_fraction=1).split_names() == ("test",)
    with pytest.raises(ValueError, match=r"must be 1 at most, together \(got 0.7 and 0.5\)"):
        section(photos, labels, val_fraction=0.7, test_fraction=0.5)


def test_empty_splits_say_how_to_fill_them(tmp_path: Path, photos: Path):
    data = section(photos, label_file(tmp_path, "image,labels\na.jpg,x\n"), val_fraction=0)
    with pytest.raises(DataError, match="no image belongs to split 'val'") as caught:
        data.records("val")
    assert caught.value.hint is not None
    assert "data.val_fraction" in caught.value.hint
    with pytest.raises(DataError, match="split 'dev'"):
        data.records("dev")


def test_a_labelled_folder_uses_the_labels_of_a_model(tmp_path: Path, photos: Path):
    labels = label_file(tmp_path, "image,labels,split\na.jpg,dog,train\nb.jpg,cat;dog,test\n")
    records = labelled_records(photos, labels, LabelSpace.flat(["saw", "dog", "cat"]))
    assert [record.labels for record in records] == [(1,), (1, 2)]


pieces = st.sampled_from(["image", "labels", "split", "captions", ",", ",", "\n", '"', ";", "|", "a.jpg", "train", " "])
texts = st.lists(pieces | st.text(max_size=3), max_size=30).map("".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts | texts.map(lambda rest: "image,labels\n" + rest) | texts.map(lambda r: "image,labels,split\n" + r))
def test_any_text_gives_rows_or_our_error(tmp_path: Path, text: str):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        rows = read_table(path, 0.1, 0.1).rows
    except DataError:
        return
    assert rows
    assert all(row.image and row.split in ("train", "val", "test") for row in rows)
    assert len({row.image for row in rows}) == len(rows)
    for split in ("train", "val", "test"):
        try:
            records = section(tmp_path, path).records(split)
        except DataError:
            continue
        assert all(isinstance(record.image, Path) and record.image.is_file() for record in records)


def test_records_are_made_when_asked_for_and_columns_say_the_same(tmp_path: Path, photos: Path):
    labels = label_file(tmp_path, "image,labels,captions\na.jpg,dog; cat;dog,A dog.|A cat.\nb.jpg,,\n")
    records = labelled_records(photos, labels, LabelSpace.flat(["cat", "cow", "dog"]))
    assert records[0] == records[0]
    assert records[0] is not records[0]
    assert isinstance(records, Columns)
    assert records.image_ids() == [record.image_id for record in records] == ["a.jpg", "b.jpg"]
    assert records.labels() == [record.labels for record in records] == [(0, 2), ()]
    assert records.captions() == [record.captions for record in records] == [("A dog.", "A cat."), ()]
    assert records.image_paths() == [record.image for record in records] == [photos / "a.jpg", photos / "b.jpg"]
