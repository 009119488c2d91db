from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import hlcli
from hlcli import system
from hlcli.cli.main import app


def test_versions_devices_and_data_sets_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "é" / "store").mkdir(parents=True)
    monkeypatch.setenv("HLCLI_DATA", str(tmp_path))
    done = CliRunner().invoke(app, ["env", "--json"])
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert facts["data found"] == "é"
    assert "distributed" not in facts
    lines = CliRunner().invoke(app, ["env"]).stdout.splitlines()
    assert all(line.startswith("- ") for line in lines)
    assert any(f"hlcli {hlcli.__version__}" in line or "hlcli not installed" in line for line in lines)


def test_a_data_root_that_is_not_there_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HLCLI_DATA", str(tmp_path / "gone"))
    assert "- data found: none" in CliRunner().invoke(app, ["env"]).stdout


def test_a_broken_torch_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(app, ["env"])
    assert done.exit_code == 0
    assert "- device: unknown: torch does not work (ModuleNotFoundError: " in done.stdout


def test_extras_are_listed_with_what_they_have(monkeypatch: pytest.MonkeyPatch):
    lines = ["torch>=2", 'pytest>=8; extra == "test"', "hlcli[clip]; extra == 'text'", "numpy; extra == 'text'"]
    monkeypatch.setattr(system, "requires", lambda name: [*lines, 'no-such-package>=1 ; extra == "text"'])
    said = CliRunner().invoke(app, ["env"]).stdout
    assert f"- extras: [text] numpy {version('numpy')}, no-such-package missing\n" in said


def test_two_processes_meet():
    assert system.probe_processes() == "ok (two processes, gloo)"


def test_processes_that_fail_or_hang_are_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "PROBE", "raise SystemExit('no network')")
    assert system.probe_processes() == "failed: no network"
    monkeypatch.setattr(system, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(system, "PROBE_SECONDS", -19.5)  # twenty more are granted for starting up
    assert system.probe_processes() == "the two processes did not meet in time"
