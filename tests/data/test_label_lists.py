"""Lists `path,index index`: reading them, finding the images they are about, and training on their labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlcli.data.datasets import published_lists
from hlcli.data.datasets.label_lists import lists_by_record, read_label_list
from hlcli.data.datasets.published_lists import PUBLISHED, PublishedList, identify, take_listed
from hlcli.data.records import Record
from hlcli.errors import DataError


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "list.txt"
    path.write_text(content, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a.jpg,52\n", {"a.jpg": (52,)}),
        ("a.jpg,3\nb.jpg,14 18", {"a.jpg": (3,), "b.jpg": (14, 18)}),
        ("001.X/a.jpg, 97 4 134\n", {"001.X/a.jpg": (4, 97, 134)}),
        ("a.jpg,1\r\n\r\nb.jpg,0 \r\n", {"a.jpg": (1,), "b.jpg": (0,)}),
        ("a.jpg,\n", {"a.jpg": ()}),
        ("one, two.jpg,7\n", {"one, two.jpg": (7,)}),
    ],
)
def test_the_papers_ways_of_writing_a_list_are_read(tmp_path, content, expected):
    assert read_label_list(write(tmp_path, content), 312) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg,1\nb.jpg\n", r"line 2: `file,index index …` was expected, got 'b\.jpg'"),
        ("a.jpg,1\n\n,2\n", "line 3: `file,index index …` was expected"),
        ("a.jpg,cat\n", "line 1: `file,index index …` was expected"),
        ("a.jpg,-1\n", "line 1: `file,index index …` was expected"),
        ("a.jpg,1.0\n", "line 1: `file,index index …` was expected"),
        ("a.jpg,²\n", "line 1: `file,index index …` was expected"),
        ("a.jpg,0 20\n", r"line 1: label 20 is not one of 0\.\.19"),
        ("a.jpg," + "9" * 5000, "line 1: label 9{20} is not one of"),
        ("a.jpg,3 1 3\n", r"line 1: a\.jpg has the same label twice, got 'a\.jpg,3 1 3'"),
        ("a.jpg,1\nb.jpg,2\na.jpg,1\n", r"line 3: a\.jpg was listed before, in line 1"),
        ("../a.jpg,1\n", "line 1: a path below the folder of images was expected"),
        ("/a.jpg,1\n", "line 1: a path below the folder of images was expected"),
        ("\n", "lists no image"),
    ],
)
def test_a_damaged_list_is_named_with_the_line(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"list\.txt.*{message}"):
        read_label_list(write(tmp_path, content), 20)


def test_a_single_label_can_be_demanded(tmp_path):
    path = write(tmp_path, "a.jpg,1\nb.jpg,2 1\n")
    with pytest.raises(DataError, match="line 2: one label was expected, got 2"):
        read_label_list(path, 20, is_single=True)


def test_a_file_that_cannot_be_read_is_named_with_the_hint(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt cannot be read: No such file.*Look elsewhere") as caught:
        read_label_list(tmp_path / "none.txt", 20, hint="Look elsewhere.")
    assert caught.value.hint == "Look elsewhere."


NAMES = st.text(st.sampled_from("ab1, /.é"), min_size=1).filter(
    lambda name: name == name.strip() and ".." not in name and not name.startswith("/")
)


@given(st.dictionaries(NAMES, st.sets(st.integers(0, 311)), min_size=1), st.booleans(), st.randoms())
def test_what_is_written_is_read(tmp_path_factory, listed, has_blank, random):
    lines = []
    for file, labels in listed.items():
        words = [str(label) for label in labels]
        random.shuffle(words)
        lines.append(f"{file},{' ' * has_blank}{' '.join(words)}")
    path = write(tmp_path_factory.mktemp("lists"), "\n".join(lines))
    found = read_label_list(path, 312)
    assert list(found.items()) == [(file, tuple(sorted(labels))) for file, labels in listed.items()]


def test_images_are_found_by_path_name_stem_or_number():
    listed = {
        "COCO_train2014_000000480023.jpg": (52,),
        "2008_000008.jpg": (12,),
        "001.X/a.jpg": (4,),
        "photos\\b.jpg": (5,),
        "somewhere/c.jpg": (6,),
        "d.jpg": (7,),
    }
    ids = ["c.jpg", "001.X/a.jpg", "2008_000008", "480023", "photos/b.jpg", "e.jpg"]
    matched = lists_by_record(ids, listed)
    assert matched.labels == ((6,), (4,), (12,), (52,), (5,), None)
    assert matched.strangers == ("d.jpg",)


def test_the_most_telling_name_counts():
    matched = lists_by_record(["1.jpg", "x/1.jpg", "1"], {"x/1.jpg": (1,), "1.jpg": (2,)})
    assert matched.labels == ((2,), (1,), None)


def test_two_paths_of_one_image_are_refused():
    with pytest.raises(DataError, match=r"x/1\.jpg and y/1\.jpg are both listed, but both are image 1"):
        lists_by_record(["1"], {"x/1.jpg": (1,), "y/1.jpg": (1,)})


RECORDS = [Record(str(number), b"", (0, number % 5 + 1), (6,)) for number in range(200)]


def take(path: Path, notes: dict | None = None, **options) -> list[Record]:
    return take_listed(path, RECORDS, "train", {} if notes is None else notes, 7, **options)


def test_listed_images_keep_their_order_and_get_the_labels_of_the_list(tmp_path):
    notes: dict = {}
    chosen = take(write(tmp_path, "3.jpg,4\n1.jpg,2\n"), notes)
    rows = [(record.image_id, record.labels, record.ignore) for record in chosen]
    assert rows == [("1", (2,), (6,)), ("3", (4,), (6,))]
    assert notes["label_lists"]["train"]["images_not_listed"] == 198
    assert notes["label_lists"]["train"]["published"] is None
    assert set(notes["sources"]) == {"list.txt"}


def test_a_listed_label_is_not_ignored(tmp_path):
    full = {record.image_id: (*record.labels, *record.ignore) for record in RECORDS}
    (chosen,) = take(write(tmp_path, "3.jpg,6\n"), full_labels=full)
    assert (chosen.labels, chosen.ignore) == ((6,), ())


def test_a_few_other_labels_warn_and_more_are_refused(tmp_path, caplog):
    lines = [f"{number}.jpg,0" for number in range(200)]
    lines[7:9] = ["7.jpg,5", "8.jpg,0 1"]
    notes: dict = {}
    chosen = take(write(tmp_path, "\n".join(lines)), notes)
    assert chosen[7].labels == (5,)
    assert "2 of 200 images have listed labels that are none of theirs, e.g. 7, 8. The list's are used." in caplog.text
    assert notes["label_lists"]["train"]["images_with_other_labels"] == 2
    lines[9] = "9.jpg,1"
    with pytest.raises(DataError, match=r"list\.txt: 3 of 200 images have listed labels.*in the same order of labels"):
        take(write(tmp_path, "\n".join(lines)))


def test_images_of_another_split_are_refused_unless_allowed(tmp_path, caplog):
    path = write(tmp_path, "1.jpg,0\n200.jpg,0\n")
    with pytest.raises(DataError, match=r"1 of 2 listed images are not in train, e\.g\. 200\.jpg\..*--allow-partial"):
        take(path)
    assert [record.image_id for record in take(path, allow_partial=True)] == ["1"]
    assert "200.jpg. They are left out." in caplog.text
    with pytest.raises(DataError, match="2 of 2 listed images are not in train"):
        take(write(tmp_path, "200.jpg,0\n201.jpg,0\n"), allow_partial=True)


def test_a_published_list_is_recognised_and_must_have_its_numbers(tmp_path, monkeypatch):
    path = write(tmp_path, "1.jpg,0\n2.jpg,0 3\n")
    listed = read_label_list(path, 7)
    assert identify(path, listed) is None
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(published_lists.PUBLISHED, md5, PublishedList("somebody's list", 2, 3))
    assert identify(path, listed) == "somebody's list"
    monkeypatch.setitem(published_lists.PUBLISHED, md5, PublishedList("somebody's list", 2, 2))
    with pytest.raises(DataError, match=r"list\.txt: 2 labels were expected, found 3"):
        identify(path, listed)


def test_published_numbers_agree_with_each_other():
    assert len(PUBLISHED) == 9
    assert all(len(md5) == 32 and set(md5) <= set("0123456789abcdef") for md5 in PUBLISHED)
    singles = [known for known in PUBLISHED.values() if "single" in known.what]
    assert [(known.images, known.labels) for known in singles] == [(82_081,) * 2, (5_717,) * 2, (5_994,) * 2]
