"""Draws docs/images/architecture.svg: the rooms of the package on their floors, and three ways through them.

Sizes are counted from the files, floors are those of tests/test_architecture.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/support")]

from test_architecture import arrows, floor, modules  # noqa: E402 - the one list of floors

INK, PAPER, EDGE = "#222222", "#f4f4f1", "#b9b9b2"
WAYS = {"a training batch": "#2f6db3", "a photo in eval --images": "#c2571a", "a recipe key": "#3b8a4b"}
STOPS: dict[str, dict[str, tuple[int, ...]]] = {
    "a training batch": {
        "data sets": (1,), "data": (2,), "tasks": (3, 8), "methods": (4,), "layers": (5,), "losses": (6,),
        "training": (7,), "evaluation": (8,), "metrics": (9,), "runs": (10,), "models": (10,), "cli": (11,),
        "backbones": (5,), "captioning": (2,),
    },
    "a photo in eval --images": {
        "cli": (1, 7), "models": (2,), "building": (3,), "prediction": (4, 6), "methods": (5,),
    },
    "a recipe key": {"recipe_reading": (1,), "recipe": (2,), "methods config": (3,), "building": (4,), "methods": (5,)},
}  # fmt: skip
FLOORS = {
    5: "asks and shows",
    4: "verbs: know whole recipes",
    3: "tensors and files",
    2: "tensors and numbers alone",
    1: "settings: no torch",
    0: "nothing below",
}
LOWER_ROOMS = {("hub", 3): "hub names", ("report", 3): "report files", ("metrics", 1): "metric names"}
"""Modules that stand below the rest of their package."""
BOX_WIDTH, BOX_HEIGHT, GAP, BOXES_PER_ROW = 1.52, 0.7, 0.12, 7


def room_of(module: str) -> str:
    """A package is one room on every floor it has modules on."""
    level, name = floor(module), module.split(".")[1]
    if (name, level) in LOWER_ROOMS:
        return LOWER_ROOMS[name, level]
    if level == 1 and module.count(".") > 1 and name != "recipe_reading":
        return {"data": "data sets", "embeddings": "label texts"}.get(name, f"{name} config")
    return f"{name}, its verb" if level == 4 and name in ("data", "features") else name


def uses() -> dict[str, set[str]]:
    """Room → the rooms whose modules it loads."""
    found: dict[str, set[str]] = {}
    for module, target in arrows():
        if module != "hlcli" and room_of(module) != room_of(target):
            found.setdefault(room_of(module), set()).add(room_of(target))
    return found


def rooms() -> dict[int, dict[str, tuple[int, int]]]:
    """By floor: room → its files and lines."""
    found: dict[int, dict[str, tuple[int, int]]] = {number: {} for number in FLOORS}
    for module, path in modules().items():
        parts = module.split(".")
        if len(parts) == 1 or path.name == "__init__.py":
            continue
        level, name = floor(module), room_of(module)
        files, lines = found[level].get(name, (0, 0))
        found[level][name] = (files + 1, lines + len(path.read_text(encoding="utf-8").splitlines()))
    return found


def draw_room(
    axes: Axes, left: float, bottom: float, name: str, size: tuple[int, int], imports: tuple[int, int]
) -> None:
    """A box with the room's name, size and imports, and the stops of the ways that lead through it."""
    axes.add_patch(
        FancyBboxPatch(
            (left, bottom), BOX_WIDTH, BOX_HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="white", edgecolor=EDGE, linewidth=0.8,
        )
    )  # fmt: skip
    files, lines = size
    counted = f"{lines:,} lines" if files == 1 else f"{files} files, {lines:,} lines"
    axes.text(left + 0.08, bottom + BOX_HEIGHT - 0.16, name, fontsize=8, color=INK, weight="bold", va="center")
    axes.text(left + 0.08, bottom + BOX_HEIGHT - 0.34, counted, fontsize=6, color="#666666", va="center")
    needs, needed = imports
    axes.text(left + BOX_WIDTH - 0.06, bottom + 0.09, f"needs {needs}, needed by {needed}", fontsize=5, color="#888888",
              va="center", ha="right")  # fmt: skip
    x = left + 0.13
    for way, colour in WAYS.items():
        for stop in STOPS[way].get(name, ()):
            axes.add_patch(Circle((x, bottom + 0.2), 0.08, color=colour))
            axes.text(x, bottom + 0.195, str(stop), fontsize=5.5, color="white", ha="center", va="center")
            x += 0.19


def draw() -> plt.Figure:
    """The whole house."""
    house, needs = rooms(), uses()
    drawn = {name for names in house.values() for name in names}
    strangers = {room for stops in STOPS.values() for room in stops} - drawn
    assert not strangers, f"the ways lead through rooms that are gone: {strangers}"
    width = 1.75 + BOXES_PER_ROW * (BOX_WIDTH + GAP)
    rows = {number: -(-len(names) // BOXES_PER_ROW) for number, names in house.items()}
    height = sum(count * (BOX_HEIGHT + GAP) + 0.3 for count in rows.values()) + 0.5
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    top = height - 0.45
    for x, (way, colour) in zip((0.2, 2.6, 5.9), WAYS.items(), strict=True):
        axes.add_patch(Circle((x, height - 0.22), 0.085, color=colour))
        axes.text(x + 0.16, height - 0.22, f"the way of {way}", fontsize=8, color=INK, va="center")
    for number, names in house.items():
        depth = rows[number] * (BOX_HEIGHT + GAP) + 0.2
        axes.add_patch(FancyBboxPatch((0.1, top - depth), width - 0.2, depth, boxstyle="round,pad=0,rounding_size=0.08",
                                      facecolor=PAPER, edgecolor="none"))  # fmt: skip
        axes.text(0.22, top - depth / 2 + 0.09, f"floor {number}", fontsize=9, color=INK, weight="bold", va="center")
        axes.text(0.22, top - depth / 2 - 0.1, FLOORS[number], fontsize=6.5, color="#555555", va="center")
        for index, (name, size) in enumerate(sorted(names.items(), key=lambda item: -item[1][1])):
            row, column = divmod(index, BOXES_PER_ROW)
            left = 1.75 + column * (BOX_WIDTH + GAP)
            bottom = top - 0.1 - (row + 1) * BOX_HEIGHT - row * GAP
            needed_by = sum(name in others for others in needs.values())
            draw_room(axes, left, bottom, name, size, (len(needs.get(name, ())), needed_by))
        top -= depth + 0.1
    return figure


if __name__ == "__main__":
    plt.rcParams["svg.hashsalt"] = "hlcli"  # the same file from the same house
    figure = draw()
    figure.savefig(ROOT / "docs/images/architecture.svg", metadata={"Date": None})
