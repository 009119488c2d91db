"""Where the files of MS-COCO 2014 come from.

The host has no valid certificate, so its addresses are plain http and the checksums are the only protection.
"""

from __future__ import annotations

from hlcli.data.datasets.base import Source
from hlcli.data.transfers.checksums import Checksum

LICENCE = (
    "The annotations are CC BY 4.0; the images come from Flickr under its terms and remain their photographers' "
    "(https://cocodataset.org/#termsofuse)."
)
_HOSTS = ("http://images.cocodataset.org", "https://s3.amazonaws.com/images.cocodataset.org")


def _source(path: str, *, size: int, sha256: str, part: str = "images", is_optional: bool = False) -> Source:
    urls = tuple(f"{host}/{path}" for host in _HOSTS)
    name, checksum = path.rpartition("/")[2], Checksum("sha256", sha256)
    return Source(name, urls, size=size, checksum=checksum, unpack_to=".", part=part, is_optional=is_optional)


SOURCES = (
    _source(
        "annotations/annotations_trainval2014.zip",
        size=252_872_794,
        sha256="031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        part="annotations",
    ),
    _source(
        "zips/train2014.zip",
        size=13_510_573_713,
        sha256="ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    ),
    _source(
        "zips/val2014.zip",
        size=6_645_013_297,
        sha256="fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    ),
    _source(
        "zips/test2014.zip",
        size=6_660_437_059,
        sha256="ead40c62230cb2cf70ff4c8b4c70abdc260a7556e77b3282621d06d8e2e35bdf",
        part="test",
        is_optional=True,
    ),
    _source(
        "annotations/image_info_test2014.zip",
        size=763_464,
        sha256="7cecc66f6b09c1671c1896a1bcc1f35eb09b7fcf00a5c18420a5f0f5983dc8c9",
        part="test",
        is_optional=True,
    ),
    Source(
        "caption_datasets.zip",
        (
            "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
            "https://huggingface.co/datasets/gpantaz/karpathy_split/resolve/main/caption_datasets.zip",
        ),
        size=36_745_453,
        checksum=Checksum("sha256", "4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817"),
        unpack_to="karpathy",
        part="karpathy",
        is_optional=True,
    ),
)
"""`karpathy` is the usual split for captions; `test` has no labels."""
