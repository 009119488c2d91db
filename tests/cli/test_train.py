from __future__ import annotations

import json
import os
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import torch
import yaml
from command_line import failed, run
from tiny import tiny_recipe

from hlcli.cli.commands import set_up_logging
from hlcli.cli.train import _without_processes
from hlcli.cli.training_report import show_run
from hlcli.embeddings.graphs import LabelGraph, write_label_graph
from hlcli.embeddings.labels import LabelEmbeddings, write_label_embeddings
from hlcli.recipe import Recipe
from hlcli.runs import Run


def shown_after_training(recipe: Path, capsys: pytest.CaptureFixture[str], split: str = "val") -> list[str]:
    """The lines on stderr."""
    facts = {"weights": "regular", "epoch": 1, "split": split, "metrics": {"mAP": 0.5}}
    run: Any = Run(Path("RUN"))
    run.recipe_path, run.best_model = lambda: recipe, lambda: facts
    set_up_logging(quiet=False, debug=False)
    show_run(run, as_json=False)
    return capsys.readouterr().err.splitlines()


def recipe_file(folder: Path, *overrides: str, name: str = "tiny.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(tiny_recipe("train.epochs=1", *overrides).to_yaml(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run that was made on the command line, and what the command said."""
    folder = tmp_path_factory.mktemp("é 漢")
    recipe = recipe_file(folder)
    return folder / "run", run("train", "--recipe", recipe, "--run", folder / "run", "--json")


def test_json_stands_alone_on_stdout(trained: tuple[Path, Any]):
    folder, done = trained
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["run"] == str(folder)
    assert document["metrics"]["mAP"] == Run(folder).best_model()["metrics"]["mAP"]
    assert "cpu, 1 process, fp32." in done.stderr


def test_a_finished_run_can_be_resumed_without_its_recipe(trained: tuple[Path, Any]):
    folder, _ = trained
    before = (folder / "metrics.jsonl").read_bytes()
    done = run("train", "--run", folder, "--resume")
    assert done.exit_code == 0, done.output
    assert "mAP" in done.stdout
    assert f"hlcli eval {quote(str(folder))}" in done.stderr.replace("\n", "")
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_run_in_use_is_refused_and_kept(trained: tuple[Path, Any]):
    folder, _ = trained
    before = (folder / "model" / "model.safetensors").read_bytes()
    failed(run("train", "--recipe", folder.parent / "tiny.yaml", "--run", folder), "is not empty", "--overwrite")
    done = run("train", "--run", folder, "--resume", "--set", "optim.lr=0.7")
    failed(done, "optim.lr (was 0.001, now 0.7)")
    assert (folder / "model" / "model.safetensors").read_bytes() == before


def test_a_dry_run_prints_an_equal_recipe_and_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = recipe_file(tmp_path)
    done = run("train", "--recipe", path, "--set", "optim.lr=1e-5", "--dry-run")
    assert done.exit_code == 0, done.output
    printed = tmp_path / "printed.yaml"
    printed.write_text(done.stdout, encoding="utf-8")
    assert Recipe.from_yaml(printed) == Recipe.from_yaml(path, ["optim.lr=1e-5"])
    assert "6 steps per epoch" in done.stderr
    assert "parameters:" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_is_one_json_document_where_that_is_asked_for(tmp_path: Path):
    done = run("train", "--recipe", recipe_file(tmp_path), "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert Recipe.from_dict(document["recipe"]).train.epochs == 1
    assert document["steps_per_epoch"] == document["total_steps"] == 6
    assert 0 < document["trained"] <= document["parameters"]
    assert "Next:" not in done.stderr


def test_one_set_takes_several_settings(tmp_path: Path):
    path = recipe_file(tmp_path)
    overrides = ["optim.lr=1e-5", "train.seed=3", "eval.select_by=F1_micro"]
    once = run("train", "--recipe", path, "--set", *overrides, "--dry-run")
    assert once.exit_code == 0, once.output
    thrice = [word for override in overrides for word in ("--set", override)]
    assert once.stdout == run("train", "--recipe", path, *thrice, "--dry-run").stdout
    joined = [f"--set={overrides[0]}", *overrides[1:]]
    assert once.stdout == run("train", "--recipe", path, *joined, "--dry-run").stdout
    failed(
        run("train", "--recipe", path, "--set", *overrides, "more", "--dry-run"), "unexpected extra argument(s) (more)"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "No recipe was given."),
        (["--resume"], "No recipe was given."),
        (["--recipe", "nothing.yaml"], "nothing.yaml is neither a file nor a shipped recipe."),
        (["--recipe", "."], "is a folder without recipe.yaml"),
        (["--run", "nothing", "--resume"], "nothing is not a run"),
        (["--recipe", "RECIPE", "--set", "optim.lr=fast"], "optim.lr"),
        (["--recipe", "RECIPE", "--set", "optim"], "expected section.key=value"),
        (["--recipe", "RECIPE", "--set", "train.batch_size=64"], "48 images, fewer than train.batch_size 64"),
        (["--recipe", "RECIPE", "--set", "train.batch_size=64", "--dry-run"], "fewer than train.batch_size 64"),
        (["--recipe", "RECIPE", "--dry-run", "--num-processes", "3"], "cannot be cut into 3 processes"),
        (["--recipe", "RECIPE", "--set", "eval.select_by=map", "--dry-run"], "Did you mean mAP?"),
        (["--recipe", "RECIPE", "--set", "eval.select_by=scene/entropy", "--dry-run"], "no metric 'scene/entropy'"),
        (["--recipe", "hspnet/zero-shot", "--dry-run"], "Measure it: hlcli eval --recipe FILE."),
        (["--recipe", "quickstart-caption", "--set", "eval.select_by=cidr", "--dry-run"], "Did you mean CIDEr?"),
        (["--recipe", "RECIPE", "--set", "data.num_val=0"], "shapes has no split 'val'; it has train, test."),
        (
            ["--recipe", "RECIPE", "--set", "eval.split=dev", "--set", "eval.threshold=self"],
            "shapes has no split 'dev'",
        ),
        (["--recipe", "RECIPE", "--set", "backbone.name=test_resnt"], "Did you mean test_resnet"),
        (["--recipe", "RECIPE", "--set", "backbone.name=test_resnet.x"], "timm knows no weights 'test_resnet.x'"),
        (["--recipe", "RECIPE", "--set", "data.num_train=1", "--set", "train.batch_size=1"], "too little for batch n"),
        (["--recipe", "RECIPE", "--set", "train.precision=fp16"], "fp16 needs a GPU"),
        (["--recipe", "RECIPE", "--set", "train.init_weights=gone.pth"], "gone.pth is not a file"),
        (["--recipe", "RECIPE", "--set", "data.store=gone"], "hlcli preprocess shapes"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
):
    monkeypatch.chdir(tmp_path)
    recipe = str(recipe_file(tmp_path / "recipes"))
    failed(run("train", *(word.replace("RECIPE", recipe) for word in words)), text)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_vectors_and_graphs_of_other_labels_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    names, parents = ("cat", "dog"), ("animal",)
    write_label_embeddings(Path("other.safetensors"), LabelEmbeddings(torch.eye(2), names, names, "none", {}))
    words = ("train", "--recipe", "sgre/shapes", "--set", "model.label_embeddings=other.safetensors")
    failed(run(*words, *more), "other.safetensors was made for other labels", "hlcli embed labels DATASET")
    write_label_graph(Path("graph.safetensors"), LabelGraph(torch.eye(3), names, parents, (), "none", {}))
    words = ("train", "--recipe", "hspnet/shapes", "--set", "model.graph=graph.safetensors")
    failed(run(*words, *more), "graph.safetensors was made for other labels", "hlcli embed graph DATASET")


def test_vectors_of_another_width_and_damaged_ones_are_refused_in_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    names = Recipe.from_yaml("sgre/shapes").data.label_space().label_names
    write_label_embeddings(Path("v.safetensors"), LabelEmbeddings(torch.eye(12), names, names, "none", {}))
    words = ("train", "--recipe", "sgre/shapes", "--set", "model.label_embeddings=v.safetensors", "--dry-run")
    failed(run(*words), "have width 12, not 768")
    assert run(*words, "--set", "model.label_embedding_dim=12").exit_code == 0
    Path("v.safetensors").write_bytes(b"nothing")
    failed(run(*words), "v.safetensors is not a file of label embeddings")


def test_a_metric_that_is_not_measured_is_refused_before_the_first_step(tmp_path: Path):
    words = ("train", "--recipe", recipe_file(tmp_path), "--run", tmp_path / "run", "--set", "eval.select_by=corse/mAP")
    failed(run(*words), "there is no metric 'corse/mAP'", "Did you mean coarse/mAP?")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_file_in_the_place_of_the_run_is_refused(tmp_path: Path):
    recipe = recipe_file(tmp_path)
    for options in ([], ["--overwrite"]):
        failed(run("train", "--recipe", recipe, "--run", recipe, *options), "is a file; a run needs a folder")
    failed(run("train", "--recipe", recipe, "--run", recipe / "below"), "cannot be written", code=1)
    assert Recipe.from_yaml(recipe)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything is writable for root")
def test_a_read_only_place_is_our_error(tmp_path: Path):
    recipe = recipe_file(tmp_path)
    (tmp_path / "locked").mkdir(mode=0o500)
    failed(run("train", "--recipe", recipe, "--run", tmp_path / "locked" / "run"), "cannot be written", code=1)


def test_a_loss_that_explodes_in_the_last_step_is_a_clear_failure(tmp_path: Path):
    settings = ("optim.lr=1e30", "train.batch_size=48", "train.ema_decay=null")
    recipe = recipe_file(tmp_path, *settings)
    done = run("train", "--recipe", recipe, "--run", tmp_path / "run")
    failed(done, "after epoch 1", "lower optim.lr", code=1)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)


def test_runs_of_one_recipe_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_file(tmp_path, "data.num_train=8", "data.num_val=4", name="my[1].yaml")
    for folder in ("runs/my[1]", "runs/my[1]-2"):
        done = run("train", "--recipe", recipe, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["run"] == folder
    done = run("train", "--recipe", recipe, "--resume", "--json")
    assert json.loads(done.stdout)["run"] == "runs/my[1]-2"


def test_own_photos_train_with_one_label_and_one_image_per_step(tmp_path: Path):
    from PIL import Image

    rows = ["image,labels,split"]
    for number in range(4):
        Image.new("RGB", (30, 20), (60 * number, 10, 10)).save(tmp_path / f"é {number}.jpg")
        rows.append(f"é {number}.jpg,{'漢' if number % 2 else ''},{'train' if number < 2 else 'val'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    tree = tiny_recipe("train.epochs=1", "train.batch_size=1", "backbone.freeze_batch_norm=true").to_dict()
    tree["data"] = {"dataset": "folder", "images": str(tmp_path), "labels": str(tmp_path / "labels.csv"),
                    "image_size": 32, "workers": 0}  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    done = run("train", "--recipe", tmp_path / "own.yaml", "--run", tmp_path / "run", "--json")
    assert done.exit_code == 0, done.output
    assert 0 < json.loads(done.stdout)["metrics"]["mAP"] <= 1
    (tmp_path / "labels.csv").write_text("\n".join([*rows[:3], "é 2.jpg,,val"]), encoding="utf-8")
    words = ("train", "--recipe", tmp_path / "own.yaml", "--run", tmp_path / "run2")
    failed(run(*words), "No image of split val of folder has a label")


def test_the_option_that_starts_processes_is_not_handed_on():
    words = ["train", "--num-processes", "2", "--recipe", "x", "--json"]
    assert _without_processes(words) == ["train", "--recipe", "x", "--json"]
    assert _without_processes(["train", "--num-processes=2", "--json"]) == ["train", "--json"]


@pytest.mark.parametrize(
    ("method", "kinds"),
    [("hleg", ["levels"]), ("sgre", ["attention"]), ("salgl", ["attention", "scenes"]), ("linear", ["curves"])],
)
def test_the_figures_proposed_are_those_that_the_method_has(tmp_path: Path, capsys, method: str, kinds: list[str]):
    (tmp_path / "recipe.yaml").write_text(f"data: {{dataset: shapes}}\nmodel: {{method: {method}}}\n")
    said = shown_after_training(tmp_path / "recipe.yaml", capsys)
    assert [line for line in said if "visualize" in line] == [f"Next: hlcli visualize {kind} RUN" for kind in kinds]


@pytest.mark.parametrize(
    ("data", "split"),
    [
        ("dataset: shapes", "test"),
        ("dataset: shapes, num_test: 0", "val"),
        ("dataset: captions, images: gone, train: gone.json, val: gone.json", "val"),
        ("dataset: flickr8k, root: gone", "val"),
    ],
)
def test_the_split_proposed_for_captions_exists(tmp_path: Path, capsys, data: str, split: str):
    (tmp_path / "recipe.yaml").write_text(
        f"data: {{{data}}}\nmodel: {{method: hin}}\nobjective: {{loss: cross_entropy}}\n"
    )
    assert f"Next: hlcli caption RUN --split {split}" in shown_after_training(tmp_path / "recipe.yaml", capsys)
