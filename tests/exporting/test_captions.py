"""Captioners as two graphs: followed by onnxruntime alone, they say what hlcli says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run
from PIL import Image
from tiny_captioner import change_eval, write_captioner

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

import onnxruntime

import hlcli
from exporting.exported import untraced
from hlcli.errors import InputError
from hlcli.methods.base import MethodSection

SMALL = (
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "data.image_size=32",
    "data.render_size=32",
    "backbone.stage=3",
)
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a photo, and the exported model as the page calls them."""
    folder = tmp_path_factory.mktemp("work")
    write_captioner(folder / "model", *SMALL)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "photo.png").rename(folder / "photo.jpg")  # the page's name, without its losses
    made = hlcli.export(folder / "model", out=folder / "captioner", to="onnx")
    assert {path.name for path in made.files} == {"encoder.onnx", "decoder_step.onnx", "captioner.json"}
    assert {path.name for path in (folder / "captioner").iterdir()} == {path.name for path in made.files}
    tried = {(row.file, row.inputs) for row in made.differences if row.output == "log_probs"}
    assert tried == {
        ("decoder_step.onnx", inputs) for inputs in ("noise 1", "noise 2", "noise 5", "noise 5, 3 beams", "pictures 4")
    }
    assert max(row.greatest for row in made.differences) < 1e-4
    return folder


def test_the_page_says_the_greedy_caption(folder: Path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    loaded = hlcli.open_model("model")
    greedy = change_eval(loaded.recipe, {"beam_size": 1})
    (expected,) = hlcli.CaptionPredictor(loaded, decoding=greedy, cpu=True).caption(["photo.jpg"])
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "captioner" in block)
    exec(compile(code, "export.md", "exec"), {})
    said = capsys.readouterr().out.split()
    assert said
    once = [word for word, before in zip(said, [None, *said], strict=False) if word != before]
    assert " ".join(once) == expected.caption


def test_beams_change_places_by_their_rows_of_visible(folder: Path):
    encoder, step = (
        onnxruntime.InferenceSession(folder / "captioner" / f"{name}.onnx") for name in ("encoder", "decoder_step")
    )

    def run(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, inputs), strict=True))

    images = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    begun = run(encoder, {"images": images})

    def follow(words: list[list[int]], places: list[int]) -> np.ndarray:
        """Log-probabilities after rows of words, each image's captions alike, in other places before the last."""
        state, column = dict(begun), np.full((2, 1), 2)
        for number in range(len(words[0]) + 1):
            answer = run(step, {**state, "token_ids": column})
            state.update({name.removeprefix("next_"): part for name, part in answer.items() if name != "log_probs"})
            if number < len(words[0]):
                column = np.tile([row[number] for row in words], (2, 1))
                beams = np.zeros_like(column) if number == 0 else np.tile(places, (2, 1))
                state["visible"] = np.take_along_axis(state["visible"], beams[..., None], axis=1)
        return answer["log_probs"]

    straight = follow([[5, 7], [6, 8]], [0, 1])
    crossed = follow([[6, 7], [5, 8]], [1, 0])
    np.testing.assert_allclose(crossed, straight, atol=1e-4)
    assert np.abs(straight - follow([[6, 7], [5, 8]], [0, 1])).max() > 1e-3


def test_the_description_has_what_a_search_needs(folder: Path):
    about = json.loads((folder / "captioner" / "captioner.json").read_text(encoding="utf-8"))
    assert about["words"][about["begin"]] == "<bos>"
    assert (about["unknown"], about["padding"], about["end"], about["most_steps"]) == (0, 1, 3, 19)
    assert about["search"]["max_words"] == 8
    assert set(about["search"]["never"]) >= {about["unknown"]}
    session = onnxruntime.InferenceSession(folder / "captioner" / "encoder.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["hlcli"]) == about


def test_stored_features_of_any_number_go_in(tmp_path: Path):
    model = write_captioner(
        tmp_path / "model", *SMALL, "data.grid_features=grid.hdf5", "data.region_features=regions.hdf5",
        "model.grid_width=8", "model.region_width=6", "data.max_regions=4",
    )  # fmt: skip
    made = hlcli.export(model, out=tmp_path / "captioner", to="torch")
    assert {row.inputs for row in made.differences} == {"noise 1", "noise 2", "noise 5", "noise 5, 3 beams"}
    loaded = hlcli.open_model(model)
    inputs = {
        "padding_mask": torch.tensor([[False] * 3 + [True] * 6]),
        "grid_features": torch.randn(1, 11, 8),
        "region_features": torch.randn(1, 9, 6),
    }
    network = loaded.model.network
    with torch.inference_mode():
        memory = network.encode(inputs["grid_features"], inputs["region_features"], inputs["padding_mask"])
        expected, _ = network.step(network.start(memory)[1], torch.tensor([[2]]))
        state = torch.export.load(made.path / "encoder.pt2").module()(inputs)
        step = torch.export.load(made.path / "decoder_step.pt2").module()
        found = step({**state, "token_ids": torch.tensor([[2]])})["log_probs"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path):
    model = write_captioner(tmp_path / "model", *SMALL)
    with pytest.raises(InputError, match="becomes a folder"):
        hlcli.export(model, out=tmp_path / "captioner.onnx", to="onnx")
    with pytest.raises(InputError, match="no exported captioner"):
        hlcli.export(model, out=model, to="torch", overwrite=True)
    assert (model / "model.json").is_file()


@pytest.mark.parametrize(
    ("weight", "row", "said"),
    [
        ("encoder.grid_projection.linear.weight", 0, "encoder.pt2 on noise 1 differs by "),
        ("decoder.position_embedding.weight", 1, "decoder_step.pt2 on noise 1 differs by "),
        ("decoder.position_embedding.weight", 2, "decoder_step.pt2 on noise 1 differs by "),  # of the second word
    ],
)
def test_a_captioner_that_disagrees_is_refused(
    weight: str, row: int, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    out = tmp_path / "captioner"
    out.mkdir()
    (out / "captioner.json").write_text("an older one")
    untraced(monkeypatch)

    def changed(section: MethodSection, captioner: torch.nn.Module) -> torch.nn.Module:
        with torch.no_grad():
            captioner.network.get_parameter(weight)[row] += 0.05
        return captioner

    monkeypatch.setattr(MethodSection, "for_export", changed)
    done = run("export", folder / "model", "--to", "torch", "--out", out, "--overwrite")
    assert done.exit_code == 1
    assert said in done.stderr
    assert (out / "captioner.json").read_text() == "an older one"
    assert [path.name for path in tmp_path.rglob("*")] == ["captioner", "captioner.json"]
