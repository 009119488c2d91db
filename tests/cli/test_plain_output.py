"""Names of others on a terminal: they are shown, and do nothing."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import pytest
from command_line import run
from model_states import cpu_state
from noise_photos import write_photos
from rich.console import Console
from tiny_label_models import tiny_label_model

from hlcli.cli.commands import set_up_logging
from hlcli.cli.tables import metrics_report, prediction_table
from hlcli.data.labels import LabelSpace, Level
from hlcli.errors import HlcliError
from hlcli.metrics.results import LabelRow, Metrics
from hlcli.models.folder import save_model
from hlcli.plain_text import printable
from hlcli.prediction.label_rows import PredictedLabel, Prediction

EVIL = "[red]\x1b[2J\x1b]0;mine\x07\u202egpj.exe\r\n"
SHOWN = r"[red]\x1b[2J\x1b]0;mine\x07\u202egpj.exe\r"


def is_harmless(text: str) -> bool:
    return not any(letter in text for letter in "\x1b\x07\u202e\r")


def shown(table: object) -> str:
    """A table on a wide terminal that knows colours."""
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system=None, width=400).print(table)
    return stream.getvalue()


def test_what_people_can_read_stays_as_it_is():
    for text in ("é ü 日本 𝕏 👨‍👩‍👧 a\u00a0b", "C:\\a\\n", ""):
        assert printable(text) == text
    assert printable("a\nb\x1b", lines=True) == "a\nb\\x1b"
    assert printable(EVIL) == SHOWN + r"\n"


def test_messages_keep_the_joiners_of_scripts_and_pictures():
    """Without them, Persian and Indic words and families of pictures are others."""
    text = "photos/می\u200cخواهم क्\u200dष 👨\u200d👩\u200d👧.jpg"
    assert HlcliError(f"{text} is missing.", text).message == f"{text} is missing."
    assert HlcliError("a\u202eb\x1b\ud800").message == r"a\u202eb\x1b\ud800"


def test_tables_show_labels_levels_and_images_as_they_are():
    row = LabelRow("coarse" + EVIL, EVIL, 1, 0.5, 0.5, 0.5, 0.5)
    metrics = Metrics({"mAP": 0.5, f"{EVIL}/mAP": 0.5}, levels=("fine", EVIL), labels=(row,))
    predictions = [Prediction(EVIL, (PredictedLabel(EVIL, EVIL, 0.5),), ())]
    for table in (metrics_report(metrics, title=EVIL, per_label=True), prediction_table(predictions)):
        text = shown(table)
        assert is_harmless(text)
        assert SHOWN in text


def test_a_model_and_photos_with_such_names_are_shown_and_failures_too(tmp_path: Path):
    loaded = tiny_label_model("linear", "eval.threshold=0.001")
    names = [f"[red]{number}[/nope]" + str(number) for number in range(loaded.labels.num_labels)]
    labels = LabelSpace((Level("fine", tuple(names)),))
    recipe = loaded.recipe
    save_model(tmp_path / "model", cpu_state(loaded.model), recipe, labels, thresholds=None, facts={})
    photos = write_photos(tmp_path / "photos", 2)
    os.rename(min(photos.iterdir()), photos / (EVIL.replace("\n", "") + ".png"))
    (photos / "\x1b[2Jbroken.png").write_bytes(b"no image")
    done = run("eval", tmp_path / "model", "--images", photos)
    assert done.exit_code == 3, done.output
    assert is_harmless(done.output)
    assert r"\x1b[2Jbroken.png" in done.output.replace("\n", "")
    assert "[/nope]" in done.output


def test_messages_and_errors_with_such_names_move_no_cursor(capsys: pytest.CaptureFixture[str]):
    set_up_logging(quiet=False, debug=False)
    logging.getLogger("hlcli").warning("%s is odd.\nSecond line.", EVIL.strip())
    told = capsys.readouterr().err
    assert is_harmless(told)
    assert told.endswith("is odd.\nSecond line.\n")
    done = run("eval", "no\x1b[2J such model")
    assert done.exit_code == 2
    assert is_harmless(done.output)
    assert r"no\x1b[2J such model does not exist" in done.output
