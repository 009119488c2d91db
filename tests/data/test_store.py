"""The prepared data set on disk."""

from __future__ import annotations

import dataclasses
import filecmp
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import pyarrow.ipc
import pytest
from programs import program_environment

from hlcli.data.datasets.folder import Folder
from hlcli.data.datasets.intentonomy import Intentonomy
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import BatchOrder
from hlcli.data.records import Record
from hlcli.data.store import open_label_space, open_records, split_names, store_folder
from hlcli.data.store_writing import write_store
from hlcli.errors import DataError, HlcliError
from hlcli.sections import DataSection

LABELS = LabelSpace.from_parents(
    [["living", "thing"], ["dog", "chat 漢", "saw"]], [[0, 0, 1]], {"easy": (0, 2), "object": ()}
)
RECORDS = [
    Record("a/1.jpg", b"\xff\xd8 bytes", (0, 2), (1,), ("One.", "Zwei, é; 漢|"), (0.0, 0.5, 1.0, 0.25)),
    Record("b", b"", (), (), (), ()),
]


def write(folder: Path, splits: dict[str, list[Record]] | None = None, labels: LabelSpace = LABELS) -> Path:
    write_store(folder, labels, splits or {"train": RECORDS, "val": RECORDS[:1]}, {"notes": {"k": "ü"}}, encode=iter)
    return folder


def data(store: Path, **fields: object) -> DataSection:
    return Shapes(store=store, **fields)  # type: ignore[arg-type]


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_every_column_comes_back(tmp_path: Path):
    section = data(write(tmp_path / "store"))
    assert split_names(section) == ("train", "val")
    assert list(open_records(section, "train")) == RECORDS
    assert open_records(section, "train").labels() == [[0, 2], []]  # type: ignore[attr-defined]
    space = open_label_space(section)
    assert space == LABELS
    assert space.subsets == {"easy": (0, 2), "object": ()}


def test_a_store_is_written_in_few_pieces_and_none_is_large(tmp_path: Path):
    """Every piece costs time and memory when a store is opened, and its bytes when it is written."""
    small = [Record(str(number), tmp_path / f"{number}.jpg", (0,), (), (), ()) for number in range(1500)]
    large = [Record(str(number), bytes(6 * 2**20), (0,), (), (), ()) for number in range(5)]
    folder = write(tmp_path / "store", {"train": small, "val": large})
    pieces = {}
    for split in ("train", "val"):
        with pyarrow.ipc.open_stream(folder / split / "data-00000-of-00001.arrow") as stream:
            pieces[split] = [len(batch) for batch in stream]
    assert pieces == {"train": [1000, 500], "val": [3, 2]}
    assert [len(record.image) for record in open_records(data(folder), "val")] == [6 * 2**20] * 5  # type: ignore[arg-type]


def test_other_programs_can_read_it(tmp_path: Path):
    folder = write(tmp_path / "store")
    table = datasets.load_from_disk(str(folder / "train"))
    assert table.column_names == ["image_id", "image", "labels", "ignore", "captions", "object_mask"]
    assert table["captions"][:] == [["One.", "Zwei, é; 漢|"], []]
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    assert meta["counts"]["train"]["images"] == 2
    assert meta["counts"]["train"]["positives"] == [1, 0, 1]
    assert meta["notes"] == {"k": "ü"}


def test_identical_inputs_give_identical_bytes(tmp_path: Path):
    many = {"train": [dataclasses.replace(RECORDS[0], image_id=f"{i}") for i in range(250)]}
    first, second = write(tmp_path / "x" / "store", many), write(tmp_path / "deeper" / "y" / "store", many)
    assert files(first) == files(second)
    for name in files(first):
        assert filecmp.cmp(first / name, second / name, shallow=False), name
    other = write(tmp_path / "z" / "store", {"train": many["train"][1:]})
    states = [json.loads((folder / "train" / "state.json").read_text()) for folder in (first, second, other)]
    prints = {state["_fingerprint"] for state in states}
    assert len(prints) == 2  # what other programs keep of a table is not taken for that of another


def test_paths_of_images_stay_valid_when_the_root_moves(tmp_path: Path):
    root = tmp_path / "root"
    inside, outside = root / "set" / "images" / "é.jpg", tmp_path / "elsewhere.jpg"
    for path in (inside, outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    write(root / "set" / "store", {"train": [Record("in", inside), Record("out", outside)]})
    shutil.move(root, tmp_path / "moved")
    records = open_records(data(tmp_path / "moved" / "set" / "store"), "train")
    assert [Path(record.image).resolve() for record in records] == [  # type: ignore[arg-type]
        (tmp_path / "moved" / "set" / "images" / "é.jpg").resolve(), outside.resolve(),
    ]  # fmt: skip


def test_relative_roots_are_relative_to_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    Path("set/a.jpg").write_bytes(b"x")
    write(Path("set/store"), {"train": [Record("a", Path("set/a.jpg"))]})
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    image = open_records(data(tmp_path / "set" / "store"), "train")[0].image
    assert isinstance(image, Path)
    assert image.read_bytes() == b"x"


def test_a_missing_store_names_the_command_that_makes_it(tmp_path: Path):
    section = Intentonomy(root=tmp_path)
    assert store_folder(section) == tmp_path / "intentonomy" / "store"
    for call in (lambda: open_records(section, "train"), lambda: open_label_space(section)):
        with pytest.raises(DataError, match="is missing") as caught:
            call()
        assert caught.value.hint == f"Run `hlcli preprocess intentonomy --root {tmp_path}` first."


@pytest.mark.parametrize("content", ["", "[]", "{}", '"x"', '{"splits": 3, "image_root": ".."}', "{", "\x00"])
def test_damaged_descriptions_name_the_command(tmp_path: Path, content: str):
    folder = write(tmp_path / "store")
    (folder / "meta.json").write_text(content)
    with pytest.raises(DataError, match=r"meta\.json") as caught:
        open_records(data(folder), "train")
    assert "hlcli preprocess" in str(caught.value)
    (folder / "labels.json").write_text(content)
    with pytest.raises(DataError):
        open_label_space(data(folder))


def test_a_newer_store_is_refused(tmp_path: Path):
    folder = write(tmp_path / "store")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    (folder / "meta.json").write_text(json.dumps(meta | {"version": 2}))
    with pytest.raises(DataError, match="has version 2; this hlcli reads version 1"):
        open_records(data(folder), "train")


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_cut_tables_name_the_command(tmp_path: Path, keep: float):
    folder = write(tmp_path / "store")
    arrow = next((folder / "train").glob("*.arrow"))
    content = arrow.read_bytes()
    arrow.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"train cannot be read: .*hlcli preprocess"):
        open_records(data(folder), "train")
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match="train cannot be read"):
        open_records(data(folder), "train")


def test_unknown_splits_are_listed(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no split 'test'; it has train, val\. Use --split val\."):
        open_records(data(write(tmp_path / "store")), "test")


def test_skipped_images_are_left_out_by_their_id(tmp_path: Path):
    folder = write(tmp_path / "store")
    assert [record.image_id for record in open_records(data(folder, skip=("a/1.jpg", "zzz")), "train")] == ["b"]
    drawn = Shapes(num_train=3, skip=("shapes-train-000001",))
    assert [record.image_id[-1] for record in open_records(drawn, "train")] == ["0", "2"]
    with pytest.raises(DataError, match="Split 'val' of shapes has no image"):
        open_records(data(folder, skip=("a/1.jpg",)), "val")


def test_empty_splits_are_kept_but_cannot_be_used(tmp_path: Path):
    folder = write(tmp_path / "store", {"train": RECORDS, "val": []})
    assert len(open_records(data(folder), "train")) == 2
    with pytest.raises(DataError, match="has no image"):
        open_records(data(folder), "val")
    with pytest.raises(DataError, match="not one image could be prepared"):
        write(tmp_path / "other", {"train": []})
    assert not (tmp_path / "other").exists()


def test_a_failure_leaves_the_old_store(tmp_path: Path):
    folder = write(tmp_path / "store")
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with pytest.raises(HlcliError):
        write(folder, {"train": [RECORDS[0], Record("drawn", Shapes(num_train=1).records("train")[0].image)]})
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_kill_in_mid_write_leaves_the_old_store_whole(tmp_path: Path):
    folder = write(tmp_path / "store")
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from hlcli.data.labels import LabelSpace
        from hlcli.data.records import Record
        from hlcli.data.store_writing import write_store
        def records():
            for number in range(300):
                yield Record(f"new {number}", bytes(1000))
            os.kill(os.getpid(), signal.SIGKILL)
        write_store(Path(sys.argv[1]), LabelSpace.flat(["x"]), {"train": []}, {}, encode=lambda _: records())
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], env=program_environment(), timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert list(open_records(data(folder), "train")) == RECORDS
    write(folder, {"train": RECORDS[:1]})
    assert len(open_records(data(folder), "train")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_batch_order_over_a_store_reaches_every_row(tmp_path: Path):
    folder = write(tmp_path / "store", {"train": [Record(f"{i}", b"x", (i % 3,)) for i in range(7)]})
    records = open_records(data(folder), "train")
    order = BatchOrder(len(records), 7, seed=0)
    assert sorted(records[row].image_id for batch in order for _, row in batch) == [str(i) for i in range(7)]


def test_folder_data_can_be_read_from_its_store(tmp_path: Path):
    folder = write(tmp_path / "store")
    section = Folder(images=tmp_path / "gone", labels=tmp_path / "gone.csv", store=folder)
    assert open_label_space(section) == LABELS
    assert list(open_records(section, "train")) == RECORDS
