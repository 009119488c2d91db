"""The `export` verb: a model as files for other programs, each compared with PyTorch before it gets its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from hlcli.errors import CheckpointError, DataError, InputError
from hlcli.exporting.captions import CaptionExport
from hlcli.exporting.description import describe_captioner, describe_labels
from hlcli.exporting.formats import FORMATS, Format, Run, find_format
from hlcli.exporting.graphs import Graph
from hlcli.exporting.labels import LabelExport
from hlcli.exporting.pictures import photo_paths, pictures
from hlcli.exporting.verification import ExportDifference
from hlcli.files import check_writable, refuse_existing, whole_file, whole_folder, write_json
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.caption_inputs import FeatureSources, InputMaker, PhotoLoader
from hlcli.recipe import Recipe

_GRAPHS = ("encoder", "decoder_step")
_DESCRIPTION = "captioner.json"


class Exported(NamedTuple):
    """What was written, and how exact it is.

    Args:
        path: the file, or a captioner's folder.
        files: all files.
        differences: greatest ones from PyTorch, by file, inputs and output.
        any_size: whether images may have any size.
    """

    path: Path
    files: tuple[Path, ...]
    differences: tuple[ExportDifference, ...]
    any_size: bool


def export(
    model: GivenModel,
    *,
    out: str | Path,
    to: str = "onnx",
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    images: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Exported:
    """Write a model for programs that know nothing of hlcli.

    A label model becomes one file, from images to scores; a captioner a folder with an encoder, a step of its decoder,
    and `captioner.json`. Before a file gets its name it is run, and compared with PyTorch on noise and on pictures.

    Args:
        model: whatever `open_model` opens, or what it gave.
        out: the file, `*.onnx` or `*.pt2`; of a captioner the folder.
        to: `onnx`, or `torch` for what `torch.export.load` reads.
        recipe: what an upstream checkpoint is.
        overrides: `section.key=value`, changes of data, train or eval settings.
        images: photos to compare on: files, folders, patterns; none: drawn scenes.
        overwrite: replace what an earlier export wrote there.

    Raises:
        InputError: when the model or the photos cannot be used, or `out` may not be written.
        MissingDependencyError: when a package that the format needs is not installed.
        HlcliError: when the network cannot be exported, or a file disagrees with PyTorch; nothing is written then.

    Examples:
        >>> made = hlcli.export("runs/shapes", to="torch", out="shapes.pt2")
        >>> made.path.name, max(difference.greatest for difference in made.differences) < 1e-4
        ('shapes.pt2', True)
    """
    file_format, out = find_format(to), Path(out)
    check_writable(out.parent)
    photos = photo_paths([Path(place) for place in images]) if images else []
    loaded = open_model(model, recipe, overrides)
    if loaded.recipe.model.task == "captions":
        return _export_captioner(loaded, out, file_format, photos, overwrite=overwrite)
    if out.suffix != file_format.suffix:
        raise InputError(f"--out: a name that ends in {file_format.suffix} was expected (got {out}).")
    refuse_existing(out, overwrite)
    if out.is_dir():
        raise CheckpointError(f"{out} is a folder; it is not replaced by a file.", "Give another name with --out.")
    shown = pictures(loaded.recipe.data, photos)
    made = LabelExport(loaded)
    description = describe_labels(loaded, any_size=made.any_size)
    with written(out, file_format, made.graph, made.program, description) as run:
        differences = tuple(made.verify(out.name, run, shown))
    return Exported(out, (out,), differences, made.any_size)


def _export_captioner(
    loaded: LoadedModel, out: Path, file_format: Format, photos: Sequence[Path], *, overwrite: bool
) -> Exported:
    if out.suffix in {one.suffix for one in FORMATS.values()}:
        raise InputError(f"--out: a captioner becomes a folder of files, not one file (got {out}).")
    made_names = [f"{name}{file_format.suffix}" for name in _GRAPHS]
    refuse_existing(out, overwrite)
    _refuse_strangers(out)
    shown = _seen_by_captioner(loaded, photos)
    made, description = CaptionExport(loaded), describe_captioner(loaded)
    with whole_folder(out) as folder:
        with ExitStack() as files:
            runs = [
                files.enter_context(written(folder / name, file_format, graph, program, description))
                for name, (graph, program) in zip(made_names, (made.encoder, made.step), strict=True)
            ]
            differences = tuple(made.verify((made_names[0], made_names[1]), (runs[0], runs[1]), shown))
        write_json(folder / _DESCRIPTION, description)
    paths = tuple(out / name for name in (*made_names, _DESCRIPTION))
    return Exported(out, paths, differences, any_size=False)


@contextmanager
def written(
    path: Path, file_format: Format, graph: Graph, program: ExportedProgram, description: Mapping[str, Any]
) -> Iterator[Run]:
    """A file under a temporary name, ready to run; it gets its own name when the block ends without an error."""
    with whole_file(path, "wb") as handle:
        file_format.write(program, graph, description, handle)
        handle.flush()
        yield file_format.open(Path(handle.name))


def _seen_by_captioner(loaded: LoadedModel, photos: Sequence[Path]) -> dict[str, Tensor] | None:
    """What a captioner sees of pictures; None where nobody says how features of drawn scenes come about."""
    captioner: Any = loaded.model
    sees_images, makes_regions = captioner.backbone is not None, captioner.windows is not None
    if sees_images and makes_regions:
        return {"images": pictures(loaded.recipe.data, photos)}
    if not photos:
        return None
    maker = InputMaker([loaded], FeatureSources(), torch.device("cpu"))
    load = PhotoLoader(maker.loads)
    found = [load((row, str(path), path)) for row, path in enumerate(photos)]
    for photo in found:
        if isinstance(photo.parts, str):
            raise DataError(photo.parts)
    with torch.inference_mode():
        inputs = maker.compute(found)[0]
    if sees_images:
        inputs = inputs._replace(images=pictures(loaded.recipe.data, photos))
    return {name: tensor for name, tensor in inputs._asdict().items() if tensor is not None}


def _refuse_strangers(folder: Path) -> None:
    """Never replace a folder that holds anything else than an export."""
    if not folder.exists():
        return
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {folder.name}
    own = {f"{name}{one.suffix}" for name in _GRAPHS for one in FORMATS.values()} | {_DESCRIPTION}
    if held - own or (held and _DESCRIPTION not in held):
        raise CheckpointError(
            f"{folder} is no exported captioner; it is not replaced.", "Give the name of a new folder with --out."
        )
