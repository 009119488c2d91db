from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections.abc import Callable

import pytest

from hlcli import progress
from hlcli.progress import Progress, duration, print_line, waiting


class Clock:
    """A clock that only moves when told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.delenv("RANK", raising=False)
    return clock


@pytest.fixture
def messages(caplog) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="hlcli")
    return lambda: caplog.messages


def test_without_a_terminal_a_line_comes_every_half_minute_and_one_at_the_end(clock, messages):
    with Progress("Training", total=100, unit="step") as bar:
        for _ in range(100):
            clock.now += 1
            bar.advance()
            bar.note(loss=0.123456)
    assert len(messages()) == 4
    assert messages()[0] == "Training: 30/100 steps, 1 step/s, 1:10 left, loss 0.1235"
    assert messages()[-1] == "Training: 100 steps in 1:40, 1 step/s, loss 0.1235"


def test_short_work_says_only_that_it_is_done(clock, messages):
    with Progress("Reading", total=2, unit="image") as bar:
        bar.advance(2)
        clock.now += 4
    assert messages() == ["Reading: 2 images in 0:04, 0.5 image/s"]


@pytest.mark.parametrize(
    ("unit", "total", "words"), [("image", 1, "1 image"), ("MB", 2, "2 MB"), ("step", 2, "2 steps")]
)
def test_one_unit_is_in_the_singular(unit, total, words, clock, messages):
    with Progress("Work", total=total, unit=unit) as bar:
        bar.advance(total)
    assert messages()[-1].startswith(f"Work: {words} in ")


def test_work_of_unknown_length_shows_no_time_left(clock, messages):
    with Progress("Reading", unit="image") as bar:
        clock.now += 40
        bar.advance(80)
    assert messages()[0] == "Reading: 80 images, 2 image/s"


def test_resumed_work_counts_on_but_its_rate_is_that_of_now(clock, messages):
    with Progress("Training", total=100, unit="step", start=60) as bar:
        clock.now += 40
        bar.advance(20)
    assert messages()[0] == "Training: 80/100 steps, 0.5 step/s, 0:40 left"


def test_an_error_ends_with_what_was_done(clock, messages):
    def fail() -> None:
        with Progress("Training", total=9, unit="step") as bar:
            bar.advance(4)
            clock.now += 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert messages() == ["Training: stopped after 4 of 9 steps in 0:02, 2 step/s"]


@pytest.mark.parametrize("how", ["disabled", "quiet", "other process"])
def test_it_is_silent_when_it_should_be(how, clock, messages, caplog, monkeypatch):
    if how == "quiet":
        caplog.set_level(logging.WARNING, logger="hlcli")
    if how == "other process":
        monkeypatch.setenv("RANK", "1")
    with Progress("Training", total=2, enabled=how != "disabled") as bar:
        clock.now += 100
        bar.advance(2)
    assert messages() == []


def test_counts_from_several_threads_add_up(clock, messages):
    with Progress("Downloading", total=8000) as bar:
        threads = [threading.Thread(target=lambda: [bar.advance() for _ in range(1000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert bar.count == 8000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_shows_count_rate_and_notes(messages, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("RANK", raising=False)
    with Progress("Training", total=4, unit="step") as bar:
        for _ in range(4):
            bar.advance()
        bar.note(loss=0.5)
        with Progress("Evaluating", total=2, unit="batch") as inner:  # one inside another
            inner.advance(2)
        bar.note(loss=0.25)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "Training" in shown
    assert "4/4" in shown
    assert "step/s" in shown
    assert "loss 0.5" in shown
    assert "Evaluating" in shown
    assert shown.rstrip().endswith("loss 0.25")
    assert Progress._screen is None
    assert messages() == []


def take_terminal(monkeypatch) -> Terminal:
    """A terminal of 80 columns in the place of stderr; pytest takes that back between a fixture and its test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("RANK", raising=False)
    return terminal


def last_line(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).rstrip().splitlines()[-1].split("\r")[-1]


def test_in_80_columns_only_bar_and_notes_give_way(messages, monkeypatch):
    terminal = take_terminal(monkeypatch)
    with Progress("Epoch 10/40", total=1283, unit="step", after=5000) as bar:
        bar.advance(1283)
        bar.note(loss=3.8901, hard_first=3.537, fine=0.3533, lr=0.0021)
    line = last_line(terminal)
    assert len(line) <= 80
    assert re.search(r"^Epoch 10/40 [━ ]*1283/1283 \S+ step/s in 0:00 loss 3.89 .*…$", line), line


def test_at_the_end_the_notes_have_the_room_of_the_bar(messages, monkeypatch):
    terminal = take_terminal(monkeypatch)
    with Progress("Epoch 9/10", total=62, unit="step") as bar:
        bar.note(loss=0.906, hard_first=0.8275, fine=0.0785)
        bar.advance(62)
    assert last_line(terminal).rstrip().endswith("in 0:00 loss 0.906 hard_first 0.8275 fine 0.0785")


def test_work_that_is_cut_short_says_so_and_work_of_unknown_length_ends_full(messages, monkeypatch):
    terminal = take_terminal(monkeypatch)

    def fail() -> None:
        with Progress("Training", total=9, unit="step") as bar:
            bar.advance(4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "4/9" in last_line(terminal)
    assert last_line(terminal).rstrip().endswith("stopped after 0:00")
    with Progress("Reading", unit="line") as bar:
        bar.advance(12)
    assert "12/12" in last_line(terminal)


def test_without_a_terminal_the_time_of_all_that_follows_is_told_too(clock, messages):
    with Progress("Epoch 1/3", total=100, unit="step", after=200) as bar:
        clock.now += 40
        bar.advance(50)
    assert messages()[0] == "Epoch 1/3: 50/100 steps, 1.25 step/s, 0:40 left, 3:20 in all"


def test_results_stand_above_the_bar_on_a_terminal_and_are_alone_in_a_file(messages, monkeypatch, capsys):
    terminal = take_terminal(monkeypatch)
    with Progress("Captioning", total=1) as bar:
        print_line("a.jpg: [red]a dog")
        bar.advance()
    assert capsys.readouterr().out == "a.jpg: [red]a dog\n"
    monkeypatch.setattr(sys, "stdout", Terminal())
    with Progress("Captioning", total=1) as bar:
        print_line("b.jpg: a cat")
        bar.advance()
    assert re.search(r"(^|\r|K)b\.jpg: a cat\n", terminal.getvalue())


def test_words_that_wait_give_way_to_whatever_is_written(messages, monkeypatch):
    terminal = take_terminal(monkeypatch)
    with waiting("Loading"):
        assert terminal.getvalue() == "Loading …"
        sys.stderr.write("a warning\n")
        assert terminal.getvalue() == "Loading …\r\x1b[2Ka warning\n"
        with Progress("Work", total=1) as bar:
            bar.advance()
        assert "1/1" in last_line(terminal)
    assert sys.stderr is terminal
    before = len(terminal.getvalue())
    with waiting("Loading"):
        pass
    assert terminal.getvalue()[before:] == "Loading …\r\x1b[2K"


@pytest.mark.parametrize("how", ["quiet", "no terminal"])
def test_nothing_waits_where_nobody_looks(how, messages, caplog, monkeypatch):
    terminal = take_terminal(monkeypatch)
    if how == "quiet":
        caplog.set_level(logging.WARNING, logger="hlcli")
    else:
        monkeypatch.setattr(sys, "stderr", io.StringIO())
    with waiting("Loading"):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")])
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
