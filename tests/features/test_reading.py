from __future__ import annotations

import json
import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from hlcli.errors import DataError
from hlcli.features.layout import facts_differences, feature_key
from hlcli.features.reading import FeatureFile, FeatureWriter

from .feature_parts import FACTS, write


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file as the authors of CLIP and VinVL features give them out: no attribute, rows of any number."""
    path = tmp_path / "published.hdf5"
    with h5py.File(path, "w") as file:
        for image_id, rows in (("391895", 4), ("9", 60)):
            file[f"{image_id}_features"] = np.full((rows, 5), int(image_id), dtype=np.float32)
            file[f"{image_id}_boxes"] = np.tile(np.array([1, 2, 30, 40], dtype=np.float32), (rows, 1))
            file[f"{image_id}_size"] = np.array([360, 640])
            file[f"{image_id}_cls_prob"] = np.ones(rows, dtype=np.float32)
    return path


@pytest.mark.parametrize(
    ("image_id", "key"),
    [
        ("391895", "391895"),
        ("000000391895", "391895"),
        ("COCO_val2014_000000391895", "391895"),
        ("COCO_train2014_000000000009.jpg", "9"),
        ("000000391895.jpg", "391895"),
        ("0", "0"),
        ("000", "0"),
        ("1000268201_693b08cb0e.jpg", "1000268201_693b08cb0e.jpg"),
        ("007.jpg", "007.jpg"),
        ("holiday/1.jpg", "holiday/1.jpg"),
        ("shapes-train-000001", "shapes-train-000001"),
    ],
)
def test_numbers_lose_their_zeros_and_other_ids_stay(image_id: str, key: str):
    assert feature_key(image_id) == key


def test_published_files_are_read_as_they_are(published: Path):
    file = FeatureFile(published, "region")
    assert file.facts is None
    assert file.width == 5
    assert file.read("COCO_val2014_000000391895").tolist() == np.full((4, 5), 391895).tolist()
    assert file.read("9", max_rows=50).shape == (50, 5)
    assert file.boxes("9").shape == (60, 4)
    assert file.image_size("000009") == (360, 640)
    assert "9" in file
    assert "10" not in file
    assert sorted(file.keys()) == ["391895", "9"]


def test_features_come_back_as_they_were_written(tmp_path: Path):
    file = FeatureFile(write(tmp_path / "a.hdf5", "a/b c.jpg", "007", facts=FACTS))
    assert file.read("7").dtype == np.float32
    assert file.read("7").tolist() == [[1, 2, 3], [4, 5, 6]]
    assert file.read("a/b c.jpg").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert file.facts == FACTS
    assert sorted(file.keys()) == ["7", "a/b c.jpg"]


def test_global_vectors_are_read_as_one_row(tmp_path: Path):
    file = FeatureFile(write(tmp_path / "a.hdf5", "7", facts=FACTS), "global")
    assert file.width == 3
    assert file.read("7").tolist() == [[1.5, 2.5, 3.5]]


def test_half_precision_is_stored_as_such_and_read_as_float(tmp_path: Path):
    path = write(tmp_path / "a.hdf5", "7", dtype="float16")
    with h5py.File(path) as raw:
        assert raw["7_features"].dtype == np.float16
    assert FeatureFile(path).read("7").dtype == np.float32


def test_the_width_of_ids_with_slashes_is_found_without_facts(tmp_path: Path):
    assert FeatureFile(write(tmp_path / "a.hdf5", "a/b.jpg")).width == 3


def test_identical_features_give_identical_bytes(tmp_path: Path):
    one, two = (write(tmp_path / name, "1", "b/c.jpg", facts=FACTS) for name in ("one.hdf5", "two.hdf5"))
    assert one.read_bytes() == two.read_bytes()


def test_a_missing_image_is_named_with_its_file(published: Path):
    with pytest.raises(DataError, match=r"published\.hdf5 has no features of image 12\."):
        FeatureFile(published, "region").read("12")


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.hdf5", "1", facts=FACTS)
    with pytest.raises(DataError, match="holds grid features; region features were expected"):
        FeatureFile(path, "region")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is missing"), (b"", "no whole HDF5"), (b"x" * 999, "no whole")]
)
def test_what_is_no_feature_file_is_refused(tmp_path: Path, content: bytes | None, message: str):
    path = tmp_path / "a.hdf5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        FeatureFile(path)


def test_a_file_that_was_cut_off_is_refused(published: Path):
    published.write_bytes(published.read_bytes()[:-2000])
    with pytest.raises(DataError, match="no whole HDF5 file"):
        FeatureFile(published, "region")


def test_a_file_without_features_is_refused_by_its_keys(tmp_path: Path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["391895"] = np.ones((2, 3))
    with pytest.raises(DataError, match="holds no grid features"):
        _ = FeatureFile(path).width


def test_features_of_another_width_are_refused(tmp_path: Path):
    with FeatureWriter(tmp_path / "a.hdf5", FACTS) as writer:
        writer.write("1", {"features": np.ones((2, 4))})
    with pytest.raises(DataError, match=r"image 1 has features of shape \[2, 4\]"):
        FeatureFile(tmp_path / "a.hdf5").read("1")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_features_that_are_no_finite_numbers_are_refused(tmp_path: Path, value: float):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["1_features"] = np.array([[1.0, 2.0], [1.0, value]])
    assert FeatureFile(tmp_path / "a.hdf5").width == 2
    with pytest.raises(DataError, match=r"a\.hdf5: the features of image 1 hold NaN or infinity"):
        FeatureFile(tmp_path / "a.hdf5").read("1")


def test_a_grid_of_another_size_than_the_first_is_refused(tmp_path: Path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["1_features"], file["2_features"] = np.ones((4, 3)), np.ones((9, 3))
    with pytest.raises(DataError, match=r"a\.hdf5: image 2 has 9 grid cells, but image 1 has 4\."):
        FeatureFile(path, "grid").read("2")
    assert FeatureFile(path, "region").read("2").shape == (9, 3)


ODD = {
    "byte strings": np.array([b"ab", b"cd"]),
    "one byte string": b"features",
    "complex": np.ones((2, 3), dtype=np.complex64),
    "records": np.zeros((2, 3), dtype=[("x", "f4"), ("y", "f4")]),
    "truth values": np.ones((2, 3), dtype=bool),
    "no width": np.ones((2, 0)),
    "a number": np.float32(3),
    "nothing": h5py.Empty("f4"),
}


@pytest.mark.parametrize("told", [None, {**FACTS, "width": 3}, {**FACTS, "width": 0}])
@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_what_is_no_row_of_real_numbers_is_refused(tmp_path: Path, content: object, told: dict | None):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["1_features"] = content
        if told is not None:
            file.attrs["hlcli"] = json.dumps(told)
    with pytest.raises(DataError, match=r"a\.hdf5"):
        FeatureFile(path).read("1")


def test_a_group_is_no_features_but_may_hold_some(tmp_path: Path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("1_features")
    with pytest.raises(DataError, match="holds no grid features"):
        _ = FeatureFile(path).width
    with pytest.raises(DataError, match="no features of image 1"):
        FeatureFile(path).read("1")
    file = FeatureFile(write(path, "my_features/a.jpg"))
    assert file.keys() == ["my_features/a.jpg"]
    assert file.width == 3


def test_boxes_and_sizes_of_other_shapes_are_refused(tmp_path: Path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["1_features"], file["1_boxes"], file["1_size"] = np.ones((2, 3)), np.ones((2, 5)), np.ones(3)
    with pytest.raises(DataError, match=r"image 1 has boxes of shape \[2, 5\]"):
        FeatureFile(path, "region").boxes("1")
    with pytest.raises(DataError, match="the size of image 1 is no height and width"):
        FeatureFile(path, "region").image_size("1")


def read_everything(path: Path) -> None:
    file = FeatureFile(path, "region")
    try:
        keys = file.keys()
        assert file.width >= 1
        for key in keys:
            file.read(key)
            file.boxes(key)
            file.image_size(key)
    finally:
        file.close()


@pytest.mark.parametrize("signature", [b"TREE", b"SNOD", b"HEAP"])
@pytest.mark.parametrize("is_own", [True, False])
def test_damaged_indices_are_told_as_such(tmp_path: Path, published: Path, is_own: bool, signature: bytes):
    facts = {**FACTS, "kind": "region"}
    source = write(tmp_path / "own.hdf5", "1", "b/2", facts=facts) if is_own else published
    path, content = tmp_path / "a.hdf5", source.read_bytes()
    places = [place for place in range(len(content)) if content.startswith(signature, place)]
    assert places
    for place in places:
        path.write_bytes(content[:place] + b"oops" + content[place + 4 :])
        with pytest.raises(DataError, match=r"a\.hdf5"):
            read_everything(path)


def test_a_damaged_attribute_is_told_as_such(tmp_path: Path):
    """Its text lies in a heap of its own."""
    path = write(tmp_path / "a.hdf5", "1", facts=FACTS)
    content = path.read_bytes()
    place = content.index(b"GCOL")
    path.write_bytes(content[:place] + b"oops" + content[place + 4 :])
    with pytest.raises(DataError, match=r"a\.hdf5: its attribute 'hlcli' "):
        FeatureFile(path)


def test_facts_of_a_thousand_brackets_are_refused(tmp_path: Path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.attrs["hlcli"] = "[" * 60_000
    with pytest.raises(DataError, match="'hlcli' is no JSON"):
        FeatureFile(tmp_path / "a.hdf5")


def test_facts_that_differ_are_named(tmp_path: Path):
    file = FeatureFile(write(tmp_path / "a.hdf5", "1", facts=FACTS))
    file.check({**FACTS, "image_size": (224, 224), "dtype": "float16", "resize": "crop"})
    with pytest.raises(DataError, match=r"a\.hdf5 does not fit: image_size is \[224, 224\], expected \[336, 336\]"):
        file.check({**FACTS, "image_size": [336, 336]})


def test_files_of_others_tell_no_facts_and_pass(published: Path):
    FeatureFile(published, "region").check(FACTS)
    assert facts_differences({}, FACTS) == []


def test_another_process_opens_the_file_for_itself(published: Path):
    file = FeatureFile(published, "region")
    expected = file.read("9")
    assert pickle.loads(pickle.dumps(file)).read("9").tolist() == expected.tolist()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(file.read, ["9"] * 8):
            assert found.tolist() == expected.tolist()
