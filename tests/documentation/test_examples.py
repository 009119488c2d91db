"""What documents show works as it is shown: examples in docstrings, and the tour of the Python interface."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny import tiny_recipe
from tiny_captions import tiny_captions

import hlcli

ROOT = Path(__file__).parents[2]


SHOWN = {
    "download", "plan_download", "preprocess", "init_recipe", "debug_data", "embed_labels", "embed_graph",
    "embed_images", "train", "plan_training", "evaluate", "evaluate_captions", "compare", "calibrate", "load",
    "load_captioner", "open_model", "predict", "caption", "visualize", "convert", "export_upstream", "export", "push",
    "Recipe", "LabelSpace", "Run", "Predictor", "Predictions", "CaptionPredictor", "Metrics", "CaptionMetrics",
    "HlcliError",
}  # fmt: skip
"""What is shown by an example: the verbs, what they take, and the classes that they give."""


@pytest.fixture
def example_folder(work_folder: Path) -> Path:
    """Where examples are run: a tiny model of labels (`runs/shapes`), a tiny captioner (`runs/captions`), eight photos
    with a table of their labels (`photos`), word vectors (`vectors.txt`)."""
    hlcli.train(tiny_recipe("train.epochs=1"), "runs/shapes")
    hlcli.train(tiny_captions("train.epochs=1"), "runs/captions")
    photos = [f"{name}{number}.jpg" for name in ("cat", "dog") for number in range(4)]
    Path("photos").mkdir()
    for shade, photo in enumerate(photos):
        Image.new("RGB", (60, 40), (30 * shade, 90, 120)).save(Path("photos", photo))
    rows = "".join(f"{photo},{photo[:3]}\n" for photo in photos)
    Path("photos/labels.csv").write_text(f"image,labels\n{rows}", encoding="utf-8")
    levels = hlcli.data_section("shapes").label_space().levels
    words = sorted({word for level in levels for name in level.label_names for word in name.split()})
    lines = [f"{word} {number} {number**2 % 7} 1 -1\n" for number, word in enumerate(words)]
    Path("vectors.txt").write_text("".join(lines), encoding="utf-8")
    return work_folder


def test_examples_in_docstrings_of_public_names(example_folder: Path):
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    shown = set()
    for name in hlcli._HOMES:
        thing = getattr(hlcli, name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing):
            continue
        for example in finder.find(thing, name, globs=vars(inspect.getmodule(thing)) | {"hlcli": hlcli}):
            if example.examples:
                shown.add(name)
            runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
    assert not SHOWN - shown


def test_the_tour_of_python_works_as_written(work_folder: Path, capsys: pytest.CaptureFixture[str]):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for match in re.finditer(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        lines_before = "\n" * page.count("\n", 0, match.start(1))  # so that a traceback names the line of the page
        exec(compile(lines_before + match[1], "docs/python.md", "exec"), names)
    assert names["run"].state() == "finished"
    assert len(names["failed"]) == 1
    assert names["measured"].metrics.num_images == 8
    said = capsys.readouterr().out
    for text in (
        "hleg 2",
        "Did you mean lr?",
        "runs/short finished",
        "missing.jpg Image missing.jpg cannot be decoded",
    ):
        assert text in said
