"""`hlcli convert` of whole checkpoints of the published sizes: memory, time, and every weight there and back.

    python benchmarks/conversion.py --out conversion.json

Checkpoints are made up: all names and shapes that the published programs write, random values, and around them what
else is in those files: the state of the optimiser is twice the weights. Each is converted, opened and converted back in
fresh processes. Memory is what a process holds at most, less what it held after its imports, over the size of the
weights alone: `all` counts everything, `own` leaves out pages of files that are only mapped, which the system takes
back whenever it needs them. A ratio of 1 is one copy of the weights. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import published_checkpoints as published
import torch
from published_files import hin_file, hleg_file
from torch import Tensor

from hlcli.upstream import read_upstream


class Case(NamedTuple):
    """A published checkpoint and the recipe that it belongs to."""

    recipe: str
    overrides: tuple[str, ...]
    content: dict[str, Any]
    lost: tuple[str, ...] = ()  # what the way back cannot know


def make_hleg(folder: Path) -> Case:
    """ResNet-101, Intentonomy; the layer that never runs comes back as another one."""
    state = published.random_state(published.hleg(published.resnet("backbone.0.body.", counter=False)))
    return Case("hleg/intentonomy", (), hleg_file(state), ("transformer.decoder.decoder_layer.",))


def make_salgl(folder: Path) -> Case:
    """ResNet-101, COCO, an average."""
    state = published.random_state(published.salgl(published.resnet("backbone.")))
    return Case("salgl/coco", (), {f"module.{name}": value for name, value in state.items()})


def make_sgre(folder: Path) -> Case:
    """ResNet-101, COCO, an average; label embeddings of its own file."""
    state = published.random_state(published.sgre(published.resnet("backbone.")))
    np.save(folder / "bert.npy", np.random.default_rng(0).normal(size=(80, 768)).astype(np.float32))
    overrides = (f"model.label_embeddings={folder / 'bert.npy'}",)
    return Case("sgre/coco", overrides, {f"module.{name}": value for name, value in state.items()})


def make_hspnet(folder: Path) -> Case:
    """CLIP's RN50, COCO below its 12 groups; the graph of its own file."""
    import open_clip

    from hlcli.data.datasets.coco import Coco

    parents, children = Coco(dataset="coco", hierarchy=True).label_space().levels[-2:]
    above = open_clip.tokenize([f"a photo of a {name}." for name in parents.label_names])
    below = open_clip.tokenize([f"X X X X {name}." for name in children.label_names])
    state = published.with_prompts(published.random_state(published.hspnet()), above, below)
    count = len(above) + len(below)
    relation = np.random.default_rng(0).uniform(0.5, 0.9, (count, count)).astype(np.float32)
    relation = (relation + relation.T) / 2
    np.fill_diagonal(relation, 1)
    np.save(folder / "relation.npy", relation)
    return Case("hspnet/coco", (f"model.graph={folder / 'relation.npy'}",), state)


def make_hin(folder: Path) -> Case:
    """CLIP grid and VinVL regions, the 10,201 words of COCO."""
    words = ["<unk>", "<pad>", "<bos>", "<eos>", *(f"word{number}" for number in range(10_197))]
    document = {"tokens": words, "counts": [0] * 4 + [5] * 10_197}
    (folder / "vocabulary.json").write_text(json.dumps(document), encoding="utf-8")
    overrides = (f"data.vocabulary={folder / 'vocabulary.json'}", "model.grid_width=1024", "model.region_width=2048")
    return Case("hin/coco", overrides, hin_file(published.random_state(published.hin())))


MAKERS = {"hleg": make_hleg, "salgl": make_salgl, "sgre": make_sgre, "hspnet": make_hspnet, "hin": make_hin}


def held() -> tuple[float, float]:
    """MiB that this process holds: everything, and without pages of mapped files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


def measure(work: str, arguments: list[str]) -> dict[str, float]:
    """Do the work, in a process of its own, and say what it took."""
    import open_clip  # noqa: F401
    import timm  # noqa: F401

    import hlcli
    from hlcli.models.conversion import convert, export_upstream
    from hlcli.models.folder import read_model

    recipe, source, target, *overrides = arguments
    start, most, is_done = held(), held(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_done.wait(0.002):
            most = tuple(max(pair) for pair in zip(most, held(), strict=True))  # type: ignore[assignment]

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    if work == "convert":
        convert(source, hlcli.Recipe.from_yaml(recipe, overrides), out=target)
    elif work == "open":
        read_model(source)
    else:
        export_upstream(source, out=target)
    seconds = time.perf_counter() - begin
    is_done.set()
    watcher.join()
    return {"all": most[0] - start[0], "own": most[1] - start[1], "seconds": seconds}


def in_a_process(work: str, *arguments: str) -> dict[str, float]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--measure", work, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(first: dict[str, Tensor], second: dict[str, Tensor], lost: tuple[str, ...]) -> int:
    """How many weights are the same in both files, those left out that the way back cannot know.

    Raises:
        SystemExit: naming what differs.
    """
    if set(first) != set(second):
        raise SystemExit(f"Other names come back: {sorted(set(first) ^ set(second))[:5]}")
    compared = [name for name in first if not name.startswith(lost)] if lost else list(first)
    wrong = [name for name in compared if not torch.equal(first[name], second[name])]
    if wrong:
        raise SystemExit(f"{len(wrong)} weights come back changed: {wrong[:5]}")
    return len(compared)


def benchmark(method: str, folder: Path) -> dict[str, Any]:
    """One method: there, opened, and back."""
    case = MAKERS[method](folder)
    torch.save(case.content, folder / "published.pth")
    size = sum(value.nbytes for value in case.content.get("state_dict", case.content).values()) / 2**20
    case = case._replace(content={})
    model, back = folder / "model", folder / "back.pth"
    runs = {
        "convert": in_a_process("convert", case.recipe, str(folder / "published.pth"), str(model), *case.overrides),
        "open": in_a_process("open", case.recipe, str(model), ""),
        "back": in_a_process("back", case.recipe, str(model), str(back)),
    }
    there, again = (read_upstream(path).state for path in (folder / "published.pth", back))
    same = compare(there, again, case.lost)
    ratios = {
        work: {"all": run["all"] / size, "own": run["own"] / size, "seconds": run["seconds"]}
        for work, run in runs.items()
    }
    return {"method": method, "MiB": size, "weights": len(there), "same": same, **ratios}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=list(MAKERS), choices=list(MAKERS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], options.measure[1:])))
        return
    rows = []
    print(f"{'':8}{'MiB':>7}{'weights':>9}{'same':>6}" + "".join(f"{work:>24}" for work in ("convert", "open", "back")))
    for method in options.methods:
        with tempfile.TemporaryDirectory(prefix="hlcli-conversion-") as folder:
            row = benchmark(method, Path(folder))
        rows.append(row)
        columns = "".join(
            f"{row[work]['all']:9.2f}{row[work]['own']:7.2f}{row[work]['seconds']:6.1f} s"
            for work in ("convert", "open", "back")
        )
        print(f"{method:8}{row['MiB']:7.0f}{row['weights']:9}{row['same']:6}{columns}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
