"""Models on the hub: pushed with a card, and used by name, over the network once and from the cache then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import failed
from command_line import run as command
from hub_server import TOKEN, Hub, running_hub
from PIL import Image
from tiny import tiny_recipe
from tiny_captioner import write_captioner
from warm_programs import run_warm

import hlcli
from hlcli.errors import InputError
from hlcli.hub.card import write_card
from hlcli.hub.names import HubName, hub_name


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


def run(hub: Hub, home: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of a user who is logged in, with a cache of his own."""
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "hlcli", *map(str, words)]
    return subprocess.run(command, env={**os.environ, **settings, **environment}, capture_output=True, text=True)


def run_soon(hub: Hub, home: Path, *words: object, offline: bool = False, token: str = TOKEN):
    """The same without waiting for imports: the client has read its settings, so they are given to it again."""
    before = (
        "from huggingface_hub import constants\n"
        f"constants.ENDPOINT, constants.HF_HUB_OFFLINE = {hub.address!r}, {offline}\n"
        f"constants.HF_HUB_CACHE = {str(home / 'hub')!r}\n"
    )
    return run_warm(*words, before=before, HF_TOKEN=token, HF_HUB_OFFLINE=str(int(offline)))


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---")[1])


def test_a_model_is_pushed_fetched_by_name_and_used_from_the_cache(hub: Hub, tmp_path: Path):
    model = write_captioner(tmp_path / "model")
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.jpg")
    pushed = run(hub, tmp_path / "home", "push", model, "jane/words", "--private", "--message", "First")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.strip() == f"hf://jane/words: {hub.address}/jane/words"
    files = hub.files["jane/words"]
    assert {name: data for name, data in files.items() if name != "README.md"} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }
    assert (hub.private, hub.messages) == ({"jane/words"}, ["First"])
    assert "hlcli caption hf://jane/words photos" in files["README.md"].decode()

    words = ("caption", "hf://jane/words", tmp_path / "a.jpg", "--json")
    named = run(hub, tmp_path / "other", *words)
    assert named.returncode == 0, named.stderr
    here = hlcli.caption(model, [tmp_path / "a.jpg"])
    assert json.loads(named.stdout)["captions"] == [caption.to_json() for caption in here.captions]
    hub.asked.clear()
    again = run_soon(hub, tmp_path / "other", *words, offline=True)
    assert (again.stdout, hub.asked) == (named.stdout, [])


@pytest.mark.parametrize(
    ("words", "settings", "code", "messages"),
    [
        (("push", "MODEL", "jane/words"), {"token": "hf_wrong"}, 1, ["jane/words cannot be pushed", "auth login"]),
        (("caption", "hf://jane/none", "a.jpg"), {}, 2, ["hf://jane/none is not on the hub", "Check OWNER/NAME"]),
        (("caption", "hf://jane/none", "a.jpg"), {"offline": True}, 1, ["the hub cannot be reached"]),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(
    hub: Hub, tmp_path: Path, words: tuple[str, ...], settings: dict[str, Any], code: int, messages: list[str]
):
    model = write_captioner(tmp_path / "model")
    done = run_soon(hub, tmp_path / "home", *(model if word == "MODEL" else word for word in words), **settings)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for message in messages:
        assert message in done.stderr
    assert ("hf auth login" in done.stderr) == any("auth" in message for message in messages)
    assert not hub.files.get("jane/words")


def test_what_cannot_be_pushed_is_refused_before_anybody_is_asked(tmp_path: Path):
    model = write_captioner(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    failed(command("push", model, "words"), "'words' is no name on the hub", "jane/birds")
    failed(command("push", tmp_path / "nowhere", "jane/words"), "nowhere is no run folder and no model folder")
    failed(command("push", tmp_path / "empty", "jane/words"), "model.json")
    failed(command("eval", "hf://jane/a b"), "is no name on the hub")


def test_names_on_the_hub():
    assert hub_name("hf://jane/birds") == hub_name(Path("hf://jane/birds")) == HubName("jane/birds")
    assert hub_name("hf://jane/birds@v1") == HubName("jane/birds", "v1")
    assert str(hub_name("hf://jane/birds@v1")) == "hf://jane/birds@v1"
    assert hub_name("runs/hf") is None
    with pytest.raises(InputError, match="no name on the hub"):
        hub_name("hf://birds")


def test_the_card_of_labels_has_levels_thresholds_metrics_and_the_recipe(tmp_path: Path):
    run = hlcli.train(tiny_recipe("train.epochs=1"), tmp_path / "run")
    description = json.loads((run.model_folder / "model.json").read_text(encoding="utf-8"))
    card = write_card(description, "jane/shapes")
    data = front_matter(card)
    assert (data["library_name"], data["pipeline_tag"]) == ("hlcli", "image-classification")
    (model,) = data["model-index"]
    measured = {row["type"]: row["value"] for result in model["results"] for row in result["metrics"]}
    assert measured["mAP"] == pytest.approx(description["facts"]["metrics"]["mAP"], abs=1e-6)
    for level, threshold in zip(description["labels"]["levels"], description["thresholds"], strict=True):
        assert f"| {level['name']} | {len(level['label_names'])} | {threshold:.4g} |" in card
    assert f"| mAP | {measured['mAP']:.4f} |" in card
    assert hlcli.Recipe.from_dict(description["recipe"]).to_yaml() in card


def test_the_card_of_a_converted_model_says_what_it_came_from(tmp_path: Path):
    description = json.loads((write_captioner(tmp_path / "model") / "model.json").read_text(encoding="utf-8"))
    card = write_card({**description, "facts": {"source": "best.pth", "weights": "ema"}}, "jane/words")
    assert "Converted from `best.pth`" in card
    assert "model-index" not in front_matter(card)
    assert "## Metrics" not in card
