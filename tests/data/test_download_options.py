"""Options of `hlcli download`: those that few data sets have, and values that make no sense."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hlcli
from hlcli.cli.main import app
from hlcli.data.datasets.base import DownloadOptions
from hlcli.errors import InputError


@pytest.mark.parametrize("verb", [hlcli.download, hlcli.plan_download])
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cub", {"crawl": "urls.txt"}, "--crawl is an option of nuswide, not of cub."),
        ("cub", {"width": 5}, "--width is an option of intentonomy, not of cub."),
        ("cub", {"annotations": ("a.json",)}, "--json is an option of intentonomy, not of cub."),
        ("cub", {"retry_failed": True}, "--retry-failed is an option of intentonomy and nuswide, not of cub."),
        ("nuswide", {"width": 0}, "--width is an option of intentonomy, not of nuswide."),
        (["cub", "intentonomy"], {"crawl": "urls.txt"}, "option of nuswide, not of cub and intentonomy."),
    ],
)
def test_options_that_none_of_the_data_sets_has_are_refused(tmp_path: Path, verb, name, options: Any, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        verb(name, tmp_path, DownloadOptions(offline=True, **options))
    assert not list(tmp_path.iterdir())


def test_an_option_that_one_of_the_data_sets_has_is_taken(tmp_path: Path):
    assert hlcli.plan_download(["cub", "intentonomy"], tmp_path, DownloadOptions(width=5, retry_failed=True))


@pytest.mark.parametrize(("name", "code"), [("cub", 2), ("intentonomy", 0), ("nuswide", 0), ("flickr8k", 0)])
def test_a_share_of_missing_files_is_for_sets_that_may_lack_some(tmp_path: Path, name: str, code: int):
    words = ["download", name, "--max-missing", "0.1", "--dry-run", "--root", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code
    assert ("--max-missing" in result.stderr) == (code == 2)


def test_paths_may_be_text():
    options = DownloadOptions(annotations=["a.json", Path("b.json")], source="here", crawl="urls.txt")  # type: ignore
    assert options == DownloadOptions((Path("a.json"), Path("b.json")), source=Path("here"), crawl=Path("urls.txt"))
    assert DownloadOptions().source is None


@pytest.mark.parametrize(
    ("options", "message"), [({"jobs": 0}, "jobs must be at least 1"), ({"width": -1}, "width must not be negative")]
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        DownloadOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "needed"),
    [
        ("nuswide", {}, "at least 0 bytes; the sizes of 3 files are not published"),
        ("nuswide", {"crawl": "urls.txt"}, "at least 0 bytes; the sizes of 3 files and of 1 photo are not published"),
        (
            "intentonomy",
            {},
            "at least 3,944,869 bytes and about 2,577 MB for 14,455 photos; the sizes of 2 files are not published",
        ),
        (
            "intentonomy",
            {"parts": ("annotations",)},
            "at least 3,944,869 bytes; the sizes of 2 files are not published",
        ),
        ("flickr8k", {}, "at least 77,165,451 bytes"),
    ],
)
def test_the_disk_space_needed_says_what_it_leaves_out(work_folder: Path, name: str, options: Any, needed: str):
    Path("urls.txt").write_text("C:\\Flickr\\sun\\1_1.jpg 1 null http://h/1.jpg null null\n")
    rows = hlcli.plan_download(name, "data", DownloadOptions(**options))
    assert [row.size for row in rows if row.what == f"{name}: disk space needed"] == [needed]


@pytest.mark.parametrize(("width", "about"), [(0, 1_600_000), (640, 69_632), (5000, 1_600_000)])
def test_narrower_photos_of_intentonomy_need_less(tmp_path: Path, width: int, about: int):
    rows = hlcli.plan_download("intentonomy", tmp_path, DownloadOptions(width=width))
    (needed,) = [row.size for row in rows if row.what.endswith("needed")]
    assert f"about {math.ceil(14_455 * about / 1e6):,} MB for 14,455 photos" in needed
