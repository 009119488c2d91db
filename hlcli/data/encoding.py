"""Encoding the images of a store: shrunk once, by several processes, in parts that outlive an interruption.

A part is the encoded images of some successive records, a file in a hidden folder beside the store, named by what it
was made of: the records, the files as they were (length and time of change), the way of encoding. A preparation that
was cut short takes over the parts that still fit; one that ends removes them all.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hlcli.data.failures import Failure
from hlcli.data.images import load_image
from hlcli.data.records import Record, Records
from hlcli.errors import DataError
from hlcli.files import whole_file
from hlcli.worker_processes import worker_processes

_JPEG_QUALITY = 92
_LONGEST_JPEG = 65_500
"""Pixels along a side that the encoder takes."""

_KEPT_BY_DECODER = 2
"""Times the wanted side that a JPEG decoder keeps of a large photo: quicker, and hardly another photo."""

_PART_IMAGES = 128


class EncodedImage(NamedTuple):
    """An image as it is stored, or what went wrong."""

    image: bytes | Path
    error: str | None = None


def encode_image(record: Record, image_size: int) -> EncodedImage:
    """The image of a record as it is stored.

    Files stay where they are unless images are shrunk; drawn images become PNG, shrunk photos JPEG. Of JPEG files that
    are far larger than wanted only 1/2, 1/4 or 1/8 is decoded, never less than twice the wanted side.

    Args:
        record: its image may be a file, bytes, or something that draws itself.
        image_size: most pixels of the shorter side; 0 keeps what is encoded as it is.
    """
    if image_size == 0 and isinstance(record.image, Path | bytes):
        return EncodedImage(record.image)
    enough = (_KEPT_BY_DECODER * image_size, _KEPT_BY_DECODER * image_size)
    try:
        image = load_image(record.image, name=record.image_id, shrink_to=enough)
    except DataError as error:
        return EncodedImage(b"", error.message)
    buffer = io.BytesIO()
    if not isinstance(record.image, Path | bytes):
        image.save(buffer, "PNG")
        return EncodedImage(buffer.getvalue())
    from PIL.Image import Resampling

    factor = image_size / min(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Resampling.LANCZOS)
    if max(image.size) > _LONGEST_JPEG:
        pixels = f"{max(image.size):,}"
        return EncodedImage(b"", f"Image {record.image_id} cannot be stored: {pixels} pixels are too long for JPEG.")
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return EncodedImage(buffer.getvalue())


def describe_encoding(image_size: int) -> str:
    """What `encode_image` does, for `meta.json`."""
    if image_size == 0:
        return "originals; drawn images as PNG"
    steps = f"large JPEG files decoded at 1/2 to 1/8, but at {_KEPT_BY_DECODER}× that at least, Lanczos"
    return f"shorter side at most {image_size} px, {steps}, JPEG quality {_JPEG_QUALITY}, 4:4:4; drawn images as PNG"


class EncodedParts:
    """The parts of a store in the making.

    Args:
        folder: the hidden folder that holds them.
        image_size: as of `encode_image`.
    """

    def __init__(self, folder: Path, image_size: int) -> None:
        self.folder, self.image_size = folder, image_size
        self.num_kept = 0  # images in parts that fit, found or written by this run

    def count_ready(self, splits: Iterable[Records]) -> int:
        """How many records need no work, because an earlier run did it."""
        if not self.folder.is_dir():
            return 0
        files = {path.name for path in self.folder.iterdir()}
        parts = (part for records in splits for part in _in_parts(records))
        return sum(len(part) for part in parts if f"{self._key(part)}.arrow" in files)

    def read(self, part: Sequence[Record]) -> list[EncodedImage] | None:
        """The encoded images of a part, or None where they have to be made."""
        key = self._key(part)
        if key is None:
            return None
        import pyarrow

        try:
            with pyarrow.OSFile(str(self.folder / f"{key}.arrow")) as source:
                rows = pyarrow.ipc.open_file(source).read_all().to_pylist()
        except (OSError, pyarrow.ArrowInvalid):
            return None
        if len(rows) != len(part):
            return None
        self.num_kept += len(rows)
        return [EncodedImage(row["image"], row["error"]) for row in rows]

    def write(self, part: Sequence[Record], images: Sequence[EncodedImage]) -> None:
        """Keep the encoded images of a part."""
        key = self._key(part)
        if key is None:
            return
        import pyarrow

        columns = {"image": [found.image for found in images], "error": [found.error for found in images]}
        kinds = [("image", pyarrow.large_binary()), ("error", pyarrow.string())]
        table = pyarrow.table(columns, schema=pyarrow.schema(kinds))
        with (
            whole_file(self.folder / f"{key}.arrow", "wb") as handle,
            pyarrow.ipc.new_file(handle, table.schema) as writer,
        ):
            writer.write_table(table)
        self.num_kept += len(part)

    def remove(self) -> None:
        """Remove all parts: the store has them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _key(self, part: Sequence[Record]) -> str | None:
        """What a part is made of; None for images that nothing is done to, and for drawn ones."""
        if self.image_size == 0:
            return None
        import PIL

        digest = hashlib.sha256(f"{describe_encoding(self.image_size)} {PIL.__version__}\n".encode())
        for record in part:
            source = record.image
            if isinstance(source, Path):
                digest.update(_file_facts(source))
            elif isinstance(source, bytes):
                digest.update(hashlib.sha256(source).digest())
            else:
                return None
            digest.update(f"\0{record.image_id}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _file_facts(path: Path) -> bytes:
    try:
        facts = path.stat()
    except OSError:
        return f"{path} is not there".encode("utf-8", "surrogateescape")
    return f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}".encode("utf-8", "surrogateescape")


def _in_parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    iterator = iter(records)
    while part := list(islice(iterator, _PART_IMAGES)):
        yield part


def encode_all(
    records: Records,
    *,
    parts: EncodedParts,
    workers: int,
    failures: list[Failure],
    advance: Callable[[int], None],
) -> Iterator[Record]:
    """Records with encoded images, in order.

    Args:
        records: a split.
        parts: what an earlier run left, and where this one leaves it.
        workers: processes.
        failures: gets the images that cannot be decoded.
        advance: told of every image that was worked on by this run.
    """
    with _begin_with(workers) as start:
        begun = _begin_parts(records, parts, start)
        for part, images, is_new in _one_ahead(begun):
            encoded = []
            for image in images:
                encoded.append(image)
                advance(int(is_new))
            if is_new:
                parts.write(part, encoded)
            for record, (source, error) in zip(part, encoded, strict=True):
                if error is None:
                    yield replace(record, image=source)
                else:
                    failures.append(Failure(record.image_id, error))


_Start = Callable[[Callable[[Record], EncodedImage], list[Record]], Iterable[EncodedImage]]
"""Begins to work on records, and gives the results in their order."""

_Begun = tuple[list[Record], Iterable[EncodedImage], bool]
"""A part, its images, and whether they are made by this run."""


def _begin_parts(records: Records, parts: EncodedParts, start: _Start) -> Iterator[_Begun]:
    work = partial(encode_image, image_size=parts.image_size)
    for part in _in_parts(records):
        known = parts.read(part)
        yield part, start(work, part) if known is None else known, known is None


def _one_ahead(parts: Iterator[_Begun]) -> Iterator[_Begun]:
    """The same parts, the next one always begun already."""
    ahead = next(parts, None)
    while ahead is not None:
        part, ahead = ahead, next(parts, None)
        yield part


@contextmanager
def _begin_with(workers: int) -> Iterator[_Start]:
    """What begins to work on records: this process when its turn comes, or others at once."""
    if workers == 1:
        yield map
        return
    with worker_processes(workers) as pool:
        yield partial(pool.map, chunksize=16)
