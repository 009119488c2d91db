"""What is published of the data sets: `sources.yaml`, read and checked when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from hlcli.data.datasets.base import Source
from hlcli.data.transfers.checksums import Checksum
from hlcli.section_base import Section

_SOURCES_FILE = Path(__file__).with_name("sources.yaml")


class Published(NamedTuple):
    """What is published of a data set: its licence, its files, and whether its photos have terms of their own."""

    licence: str
    sources: tuple[Source, ...]
    has_terms: bool


_Url = Annotated[str, Field(pattern=r"^https?://")]


class _File(Section):
    """A file as `sources.yaml` has it; its keys are explained there."""

    name: str
    urls: tuple[_Url, ...] = ()
    bytes: Annotated[int, Field(gt=0)] | None = None
    checksum: (
        Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}|git-sha1:[0-9a-f]{40})$")] | None
    ) = None
    unpack_to: str | None = None
    part: str = "images"
    optional: bool = False
    needed: bool = True
    by_hand: str | None = None

    def source(self) -> Source:
        """The file as downloads take it."""
        return Source(
            self.name,
            self.urls,
            size=self.bytes,
            checksum=_checksum(self.checksum),
            unpack_to=self.unpack_to,
            part=self.part,
            is_optional=self.optional,
            is_needed=self.needed,
            by_hand=self.by_hand,
        )


def _checksum(text: str | None) -> Checksum | None:
    if text is None:
        return None
    algorithm: Any
    algorithm, _, value = text.partition(":")
    return Checksum(algorithm, value)


class _DataSet(Section):
    licence: str
    terms: bool = False
    files: tuple[_File, ...]


@cache
def published() -> Mapping[str, Published]:
    """All data sets that have published files, by name."""
    import yaml

    with open(_SOURCES_FILE, encoding="utf-8") as handle:
        tree = yaml.safe_load(handle)
    sets = TypeAdapter(dict[str, _DataSet]).validate_python(tree)
    return {
        name: Published(one.licence, tuple(file.source() for file in one.files), one.terms)
        for name, one in sets.items()
    }
