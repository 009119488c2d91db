"""What a verb takes as a model: its place, a loaded model, and where something is predicted a ready predictor."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_captioner import write_captioner
from tiny_label_models import tiny_label_model

import hlcli
from hlcli.models.folder import read_model, save_model

SMALL = ["data.num_val=3", "data.num_test=3"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save("p.png")


@pytest.fixture
def model() -> str:
    """A model folder of labels, by its name."""
    loaded = tiny_label_model("hleg", *SMALL)
    state = loaded.model.state_dict()
    save_model(Path("a"), state, loaded.recipe, loaded.labels, thresholds=(0.2, 0.3, 0.4), facts={})
    return "a"


def given(place: str) -> Iterator[str | Path | hlcli.LoadedModel]:
    yield place
    yield Path(place)
    yield hlcli.open_model(place)


def test_predict_and_evaluate_take_every_model(model: str):
    expected = hlcli.load(model).predict("p.png").top(3)
    for one in (*given(model), hlcli.load(model)):
        found = hlcli.predict(one, "p.png")
        assert found.predictions.top(3) == expected
        assert found.failures == []
        assert hlcli.evaluate(one).metrics.num_images == 3
    assert hlcli.predict(model, "p.png", out="p.jsonl", top_k=1).predictions == []
    assert Path("p.jsonl").read_text().count('"level"') == 3


def test_overrides_go_wherever_a_recipe_goes(model: str):
    assert hlcli.evaluate(model, overrides=["data.num_test=2"]).metrics.num_images == 2
    assert hlcli.evaluate(hlcli.load(model), overrides=["data.num_test=2"]).metrics.num_images == 2
    tuned = hlcli.predict(model, "p.png", overrides=["eval.threshold=0.999"])
    assert tuned.predictions[0].labels == ()
    for name in hlcli.__all__:
        taken = parameters(name)
        assert "recipe" not in taken or "overrides" in taken or not {"model", "kind"} & set(taken), name


def test_captioners_are_given_in_every_way():
    place = str(write_captioner(Path("c"), "eval.max_words=3"))
    expected = hlcli.load_captioner(place).caption("p.png")
    for one in (*given(place), hlcli.load_captioner(place)):
        assert hlcli.caption(one, "p.png").captions == expected
    assert hlcli.load_captioner(hlcli.open_model(place)).caption("p.png") == expected
    measured = hlcli.evaluate_captions(place, "test", out="o.jsonl", overrides=["data.num_test=2"], num_captions=2)
    assert len(measured.captions) == 2
    assert Path("o.jsonl").is_file()
    short = hlcli.caption(place, "p.png", overrides=["eval.max_words=1"]).captions[0]
    assert len(short.caption.split()) <= 1


def test_a_ready_predictor_has_decided_already(model: str):
    predictor = hlcli.load(model)
    with pytest.raises(TypeError, match="no options beside a predictor, but got overrides, top_k"):
        hlcli.predict(predictor, "p.png", overrides=["eval.consistent=true"], top_k=2)


def test_loaded_models_are_drawn_and_written(model: str):
    loaded = hlcli.open_model(model)
    assert hlcli.visualize("levels", loaded, images=["p.png"]).files[0].parent == Path("figures")
    with pytest.raises(hlcli.InputError, match="Give the folder of the run"):
        hlcli.visualize("curves", loaded)
    file = hlcli.export_upstream(loaded, out="up.pth")
    assert read_model(file, loaded.recipe).labels == loaded.labels


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """Of a public function."""
    thing = getattr(hlcli, name)
    return dict(inspect.signature(thing).parameters) if inspect.isfunction(thing) else {}


def test_public_functions_keep_the_same_rules():
    """`out` goes by its name, beside what it is made of; a place may be text; what is a model has one type."""
    for name in hlcli.__all__:
        for number, (key, one) in enumerate(parameters(name).items()):
            assert key != "out" or number == 0 or one.kind is inspect.Parameter.KEYWORD_ONLY, name
            assert not re.search(r"\bPath\b", one.annotation) or re.search(r"\bstr\b", one.annotation), (name, key)
            assert key != "model" or "GivenModel" in one.annotation, name
