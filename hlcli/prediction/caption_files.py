"""Files of captions: JSON lines, or COCO's result format."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hlcli.data.coco_results import coco_image_id, write_coco_results
from hlcli.errors import DataError
from hlcli.files import check_out_file, whole_file
from hlcli.json_text import parse_json, read_json
from hlcli.launching import Processes
from hlcli.prediction.caption_rows import Caption
from hlcli.prediction.result_files import ResultFile, ResultForm

_ENDINGS = (".jsonl", ".json")


def check_caption_file(out: str | Path) -> None:
    """Refuse a file of another format, and a folder; see `check_out_file`."""
    check_out_file(Path(out), _ENDINGS)


def caption_file(out: Path, names: Sequence[str], work: dict[str, Any], processes: Processes) -> ResultFile[Caption]:
    """A file of captions in the making, `.jsonl`, or `.json` for COCO's result format; arguments as of `ResultFile`.

    Raises:
        InputError: for a file of another format, or an image that COCO's format cannot name.
    """
    check_caption_file(out)
    if out.suffix == ".json":
        for name in names:
            coco_image_id(name)  # before the work, not after it
    form = ResultForm(Caption.from_json, _write, partial(_read_finished, names=names))
    return ResultFile(out, names, work, processes, form)


def _write(out: Path, captions: Iterable[Caption]) -> None:
    if out.suffix == ".json":
        write_coco_results(out, ((row.image, row.caption) for row in captions))
        return
    with whole_file(out) as handle:
        handle.writelines(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in captions)


def _read_finished(out: Path, names: Sequence[str]) -> list[Caption]:
    """What a finished file says; COCO's format has no log-probabilities."""
    try:
        if out.suffix == ".jsonl":
            with open(out, "rb") as handle:
                return [Caption.from_json(parse_json(line)) for line in handle]
        rows = read_json(out)
        known = {coco_image_id(name): name for name in names}
        return [Caption(known.get(row["image_id"], ""), row["caption"], math.nan) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{out} holds no captions: {error!r}.", "Delete it, or give another --out.") from error
