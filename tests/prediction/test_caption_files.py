"""Files of captions: whatever interrupts the work, it goes on, and nothing is mixed or lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_captioner import write_captioner
from warm_programs import WarmProgram, run_two

import hlcli
from hlcli.captioning.batch import CaptionInputs
from hlcli.data import loader_processes
from hlcli.errors import HlcliError, InputError
from hlcli.launching import find_processes
from hlcli.models.folder import read_model
from hlcli.prediction import image_stream
from hlcli.prediction.caption_files import caption_file
from hlcli.prediction.caption_predictor import stream_named
from hlcli.prediction.caption_rows import Caption
from hlcli.prediction.captions import CaptionPredictor, caption, caption_images, named_images
from hlcli.prediction.result_files import partial_file
from hlcli.recipe import EvalSection

from .captioned_photos import DRAWN, decoding, given_model, given_photos, lines  # noqa: F401


@pytest.mark.parametrize(("way", "num_captions"), [(None, 1), (DRAWN, 2)], ids=["searched", "drawn"])
def test_a_file_that_was_cut_anywhere_is_finished_as_if_never_interrupted(
    model: Path,
    photos: Path,
    tmp_path: Path,
    way: EvalSection | None,
    num_captions: int,
    monkeypatch: pytest.MonkeyPatch,
):
    predictor = CaptionPredictor(read_model(model), decoding=way, num_captions=num_captions)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    contents: list[bytes] = []
    unlink = Path.unlink

    def remember(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".partial":
            contents.append(path.read_bytes())
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", remember)
    caption(predictor, [photos], out=whole)
    (content,) = contents
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for cut in (0, 5, ends[0], ends[0] + 1, ends[2], ends[3], ends[5] - 1, ends[-2] + 9, ends[-1]):
        partial_file(out).write_bytes(content[:cut])
        caption(predictor, [photos], out=out, resume=True)
        assert out.read_bytes() == whole.read_bytes(), cut
        assert lines(out.with_suffix(".failures.jsonl")) == lines(whole.with_suffix(".failures.jsonl"))
        assert not partial_file(out).exists()
        unlink(out)


def test_work_that_was_begun_is_neither_lost_nor_mixed(model: Path, photos: Path, tmp_path: Path):
    out, places = tmp_path / "o.jsonl", [photos / "a.jpg", photos / "b.PNG"]
    loaded = read_model(model)
    predictor = CaptionPredictor(loaded)
    caption(predictor, places, out=out)
    finished = out.read_bytes()
    caption(predictor, places, out=out, resume=True)
    assert out.read_bytes() == finished
    with pytest.raises(InputError, match="finished, but with other images"):
        caption(predictor, places[:1], out=out, resume=True)
    with caption_file(out, [str(place) for place in places], predictor.describe(), predictor.processes) as begun:
        begun.begin(resume=False, batch_size=3)
        with pytest.raises(InputError, match=r"Another process writes .*o\.jsonl"):
            caption(predictor, places, out=out, resume=True)
    assert out.read_bytes() == finished
    with pytest.raises(InputError, match=r"begun before.*--resume"):
        caption(predictor, places, out=out)
    with pytest.raises(InputError, match="begun with other images"):
        caption(predictor, places[:1], out=out, resume=True)
    with pytest.raises(InputError, match="begun with other search, batch size"):
        caption(CaptionPredictor(loaded, decoding=decoding(beam_size=1), batch_size=2), places, out=out, resume=True)
    caption(predictor, places, out=out, resume=True)
    assert out.read_bytes() == finished


def begin(predictor: CaptionPredictor, photos: Path, out: Path) -> list[bytes]:
    """Stop before the file has its name; the lines of the results."""
    images = named_images([photos])
    with caption_file(out, images.names, predictor.describe(), predictor.processes) as file:
        file.begin(resume=False, batch_size=predictor.batch_size)
        for result in stream_named(predictor, images):
            file.write(result)
    return partial_file(out).read_bytes().splitlines(keepends=True)


class Begun(NamedTuple):
    """A work and its beginning."""

    predictor: CaptionPredictor
    whole: Path
    rows: list[bytes]
    """Of the file, the first one of which says what work it is."""


@pytest.fixture(scope="module", params=[1, 2], ids=lambda size: f"batches of {size}")
def begun(request: pytest.FixtureRequest, model: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder, predictor = tmp_path_factory.mktemp("begun"), CaptionPredictor(read_model(model), batch_size=request.param)
    caption(predictor, [photos], out=folder / "whole.jsonl")
    return Begun(predictor, folder / "whole.jsonl", begin(predictor, photos, folder / "o.jsonl"))


@pytest.mark.parametrize("damage", ["doubled", "swapped", "zeros", "cut", "not a number", "more"])
def test_lines_that_are_not_of_their_images_are_done_again(begun: Begun, photos: Path, tmp_path: Path, damage: str):
    predictor, whole, (first, *rows) = begun
    out = tmp_path / "o.jsonl"
    damaged = {
        "doubled": [*rows[:5], *rows[3:]],
        "swapped": [*rows[:3], rows[4], rows[3], *rows[5:]],
        "zeros": [*rows[:4], bytes(len(rows[4]) - 1) + b"\n", *rows[5:]],
        "cut": [*rows[:4], rows[4][:20] + b"\n", *rows[5:]],
        "not a number": [*rows[:8], b'{"image": "x", "caption": "", "log_prob": NaN, "alternatives": []}\n'],
        "more": [*rows, rows[-1], b"{"],
    }[damage]
    partial_file(out).write_bytes(first + b"".join(damaged))
    caption(predictor, [photos], out=out, resume=True)
    assert out.read_bytes() == whole.read_bytes()
    assert lines(out.with_suffix(".failures.jsonl")) == lines(whole.with_suffix(".failures.jsonl"))


def test_a_finished_file_of_another_work_is_not_taken_for_this_one(model: Path, photos: Path, tmp_path: Path):
    loaded, out, places = read_model(model), tmp_path / "o.jsonl", [photos / "a.jpg", photos / "bad.jpg"]
    caption(CaptionPredictor(loaded), places, out=out)
    finished = out.read_bytes()
    greedy = CaptionPredictor(loaded, decoding=decoding(beam_size=1))
    with pytest.raises(InputError, match="is finished, but with other search"):
        caption(greedy, places, out=out, resume=True)
    other = CaptionPredictor(read_model(write_captioner(tmp_path / "other", seed=1)))
    with pytest.raises(InputError, match="is finished, but with other models"):
        caption(other, places, out=out, resume=True)
    listed = out.with_suffix(".failures.jsonl")
    listed.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="nothing says what made it"):
        caption(CaptionPredictor(loaded), places, out=out, resume=True)
    (tmp_path / "moved").rename(listed)
    assert len(caption(CaptionPredictor(loaded), places, out=out, resume=True).failures) == 1
    (tmp_path / ".o.jsonl.work").unlink()
    with pytest.raises(InputError, match=r"nothing says what made it: .*\.o\.jsonl\.work"):
        caption(CaptionPredictor(loaded), places, out=out, resume=True)
    assert out.read_bytes() == finished


def test_a_file_that_vanishes_at_the_end_is_no_traceback(model: Path, photos: Path, tmp_path: Path):
    predictor, images = CaptionPredictor(read_model(model)), named_images([photos / "a.jpg"])
    with caption_file(tmp_path / "o.jsonl", images.names, {}, predictor.processes) as file:
        file.begin(resume=False, batch_size=1)
        partial_file(tmp_path / "o.jsonl").unlink()
        with pytest.raises(HlcliError, match=r"o\.jsonl(\.partial)? cannot be written: No such file"):
            file.finish(keep=True)


def test_after_an_error_the_same_program_can_go_on(model: Path, photos: Path, tmp_path: Path):
    def stop(found: Caption) -> None:
        raise RuntimeError("stopped")

    out = tmp_path / "o.jsonl"
    predictor = CaptionPredictor(read_model(model), batch_size=1, workers=1)
    with pytest.raises(RuntimeError, match="stopped") as kept:  # with its frames, and the loader processes
        caption_images(predictor, named_images([photos]), out, show=stop)
    caption_images(predictor, named_images([photos]), out, resume=True)
    assert len(lines(out)) == 8
    del kept


def test_images_whose_scores_are_not_finite_are_listed(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    places = [photos / "a.jpg", photos / "c.png", photos / "e.jpg"]
    for number, way in enumerate((None, DRAWN)):
        predictor = CaptionPredictor(read_model(model), decoding=way, num_captions=2)
        expected = predictor.caption(places)
        compute = predictor.inputs.compute

        def damage(loaded: Any, compute: Any = compute) -> list[CaptionInputs]:
            (own,) = compute(loaded)
            return [own._replace(images=own.images.index_fill(0, torch.tensor([1]), torch.nan))]

        monkeypatch.setattr(predictor.inputs, "compute", damage)
        out = tmp_path / f"{number}.jsonl"
        found = caption(predictor, places, out=out)
        assert [failure.image for failure in found.failures] == [str(places[1])]
        assert f"{places[1]} cannot be captioned: its scores are not finite" in found.failures[0].error
        assert "NaN" not in out.read_text(encoding="utf-8")
        assert [row["image"] for row in lines(out)] == [str(places[0]), str(places[2])]
        if number == 0:
            assert [row["caption"] for row in lines(out)] == [expected[0].caption, expected[2].caption]


def test_a_loader_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch):
    made: list[dict[str, Any]] = []

    class NoBatches:
        def __init__(self, rows: Any, **options: Any) -> None:
            made.append(options)

        def __iter__(self) -> Iterator[Any]:
            return iter(())

    monkeypatch.setattr(loader_processes, "DataLoader", NoBatches)
    processes = find_processes(cpu=True, precision="fp32")
    for workers in (2, 0):
        assert list(image_stream.in_order([1, 2], int, list, processes, batch_size=1, workers=workers)) == []
    assert [options["timeout"] for options in made] == [600, 0]


def test_an_interrupted_work_says_how_it_goes_on(model: Path, photos: Path, tmp_path: Path):
    def stop(found: Caption) -> None:
        raise KeyboardInterrupt

    predictor, images = CaptionPredictor(read_model(model), batch_size=1), named_images([photos])
    with pytest.raises(KeyboardInterrupt, match=r"o\.jsonl\.partial keeps what is done; --resume"):
        caption_images(predictor, images, tmp_path / "o.jsonl", show=stop)
    caption_images(predictor, images, tmp_path / "o.jsonl", resume=True)
    assert len(lines(tmp_path / "o.jsonl")) == 8


def test_a_killed_program_goes_on_where_it_was(model: Path, tmp_path: Path):
    folder, out = tmp_path / "many", tmp_path / "o.jsonl"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(80):
        Image.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(folder / f"{number:03}.png")
    program = WarmProgram("caption", model, folder, "--out", out, "--batch-size", "2")
    try:
        end = time.monotonic() + 120
        while not (partial_file(out).exists() and partial_file(out).read_bytes().count(b"\n") > 8):
            assert program.is_running(), program.errors()
            assert time.monotonic() < end
            time.sleep(0.005)
    finally:
        program.send(signal.SIGKILL)
        program.wait()
    assert not out.exists()
    predictor = CaptionPredictor(read_model(model), batch_size=2)
    caption(predictor, [folder], out=out, resume=True)
    caption(predictor, [folder], out=tmp_path / "whole.jsonl")
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_two_processes_write_the_same_file_as_one(model: Path, photos: Path, tmp_path: Path):
    words = ["caption", model, photos, "--num-captions", "2", "--batch-size", "2"]
    done = run_two(*words, "--out", tmp_path / "two.jsonl")
    assert "1 image could not be captioned" in done.stderr, done.stderr
    hlcli.caption(model, [photos], out=tmp_path / "one.jsonl", num_captions=2, batch_size=2)
    for ending in (".jsonl", ".failures.jsonl"):
        two, one = (tmp_path / f"{name}{ending}" for name in ("two", "one"))
        assert two.read_bytes() == one.read_bytes()
    assert not partial_file(tmp_path / "two.jsonl").exists()
