"""Where the archive of CUB-200-2011 comes from."""

from __future__ import annotations

from hlcli.data.datasets.base import Source
from hlcli.data.transfers.checksums import Checksum

LICENCE = "For research; the photos come from Flickr and remain their photographers'."
_RECORD = "https://data.caltech.edu/records/65de6-vp158"

SOURCES = (
    Source(
        "CUB_200_2011.tgz",
        (f"{_RECORD}/files/CUB_200_2011.tgz", f"{_RECORD}/files/CUB_200_2011.tgz?download=1"),
        size=1_150_585_339,
        checksum=Checksum("md5", "97eceeb196236b17998738112f37df78"),
        unpack_to=".",
    ),
)
"""One archive: the folder `CUB_200_2011`, and `attributes.txt` beside it."""
