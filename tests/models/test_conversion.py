"""From the published code's checkpoint to a model folder and back, without running what is inside."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from model_states import cpu_state
from tiny import tiny_recipe
from tiny_captioner import captioner_recipe, write_captioner
from typer.testing import CliRunner

from hlcli.building import build_model
from hlcli.cli.main import app
from hlcli.errors import CheckpointError, RecipeError
from hlcli.models.conversion import convert, export_upstream
from hlcli.models.folder import open_upstream, read_model, save_model
from hlcli.recipe import Recipe


def made(folder: Path, *overrides: str) -> Recipe:
    """A model folder with random weights and statistics."""
    torch.manual_seed(1)
    recipe = tiny_recipe(*overrides)
    labels = recipe.data.label_space()
    model = build_model(recipe, labels)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and name != "head.position":
                value.add_(torch.rand_like(value) * 0.1)
    save_model(folder, cpu_state(model), recipe, labels, thresholds=(0.1, 0.2, 0.3), facts={"epoch": 4})
    return recipe


def scores(model: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return model.eval()(images).level_logits


@pytest.mark.parametrize("overrides", [(), ("backbone.freeze_batch_norm=true",), ("model.encoder_layers=0",)])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_scores_survive_the_way_there_and_back(tmp_path: Path, overrides: tuple[str, ...], prefix: str):
    recipe = made(tmp_path / "model", *overrides)
    expected = scores(read_model(tmp_path / "model").model)
    file = export_upstream(tmp_path / "model", out=tmp_path / "é" / "model_best.pth.tar")
    content = torch.load(file, weights_only=True)
    assert (content["epoch"], content["arch"]) == (4, "hleg")
    assert any(name.startswith("transformer.decoder.decoder_layer.") for name in content["state_dict"])
    content["state_dict"] = {prefix + name: value for name, value in content["state_dict"].items()}
    torch.save(content, file)
    back = convert(file, recipe, out=tmp_path / "back")
    loaded = read_model(back)
    torch.testing.assert_close(scores(loaded.model), expected, rtol=0, atol=0)
    torch.testing.assert_close(scores(open_upstream(file, recipe).model), expected, rtol=0, atol=0)
    assert loaded.thresholds is None
    assert loaded.facts["source"] == "model_best.pth.tar"
    assert loaded.facts["weights"] == ("regular" if prefix else "ema")
    assert loaded.facts["upstream"] == {"epoch": 4, "arch": "hleg"}


def test_what_exists_is_only_replaced_when_asked(tmp_path: Path):
    recipe = made(tmp_path / "model")
    file = export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    with pytest.raises(CheckpointError, match="exists"):
        export_upstream(tmp_path / "model", out=file)
    export_upstream(tmp_path / "model", out=file, overwrite=True)
    with pytest.raises(CheckpointError, match="exists"):
        convert(file, recipe, out=tmp_path / "model")
    convert(file, recipe, out=tmp_path / "model", overwrite=True)
    assert read_model(tmp_path / "model").thresholds is None


@pytest.mark.parametrize(
    "override", ["model.hidden_dim=64", "backbone.name=test_resnet2", "model.encoder_layers=2", "data.image_size=64"]
)
def test_a_recipe_of_another_model_is_refused(tmp_path: Path, override: str):
    made(tmp_path / "model")
    file = export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    with pytest.raises((CheckpointError, RecipeError)) as caught:
        convert(file, tiny_recipe(override), out=tmp_path / "back")
    assert "test_resnet2" in str(caught.value) or "does not fit this model" in str(caught.value)
    assert not (tmp_path / "back").exists()


def test_other_depths_cannot_be_exported(tmp_path: Path):
    torch.manual_seed(0)
    from hlcli.data.labels import LabelSpace

    recipe, labels = tiny_recipe(), LabelSpace.from_tree({"a": ["x"], "b": ["y", "z"]})
    state = cpu_state(build_model(recipe, labels))
    save_model(tmp_path / "model", state, recipe, labels, thresholds=None, facts={})
    with pytest.raises(CheckpointError, match="exactly three levels; this model has 2"):
        export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    assert not (tmp_path / "up.pth").exists()


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_code_in_a_checkpoint_is_refused_with_one_message(tmp_path: Path, tiny_file: Path):
    file = tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Bomb(tmp_path / "was-run")}, file)
    for words in (
        ("convert", file, "--recipe", tiny_file, "--out", tmp_path / "out"),
        ("eval", file, "--recipe", tiny_file),
        ("train", "--recipe", tiny_file, "--set", f"train.init_weights={file}", "--run", tmp_path / "run"),
    ):
        done = run(*words)
        assert done.exit_code == 2, words
        assert "asks to run code, which is refused" in done.stderr
        assert "Traceback" not in done.output
    assert not (tmp_path / "was-run").exists()
    assert not (tmp_path / "out").exists()


def test_an_upstream_file_is_measured_and_predicts_as_it_is(tmp_path: Path, tiny_file: Path):
    made(tmp_path / "model")
    file = export_upstream(tmp_path / "model", out=tmp_path / "model_best.pth.tar")
    words = ("--split", "test", "--json", "--thresholds", "0.4")
    upstream, ours = run("eval", file, "--recipe", tiny_file, *words), run("eval", tmp_path / "model", *words)
    assert upstream.exit_code == ours.exit_code == 0, upstream.output
    assert json.loads(upstream.stdout) == json.loads(ours.stdout)
    assert json.loads(upstream.stdout)["images"] == 10
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "é.png")
    done = run("eval", file, "--recipe", tiny_file, "--images", tmp_path / "é.png", "--top-k", 1, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["predictions"][0]["labels"]) == 3


def test_val_thresholds_of_an_upstream_file_are_tuned_on_val(tmp_path: Path, tiny_file: Path):
    made(tmp_path / "model")
    file = export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    on_val = json.loads(run("eval", file, "--recipe", tiny_file, "--split", "val", "--json").stdout)
    on_test = json.loads(run("eval", file, "--recipe", tiny_file, "--split", "test", "--json").stdout)
    assert on_test["metrics"]["threshold"] == on_val["metrics"]["threshold"]


@pytest.mark.parametrize("method", ["salgl", "sgre"])
def test_methods_that_publish_an_average_get_their_form_back(tmp_path: Path, method: str):
    recipe = Recipe.from_dict(
        {**tiny_recipe().to_dict(), "model": {"method": method, "attention_dim": 16, "feedforward_dim": 32}}
    )
    labels = recipe.data.label_space()
    model = build_model(recipe, labels)
    save_model(tmp_path / "model", cpu_state(model), recipe, labels, thresholds=None, facts={"epoch": 4})
    file = export_upstream(tmp_path / "model", out=tmp_path / "ema.pth")
    content = torch.load(file, weights_only=True)
    assert all(name.startswith("module.") for name in content)
    loaded = open_upstream(file, recipe)
    assert loaded.facts["weights"] == "ema"
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.model.state_dict().items())


def test_a_method_without_a_published_program_says_so(tmp_path: Path):
    recipe = Recipe.from_dict({**tiny_recipe().to_dict(), "model": {"method": "linear"}})
    labels = recipe.data.label_space()
    save_model(tmp_path / "model", cpu_state(build_model(recipe, labels)), recipe, labels, thresholds=None, facts={})
    with pytest.raises(CheckpointError, match="no other program that reads models of method linear"):
        export_upstream(tmp_path / "model", out=tmp_path / "file.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="no published checkpoints of method linear"):
        open_upstream(tmp_path / "foreign.pth", recipe)


def test_overwrite_replaces_nothing_but_a_model(tmp_path: Path):
    recipe = made(tmp_path / "model")
    file = export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    (tmp_path / "empty").mkdir()
    convert(file, recipe, out=tmp_path / "empty", overwrite=True)
    (tmp_path / "model" / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"is not a model folder \(it holds thesis.tex\)"):
        convert(file, recipe, out=tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / "thesis.tex").exists()
    with pytest.raises(CheckpointError, match=r"up\.pth is not a model folder"):
        convert(file, recipe, out=file, overwrite=True)
    with pytest.raises(CheckpointError, match="is a folder; --out must be a file"):
        export_upstream(tmp_path / "empty", out=tmp_path / "empty", overwrite=True)
    assert open_upstream(file, recipe)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path):
    recipe = made(tmp_path / "model")
    file = export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    content = torch.load(file, weights_only=True)
    next(value for value in content["state_dict"].values() if value.is_floating_point()).view(-1)[0] = torch.inf
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"up\.pth: 1 key with values that are not finite \(\w+\."):
        open_upstream(file, recipe)


def test_what_has_no_place_in_the_published_file_is_named(tmp_path: Path):
    made(tmp_path / "model")
    done = run("convert", tmp_path / "model", "--to", "upstream", "--out", tmp_path / "up.pth")
    assert done.exit_code == 0
    assert done.stdout == f"{tmp_path / 'up.pth'}\n"
    lost = "the thresholds (0.1, 0.2, 0.3), the names of the labels, the recipe"
    assert f"has no place for {lost}. Keep the model folder" in done.stderr


def test_a_captioner_gets_the_image_encoder_that_its_recipe_names(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Published checkpoints of captioners have none."""
    loaded = read_model(write_captioner(tmp_path / "model"))
    assert loaded.vocabulary is not None
    (tmp_path / "words.json").write_text(json.dumps(loaded.vocabulary.to_json()))
    file = export_upstream(tmp_path / "model", out=tmp_path / "up.pth")
    assert "no place for the vocabulary, the image encoder, the recipe" in caplog.text
    words = f"data.vocabulary={tmp_path / 'words.json'}"
    open_upstream(file, captioner_recipe(words))
    assert "holds no image encoder, and the recipe's is random" in caplog.text
    caplog.clear()
    body = timm.create_model("test_resnet", num_classes=0).state_dict()
    torch.save(body, tmp_path / "body.pth")
    again = open_upstream(file, captioner_recipe(words, f"backbone.weights={tmp_path / 'body.pth'}"))
    assert "random" not in caplog.text
    first = "conv1.0.weight"
    found = {name: value for name, value in again.model.state_dict().items() if name.endswith(first)}
    assert [torch.equal(value, body[first]) for value in found.values()] == [True]
    network = {name: value for name, value in loaded.model.state_dict().items() if name.startswith("network.")}
    assert network
    assert all(torch.equal(value, again.model.state_dict()[name]) for name, value in network.items())
