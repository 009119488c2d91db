from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from archive_files import make_zip
from faulty_server import FakeClock, FaultyServer, without_proxies  # noqa: F401
from vg500_files import LABELS, make_objects, random_labels, write_partition

from hlcli.data.datasets import vg500
from hlcli.data.datasets.base import DownloadOptions, Prepared
from hlcli.data.datasets.vg500 import Vg500, Vg500Options
from hlcli.data.datasets.vg500_names import NUM_LABELS, check_agreement, read_names, read_objects, recover_names
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_label_space
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.session import Session
from hlcli.errors import DataError, InputError

NAMES = [f"thing number {index}" for index in range(NUM_LABELS)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_partition(tmp_path / "vg500")
    return tmp_path / "vg500"


def prepare(source: Path, **options) -> Prepared:
    return Vg500(root=source).prepare(source, Vg500Options(**{"allow_partial": True} | options))


def rows(prepared: Prepared, split: str) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(record.image_id, Path(str(record.image)).parent.name, record.labels) for record in prepared.splits[split]]


def test_images_come_in_the_order_of_the_lists_from_the_first_folder_that_has_them(source, caplog):
    prepared = prepare(source)
    assert rows(prepared, "train") == [
        ("103.jpg", "VG_100K", (0, 7)),
        ("101.jpg", "VG_100K", (3, 7)),
        ("102.jpg", "VG_100K", (499,)),
    ]
    assert rows(prepared, "test") == [("202.jpg", "VG_100K_2", (7, 12)), ("201.jpg", "VG_100K_2", (3,))]
    assert prepared.labels is not None
    assert prepared.labels.label_names == tuple(map(str, range(500)))
    assert prepared.notes["names"] == "numbers"
    assert "--recover-names" in caplog.text
    assert prepared.notes["sources"].keys() == {path.name for path in source.iterdir() if path.is_file()}


def test_counts_are_those_of_the_partition_not_of_the_paper(source, monkeypatch):
    with pytest.raises(
        DataError, match=r"train_list_500\.txt: 82,904 images were expected, found 3\..*--allow-partial"
    ):
        prepare(source, allow_partial=False)
    monkeypatch.setattr(vg500, "COUNTS", {"train": 3, "test": 2})
    assert len(prepare(source, allow_partial=False).splits["test"]) == 2


def test_missing_photos_are_refused_beyond_the_limit(source):
    (source / "VG_100K_2" / "201.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 test images are missing.*201\.jpg.*hlcli download vg500"):
        prepare(source)
    assert [row[0] for row in rows(prepare(source, max_missing=0.5), "test")] == ["202.jpg"]


def test_photos_in_both_folders_come_from_the_first_and_are_noted_unless_equal(source, caplog):
    assert prepare(source).notes["differing_duplicates"] == ["103.jpg"]
    assert "1 photo differs between VG_100K and VG_100K_2, e.g. 103.jpg; those of VG_100K are taken" in caplog.text
    caplog.clear()
    (source / "VG_100K_2" / "103.jpg").write_bytes((source / "VG_100K" / "103.jpg").read_bytes())
    prepared = prepare(source)
    assert prepared.notes["differing_duplicates"] == []
    assert rows(prepared, "train")[0][:2] == ("103.jpg", "VG_100K")
    assert "differ" not in caplog.text


def test_labels_and_lists_that_do_not_belong_together_are_named(source):
    (source / "test_list_500.txt").write_text("201.jpg\n999.jpg\n")
    with pytest.raises(DataError, match=r"1 of 2 images .* have no labels .*999\.jpg"):
        prepare(source)
    (source / vg500.LABELS_NAME).write_text(json.dumps(LABELS | {"1.jpg": [500]}))
    with pytest.raises(DataError, match=r"1\.jpg has a label outside 0\.\.499"):
        prepare(source)
    (source / vg500.LABELS_NAME).write_text("[1, 2]")
    with pytest.raises(DataError, match="cannot be read"):
        prepare(source)


@pytest.mark.parametrize(
    ("row", "message"),
    [('"12"', "not a list"), ("[true]", "whole numbers"), ("[1.0]", "whole numbers"), ("[1e999]", "1e999 is too large"),
     ("[-1]", "outside"), ("[" * 100_000, "cannot be read"), ("[" + "1" * 5000 + "]", "cannot be read")],
)  # fmt: skip
def test_labels_are_lists_of_whole_numbers(tmp_path, row, message):
    (tmp_path / "labels.json").write_text(f'{{"1.jpg": {row}}}')
    with pytest.raises(DataError, match=message):
        vg500.read_labels(tmp_path / "labels.json")


def test_images_without_labels_are_warned_about(source, caplog):
    (source / vg500.LABELS_NAME).write_text(json.dumps(LABELS | {"101.jpg": []}))
    prepare(source)
    assert "1 image has no label: 101.jpg" in caplog.text


def test_lists_that_overlap_or_lead_elsewhere_are_refused(source, tmp_path):
    (source / "test_list_500.txt").write_text("201.jpg\n101.jpg\n")
    with pytest.raises(DataError, match=r"Splits train and test share 1 image: 101\.jpg"):
        preprocess(Vg500(root=tmp_path), source=source, options={"allow_partial": True})
    (source / "test_list_500.txt").write_text("201.jpg\n../x.jpg\n")
    with pytest.raises(DataError, match=r"test_list_500\.txt, line 2: a path below"):
        prepare(source)


def test_files_of_names_that_cannot_be_read_are_named(source, tmp_path):
    for option in ("names", "recover_names"):
        for path in (tmp_path / "gone.txt", tmp_path):
            with pytest.raises(DataError, match=str(path)):
                prepare(source, **{option: path})
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not Visual Genome's"):
        read_objects(tmp_path / "deep.json")


def test_given_names_are_kept_in_the_store(source, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    options = {"allow_partial": True, "names": tmp_path / "names.txt"}
    made = preprocess(Vg500(root=tmp_path), source=source, options=options)
    assert made.meta["notes"]["names"] == "given"
    assert open_label_space(Vg500(root=tmp_path)).label_names == tuple(NAMES)


@pytest.mark.parametrize(
    ("names", "message"),
    [(NAMES[:-1], "but it has 499"), ([*NAMES[:-1], NAMES[0]], "'thing number 0' is there twice")],
)
def test_names_that_cannot_be_right_are_refused(tmp_path, names, message):
    (tmp_path / "names.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / "names.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_names(tmp_path)


def shuffled_names() -> list[str]:
    return [NAMES[(index * 137 + 11) % NUM_LABELS] for index in range(NUM_LABELS)]


def write_many(source: Path, *, noise: float) -> Path:
    """A partition of many images and the objects.json that belongs to it."""
    labels = random_labels(4000, 6)
    (source / vg500.LABELS_NAME).write_text(json.dumps(labels))
    (source / "train_list_500.txt").write_text("\n".join(list(labels)[:3000]))
    (source / "test_list_500.txt").write_text("\n".join(list(labels)[3000:]))
    (source / "objects.json").write_text(json.dumps(make_objects(labels, shuffled_names(), noise=noise)))
    return source / "objects.json"


def test_names_are_recovered_from_images_that_share_them(source, caplog):
    objects = write_many(source, noise=0.01)
    with caplog.at_level(logging.INFO):
        prepared = prepare(source, recover_names=objects, without_images=True)
    assert list(prepared.labels.label_names) == shuffled_names()
    assert prepared.notes["names"] == "recovered"
    assert min(prepared.notes["name_agreement"].values()) >= 0.9
    assert "Recovered 500 names; agreement 0.99" in caplog.text


def test_doubtful_names_are_refused_unless_allowed(source):
    objects = write_many(source, noise=0.3)
    with pytest.raises(DataError, match=r"of 500 labels are doubtful.*less than 0\.9.*--min-agreement"):
        prepare(source, recover_names=objects, without_images=True)
    prepared = prepare(source, recover_names=objects, without_images=True, min_agreement=0.3)
    assert list(prepared.labels.label_names) == shuffled_names()
    with pytest.raises(InputError, match="cannot be given together"):
        prepare(source, recover_names=objects, names=objects)


def test_agreement_is_shared_images_as_a_share_of_all_and_a_name_serves_once():
    labels = {"1": [0], "2": [0], "3": [0, 1], "4": [1], "unknown": [1]}
    objects = {"1": {"cat"}, "2": {"cat"}, "3": {"cat"}, "4": {"cat", "dog"}, "5": {"dog"}}
    matches = recover_names(labels, objects)
    assert matches[0] == ("cat", 3 / 4)
    assert matches[1] == ("dog", 1 / 2)
    assert matches[2] == ("2", 0.0)
    with pytest.raises(DataError, match=r"499 of 500 labels are doubtful.* 2 '2' 0\.00"):
        check_agreement(matches, 0.7)


def test_names_agree_best_in_total_where_the_best_single_pair_is_wrong():
    labels = {str(image): [*([0] if image >= 50 else []), *([1] if image < 940 else [])] for image in range(1000)}
    objects = {str(image): {"x", *(["y"] if image >= 110 else [])} for image in range(1000)}
    matches = recover_names(labels, objects)
    assert matches[:2] == (("y", 890 / 950), ("x", 940 / 1000))  # 0 and x share 950 images of 1,000
    check_agreement(matches[:2], 0.9)


def test_objects_are_read_from_the_zip_too(tmp_path):
    document = [{"image_id": 7, "objects": [{"names": [" Tree", "plant"]}, {"names": ["sky"]}]}]
    (tmp_path / "objects.json").write_text(json.dumps(document))
    with zipfile.ZipFile(tmp_path / "objects.json.zip", "w") as archive:
        archive.write(tmp_path / "objects.json", "objects.json")
    expected = {"7": {"tree", "sky"}}
    assert read_objects(tmp_path / "objects.json") == read_objects(tmp_path / "objects.json.zip") == expected
    (tmp_path / "objects.json").write_text('[{"image_id": 7}]')
    with pytest.raises(DataError, match=r"is not Visual Genome's objects\.json"):
        read_objects(tmp_path / "objects.json")


@pytest.fixture
def server(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serves the partition as its publishers do: two archives of photos, three files."""
    monkeypatch.setattr(archive_download, "Session", partial(Session, clock=FakeClock(), per_second=1e9))
    with FaultyServer() as running:
        for name, folder in (("images.zip", "VG_100K"), ("images2.zip", "VG_100K_2")):
            photos = {f"{folder}/{path.name}": path.read_bytes() for path in (source / folder).iterdir()}
            running.files[f"/{name}"] = make_zip(photos)
        running.files |= {f"/{path.name}": path.read_bytes() for path in source.iterdir() if path.is_file()}
        sources = [entry._replace(urls=(running.url(f"/{entry.name}"),), size=None) for entry in Vg500().sources]
        monkeypatch.setattr(Vg500, "sources", tuple(sources))
        yield running


def test_what_is_downloaded_can_be_prepared(server, source, tmp_path):
    data = Vg500(root=tmp_path / "data")
    report = data.download(data.folder(), DownloadOptions())
    assert (report.present, report.fetched) == (0, 5)
    prepared = data.prepare(data.folder(), Vg500Options(allow_partial=True))
    assert rows(prepared, "train") == rows(prepare(source), "train")
    assert not server.asked("/objects.json.zip")
