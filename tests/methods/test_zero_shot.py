from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

pytest.importorskip("open_clip")

from model_states import cpu_state
from PIL import Image
from tiny_clip import tiny_clip, write_config, write_weights
from typer.testing import CliRunner

import hlcli
from hlcli.cli.main import app
from hlcli.clip import ClipTowers, TextTower, build_clip
from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError, RecipeError
from hlcli.methods.zero_shot.config import ZeroShot
from hlcli.methods.zero_shot.model import share_logits
from hlcli.models.folder import read_model, save_model
from hlcli.recipe import Recipe, read_section

LABELS = LabelSpace.flat(["cat", "traffic_light", "diningtable"])
TEMPLATES = ("a photo of a {}.", "there is a {} here")


def towers(folder: Path) -> ClipTowers:
    return build_clip(f"clip:{write_config(folder)}", (32, 32), weights=write_weights(folder)).eval()


def cosines(texts: list[list[str]], images: torch.Tensor) -> torch.Tensor:
    """What open_clip itself says: [B, L]."""
    import open_clip

    model = tiny_clip()
    with torch.no_grad():
        groups = [model.encode_text(open_clip.tokenize(group, context_length=16), normalize=True) for group in texts]
        labels = F.normalize(torch.stack(groups).mean(dim=0), dim=-1)
        return model.encode_image(images, normalize=True) @ labels.T


def test_scores_are_cosines_with_the_mean_of_the_templates(tmp_path: Path):
    images = torch.randn(4, 3, 32, 32)
    names = ["cat", "traffic light", "diningtable"]
    expected = cosines([[template.replace("{}", name) for name in names] for template in TEMPLATES], images)
    clip = towers(tmp_path)
    scale = clip.logit_scale.exp()
    model = ZeroShot(templates=TEMPLATES, half_at=0.1).build(clip, LABELS, data_folder=tmp_path).eval()
    assert_close(model(images).logits, scale * (expected - 0.1), rtol=1e-4, atol=1e-4)
    shares = ZeroShot(templates=TEMPLATES, scores="softmax").build(clip, LABELS, data_folder=tmp_path).eval()
    assert_close(shares(images).logits.sigmoid(), (scale * expected).softmax(dim=-1), rtol=1e-4, atol=1e-5)


def test_names_can_be_given_in_a_file(tmp_path: Path):
    (tmp_path / "names.yaml").write_text("cat: tabby\ndiningtable: dining table\n")
    images = torch.randn(2, 3, 32, 32)
    section = ZeroShot(texts=tmp_path / "names.yaml", half_at=0.0)
    model = section.build(towers(tmp_path), LABELS, data_folder=tmp_path).eval()
    texts = [f"a photo of a {name}." for name in ("tabby", "traffic light", "dining table")]
    assert_close(model(images).logits / model.logit_scale.exp(), cosines([texts], images), rtol=1e-4, atol=1e-5)


def test_logits_of_shares_stay_exact_where_one_label_takes_all():
    values = torch.tensor([[0.0, 1.0, 3.0], [0.0, 200.0, -50.0], [5.0, 5.0, 5.0]])
    logits = share_logits(values)
    assert logits.isfinite().all()
    assert_close(logits[0].sigmoid(), values[0].softmax(dim=0))
    assert_close(logits[1], torch.tensor([-200.0, 200.0, -250.0]))
    assert_close(logits[2].sigmoid(), torch.full((3,), 1 / 3))


def test_texts_are_encoded_once_however_many_images_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []
    forward = TextTower.forward
    monkeypatch.setattr(TextTower, "forward", lambda *given: calls.append(1) or forward(*given))
    model = ZeroShot().build(towers(tmp_path), LABELS, data_folder=tmp_path).eval()
    for _ in range(3):
        model(torch.randn(2, 3, 32, 32))
    assert len(calls) == 1


def test_half_precision_makes_no_ties(tmp_path: Path):
    model = ZeroShot().build(towers(tmp_path), LABELS, data_folder=tmp_path).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(torch.randn(2, 3, 32, 32)).logits
    assert logits.dtype == torch.float32


def test_nothing_is_trained(tmp_path: Path):
    section = ZeroShot()
    model = section.build(towers(tmp_path), LABELS, data_folder=None)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(RecipeError, match=r"nothing to train\. Measure it: hlcli eval"):
        section.training_losses(model, None, None, epoch=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ([], "recipe: model.templates: at least one sentence was expected (got [])."),
        (["a photo"], "recipe: model.templates[0]: one {} was expected, for the label's name (got 'a photo')."),
        (
            ["a {}", "{} and {}"],
            "recipe: model.templates[1]: one {} was expected, for the label's name (got '{} and {}').",
        ),
    ],
)
def test_templates_without_one_place_for_the_name_are_refused_once(templates: list[str], message: str):
    with pytest.raises(RecipeError) as caught:
        read_section("model", {"method": "zero_shot", "templates": templates})
    assert str(caught.value) == message


def test_labels_that_cannot_be_read_out_are_refused(tmp_path: Path):
    clip = towers(tmp_path)
    with pytest.raises(RecipeError, match=r"model\.texts: .*Write their words to a file"):
        ZeroShot().build(clip, LabelSpace.flat(["0", "1"]), data_folder=tmp_path)
    with pytest.raises(RecipeError, match=r"model\.scores: softmax needs two labels"):
        ZeroShot(scores="softmax").build(clip, LabelSpace.flat(["cat"]), data_folder=tmp_path)


# The commands


def tree(folder: Path) -> dict[str, Any]:
    return {
        "data": {"dataset": "shapes", "image_size": 32, "workers": 0, "normalization": "clip", "root": str(folder),
                 "num_train": 4, "num_val": 5, "num_test": 7},
        "backbone": {"name": f"clip:{write_config(folder)}", "weights": str(write_weights(folder))},
        "model": {"method": "zero_shot"},
        "train": {"cpu": True},
        "eval": {"batch_size": 3},
    }  # fmt: skip


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "zero.yaml"
    path.write_text(json.dumps(tree(tmp_path)))
    return path


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_recipe_alone_is_measured(recipe_file: Path):
    done = run("eval", "--recipe", recipe_file, "--split", "val", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["split"], document["images"]) == ("val", 5)
    measured = hlcli.evaluate(recipe=Recipe.from_yaml(recipe_file), split="val")
    assert measured.metrics["mAP"] == document["metrics"]["mAP"]
    softmax = run("eval", "--recipe", recipe_file, "--set", "model.scores=softmax", "--json")
    assert json.loads(softmax.stdout)["images"] == 7


def test_a_recipe_alone_predicts_images_as_the_shell_lists_them(recipe_file: Path, tmp_path: Path):
    for number in range(3):
        Image.new("RGB", (40, 30), (90 * number, 0, 9)).save(tmp_path / f"{number}.jpg")
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    done = run("eval", "--recipe", recipe_file, "--json", "--top-k", 2, "--images", *files)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["predictions"]
    assert [row["image"] for row in rows] == [str(file) for file in files]
    folder = run("eval", "--recipe", recipe_file, "--json", "--images", tmp_path)
    assert len(json.loads(folder.stdout)["predictions"]) == 3


def test_a_method_that_must_be_trained_needs_a_model():
    done = run("eval", "--recipe", "quickstart")
    assert done.exit_code == 2
    assert "MODEL is missing: method hleg has to be trained" in done.stderr
    done = run("eval")
    assert done.exit_code == 2
    assert "MODEL is missing" in done.stderr
    with pytest.raises(InputError, match="MODEL is missing"):
        hlcli.evaluate()


def test_training_is_refused(recipe_file: Path, tmp_path: Path):
    done = run("train", "--recipe", recipe_file, "--run", tmp_path / "run")
    assert done.exit_code == 2, done.output
    assert "zero_shot" in done.stderr
    assert "hlcli eval --recipe" in done.stderr


def test_a_saved_model_keeps_its_label_features(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hlcli.models.opening import open_model

    made = open_model(None, Recipe.from_yaml(recipe_file))
    save_model(tmp_path / "saved", cpu_state(made.model), made.recipe, made.labels, thresholds=None, facts={})
    (tmp_path / "weights.pt").unlink()
    monkeypatch.setattr(TextTower, "forward", lambda *given: pytest.fail("encoded again"))
    images = torch.randn(2, 3, 32, 32)
    assert_close(read_model(tmp_path / "saved").model(images).logits, made.model(images).logits)
