"""What readers have in their folder before they type a command of the documentation; made once, then copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import reader_files
from coco_files import write_coco
from command_line import run
from cub_files import write_cub
from doc_pages import ROOT
from intentonomy_files import write_annotations
from intentonomy_files import write_photos as write_intentonomy_photos
from karpathy_files import write_coco_karpathy
from noise_photos import write_photos
from nuswide_files import write_asl, write_official
from reader_files import official
from smaller_lines import smaller
from text_models import write_clip, write_glove
from voc_files import write_voc

_COLOURS = "red 1 0 0\ngreen 0 1 0\nblue 0 0 1\nlarge 1 1 1\n"
"""GloVe vectors of the words in `labels.csv`."""


class Thing(NamedTuple):
    """A file or folder of a reader.

    Args:
        make: called in a folder that has what it needs.
        needs: other things.
    """

    make: Callable[[], object]
    needs: tuple[str, ...] = ()


def _photos(name: str, count: int) -> Thing:
    return Thing(lambda: write_photos(Path(name), count, "{}.jpg"))


def _typed(*lines: str, needs: tuple[str, ...] = ()) -> Thing:
    """What commands make."""

    def type_them() -> None:
        for line in lines:
            done = run(*smaller(line))
            assert done.exit_code == 0, f"{line}\n{done.output}"

    return Thing(type_them, needs)


def _clone() -> None:
    for name in ("hlcli", "recipes", "docs"):
        os.symlink(ROOT / name, name)


def _announce_clip(folder: Path) -> None:
    """open_clip forgets models whose file was moved."""
    import open_clip

    open_clip.add_model_config(folder / "clip" / "tiny-clip.json")


def _intentonomy(folder: Path) -> None:
    write_annotations(folder)
    write_intentonomy_photos(folder)


_THINGS = {
    "clone": Thing(_clone),
    "photos": _photos("photos", 24),
    "new_photos": _photos("new_photos", 3),
    "my_photos": _photos("my_photos", 2),
    "labels.csv": Thing(partial(reader_files.write_table, "labels.csv", 24)),
    "new_labels.csv": Thing(partial(reader_files.write_table, "new_labels.csv", 3)),
    "table.csv": Thing(partial(reader_files.write_tags, "table.csv")),
    "foreign labels.csv": Thing(partial(reader_files.write_tags, "labels.csv")),
    "captions": Thing(reader_files.write_captions),
    "results": Thing(reader_files.write_results),
    "tree.yaml": Thing(lambda: Path("tree.yaml").write_text("colour: [red, green, blue]\nsize: [large]\n")),
    "glove": Thing(partial(write_glove, Path("glove.840B.300d.txt"), extra=_COLOURS)),
    "clip": Thing(lambda: write_clip(Path("clip"))),
    "lists": Thing(reader_files.write_lists),
    "masks": Thing(reader_files.write_masks),
    "vinvl": Thing(reader_files.write_vinvl),
    "relation": Thing(reader_files.write_relation),
    "weights": Thing(reader_files.write_weights),
    "coco": Thing(official("coco", write_coco)),
    "voc2007": Thing(official("voc2007", write_voc)),
    "voc2012": Thing(official("voc2012", write_voc)),
    "nuswide": Thing(official("nuswide", write_official)),
    "nuswide-asl": Thing(official("nuswide", write_asl)),
    "cub": Thing(official("cub", write_cub)),
    "intentonomy": Thing(official("intentonomy", _intentonomy)),
    "karpathy": Thing(official("coco", write_coco_karpathy)),
    "downloads": Thing(reader_files.write_downloads, ("nuswide",)),
    "coco-store": _typed("hlcli preprocess coco --val-fraction 0.5 --keep-unlabelled", needs=("coco",)),
    "voc2012-store": _typed("hlcli preprocess voc2012", needs=("voc2012",)),
    "intentonomy-store": _typed("hlcli preprocess intentonomy", needs=("intentonomy",)),
    "karpathy-store": _typed("hlcli preprocess coco-karpathy", needs=("karpathy",)),
    "features": _typed(
        "hlcli embed images coco-karpathy --out data/coco/clip_grid.hdf5",
        "hlcli embed images coco-karpathy --kind region --out data/coco/vinvl_regions.hdf5",
        needs=("karpathy-store",),
    ),
    "runs/quickstart": _typed("hlcli train --recipe quickstart"),
    "runs/quickstart-caption": _typed("hlcli train --recipe quickstart-caption"),
    "birds": _typed("hlcli init birds --images photos --labels labels.csv", needs=("photos", "labels.csv")),
    "runs/birds": _typed("hlcli train --recipe birds", needs=("birds",)),
    "runs/coco-sgre": _typed(
        "hlcli train --recipe sgre/coco --run runs/coco-sgre --set model.label_embeddings=random", needs=("coco-store",)
    ),
    "runs/coco-salgl": _typed(
        "hlcli train --recipe salgl/coco --run runs/coco-salgl --set model.label_embeddings=random",
        needs=("coco-store",),
    ),
    "model_best.pth.tar": _typed(
        "hlcli train --recipe hleg/intentonomy --run trained",
        "hlcli convert trained --to upstream --out model_best.pth.tar",
        needs=("intentonomy-store",),
    ),
    "checkpoint.pth": _typed(
        "hlcli convert runs/coco-salgl --to upstream --out checkpoint.pth", needs=("runs/coco-salgl",)
    ),
}
"""Everything, by name; most are called like the file or folder."""


def furnish(folder: Path, names: tuple[str, ...], kept: Path) -> None:
    """Put things into a folder.

    Args:
        folder: where readers are.
        names: of `_THINGS`; what they need comes too.
        kept: folder of what was made before, for other pages.
    """
    for name in names:
        made = kept / name.replace("/", "-")
        if not made.is_dir():
            begun = made.with_name(f"{made.name}.begun")
            begun.mkdir()
            furnish(begun, _THINGS[name].needs, kept)
            here = Path.cwd()
            os.chdir(begun)
            try:
                _THINGS[name].make()
            finally:
                os.chdir(here)
            begun.rename(made)
        shutil.copytree(made, folder, symlinks=True, dirs_exist_ok=True)
        if name == "clip":
            _announce_clip(folder)
