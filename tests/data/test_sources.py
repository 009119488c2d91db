"""The data file of published sources: well formed, complete, and with the facts that others publish."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import hlcli
from hlcli.data.datasets import sources
from hlcli.data.datasets.published_lists import PUBLISHED
from hlcli.data.datasets.sources import published
from hlcli.recipe import data_sections
from hlcli.sections import DataSection

FACTS = [
    ("coco", "train2014.zip", 13_510_573_713, "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775"),
    ("coco", "val2014.zip", 6_645_013_297, "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0"),
    ("coco", "annotations_trainval2014.zip", 252_872_794, 
     "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009"),
    ("coco", "test2014.zip", 6_660_437_059, "ead40c62230cb2cf70ff4c8b4c70abdc260a7556e77b3282621d06d8e2e35bdf"),
    ("coco", "coco_train_singlelabel.txt", None, "08386d86dcc5324fdb8cd6f541091319"),
    ("coco-karpathy", "caption_datasets.zip", 36_745_453, 
     "4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817"),
    ("voc2007", "VOCtrainval_06-Nov-2007.tar", 460_032_000, "c52e279531787c972589f7e41ab4ae64"),
    ("voc2007", "VOCtest_06-Nov-2007.tar", 451_020_800, "b6e924de25625d8de591ea690078ad9f"),
    ("voc2012", "VOCtrainval_11-May-2012.tar", 1_999_639_040, "6cd6e144f989b92b3379bac3b3de84fd"),
    ("nuswide", "nus_val.txt", None, "c80a0180638af8fa39668672c026501d"),
    ("nuswide", "Groundtruth.zip", None, None),
    ("vg500", "images.zip", 9_731_705_982, None),
    ("vg500", "images2.zip", 5_471_658_058, None),
    ("vg500", "train_list_500.txt", 983_957, None),
    ("cub", "CUB_200_2011.tgz", 1_150_585_339, "97eceeb196236b17998738112f37df78"),
    ("intentonomy", "intentonomy_train2020.json", None, "f2c636383a5dcd7042f96740ef25488b48852a65"),
    ("intentonomy", "intentonomy_val2020.json", 230_279, 
     "46ed3c6621a2009f1b310822c9af298c8fcf940aa5b24168b3808225162d5049"),
]  # fmt: skip
"""As the specification of the data sets has them: set, file, bytes, digits of the sum."""


@pytest.mark.parametrize(("name", "file", "size", "digits"), FACTS, ids=[f"{name}-{file}" for name, file, *_ in FACTS])
def test_sizes_and_sums_are_the_published_ones(name, file, size, digits):
    (source,) = [source for source in published()[name].sources if source.name == file]
    found = source.checksum.value if source.checksum else None
    if name == "intentonomy" and size is None:
        assert source.checksum.algorithm == "git-sha1"
    assert (source.size, found) == (size, digits)


def test_every_data_set_that_is_prepared_from_files_has_its_sources():
    prepared = [
        name for name, one in data_sections().items() if issubclass(one, DataSection) and not one.reads_directly
    ]
    assert sorted(published()) == sorted(prepared)
    for name, one in published().items():
        section = data_sections()[name]()
        assert (section.licence, section.sources) == one
        assert len(one.licence) > 40
        assert one.licence.endswith(".")
    assert data_sections()["shapes"]().licence == ""
    assert data_sections()["shapes"]().sources == ()


@pytest.mark.parametrize("name", sorted(published()))
def test_files_are_named_once_and_lead_somewhere(name):
    files = published()[name].sources
    assert len({source.name for source in files}) == len(files) > 0
    for source in files:
        assert all(url.partition("?")[0].endswith(f"/{source.name}") for url in source.urls)
        assert source.urls or source.by_hand
        assert source.unpack_to is not None or not source.name.endswith((".zip", ".tar", ".tgz"))
        assert len(set(source.urls)) == len(source.urls)


def test_what_comes_over_plain_http_alone_has_a_sum():
    """COCO's host has no certificate."""
    plain = [
        one for each in published().values() for one in each.sources if one.urls and one.urls[0].startswith("http:")
    ]
    assert {source.name for source in plain} >= {"train2014.zip", "val2014.zip", "annotations_trainval2014.zip"}
    assert all(source.checksum is not None and source.size is not None for source in plain)


def test_a_mirror_comes_second_where_a_host_is_known_to_fail():
    voc = [source for name in ("voc2007", "voc2012") for source in published()[name].sources]
    assert all(source.urls[0].startswith("https://thor.robots.ox.ac.uk/") and len(source.urls) >= 3 for source in voc)


def test_downloads_ask_for_no_more_than_most_people_need():
    sizes = {
        name: sum(source.size or 0 for source in one.sources if not source.is_optional)
        for name, one in published().items()
    }
    assert {name: round(size / 1e9, 1) for name, size in sizes.items()} == {
        "intentonomy": 0.0, "coco": 20.4, "coco-karpathy": 20.2, "voc2007": 0.9, "voc2012": 2.0, "nuswide": 0.0,
        "vg500": 15.2, "cub": 1.2, "flickr8k": 0.0, "flickr30k": 0.0,
    }  # fmt: skip


def test_lists_of_labels_that_are_fetched_are_recognised_by_their_sum():
    lists = [source for source in published()["coco"].sources if source.part == "lists"]
    assert len(lists) == 4
    assert {source.checksum.value for source in lists} <= set(PUBLISHED)


def test_captions_share_the_photos_of_coco():
    coco = {source.name: source for source in published()["coco"].sources}
    captions = {source.name: source for source in published()["coco-karpathy"].sources}
    assert captions["train2014.zip"] == coco["train2014.zip"]
    assert (captions["caption_datasets.zip"].is_optional, coco["caption_datasets.zip"].is_optional) == (False, True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x: {licence: Free., files: [{name: a, url: http://h/a}]}", "url"),
        ("x: {licence: Free., files: [{name: a, urls: [ftp://h/a]}]}", "urls"),
        ("x: {licence: Free., files: [{name: a, checksum: 'md5:97ece'}]}", "checksum"),
        ("x: {licence: Free., files: [{name: a, bytes: many}]}", "bytes"),
        ("x: {files: []}", "licence"),
    ],
)
def test_a_slip_in_the_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str):
    (tmp_path / "sources.yaml").write_text(text)
    monkeypatch.setattr(sources, "_SOURCES_FILE", tmp_path / "sources.yaml")
    with pytest.raises(ValidationError, match=complaint):
        published.__wrapped__()


def test_code_has_no_addresses_of_files():
    folder = Path(hlcli.__file__).parent / "data"
    texts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}
    assert [str(path) for path, text in texts.items() if re.search(r"https?://\w+[.-]\w", text)] == []
