"""The data file of published sources: well formed, complete, and with the facts that others publish."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import hlcli
from hlcli.data.data_set_names import data_set_classes
from hlcli.data.datasets import sources
from hlcli.data.datasets.published_lists import PUBLISHED
from hlcli.data.datasets.sources import published
from hlcli.sections import DataSection

FACTS = """
intentonomy intentonomy_train2020.json annotations - -
    git-sha1:f2c636383a5dcd7042f96740ef25488b48852a65
intentonomy intentonomy_val2020.json annotations - 230_279
    sha256:46ed3c6621a2009f1b310822c9af298c8fcf940aa5b24168b3808225162d5049
intentonomy intentonomy_test2020.json annotations - 561_171
    sha256:f1364696c754f5526446a2226995ccfdb293291704c414198529c2fa6757e27d
coco train2014.zip images . 13_510_573_713
    sha256:ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775
coco val2014.zip images . 6_645_013_297
    sha256:fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0
coco annotations_trainval2014.zip annotations . 252_872_794
    sha256:031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009
coco test2014.zip test . 6_660_437_059
    sha256:ead40c62230cb2cf70ff4c8b4c70abdc260a7556e77b3282621d06d8e2e35bdf
coco image_info_test2014.zip test . 763_464
    sha256:7cecc66f6b09c1671c1896a1bcc1f35eb09b7fcf00a5c18420a5f0f5983dc8c9
coco caption_datasets.zip karpathy karpathy 36_745_453
    sha256:4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817
coco coco_train_full.txt lists - - md5:310025721514e4260a17091fd610c88e
coco coco_train_0.75left.txt lists - - md5:d0aba64292b20e36086cc741e77ffaf8
coco coco_train_0.4left.txt lists - - md5:01b71e70ff27773516ae3abcea498494
coco coco_train_singlelabel.txt lists - - md5:08386d86dcc5324fdb8cd6f541091319
voc2007 VOCtrainval_06-Nov-2007.tar images . 460_032_000
    sha256:7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508
voc2007 VOCtest_06-Nov-2007.tar images . 451_020_800
    sha256:6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892
voc2012 VOCtrainval_11-May-2012.tar images . 1_999_639_040
    sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb
nuswide ConceptsList.zip annotations ConceptsList - -
nuswide Groundtruth.zip annotations Groundtruth - -
nuswide ImageList.zip annotations ImageList - -
nuswide Flickr.zip images Flickr - -
nuswide nus_val.txt asl - - md5:c80a0180638af8fa39668672c026501d
vg500 train_list_500.txt annotations - 983_957 -
vg500 test_list_500.txt annotations - 118_596 -
vg500 images.zip images VG_100K 9_731_705_982 -
vg500 images2.zip images VG_100K_2 5_471_658_058 -
vg500 objects.json.zip names . 55_323_929 -
cub CUB_200_2011.tgz images . 1_150_585_339 md5:97eceeb196236b17998738112f37df78
"""
"""As the specification of the data sets has them: set, file, part, folder it is unpacked to, bytes, sum."""

_ROWS = [tuple(row.split()) for row in FACTS.replace("\n    ", " ").strip().splitlines()]


@pytest.mark.parametrize("row", _ROWS, ids=[f"{name}-{file}" for name, file, *_ in _ROWS])
def test_files_are_as_the_specification_has_them(row: tuple[str, ...]):
    name, file, *expected = row
    (source,) = [source for source in published()[name].sources if source.name == file]
    checksum = source.checksum and f"{source.checksum.algorithm}:{source.checksum.value}"
    size = source.size and f"{source.size:_}"
    assert [source.part, source.unpack_to or "-", size or "-", checksum or "-"] == expected


def test_no_archive_is_left_out_of_the_facts():
    archives = {
        (name, source.name)
        for name, one in published().items()
        for source in one.sources
        if source.unpack_to is not None and source.urls and name not in ("coco-karpathy", "flickr8k", "flickr30k")
    }
    assert archives <= {(name, file) for name, file, *_ in _ROWS}


def test_every_data_set_that_is_prepared_from_files_has_its_sources():
    prepared = [
        name for name, one in data_set_classes().items() if issubclass(one, DataSection) and not one.reads_directly
    ]
    assert sorted(published()) == sorted(prepared)
    for name, one in published().items():
        section = data_set_classes()[name]()
        assert (section.licence, section.sources) == one[:2]
        assert len(one.licence) > 40
        assert one.licence.endswith(".")
    assert data_set_classes()["shapes"]().licence == ""
    assert data_set_classes()["shapes"]().sources == ()


@pytest.mark.parametrize("name", sorted(published()))
def test_files_are_named_once_and_lead_somewhere(name):
    files = published()[name].sources
    assert len({source.name for source in files}) == len(files) > 0
    for source in files:
        assert all(url.partition("?")[0].endswith(f"/{source.name}") for url in source.urls)
        assert source.urls or source.by_hand
        assert source.unpack_to is not None or not source.name.endswith((".zip", ".tar", ".tgz"))
        assert len(set(source.urls)) == len(source.urls)


def test_what_may_come_over_plain_http_has_a_sum():
    """COCO's host has no certificate; VOC's older name comes last."""
    plain = [
        one for each in published().values() for one in each.sources if any(url.startswith("http:") for url in one.urls)
    ]
    assert {source.name for source in plain} >= {"train2014.zip", "val2014.zip", "VOCtest_06-Nov-2007.tar"}
    assert all(source.checksum is not None and source.size is not None for source in plain)
    for name in ("voc2007", "voc2012"):
        for source in published()[name].sources:
            assert [url.startswith("http:") for url in source.urls].index(True) == len(source.urls) - 1
            assert source.checksum.algorithm == "sha256"


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


def test_sets_whose_photos_have_terms_are_marked():
    terms = {name for name, one in published().items() if one.has_terms}
    assert terms == {"intentonomy", "voc2007", "voc2012", "nuswide", "flickr8k", "flickr30k"}


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
