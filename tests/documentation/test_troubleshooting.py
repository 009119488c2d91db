"""docs/troubleshooting.md agrees with the program: its messages are provoked, or stand in the source.

Its commands are run with those of all other pages, in tests/documentation/test_commands_run.py.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import run
from noise_photos import write_photos
from tiny import tiny_recipe
from tiny_label_models import save_tiny_label_model

import hlcli
from hlcli.errors import HlcliError
from hlcli.library_errors import as_ours
from hlcli.metrics.captioning.java import java_version
from hlcli.prediction.result_files import partial_file
from hlcli.runs import Run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
WITH_MESSAGE, WITHOUT = PAGE.split("## Without a message\n")
MESSAGES = re.findall(r"^### `(.*)`$", WITH_MESSAGE, flags=re.MULTILINE)

Provoke = Callable[[pytest.MonkeyPatch], str]
"""Does what people do before they see a message; gives what is on their screen."""


def typed(command: str, **environment: str) -> Provoke:
    """`hlcli COMMAND` in an environment; one that fails must say so once, with an exit code and no traceback."""

    def provoke(monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        done = run(*shlex.split(command))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.lower().startswith("error: ")]
        assert (done.exit_code in (1, 2), len(errors)) in ((True, 1), (False, 0)), done.stderr
        return str(done.stderr)

    return provoke


def raised(error: Exception, **environment: str) -> Provoke:
    """What becomes of a library's error."""

    def provoke(monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(HlcliError) as caught, as_ours():
            raise error
        return f"error: {caught.value.message}\nhint: {caught.value.hint}"

    return provoke


def without(place: str, then: Provoke, answer: object = None) -> Provoke:
    """As on a machine where a function of hlcli answers so."""

    def provoke(monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(place, lambda *_, **__: answer)
        return then(monkeypatch)

    return provoke


def trained(*settings: str) -> Provoke:
    """Training of the tiny recipe."""
    words = " ".join(f"--set {setting}" for setting in settings)
    return typed(f"train --recipe tiny.yaml --run new {words}")


def table(labels: str) -> Provoke:
    """Training on own photos with this table."""
    return typed(
        "train --recipe tiny.yaml --run new --set data.dataset=folder --set data.images=photos "
        f"--set train.batch_size=2 --set data.hierarchy=tree.yaml --set data.labels={labels}"
    )


def without_java(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PATH", "")
    java_version.cache_clear()
    try:
        return typed("eval --captions c.json --references r.json --metrics METEOR")(monkeypatch)
    finally:
        java_version.cache_clear()


def while_another_trains(monkeypatch: pytest.MonkeyPatch) -> str:
    other = Run(Path("run"))
    other.lock()
    try:
        return typed("train --run run --resume")(monkeypatch)
    finally:
        other.unlock()


def after_the_state_was_deleted(monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copytree("run", "copied", ignore=lambda *_: ["checkpoints"], dirs_exist_ok=True)
    return typed("train --run copied --resume")(monkeypatch)


def after_a_kill(monkeypatch: pytest.MonkeyPatch) -> str:
    partial_file(Path("p.jsonl")).write_text("{}\n")
    return typed("eval model --images photos --out p.jsonl")(monkeypatch)


def without_the_hub(monkeypatch: pytest.MonkeyPatch) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    return typed("eval hf://jane/birds")(monkeypatch)


PROVOKED: dict[str, Provoke] = {
    "train.trackers: … is not installed.": without(
        "hlcli.training.trackers.find_spec", trained("train.trackers=[wandb]")
    ),
    "--to onnx needs …": without("hlcli.exporting.formats.find_spec", typed("export model --to onnx --out m.onnx")),
    "… needs Java 8 or newer, and no": without_java,
    "No such command …": typed("trian"),
    "No such option: …": typed("train --lr 3"),
    "The launcher was asked for several processes but started one.": typed(
        "train --recipe tiny.yaml", ACCELERATE_USE_CPU="true", MASTER_ADDR="127.0.0.1"
    ),
    "… processes were started for GPUs, but there is no GPU": without(
        "hlcli.launching._has_gpu", typed("train --recipe tiny.yaml --set train.cpu=false", WORLD_SIZE="2"), False
    ),
    "The launcher's settings say …, which hlcli does not work with.": typed(
        "train --recipe tiny.yaml", ACCELERATE_USE_DEEPSPEED="true"
    ),
    "train.batch_size … cannot be cut into … processes × … accumulation steps.": typed(
        "train --recipe tiny.yaml --num-processes 3 --dry-run"
    ),
    "Process … has lost another one.": raised(RuntimeError("Connection reset by peer"), WORLD_SIZE="2"),
    "Process … has waited for another one in vain.": raised(RuntimeError("Application timeout"), WORLD_SIZE="2"),
    "… is neither a file nor a shipped recipe.": typed("train --recipe nowhere.yaml"),
    "expected <block end>, but found …": typed("recipes validate indented.yaml"),
    r"found character '\t' that cannot start any token.": typed("recipes validate tab.yaml"),
    "…: unknown key": trained("optim.learning_rate=1"),
    "backbone.name: timm knows no model …": trained("backbone.name=resnet_50"),
    "… does not take images of … sides must be multiples of …": trained(
        "backbone.name=vit_tiny_patch16_224", "data.image_size=100"
    ),
    "… needs a CLIP model, but … encodes images alone.": typed(
        "train --recipe hspnet/shapes --set backbone.name=resnet50"
    ),
    "eval.select_by: there is no metric …": trained("eval.select_by=map", "train.epochs=1", "data.num_train=8"),
    "…/store/labels.json is missing.": typed("debug data coco"),
    "… is a workbook, no text.": table("workbook.csv"),
    "… cannot be read as UTF-8 text: …": table("latin.csv"),
    "…: the first line must name the columns, beginning with …": table("headless.csv"),
    "… columns were expected, got …": table("uneven.csv"),
    "… images are not in …": table("absent.csv"),
    "… not in the label space: …": table("misspelt.csv"),
    "Image … cannot be decoded: …": table("broken.csv"),
    "label_embeddings.safetensors is missing.": typed(
        "train --recipe salgl/shapes --set model.label_embeddings=prepared --dry-run"
    ),
    "The training split has … images, fewer than train.batch_size …": trained("train.batch_size=1000"),
    "… is not empty.": typed("train --recipe tiny.yaml --run run"),
    "Another process trains in …": while_another_trains,
    "There is too little memory.": raised(torch.OutOfMemoryError("CUDA out of memory.")),
    "A process that loads images …": raised(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")),
    "The loss is not finite in epoch …": trained("optim.lr=1e30"),
    "… no positive in train: … cannot be learnt.": trained("data.num_train=8", "train.epochs=1"),
    "There is no run … to resume.": typed("train --recipe tiny.yaml --resume"),
    "… was started with another recipe: …": typed("train --recipe tiny.yaml --set optim.lr=1 --run run --resume"),
    "… but its state is gone: …": after_the_state_was_deleted,
    "… cannot be written: …": typed("train --recipe tiny.yaml --run tiny.yaml/run"),
    "… holds no model: model.json is missing.": typed("eval photos"),
    "… is a file: an upstream checkpoint needs --recipe to say what it is.": typed("eval weights.pth"),
    "… does not fit this model: …": trained("model.hidden_dim=64", "train.init_weights=model"),
    "… is damaged, is no checkpoint, or asks to run code, which is refused.": typed(
        "eval weights.pth --recipe hleg/intentonomy"
    ),
    "… was begun before: … holds what is done.": after_a_kill,
    "The model (…) makes labels; a model that makes captions is needed here.": typed("caption model photos"),
    "… is missing, and nothing is fetched offline.": typed("download voc2007 --offline"),
    "The file is damaged or not the published one.": typed("download cub --offline"),
    "…: the hub cannot be reached.": without_the_hub,
}
"""A heading, and how to get its message."""

IN_SOURCE = {
    "… could not be fetched: …": "hlcli/backbones.py",  # needs a network that fails in the middle of a build
    "… is not on the hub, or not for you to see.": "hlcli/hub/names.py",  # needs an answer of the hub
}
"""Messages that would need a network: where their fixed parts stand."""

OF_OTHERS = {"hlcli: command not found", "error: externally-managed-environment"}
"""Messages of the shell and of pip, which cannot be provoked here."""


def fixed_parts(heading: str) -> list[str]:
    return [part.strip() for part in heading.split("…") if part.strip()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, a model, photos, and much that is wrong."""
    folder = tmp_path_factory.mktemp("desk")
    write_photos(folder / "photos", 3, "{}.jpg")
    (folder / "photos" / "broken.jpg").write_text("no image")
    recipe = tiny_recipe("train.epochs=1", "data.num_train=8", "data.num_val=4")
    texts = {
        "tiny.yaml": tiny_recipe().to_yaml(),
        "indented.yaml": "data:\n  dataset: shapes\n optim: {lr: 1}\n",
        "tab.yaml": "data:\n\tdataset: shapes\n",
        "tree.yaml": "animals: [dog, cat]\n",
        "headless.csv": "0.jpg;dog\n1.jpg;cat\n",
        "uneven.csv": "image,labels,split\n0.jpg,dog,cat,train\n",
        "absent.csv": "image,labels,split\n0.jpg,dog,train\n7.jpg,cat,train\n1.jpg,cat,val\n",
        "misspelt.csv": "image,labels,split\n0.jpg,dgo,train\n1.jpg,cat,train\n2.jpg,cat,val\n",
        "broken.csv": "image,labels,split\n0.jpg,dog,train\nbroken.jpg,cat,train\n2.jpg,cat,val\n",
    }
    contents = {name: text.encode() for name, text in texts.items()}
    contents |= {"workbook.csv": b"PK\x03\x04 zip", "latin.csv": "image,labels\n0.jpg,hünd\n".encode("latin-1")}
    for name, content in {**contents, "weights.pth": b"no weights"}.items():
        (folder / name).write_bytes(content)
    archive = folder / "data" / "cub" / "CUB_200_2011.tgz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"too short")
    save_tiny_label_model(folder / "model")
    hlcli.train(recipe, folder / "run")
    return folder


@pytest.fixture
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.delenv("HLCLI_DATA", raising=False)
    shutil.rmtree("new", ignore_errors=True)


def test_every_message_of_the_page_is_checked():
    assert len(MESSAGES) == len(set(MESSAGES)) >= 40
    assert sorted(MESSAGES) == sorted([*PROVOKED, *IN_SOURCE, *OF_OTHERS])


@pytest.mark.parametrize("heading", PROVOKED)
def test_a_message_is_printed_as_the_page_has_it(heading: str, at_the_desk: None, monkeypatch: pytest.MonkeyPatch):
    screen = PROVOKED[heading](monkeypatch)
    place = 0
    for part in fixed_parts(heading):
        assert part in screen[place:], screen
        place = screen.index(part, place) + len(part)


@pytest.mark.parametrize("heading", IN_SOURCE)
def test_a_message_that_needs_a_network_stands_in_the_source(heading: str):
    tree = ast.parse((ROOT / IN_SOURCE[heading]).read_text(encoding="utf-8"))
    texts = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert [part for part in fixed_parts(heading) if not any(part in text for text in texts)] == []


def test_every_entry_says_what_to_do():
    entries = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    assert [entry.splitlines()[0] for entry in entries if "```" not in entry] == []
    assert WITHOUT.count("### ") >= 7
