"""Reading what Weights & Biases writes offline: protocol buffers in the format of LevelDB's log."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _FILE_HEADER, _HEADER = 32768, 7, 7
_FULL, _LAST = 1, 4


def records(folder: Path) -> dict[str, list[Any]]:
    """All records of a run's `wandb` folder, by the folder of each start, oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("offline-run-*/*.wandb")):
        found[path.parent.name] = [Record.FromString(data) for data in _entries(path.read_bytes())]
    return found


def _entries(content: bytes) -> Iterator[bytes]:
    """Whole entries; one may lie in parts at the ends of 32 KiB blocks."""
    position, parts = _FILE_HEADER, b""
    while position + _HEADER <= len(content):
        room = _BLOCK - position % _BLOCK
        if room < _HEADER:
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + _HEADER])
        parts += content[position + _HEADER : position + _HEADER + length]
        position += _HEADER + length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
