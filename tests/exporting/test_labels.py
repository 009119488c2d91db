"""Label models as ONNX and torch files: what they score, for which sizes, what they tell of themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from effort import IS_LONG
from torch.testing import assert_close

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
pytest.importorskip("open_clip", reason="the extra `clip` is not installed")

import hlcli
from exporting.exported import LABEL_METHODS, LABELS, label_model, untraced
from hlcli.errors import HlcliError
from hlcli.exporting.description import describe_labels
from hlcli.exporting.formats import find_format
from hlcli.exporting.labels import LabelExport
from hlcli.exporting.models import written
from hlcli.exporting.pictures import pictures
from hlcli.exporting.verification import compare
from hlcli.methods.base import MethodSection

ONNX_TOO = ("hleg", "salgl", "zero_shot")
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", sorted(set(LABEL_METHODS) - {"linear"}))  # that one: tests/cli/test_export.py
def test_files_score_as_eval_does(method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Traced once; written in both formats where no other method is so much alike, or the run is a long one."""
    loaded = label_model(method)
    with caplog.at_level("DEBUG", logger="hlcli"):
        made = LabelExport(loaded)
    assert ("Images keep the size 32×32: " in caplog.text) != made.any_size
    assert made.any_size or re.search(r"32×32: (RuntimeError|ValueError): \w+", caplog.text)
    drawn = pictures(loaded.recipe.data, ())[:3]
    predictor = hlcli.Predictor(loaded, cpu=True)
    expected = predictor.predict(drawn)
    assert re.search(rf"^\| `{method}` \| {'any' if made.any_size else 'the recipe'}", PAGE, flags=re.MULTILINE)
    for name in ("onnx", "torch") if IS_LONG or method in ONNX_TOO else ("torch",):
        description = describe_labels(loaded, any_size=made.any_size)
        path = tmp_path / name
        with written(path, find_format(name), made.graph, made.program, description) as run:
            tried = list(made.verify(name, run, drawn))
            assert not path.exists()
            found = run({"images": drawn})
        assert {row.output for row in tried} >= {"scores", "scores_coarse"}
        assert {row.inputs for row in tried} >= {"noise 1 × 32×32", "noise 5 × 32×32", "pictures 3 × 32×32"}
        assert ("noise 2 × 96×64" in {row.inputs for row in tried}) == made.any_size
        for row, prediction in enumerate(expected):
            coarse, fine = prediction.levels
            assert_close(found["scores_coarse"][row], torch.from_numpy(coarse), rtol=0, atol=1e-5)
            assert_close(found["scores"][row], torch.from_numpy(fine), rtol=0, atol=1e-5)
            assert (prediction.scene is None) == ("scene_probs" not in found)
            if prediction.scene is not None:
                assert_close(found["scene_probs"][row], torch.from_numpy(prediction.scene.probs), rtol=0, atol=1e-5)
    assert path.is_file()
    assert not [name for name in made.program.state_dict if "text_encoder" in name]


def test_a_weight_that_changes_in_between_is_noticed(monkeypatch, tmp_path: Path):
    out = tmp_path / "model.pt2"
    out.write_bytes(b"an older one")

    def changed(section: MethodSection, model: torch.nn.Module) -> torch.nn.Module:
        with torch.no_grad():
            model.head.bias[0] += 0.01
        return model

    monkeypatch.setattr(MethodSection, "for_export", changed)
    with pytest.raises(HlcliError, match=r"model.pt2 on noise 1 × 32×32 differs by 0.00\d+ in scores") as caught:
        hlcli.export(label_model("linear"), out=out, to="torch", overwrite=True)
    assert caught.value.exit_code == 1
    assert out.read_bytes() == b"an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize("shift", [-10, -30, 10])
def test_scores_that_are_all_small_or_great_are_compared_too(shift: float, monkeypatch, tmp_path: Path):
    loaded, out = label_model("linear"), tmp_path / "model.pt2"
    untraced(monkeypatch)
    with torch.no_grad():
        loaded.model.head.bias += shift
    hlcli.export(loaded, out=out, to="torch")
    out.write_bytes(b"an older one")

    def ranked_backwards(section: MethodSection, model: torch.nn.Module) -> torch.nn.Module:
        with torch.no_grad():
            model.head.weight.neg_()
        return model

    monkeypatch.setattr(MethodSection, "for_export", ranked_backwards)
    with pytest.raises(HlcliError, match="in logits of scores"):
        hlcli.export(loaded, out=out, to="torch", overwrite=True)
    assert out.read_bytes() == b"an older one"


class _Scored(NamedTuple):
    logits: torch.Tensor


class _Far(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> _Scored:
        return _Scored(images.mean(dim=(1, 2, 3))[:, None] * 10 + torch.tensor([-15, -200, 200, -25]))


def test_onnx_keeps_small_scores_apart_and_scores_of_0_and_1_as_they_are(tmp_path: Path):
    loaded = label_model("linear")._replace(model=_Far())
    hlcli.export(loaded, out=tmp_path / "model.onnx", to="onnx")


class _Mistaken(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, *, always: bool) -> None:
        super().__init__()
        self.network, self.always = network, always

    def forward(self, images: torch.Tensor) -> object:
        if self.always or torch.compiler.is_compiling():
            raise KeyError("typo")
        return self.network(images)


@pytest.mark.parametrize("always", [True, False])
def test_a_mistake_in_a_network_is_not_taken_for_torch_that_cannot_follow_it(always: bool, monkeypatch, tmp_path: Path):
    """A mistake keeps its traceback; what fails in a trace alone is told by its kind."""
    monkeypatch.setattr(MethodSection, "for_export", lambda section, model: _Mistaken(model, always=always))
    kind, text = (KeyError, "typo") if always else (HlcliError, "cannot be exported: KeyError: 'typo'$")
    with pytest.raises(kind, match=text):
        hlcli.export(label_model("linear"), out=tmp_path / "model.pt2", to="torch")
    assert not list(tmp_path.iterdir())


def test_the_model_that_was_given_stays_as_it_was(tmp_path: Path):
    loaded = label_model("salgl", "model.graph_steps=0", "model.encoder_layers=0")
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    made = hlcli.export(loaded, out=tmp_path / "model.pt2", to="torch")
    assert loaded.model.head.cooccurrence.fixed is None
    after = loaded.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    extra = {"hlcli.json": ""}
    program = torch.export.load(made.path, extra_files=extra)
    assert set(program.module()({"images": torch.zeros(4, 3, 32, 32, dtype=torch.uint8)})) == {
        "scores_coarse", "scores", "scene_probs"
    }  # fmt: skip
    about = json.loads(extra["hlcli.json"])
    assert [(level["output"], level["threshold"]) for level in about["levels"]] == [
        ("scores_coarse", 0.25), ("scores", 0.75)
    ]  # fmt: skip
    assert about["levels"][1]["label_names"] == list(LABELS.label_names)
    assert about["levels"][1]["parent_index"] == [0, 0, 0, 1]
    assert (about["image_size"], about["resize"], about["any_size"]) == ([32, 32], "stretch", False)
    assert about["normalization"]["mean"] == [0.485, 0.456, 0.406]
    assert (about["hlcli"], about["recipe"]["model"]["method"]) == (hlcli.__version__, "salgl")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"scores": torch.tensor([[0.5, torch.nan]])}, "numbers that are not finite in scores"),
        ({"scores": torch.tensor([[0.5]])}, "differs by inf in scores"),
        ({"scores": torch.tensor([[0.5, 0.2002]])}, "differs by 0.0002 in scores"),
        ({}, "PyTorch scores"),
    ],
)
def test_what_disagrees_is_refused(found: dict[str, torch.Tensor], text: str):
    expected = {"scores": torch.tensor([[0.5, 0.2]])}
    with pytest.raises(HlcliError, match=text):
        compare("a.onnx", "noise", found, expected, allowed=1e-4)
    near = {"scores": torch.tensor([[0.5, 0.20005]])}
    assert compare("a.onnx", "noise", near, expected, allowed=1e-4)[0].greatest == pytest.approx(5e-5, rel=0.01)
