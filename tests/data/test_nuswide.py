from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from archive_files import make_zip
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from nuswide_files import OFFICIAL, write_asl, write_official, write_photo, write_spml

from hlcli.data import archive_download
from hlcli.data.datasets import nuswide, nuswide_annotations, nuswide_download
from hlcli.data.datasets.base import DownloadOptions, Prepared
from hlcli.data.datasets.nuswide import Nuswide, NuswideOptions
from hlcli.data.datasets.nuswide_annotations import find_placeholders
from hlcli.data.datasets.nuswide_download import read_addresses
from hlcli.data.datasets.nuswide_labels import GROUPS, LABEL_NAMES, Counts
from hlcli.data.preparation import preprocess
from hlcli.data.session import Session
from hlcli.data.store import open_label_space, open_records
from hlcli.errors import DataError, InputError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_official(tmp_path / "NUS-WIDE")
    return tmp_path / "NUS-WIDE"


def prepare(source: Path, **options) -> Prepared:
    return Nuswide().prepare(source, NuswideOptions(**{"allow_partial": True} | options))


def rows(prepared: Prepared, split: str) -> list[tuple[str, list[str]]]:
    return [(record.image_id, [LABEL_NAMES[i] for i in record.labels]) for record in prepared.splits[split]]


def test_the_concepts_are_the_official_ones():
    assert len(LABEL_NAMES) == 81
    assert [LABEL_NAMES[index] for index in (0, 42, 58, 80)] == ["airport", "person", "sports", "zebra"]
    assert {group: len(members) for group, members in GROUPS.items()} == {
        "activity": 9,
        "program": 1,
        "scene": 33,
        "people": 4,
        "object": 33,
        "graphics": 1,
    }
    labels = Nuswide(hierarchy=True).label_space()
    assert labels.level_sizes == (6, 81)
    assert labels.levels[0].label_names[labels.ancestors(LABEL_NAMES.index("elk"))[0]] == "object"
    assert Nuswide().label_space().level_sizes == (81,)


@pytest.mark.parametrize("concepts_at", ["ConceptsList", "."])
@pytest.mark.parametrize("labels_at", ["Groundtruth/AllLabels", "AllLabels"])
def test_the_official_split_is_that_of_the_papers(tmp_path, concepts_at, labels_at):
    write_official(tmp_path, concepts_at=concepts_at, labels_at=labels_at)
    prepared = prepare(tmp_path)
    assert rows(prepared, "train") == [
        ("actor/0001_11.jpg", ["person"]),
        ("zebra/0002_12.jpg", ["animal", "grass", "zebra"]),
    ]
    assert rows(prepared, "test") == [("lake/0004_14.jpg", ["lake", "water"]), ("fox/0007_17.jpg", ["animal", "fox"])]
    assert prepared.splits["train"][0].image == tmp_path / "Flickr" / "actor" / "0001_11.jpg"
    assert prepared.notes["images_without_labels"] == {"train": 1, "test": 1}
    assert prepared.notes["data_set"] == "the official split"
    assert prepared.notes["num_images"] == 4
    assert {"Imagelist.txt", "Labels_zebra.txt"} <= prepared.notes["sources"].keys()


def test_unlabelled_images_are_kept_on_demand(source):
    prepared = prepare(source, keep_unlabelled=True)
    assert ("sky/0003_13.jpg", []) in rows(prepared, "train")
    assert [len(records) for records in prepared.splits.values()] == [3, 3]


def test_photos_may_lie_elsewhere(source, tmp_path):
    (source / "Flickr").rename(tmp_path / "photos")
    with pytest.raises(DataError, match="2 of 2 train images are missing"):
        prepare(source)
    assert prepare(source, images=tmp_path / "photos").notes["data_set"] == "the official split"


def test_missing_images_are_listed_and_refused_beyond_the_limit(source, caplog):
    (source / "Flickr" / "zebra" / "0002_12.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 train images are missing .*zebra/0002_12\.jpg.*--max-missing"):
        prepare(source, max_missing=0.4)
    prepared = prepare(source, max_missing=0.5)
    assert rows(prepared, "train") == [("actor/0001_11.jpg", ["person"])]
    assert prepared.notes["missing_images"] == {"train": ["zebra/0002_12.jpg"], "test": []}
    assert prepared.notes["data_set"] == "own crawl, by the lists of the official split"
    assert prepared.notes["num_images"] == 3


def test_the_published_counts_are_checked(source, monkeypatch, caplog):
    with pytest.raises(DataError, match=r"Imagelist\.txt lists 7 images, expected 269,648.*--allow-partial"):
        prepare(source, allow_partial=False)
    monkeypatch.setattr(nuswide_annotations, "NUM_LISTED", 7)
    with pytest.raises(DataError, match="expected 161,789 train images, found 3"):
        prepare(source, allow_partial=False)
    known = {"train": Counts(3, labelled=2), "test": Counts(3, labelled=3)}
    monkeypatch.setattr(nuswide, "OFFICIAL", known)
    prepare(source, allow_partial=False)
    assert "test: 2 images have a label; 3 are usual" in caplog.text
    assert "train: " not in caplog.text


def test_damaged_label_files_and_foreign_concepts_are_named(source):
    path = source / "Groundtruth" / "AllLabels" / "Labels_whales.txt"
    content = path.read_text()
    for wrong in (content + "0\n", content.replace("0", "2", 1), ""):
        path.write_text(wrong)
        with pytest.raises(DataError, match=r"Labels_whales\.txt has not 7 lines of 0 or 1"):
            prepare(source)
    path.unlink()
    with pytest.raises(DataError, match=r"AllLabels/Labels_whales\.txt is missing"):
        prepare(source)
    path.write_text(content)
    concepts = source / "ConceptsList" / "Concepts81.txt"
    concepts.write_text(concepts.read_text().replace("zebra", "unicorn"))
    with pytest.raises(DataError, match="'unicorn' is not one of them"):
        prepare(source)


def test_pictures_that_stand_for_removed_photos_count_as_missing(source, caplog):
    picture = source / "Flickr" / "zebra" / "0002_12.jpg"
    md5 = hashlib.md5(picture.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=r"1 of 2 train images are pictures that stand .*with them 1 are missing"):
        prepare(source, placeholder=[md5.upper()])
    prepared = prepare(source, placeholder=[md5], max_missing=0.5)
    assert [record.image_id for record in prepared.splits["train"]] == ["actor/0001_11.jpg"]
    assert prepared.notes["missing_images"]["train"] == ["zebra/0002_12.jpg"]
    assert prepared.notes["placeholder"] == [md5]


def test_pictures_that_are_the_same_too_often_are_no_photos(tmp_path):
    for i in range(6):
        write_photo(tmp_path / f"same{i}.jpg", 3)
        write_photo(tmp_path / f"own{i}.jpg", i)
    files = sorted(tmp_path.glob("*.jpg"))
    twins = sorted([*tmp_path.glob("same*.jpg"), tmp_path / "own3.jpg"])
    assert sorted(find_placeholders(files, (), 7)) == twins
    assert find_placeholders(files, (), 8) == []
    assert find_placeholders(files, (), 0) == []
    sha256 = hashlib.sha256((tmp_path / "own0.jpg").read_bytes()).hexdigest()
    assert find_placeholders(files, {sha256}, 0) == [tmp_path / "own0.jpg"]


def test_the_lists_of_asl_are_another_variant(tmp_path):
    write_asl(tmp_path)
    prepared = prepare(tmp_path, variant="asl")
    assert rows(prepared, "train") == [("0_11_a_m.jpg", ["person"]), ("1_12_b_m.jpg", ["animal", "grass", "zebra"])]
    assert rows(prepared, "test") == [("3_14_d_m.jpg", ["lake", "water"])]
    assert prepared.notes["data_set"] == "ASL's re-crawl"
    assert prepared.notes["variant"] == "asl"
    single = prepare(tmp_path, variant="asl", single_positive=True)
    assert rows(single, "train") == [("0_11_a_m.jpg", ["person"]), ("1_12_b_m.jpg", ["grass"])]
    with pytest.raises(DataError, match="expected 119,103 train images, found 3"):
        prepare(tmp_path, variant="asl", allow_partial=False)
    (tmp_path / "nus_val.txt").write_text("a.jpg,81\n")
    with pytest.raises(DataError, match=r"nus_val\.txt, line 1: .*got 'a\.jpg,81'"):
        prepare(tmp_path, variant="asl")
    (tmp_path / "nus_val.txt").unlink()
    with pytest.raises(DataError, match=r"nus_val\.txt is missing.*--part asl"):
        prepare(tmp_path, variant="asl")


def test_the_arrays_of_spml_are_another_variant(tmp_path):
    write_spml(tmp_path)
    prepared = prepare(tmp_path, variant="spml", keep_unlabelled=True)
    assert rows(prepared, "train") == [("a.jpg", ["bear", "boats"]), ("b.jpg", [])]
    assert rows(prepared, "test") == [("c.jpg", ["bear", "boats"])]
    assert prepared.notes["data_set"] == "SPML's re-crawl"
    np.save(tmp_path / "formatted_val_labels.npy", np.zeros((1, 80)))
    with pytest.raises(DataError, match=r"has shape \[1, 80\], expected \[1, 81\]"):
        prepare(tmp_path, variant="spml")
    np.save(tmp_path / "formatted_val_images.npy", np.array(["c.jpg"], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        prepare(tmp_path, variant="spml")


def test_options_of_another_variant_are_refused(source):
    with pytest.raises(InputError, match="--variant asl"):
        prepare(source, single_positive=True)


def test_the_store_serves_recipes_with_and_without_groups(source, tmp_path):
    made = preprocess(Nuswide(root=tmp_path), source=source, options={"allow_partial": True})
    assert made.meta["counts"]["train"]["images"] == 2
    assert made.meta["notes"]["data_set"] == "the official split"
    assert open_label_space(Nuswide(root=tmp_path)).level_sizes == (81,)
    assert open_label_space(Nuswide(root=tmp_path, hierarchy=True)).level_sizes == (6, 81)
    assert Path(open_records(Nuswide(root=tmp_path), "test")[1].image).name == "0007_17.jpg"


ADDRESSES = """Photo_file Photo_id url_Large url_Middle url_Small url_Original
C:\\ImageData\\Flickr\\actor\\0001_11.jpg   11 http://h/11_b.jpg http://h/11.jpg http://h/11_m.jpg null
C:\\ImageData\\Flickr\\zebra\\0002_12.jpg   12 null null http://h/12_m.jpg null \r
C:\\ImageData\\Flickr\\lake\\0004_14.jpg   14 http://h/14_b.jpg null null null
C:\\ImageData\\Flickr\\sun\\0005_15.jpg   15 null null null null
"""


def test_addresses_are_read_medium_size_first(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_text(ADDRESSES, newline="")
    assert [tuple(item) for item in read_addresses(path)] == [
        ("actor/0001_11.jpg", "http://h/11.jpg", "Flickr/actor/0001_11.jpg"),
        ("zebra/0002_12.jpg", "http://h/12_m.jpg", "Flickr/zebra/0002_12.jpg"),
        ("lake/0004_14.jpg", "http://h/14_b.jpg", "Flickr/lake/0004_14.jpg"),
    ]
    path.write_text(ADDRESSES + "Rar!\n")
    with pytest.raises(DataError, match=r"urls\.txt, line 6: .*'Rar!'"):
        list(read_addresses(path))


@pytest.fixture
def server(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serves the official archives, made from the miniature, and two of the photos."""
    monkeypatch.setattr(archive_download, "Session", partial(Session, clock=FakeClock(), per_second=1e9))
    with FaultyServer() as running:
        for name in ("ConceptsList", "Groundtruth", "ImageList"):
            files = {path.relative_to(source).as_posix(): path.read_bytes() for path in (source / name).rglob("*.txt")}
            running.files[f"/{name}.zip"] = make_zip(files)
        for file in ("actor/0001_11.jpg", "lake/0004_14.jpg"):
            running.files[f"/{file}"] = (source / "Flickr" / file).read_bytes()
        running.always["/zebra/0002_12.jpg"] = Fault(status=410)
        sources = [
            entry._replace(urls=tuple(running.url(f"/{entry.name}") for _ in entry.urls))
            for entry in nuswide_download.SOURCES
        ]
        monkeypatch.setattr(nuswide_download, "SOURCES", tuple(sources))
        yield running


def test_a_crawl_fetches_lists_and_photos_and_is_told_from_the_official_set(server, tmp_path, caplog):
    addresses = tmp_path / "NUS-WIDE-urls.txt"
    files = [file.replace("\\", "/") for file in OFFICIAL if file.startswith(("actor", "zebra", "lake"))]
    lines = [f"C:\\ImageData\\Flickr\\{f.replace('/', chr(92))} 1 null {server.url('/' + f)} null null" for f in files]
    addresses.write_text("\n".join(lines))
    data = Nuswide(root=tmp_path / "data")
    report = data.download(data.folder(), DownloadOptions(crawl=addresses))
    assert (report.fetched, report.missing, report.unit) == (2, ("zebra/0002_12.jpg",), "photo")
    assert json.loads(report.failures.read_text())["status"] == 410
    assert "Flickr.zip cannot be fetched" in caplog.text
    prepared = data.prepare(data.folder(), NuswideOptions(allow_partial=True, max_missing=0.6))
    assert rows(prepared, "train") == [("actor/0001_11.jpg", ["person"])]
    assert prepared.notes["data_set"] == "own crawl, by the lists of the official split"
    plan = data.plan_download(data.folder(), DownloadOptions(crawl=addresses))
    assert ("2 photos", "present", "0 bytes") in plan
    assert ("1 photos", "gone", "0 bytes") in plan


def test_the_archive_of_photos_may_be_placed_by_hand(server, source, tmp_path, caplog):
    photos = {f"Flickr/{p.parent.name}/{p.name}": p.read_bytes() for p in (source / "Flickr").rglob("*.jpg")}
    (tmp_path / "Flickr.zip").write_bytes(make_zip(photos))
    data = Nuswide(root=tmp_path / "data")
    with caplog.at_level(logging.INFO):
        report = data.download(data.folder(), DownloadOptions(source=tmp_path))
    assert (report.fetched, report.unit) == (4, "file")
    prepared = data.prepare(data.folder(), NuswideOptions(allow_partial=True))
    assert prepared.notes["data_set"] == "the official split"
