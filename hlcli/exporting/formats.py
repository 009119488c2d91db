"""Files that other programs run: ONNX and torch's own; how they are written, and run again."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch.export import ExportedProgram

from hlcli.errors import HlcliError, InputError, MissingDependencyError, in_a_line
from hlcli.exporting.graphs import CANNOT_TRACE, Graph, Tensors

_NAME = "hlcli"
"""Under it a file tells what its numbers mean: a key of ONNX's metadata, and `hlcli.json` in a torch file."""

_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_MOST_BYTES = 2**31 - 2**20
"""An ONNX file is one message of at most 2 GiB."""

Run = Callable[[Tensors], dict[str, torch.Tensor]]
"""A file, opened: inputs by name to outputs by name, on the CPU."""


class Format(NamedTuple):
    """A kind of file.

    Args:
        suffix: of its names.
        check: refuses what cannot be written on this machine.
        write: a trace of a graph, with a description, to an open file.
        open: a file, ready to run.
    """

    suffix: str
    check: Callable[[], None]
    write: Callable[[ExportedProgram, Graph, Mapping[str, Any], IO[bytes]], None]
    open: Callable[[Path], Run]


def find_format(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: when there is none.
        MissingDependencyError: when a package that it needs is not installed.
    """
    if name not in FORMATS:
        hint = "`hlcli.export_upstream` writes the reference's own checkpoint."
        expected = " or ".join(FORMATS)
        raise InputError(f"--to: {expected} was expected (got {name!r}).", hint if name == "upstream" else None)
    FORMATS[name].check()
    return FORMATS[name]


def _check_onnx() -> None:
    missing = [package for package in _ONNX_PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(
            f"--to onnx needs {' and '.join(missing)}.", 'Run: pip install "hlcli[export]", or export with --to torch.'
        )


def _write_onnx(program: ExportedProgram, graph: Graph, description: Mapping[str, Any], handle: IO[bytes]) -> None:
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if num_bytes > _MOST_BYTES:
        raise HlcliError(f"The weights take {num_bytes / 2**30:.1f} GiB; an ONNX file holds 2.", "Use --to torch.")
    names = {name: dict(graph.axes.get(name, {})) for name in graph.example}
    with torch.no_grad():
        outputs = list(graph.module(dict(graph.example)))
    try:
        with torch.no_grad(), _silent():
            made = torch.onnx.export(
                program,
                (graph.example,),
                dynamo=True,
                verbose=False,
                input_names=list(graph.example),
                output_names=outputs,
                dynamic_shapes=(names,),
            )
    except CANNOT_TRACE as error:
        raise HlcliError(f"The network cannot be written as ONNX: {in_a_line(error, -1)}", "Use --to torch.") from error
    assert made is not None
    model = made.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = _NAME, json.dumps(description, ensure_ascii=False)
    handle.write(model.SerializeToString())


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Tensors) -> dict[str, torch.Tensor]:
        found = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
        return {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}

    return run


def _write_torch(program: ExportedProgram, graph: Graph, description: Mapping[str, Any], handle: IO[bytes]) -> None:
    text = json.dumps(description, ensure_ascii=False)
    packed = io.BytesIO()  # torch's own writer ends the whole program when the disk is full
    torch.export.save(program, packed, extra_files={f"{_NAME}.json": text})
    handle.write(packed.getbuffer())


def _open_torch(path: Path) -> Run:
    with open(path, "rb") as handle:
        module = torch.export.load(handle).module()

    def run(inputs: Tensors) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return dict(module(dict(inputs)))

    return run


@contextmanager
def _silent() -> Iterator[None]:
    """Keep to ourselves what the converter tells its own developers."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _nothing() -> None:
    """torch is always there."""


FORMATS = {
    "onnx": Format(".onnx", _check_onnx, _write_onnx, _open_onnx),
    "torch": Format(".pt2", _nothing, _write_torch, _open_torch),
}
"""All formats by the names that `--to` takes."""
