"""How captions are found is one section of the recipe, whoever asks for captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run
from tiny_captioner import WORDS, captioner_recipe, change_eval, write_captioner
from tiny_captions import tiny_captions

import hlcli
from hlcli.captioning.batch import CaptionInputs
from hlcli.captioning.vocabulary import BEGIN, END, PADDING, UNKNOWN
from hlcli.errors import RecipeError
from hlcli.models.folder import read_model
from hlcli.recipe import Recipe

LABELS = {"data": {"dataset": "shapes"}, "model": {"method": "linear"}}


def captioned(*words: object) -> Any:
    done = run("caption", *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_words": 0}, "eval.max_words: must be at least 1"),
        ({"beam_size": 0}, "eval.beam_size: must be at least 1"),
        ({"length_penalty": -1.0}, "eval.length_penalty: must be at least 0"),
        ({"block_ngrams": -1}, "eval.block_ngrams: must be at least 0"),
        ({"decoder": "sample", "temperature": 0.0}, "eval.temperature: must be greater than 0"),
        ({"decoder": "sample", "top_p": 1.5}, "eval.top_p: must be at most 1"),
        ({"decoder": "sample", "top_p": 0.0}, "eval.top_p: must be greater than 0"),
        ({"decoder": "sample", "seed": -1}, "eval.seed: must be at least 0"),
        ({"decoder": "sample", "beam_size": 2}, "eval.beam_size: unknown key. It exists with decoder: beam"),
        ({"top_p": 0.5}, "eval.top_p: unknown key. It exists with decoder: sample"),
        ({"decoder": "smple"}, "eval.decoder: must be one of beam, sample.* Did you mean sample"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        change_eval(captioner_recipe(), changes)


def test_another_decoder_takes_over_what_all_share() -> None:
    drawn = change_eval(captioner_recipe("eval.beam_size=3"), {"decoder": "sample", "top_p": 0.5})
    draws = captioner_recipe("eval.decoder=sample", "eval.top_p=0.5")
    assert (drawn.batch_size, drawn.max_words, drawn.top_p) == (3, 8, 0.5)
    assert draws.eval == drawn
    assert change_eval(draws, {"decoder": "beam"}) == captioner_recipe("eval.beam_size=5").eval


def test_a_recipe_without_a_decoder_searches_and_may_be_told_to_draw() -> None:
    """The shipped recipes name `eval.beam_size` and no decoder."""
    assert Recipe.from_yaml("quickstart-caption").to_dict()["eval"]["decoder"] == "beam"
    assert Recipe.from_yaml("quickstart-caption", ["eval.decoder=sample"]).eval.max_words == 24


def test_recipes_of_labels_have_no_use_for_a_decoder() -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.from_dict(LABELS, ["eval.decoder=sample", "eval.top_p=0.5", "eval.max_words=5"])
    assert [line.partition(": is about captions")[0] for line in str(error.value).splitlines()[:3]] == [
        f"recipe: eval.{key}" for key in ("max_words", "decoder", "top_p")
    ]
    with pytest.raises(RecipeError, match=r"eval\.beam_size: is about captions, but linear learns labels"):
        Recipe.from_dict(LABELS, ["eval.beam_size=3"])


def test_drawn_captions_hold_words_alone(tmp_path: Path) -> None:
    """With probabilities so even that every token that may come does come."""
    loaded = read_model(write_captioner(tmp_path / "model"))
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        memory = loaded.model.encode(CaptionInputs(images=images))  # type: ignore[operator]
        for allow_unknown, missing in ((True, {PADDING, BEGIN}), (False, {UNKNOWN, PADDING, BEGIN})):
            changes = {"decoder": "sample", "temperature": 100.0, "allow_unknown": allow_unknown}
            section = change_eval(loaded.recipe, changes)
            found = section.find_captions(loaded.model.network, memory, 12, first_row=0)
            again, elsewhere = (
                section.find_captions(loaded.model.network, memory, 12, first_row=row) for row in (0, 3)
            )
            assert torch.equal(again.token_ids, found.token_ids)
            assert not torch.equal(elsewhere.token_ids, found.token_ids)
            said = {word for ids in found.token_ids.flatten(0, 1).tolist() for word in ids[: (*ids, END).index(END)]}
            assert said == set(range(len(WORDS) + 4)) - missing - {END}
            sums = found.log_probs.sum(dim=-1)
            assert bool((sums[:, :-1] >= sums[:, 1:] - 1e-4).all())


def test_a_recipe_that_draws_trains_and_says_what_the_command_draws(tmp_path: Path) -> None:
    way = ("eval.decoder=sample", "eval.temperature=0.5", "eval.seed=3")
    drawing = hlcli.train(tiny_captions("train.epochs=1", *way), tmp_path / "run")
    of_val = captioned(drawing.folder, "--split", "val")
    lines = map(json.loads, (drawing.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    (measured,) = [line for line in lines if line.get("event") == "evaluation"]
    assert of_val["metrics"].items() <= measured["metrics"].items()
    searching = tmp_path / "searching"
    searching.mkdir()
    for path in drawing.model_folder.iterdir():
        (searching / path.name).write_bytes(path.read_bytes())
    facts = json.loads((searching / "model.json").read_text(encoding="utf-8"))
    section = facts["recipe"]["eval"]
    for key in ("decoder", "temperature", "top_p", "seed"):
        del section[key]
    section["beam_size"] = 2  # a model folder of before there were decoders
    (searching / "model.json").write_text(json.dumps(facts), encoding="utf-8")
    assert read_model(searching).recipe.eval == tiny_captions().eval
    drawn = captioned(searching, "--split", "val", "--sample", "--temperature", "0.5", "--seed", "3")
    assert drawn == of_val
    assert captioned(drawing.folder, "--split", "val", "--seed", "4") != of_val
    assert captioned(drawing.folder, "--split", "val", "--beam", "2") == captioned(searching, "--split", "val")
