from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from hlcli.errors import DataError, InputError
from hlcli.features.reading import FeatureFile
from hlcli.features.vinvl import import_vinvl


def row(key: str, features: np.ndarray) -> tuple[str, str]:
    text = base64.b64encode(features.astype("<f4").tobytes()).decode()
    objects = [{"rect": [1, 2, 3 + n, 4], "conf": 0.5, "class": "dog"} for n in range(len(features))]
    document = json.dumps({"image_h": 360, "image_w": 640, "objects": objects})
    return f"{key}\t{len(features)}\t{text}", f"{key}\t{document}"


def write(folder: Path, rows: list[tuple[str, str]]) -> Path:
    (folder / "features.tsv").write_text("".join(f"{features}\n" for features, _ in rows))
    (folder / "predictions.tsv").write_text("".join(f"{predictions}\n" for _, predictions in rows))
    return folder


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, 2054)).astype(np.float32)


def test_the_published_tables_become_a_feature_file(tmp_path: Path, features: np.ndarray):
    rows = [row("COCO_val2014_000000391895", features), row("image_9", features[:3])]
    made = import_vinvl(write(tmp_path, rows), out=tmp_path / "out.hdf5", dtype="float32")
    file = FeatureFile(tmp_path / "out.hdf5", "region")
    assert made.num_images == 2
    assert file.width == 2048
    np.testing.assert_array_equal(file.read("391895"), features[:, :2048])  # the last six columns are boxes
    assert file.read("9").shape == (3, 2048)
    assert file.boxes("9").tolist() == [[1, 2, 3, 4], [1, 2, 4, 4], [1, 2, 5, 4]]
    assert file.image_size("9") == (360, 640)


def test_an_image_without_regions_has_none(tmp_path: Path, features: np.ndarray):
    import_vinvl(write(tmp_path, [row("a_1", features[:0])]), out=tmp_path / "out.hdf5")
    assert FeatureFile(tmp_path / "out.hdf5", "region").read("1").shape == (0, 2048)


def test_rows_that_do_not_belong_together_are_refused(tmp_path: Path, features: np.ndarray):
    one, two = row("a_1", features), row("a_2", features)
    write(tmp_path, [(one[0], one[1]), (one[0].replace("a_1", "a_3"), two[1])])
    with pytest.raises(DataError, match=r"row 2 .* features\.tsv has a_3, predictions\.tsv has a_2"):
        import_vinvl(tmp_path, out=tmp_path / "out.hdf5")
    assert not (tmp_path / "out.hdf5").exists()


@pytest.mark.parametrize("table", ["features.tsv", "predictions.tsv"])
def test_a_table_that_ends_early_is_refused(tmp_path: Path, features: np.ndarray, table: str):
    write(tmp_path, [row("a_1", features), row("a_2", features)])
    lines = (tmp_path / table).read_text().splitlines(keepends=True)
    (tmp_path / table).write_text(lines[0])
    with pytest.raises(DataError, match=rf"{table} has fewer rows"):
        import_vinvl(tmp_path, out=tmp_path / "out.hdf5")


@pytest.mark.parametrize("damage", ["a_1\t7\tAAAA", "a_1\t7", "a_1\tseven\tAAAA", "a_1\t1\t?!"])
def test_a_damaged_row_is_named(tmp_path: Path, features: np.ndarray, damage: str):
    write(tmp_path, [(damage, row("a_1", features)[1])])
    with pytest.raises(DataError, match="row 1 of the tables"):
        import_vinvl(tmp_path, out=tmp_path / "out.hdf5")


def test_an_image_twice_is_refused(tmp_path: Path, features: np.ndarray):
    write(tmp_path, [row("a_1", features), row("b_1", features)])
    with pytest.raises(DataError, match="image 1 is there twice"):
        import_vinvl(tmp_path, out=tmp_path / "out.hdf5")


def test_missing_tables_and_files_that_are_there_are_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"features\.tsv is missing"):
        import_vinvl(tmp_path, out=tmp_path / "out.hdf5")
    (tmp_path / "out.hdf5").touch()
    with pytest.raises(InputError, match="--overwrite"):
        import_vinvl(tmp_path, out=tmp_path / "out.hdf5")
