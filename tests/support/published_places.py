"""The published files of data sets as small ones, on a server of this machine in the place of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from archive_files import make_tar, make_zip
from coco_files import write_coco
from cub_files import write_cub
from faulty_server import FakeClock, FaultyServer
from intentonomy_files import ROWS, document, image_id, photo
from karpathy_files import coco_document, flickr_document
from nuswide_files import write_asl, write_official
from vg500_files import LABELS, make_objects, write_partition
from voc_files import write_voc

from hlcli.data.datasets import sources
from hlcli.data.datasets.base import Source
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.session import Session


def place_by_hand(server: FaultyServer, downloads: Path) -> None:
    """What people fetch themselves: an archive, and the list of addresses of NUS-WIDE's photos, of one still there."""
    downloads.mkdir()
    (downloads / "CUB_200_2011.tgz").write_bytes(server.files["/published/CUB_200_2011.tgz"])
    row = f"C:\\ImageData\\Flickr\\actor\\0001_11.jpg 11 null {server.url('/flickr/0001_11.jpg')} null null\n"
    Path("NUS-WIDE-urls.txt").write_text(f"Photo_file Photo_id url_Large url_Middle url_Small url_Original\n{row}")


@contextmanager
def small_published_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serve a small version of every published file that programs may fetch, in the place of the real one.

    Args:
        folder: where the files are made.
        monkeypatch: puts their addresses and sizes into the list of published files, and takes out the waits.
    """
    with FaultyServer() as server:
        files = {**_coco(folder), **_voc(folder), **_nuswide(folder), **_vg500(folder), **_cub(folder)}
        for split, rows in ROWS.items():
            files[f"intentonomy_{split}2020.json"] = _json(document(split, server.url("")))
            server.files |= {f"/{image_id(split, row)}": photo() for row in range(len(rows))}
        server.files |= {f"/published/{name}": content for name, content in files.items()}
        server.files["/flickr/0001_11.jpg"] = photo()

        def small(name: str, source: Source) -> Source:
            at = f"{name}-{source.name}" if f"{name}-{source.name}" in files else source.name
            if at not in files or not source.urls:
                return source._replace(urls=())
            return source._replace(urls=(server.url(f"/published/{at}"),), size=len(files[at]), checksum=None)

        real = sources.published()
        found = {
            name: one._replace(sources=tuple(small(name, source) for source in one.sources))
            for name, one in real.items()
        }
        monkeypatch.setattr(sources, "published", lambda: found)
        monkeypatch.setattr(archive_download, "Session", partial(Session, per_second=1e9, clock=FakeClock()))
        yield server


def _json(tree: object) -> bytes:
    return json.dumps(tree).encode()


def _below(folder: Path, inside: str = "") -> dict[str, bytes]:
    """The files of a folder as an archive names them, below `inside/`."""
    prefix = f"{inside}/" if inside else ""
    return {
        prefix + path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _coco(folder: Path) -> dict[str, bytes]:
    root = write_coco(folder / "coco")
    archives = {f"{name}.zip": make_zip(_below(root / name, name)) for name in ("train2014", "val2014")}
    archives["annotations_trainval2014.zip"] = make_zip(_below(root / "annotations", "annotations"))
    karpathy = {"dataset_coco.json": _json(coco_document()), "dataset_flickr8k.json": _json(flickr_document())}
    one_label = b"COCO_train2014_000000000009.jpg,45\nCOCO_train2014_000000000030.jpg,0\n"
    lists = ("full", "0.75left", "0.4left", "singlelabel")
    return {
        **archives,
        "caption_datasets.zip": make_zip(karpathy),
        **{f"coco_train_{name}.txt": one_label for name in lists},
    }


def _voc(folder: Path) -> dict[str, bytes]:
    archives: dict[str, bytes] = {}
    for year, names in {
        "2007": ("trainval_06-Nov-2007", "test_06-Nov-2007"),
        "2012": ("trainval_11-May-2012",),
    }.items():
        whole = make_tar(_below(write_voc(folder / f"voc{year}"), f"VOCdevkit/VOC{year}"))
        archives |= {f"VOC{name}.tar": whole for name in names}
    return archives


def _nuswide(folder: Path) -> dict[str, bytes]:
    write_official(folder / "nuswide")
    write_asl(folder / "asl")
    archives = {
        f"{name}.zip": make_zip(_below(folder / "nuswide" / name))
        for name in ("ConceptsList", "Groundtruth", "ImageList")
    }
    return archives | {path.name: path.read_bytes() for path in (folder / "asl").glob("*.txt")}


def _vg500(folder: Path) -> dict[str, bytes]:
    root = folder / "vg500"
    write_partition(root)
    names = [f"thing number {label}" for label in range(500)]
    return {
        **{path.name: path.read_bytes() for path in root.iterdir() if path.is_file()},
        "vg500-images.zip": make_zip(_below(root / "VG_100K", "VG_100K")),
        "images2.zip": make_zip(_below(root / "VG_100K_2", "VG_100K_2")),
        "objects.json.zip": make_zip({"objects.json": _json(make_objects(LABELS, names, noise=0.0))}),
    }


def _cub(folder: Path) -> dict[str, bytes]:
    return {"CUB_200_2011.tgz": make_tar(_below(write_cub(folder / "cub")), "gz")}
