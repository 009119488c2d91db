"""`--export`: files exactly as the papers' programs read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coco_files import write_coco
from PIL import Image
from voc_files import write_voc

from hlcli.data.datasets.coco import Coco
from hlcli.data.datasets.folder import Folder
from hlcli.data.datasets.karpathy import Flickr8k
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.datasets.voc import Voc2007
from hlcli.data.export import check_format, write_exports
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_records
from hlcli.errors import DataError, InputError


def read_lists(folder: Path, split: str) -> tuple[list[str], np.ndarray]:
    """Paths and targets as the papers' loader makes them, images without labels allowed."""
    names = [line.strip() for line in (folder / "label.txt").read_text().split("\n")[:-1]]
    paths, targets = [], []
    for line in (folder / f"{split}.txt").read_text().split("\n")[:-1]:
        path, labels = line.split("\t")
        paths.append(path)
        targets.append(np.zeros(len(names), np.float32))
        for label in filter(None, labels.split(",")):
            targets[-1][names.index(label)] = 1.0
    return paths, np.stack(targets)


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc2007:
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "data" / "voc2007" / "VOCdevkit" / "VOC2007")
    data = Voc2007(root=Path("data"))
    preprocess(data, options={"allow_partial": True})
    return data


def test_lists_read_back_give_the_store(voc):
    written = write_exports(voc, "lists")
    folder = Path("data/voc2007/lists")
    assert written == [folder / name for name in ("label.txt", "train.txt", "test.txt", "ignore.npy")]
    for split in ("train", "test"):
        records = open_records(voc, split)
        paths, targets = read_lists(folder, split)
        assert paths == [f"data/voc2007/VOCdevkit/VOC2007/JPEGImages/{record.image_id}.jpg" for record in records]
        assert all(Path(path).is_file() for path in paths)
        assert [tuple(np.flatnonzero(row)) for row in targets] == [record.labels for record in records]


def test_lists_have_the_papers_bytes(voc):
    write_exports(voc, "lists")
    folder = Path("data/voc2007/lists")
    images = "data/voc2007/VOCdevkit/VOC2007/JPEGImages"
    assert (folder / "train.txt").read_bytes().decode() == (
        f"{images}/000005.jpg\tchair\n{images}/000007.jpg\tcar\n{images}/000009.jpg\thorse,person\n"
        f"{images}/000012.jpg\t\n"
    )
    assert (folder / "label.txt").read_text().startswith("aeroplane\nbicycle\n")
    assert (folder / "label.txt").read_text().endswith("train\ntvmonitor\n")
    ignore = np.load(folder / "ignore.npy")
    assert (ignore.shape, ignore.dtype) == ((2, 20), np.int64)
    assert np.argwhere(ignore).tolist() == [[0, 14]]


def test_lists_of_indices_name_images_as_the_papers_do_and_read_back(voc, tmp_path):
    written = write_exports(voc, "indices")
    assert written == [Path("data/voc2007/indices") / name for name in ("train.txt", "test.txt")]
    assert written[0].read_bytes() == b"000005.jpg,8\n000007.jpg,6\n000009.jpg,12 14\n000012.jpg,\n"
    write_coco(tmp_path / "coco")
    data = Coco(root=tmp_path)
    preprocess(data, options={"allow_partial": True})
    path = write_exports(data, "indices")[0]
    assert path.read_text().splitlines()[0] == "COCO_train2014_000000000009.jpg,45 49"
    before = [record.labels for record in open_records(data, "train")]
    preprocess(data, options={"allow_partial": True, "labels": path}, overwrite=True)
    assert [record.labels for record in open_records(data, "train")] == before


def test_images_inside_the_store_are_listed_by_id(tmp_path):
    write_coco(tmp_path / "coco")
    data = Coco(root=tmp_path)
    preprocess(data, options={"allow_partial": True}, image_size=8)
    path = write_exports(data, "indices")[0]
    assert path.read_text().splitlines()[0] == "9,45 49"
    preprocess(data, options={"allow_partial": True, "labels": path}, overwrite=True)
    assert len(open_records(data, "train")) == 3


def test_a_set_without_ignored_labels_has_no_ignore_file(tmp_path):
    write_coco(tmp_path / "coco" / "MSCOCO")
    data = Coco(root=tmp_path)
    preprocess(data, options={"allow_partial": True})
    names = [path.name for path in write_exports(data, "lists")]
    assert names == ["label.txt", "train.txt", "test.txt"]
    line = (tmp_path / "coco" / "lists" / "test.txt").read_text().splitlines()[1]
    assert line == f"{tmp_path}/coco/MSCOCO/val2014/COCO_val2014_000000000074.jpg\tperson,bicycle,dog"


def test_another_split_with_ignored_labels_has_a_file_of_its_own(tmp_path):
    write_voc(tmp_path / "VOC2007")
    data = Voc2007(root=tmp_path)
    preprocess(data, source=tmp_path, options={"allow_partial": True, "train_on": "train"})
    written = write_exports(data, "lists")
    assert [path.name for path in written if path.suffix == ".npy"] == ["ignore_val.npy", "ignore.npy"]


def test_images_inside_the_store_are_named_by_id_and_said_so(tmp_path, caplog):
    data = Shapes(root=tmp_path, num_train=2, num_val=0, num_test=0, render_size=16)
    preprocess(data)
    write_exports(data, "lists")
    paths, targets = read_lists(tmp_path / "shapes" / "lists", "train")
    assert paths == ["shapes-train-000000", "shapes-train-000001"]
    assert [tuple(np.flatnonzero(row)) for row in targets] == [r.labels for r in data.records("train")]
    assert "2 images lie inside the store" in caplog.text


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [("a.jpg", "cat,dog", "Label 'cat,dog' does not fit"), ("a\tb.jpg", "cat", "Image .* does not fit")],
)
def test_names_that_would_break_a_line_are_refused(tmp_path, image, label, message):
    Image.new("RGB", (8, 8)).save(tmp_path / image)
    (tmp_path / "l.csv").write_text(f'image,labels,split\n"{image}","{label}",train\n')
    data = Folder(root=tmp_path, images=tmp_path, labels=tmp_path / "l.csv")
    preprocess(data)
    with pytest.raises(DataError, match=message):
        write_exports(data, "lists")


def test_an_unknown_format_is_refused_before_any_work():
    with pytest.raises(InputError, match=r"the known formats are npy, lists, indices, captions and m2 \(got 'mat'\)"):
        check_format("mat", Shapes())
    with pytest.raises(DataError, match="There are no labels in flickr8k"):
        check_format("npy", Flickr8k())
    check_format("captions", Flickr8k())
