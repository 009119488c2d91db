"""`hlcli preprocess`: what is kept, what is shrunk, what is left out and listed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from coco_files import write_coco
from PIL import Image
from typer.testing import CliRunner

import hlcli
from hlcli.cli.main import app
from hlcli.data.datasets.coco import Coco, CocoOptions
from hlcli.data.datasets.folder import Folder
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.datasets.voc import Voc2007Options
from hlcli.data.encoding import describe_encoding, encode_image
from hlcli.data.export import write_exports
from hlcli.data.images import load_image
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.data.store import open_records
from hlcli.errors import DataError, InputError

SIZES = {"wide.jpg": (64, 32), "tall.png": (20, 50), "small.jpg": (12, 9), "é 漢.jpg": (33, 33)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / name)
    (folder / "cut.jpg").write_bytes((folder / "wide.jpg").read_bytes()[:300])
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def folder_data(photos: Path, root: Path, names: list[str] | None = None, **fields: object) -> Folder:
    labels = photos.parent / "labels.csv"
    rows = [f"{name},{'dog' if i % 2 else 'cat;dog'},train" for i, name in enumerate(names or SIZES)]
    labels.write_text("\n".join(["image,labels,split", *rows]), encoding="utf-8")
    return Folder(images=photos, labels=labels, root=root, **fields)  # type: ignore[arg-type]


def stored(data: Folder | Shapes, split: str = "train") -> dict[str, Record]:
    prepared = data.model_copy(update={"store": data.folder() / "store"})
    return {record.image_id: record for record in open_records(prepared, split)}


def test_originals_stay_where_they_are(photos: Path, tmp_path: Path):
    data = folder_data(photos, tmp_path / "root")
    made = preprocess(data)
    assert made.folder == tmp_path / "root" / "folder" / "store"
    assert made.failures == []
    records = stored(data)
    assert {name: record.image for name, record in records.items()} == {name: photos / name for name in SIZES}
    assert records["wide.jpg"].labels == (0, 1)
    assert made.meta["counts"]["train"] == made.meta["counts"]["train"] | {"images": 4, "positives": [2, 4]}


def test_the_shorter_side_is_shrunk_and_never_enlarged(photos: Path, tmp_path: Path):
    data = folder_data(photos, tmp_path)
    preprocess(data, image_size=16)
    shapes = {name: load_image(record.image).size for name, record in stored(data).items()}
    assert shapes == {"wide.jpg": (32, 16), "tall.png": (16, 40), "small.jpg": (12, 9), "é 漢.jpg": (16, 16)}
    record = stored(data)["tall.png"]
    assert isinstance(record.image, bytes)
    assert Image.open(io.BytesIO(record.image)).format == "JPEG"
    before = np.asarray(Image.open(photos / "tall.png").resize((16, 40), Image.Resampling.LANCZOS), dtype=float)
    assert abs(np.asarray(load_image(record.image), dtype=float) - before).mean() < 12


def test_large_photos_are_stored_almost_as_from_a_full_decode(tmp_path: Path):
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((645, 483), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=92)
    whole = Image.open(tmp_path / "large.jpg").resize((85, 64), Image.Resampling.LANCZOS)
    stored_bytes = encode_image(Record("large.jpg", tmp_path / "large.jpg"), 64).image
    assert isinstance(stored_bytes, bytes)
    found = load_image(stored_bytes)
    assert found.size == whole.size
    assert abs(np.asarray(found, dtype=float) - np.asarray(whole, dtype=float)).mean() < 2.5
    assert "1/2 to 1/8" in describe_encoding(64)


def test_drawn_images_become_png_with_the_same_pixels(tmp_path: Path):
    data = Shapes(root=tmp_path, num_train=2, num_val=1, num_test=0, render_size=32)
    for image_size in (0, 16):
        preprocess(data, image_size=image_size, overwrite=True)
        for record, drawn in zip(stored(data).values(), data.records("train"), strict=True):
            assert isinstance(record.image, bytes)
            assert record.image.startswith(b"\x89PNG")
            assert load_image(record.image).tobytes() == load_image(drawn.image).tobytes()
            assert (record.image_id, record.labels, record.captions) == (drawn.image_id, drawn.labels, drawn.captions)
    assert set(stored(data, "val")) == {"shapes-val-000000"}


def test_undecodable_images_are_left_out_and_listed(photos: Path, tmp_path: Path):
    data = folder_data(photos, tmp_path / "root", ["cut.jpg", "wide.jpg", "empty.jpg"])
    made = preprocess(data, image_size=8)
    assert set(stored(data)) == {"wide.jpg"}
    listing = tmp_path / "root" / "folder" / "preprocess.failures.jsonl"
    lines = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    assert lines == [failure.to_json() for failure in made.failures]
    assert [line["image"] for line in lines] == ["cut.jpg", "empty.jpg"]
    assert all("cannot be decoded" in line["error"] for line in lines)
    preprocess(folder_data(photos, tmp_path / "root"), image_size=8, overwrite=True)
    assert not listing.exists()


def test_nothing_decodable_keeps_the_old_store_and_lists_why(photos: Path, tmp_path: Path):
    data = folder_data(photos, tmp_path)
    preprocess(data)
    with pytest.raises(DataError, match="not one image could be prepared"):
        preprocess(folder_data(photos, tmp_path, ["cut.jpg"]), image_size=8, overwrite=True)
    assert len(stored(data)) == 4
    assert "cut.jpg" in (tmp_path / "folder" / "preprocess.failures.jsonl").read_text()


def test_an_image_too_long_for_jpeg_is_listed_not_fatal(tmp_path: Path):
    Image.new("L", (70_000, 4)).save(tmp_path / "long.png")
    _, error = encode_image(Record("long.png", tmp_path / "long.png"), 16)
    assert error is not None
    assert error.startswith("Image long.png cannot be stored")


def test_workers_change_no_byte(photos: Path, tmp_path: Path):
    names = [f"{number}.jpg" for number in range(40)]
    for number, name in enumerate(names):
        Image.new("RGB", (20 + number, 14), (number, 0, 255 - number)).save(photos / name)
    contents = []
    for workers in (1, 3):
        root = tmp_path / f"root{workers}"
        made = preprocess(
            folder_data(photos, root, [*names[:20], "cut.jpg", *names[20:]]), image_size=10, workers=workers
        )
        assert [failure.image for failure in made.failures] == ["cut.jpg"]
        files = sorted(path for path in root.rglob("*") if path.is_file())
        contents.append([(path.relative_to(root), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]


def test_an_existing_store_is_only_replaced_when_asked(photos: Path, tmp_path: Path):
    data = folder_data(photos, tmp_path)
    preprocess(data)
    with pytest.raises(DataError, match="store exists") as caught:
        preprocess(data)
    assert caught.value.hint == "Give --overwrite to replace it."
    preprocess(folder_data(photos, tmp_path, ["wide.jpg"]), overwrite=True)
    assert set(stored(data)) == {"wide.jpg"}


def test_options_are_names_with_values_or_an_object_of_the_set(tmp_path: Path):
    source = write_coco(tmp_path / "layout")
    counts = []
    for options in ({"allow_partial": True, "keep_unlabelled": True}, CocoOptions(allow_partial=True)):
        made = preprocess(Coco(root=tmp_path), source=source, options=options, overwrite=True)
        counts.append(made.meta["counts"]["test"]["images"])
        expected = CocoOptions(**dict(options)).model_dump(mode="json")
        assert made.meta["options"] == expected | {"hierarchy": False}
        assert json.loads((made.folder / "meta.json").read_text()) == made.meta
    assert counts == [3, 2]


def test_the_store_says_what_a_set_without_options_was_made_of(tmp_path: Path):
    made = preprocess(Shapes(root=tmp_path, num_train=3, num_val=2, num_test=2, seed=5))
    assert made.meta["options"] == {"num_train": 3, "num_val": 2, "num_test": 2, "seed": 5, "render_size": None}


def test_of_files_the_store_says_the_name_alone(photos: Path, tmp_path: Path):
    (tmp_path / "labels.csv").write_text("image,labels,split\nwide.jpg,a,train\nsmall.jpg,b,val\n")
    made = preprocess(Folder(root=tmp_path / "data", images=photos, labels=tmp_path / "labels.csv"))
    assert (made.meta["options"]["images"], made.meta["options"]["labels"]) == ("photos", "labels.csv")


def test_mistakes_in_options_are_told_together(photos: Path, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        preprocess(Coco(root=tmp_path), options={"max_mising": 1, "val_fraction": "no"})
    assert str(caught.value).splitlines() == [
        "hlcli preprocess coco: options.val_fraction: must be a number (got 'no').",
        "hlcli preprocess coco: options.max_mising: unknown key. Did you mean max_missing?",
    ]
    with pytest.raises(InputError, match=r"options\.masks: unknown key"):
        preprocess(folder_data(photos, tmp_path), options={"masks": "m.json"})
    with pytest.raises(ValueError, match="options must be CocoOptions for coco, got Voc2007Options"):
        preprocess(Coco(root=tmp_path), options=Voc2007Options())


def test_exported_matrices_are_the_labels(tmp_path: Path):
    data = Shapes(root=tmp_path, num_train=5, num_val=2, num_test=0, render_size=16)
    preprocess(data)
    paths = write_exports(data, "npy")
    assert [path.name for path in paths] == ["train_label_vectors_shapes.npy", "val_label_vectors_shapes.npy"]
    matrix = np.load(paths[0])
    assert (matrix.dtype, matrix.shape) == (np.float64, (5, 12))
    for row, record in zip(matrix, data.records("train"), strict=True):
        assert tuple(np.flatnonzero(row)) == record.labels
        assert set(row) <= {0.0, 1.0}


def test_preprocess_then_train_from_the_store(tmp_path: Path, tiny):
    words = ["preprocess", "shapes", "--root", tmp_path, "--export", "npy", "--json", "--workers", 1]
    settings = ["num_train=16", "num_val=8", "num_test=0", "render_size=32"]
    done = CliRunner().invoke(app, [str(w) for w in words] + [w for s in settings for w in ("--set", s)])
    assert done.exit_code == 0, done.output
    store = tmp_path / "shapes" / "store"
    assert json.loads(done.stdout) == {
        "store": str(store), "images": {"train": 16, "val": 8}, "failures": 0, "notes": {},
    }  # fmt: skip
    assert np.load(tmp_path / "shapes" / "val_label_vectors_shapes.npy").shape == (8, 12)
    sizes = ("data.num_train=16", "data.num_val=8", "train.epochs=1")
    drawn = hlcli.train(tiny(*sizes), tmp_path / "drawn")
    read = hlcli.train(tiny(*sizes, f"data.store={store}"), tmp_path / "read")
    assert read.best_model()["metrics"] == drawn.best_model()["metrics"]


def test_preprocess_of_a_folder_end_to_end(photos: Path, tmp_path: Path):
    folder_data(photos, tmp_path, ["wide.jpg", "cut.jpg"])
    words = ["preprocess", "folder", "--root", str(tmp_path), "--image-size", "8", "--workers", "1"]
    words += ["--set", f"images={photos}", "--set", f"data.labels={tmp_path / 'labels.csv'}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert done.stdout == f"{tmp_path / 'folder' / 'store'}: train 1\n"
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
