"""Files of predictions: whatever interrupts the work, it goes on, and nothing is mixed or lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import failed, run
from noise_photos import write_photos
from small_disk import small_files
from tiny_label_models import save_tiny_label_model, tiny_label_model

import hlcli
from hlcli.data.failures import failures_file
from hlcli.errors import HlcliError, InputError
from hlcli.prediction.result_files import partial_file


@pytest.fixture(scope="module")
def predictor() -> hlcli.Predictor:
    return hlcli.Predictor(tiny_label_model("salgl"), thresholds=0.4, batch_size=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven photos, the third of them damaged."""
    folder = write_photos(tmp_path_factory.mktemp("photos") / "ü 漢", 7)
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:99])
    return folder


def begin(predictor: hlcli.Predictor, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Stop before the file has its name; what is kept."""

    def stop(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hlcli.prediction.label_files.write_predictions", stop)
        with pytest.raises(KeyboardInterrupt, match=r"partial keeps what is done; --resume"):
            hlcli.predict(predictor, photos, out=out)
    return partial_file(out).read_bytes()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_file_that_was_cut_anywhere_is_finished_as_if_never_interrupted(
    predictor: hlcli.Predictor, photos: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
):
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"out.{ending}"
    done = hlcli.predict(predictor, photos, out=whole)
    assert [Path(failure.image).name for failure in done.failures] == ["2.png"]
    content = begin(predictor, photos, out, monkeypatch)
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == 8
    for cut in (0, 5, ends[0], ends[1], ends[2], ends[3] + 7, ends[6] - 1, ends[7]):
        partial_file(out).write_bytes(content[:cut])
        again = hlcli.predict(predictor, photos, out=out, resume=True)
        assert again.failures == done.failures, cut
        assert out.read_bytes() == whole.read_bytes(), cut
        assert failures_file(out).read_bytes() == failures_file(whole).read_bytes()
        assert not partial_file(out).exists()
        out.unlink()


def test_lines_that_are_not_of_their_images_are_done_again(
    predictor: hlcli.Predictor, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "o.jsonl"
    hlcli.predict(predictor, photos, out=whole)
    first, *rows = begin(predictor, photos, out, monkeypatch).splitlines(keepends=True)
    for damaged in (
        [rows[1], rows[0], *rows[2:]],
        [*rows[:2], b"\0" * 40 + b"\n", *rows[3:]],
        [*rows[:3], rows[3].replace(b'"score": 0', b'"score": NaN'), *rows[4:]],
        [*rows[:3], rows[3].replace(b'"labels": [', b'"labels": [7, '), *rows[4:]],
        [*rows, rows[0]],
    ):
        partial_file(out).write_bytes(first + b"".join(damaged))
        hlcli.predict(predictor, photos, out=out, resume=True)
        assert out.read_bytes() == whole.read_bytes()
        out.unlink()


def test_work_that_was_begun_is_neither_lost_nor_mixed(
    predictor: hlcli.Predictor, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "o.jsonl"
    begin(predictor, photos, out, monkeypatch)
    with pytest.raises(InputError, match=r"begun before.*--resume"):
        hlcli.predict(predictor, photos, out=out)
    with pytest.raises(InputError, match="begun with other images"):
        hlcli.predict(predictor, photos / "0.png", out=out, resume=True)
    other = hlcli.Predictor(tiny_label_model("salgl"), thresholds=0.3, batch_size=3, top_k=2)
    with pytest.raises(InputError, match="begun with other thresholds, number of labels, batch size"):
        hlcli.predict(other, photos, out=out, resume=True)
    hlcli.predict(predictor, photos, out=out, resume=True)
    finished = out.read_bytes()
    assert len(hlcli.predict(predictor, photos, out=out, resume=True).failures) == 1
    with pytest.raises(InputError, match="is finished, but with other thresholds"):
        hlcli.predict(other, photos, out=out, resume=True)
    assert out.read_bytes() == finished
    hlcli.predict(other, photos, out=out)
    assert out.read_bytes() != finished


def test_a_full_disk_keeps_what_is_done(predictor: hlcli.Predictor, photos: Path, tmp_path: Path):
    whole, out = tmp_path / "whole.csv", tmp_path / "o.csv"
    hlcli.predict(predictor, photos, out=whole)
    with small_files(2500), pytest.raises(HlcliError, match=r"o\.csv\.partial cannot be written: File too large"):
        hlcli.predict(predictor, photos, out=out)
    assert not out.exists()
    hlcli.predict(predictor, photos, out=out, resume=True)
    assert out.read_bytes() == whole.read_bytes()


def test_images_whose_scores_are_not_finite_are_listed(photos: Path):
    loaded = tiny_label_model("linear")
    with torch.no_grad():
        next(iter(loaded.model.parameters())).fill_(torch.nan)
    for options in ({}, {"top_k": 2}):
        found = hlcli.predict(hlcli.Predictor(loaded, **options), photos / "0.png")
        assert not found.predictions
        assert "its scores are not finite. The model's weights or the precision" in found.failures[0].error


def test_going_on_needs_a_file_of_predictions(tmp_path: Path, photos: Path):
    model = save_tiny_label_model(tmp_path / "model")
    for words in (["--resume"], ["--images", photos, "--resume"], ["--split", "val", "--out", "o.jsonl", "--resume"]):
        failed(run("eval", model, *words), "--resume goes on with a file of predictions", "--images FOLDER --out")
