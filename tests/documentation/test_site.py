"""The documentation site: it builds without a warning, its links lead somewhere, and it needs no other host."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from doc_pages import ROOT

ELSEWHERE = ("https://", "http://", "//")
"""How addresses of other hosts begin."""


@dataclass
class Page(HTMLParser):
    """What a page of the site refers to, and what it can be referred to by."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for every element."""
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and "href" in values:
            self.loaded.append(values["href"])
        elif tag in ("img", "script", "iframe", "source", "video", "object") and values.get("src"):
            self.loaded.append(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning of MkDocs ends the build."""
    folder = tmp_path_factory.mktemp("site")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, Page]:
    """All pages of the site."""
    found = {}
    for path in site.rglob("*.html"):
        found[path] = Page()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


def test_every_page_of_the_documentation_is_on_the_site(site: Path):
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    borrowed = {Path("contributing.html"), Path("changelog.html"), Path("benchmarks.html"), Path("api.html")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    assert built == sources | borrowed | {Path("404.html")}


def test_links_anchors_and_images_are_there(site: Path, read: dict[Path, Page]):
    broken = []
    for path, page in read.items():
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            home = site if address.startswith("/") else path.parent  # only 404.html, which may be shown anywhere
            target = (home / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                parts.fragment and target in read and unquote(parts.fragment) not in {*read[target].anchors, "__top"}
            ):
                broken.append((str(path.relative_to(site)), address))
    assert broken == []


def test_no_mark_of_a_table_or_list_stands_in_running_text(site: Path):
    marks = re.compile(r"^(?:<p>)?(?:\|[-:| ]+\||(?:[-*+]|\d+\.) .*)$", flags=re.MULTILINE)
    without_code = re.compile(r"<(pre|script|style)\b.*?</\1>", flags=re.DOTALL)
    assert [
        (path.name, mark)
        for path in site.rglob("*.html")
        for mark in marks.findall(without_code.sub("", path.read_text(encoding="utf-8")))
    ] == []


def test_nothing_is_fetched_from_other_hosts(site: Path, read: dict[Path, Page]):
    assert [
        (path.name, address) for path, page in read.items() for address in page.loaded if address.startswith(ELSEWHERE)
    ] == []
    for sheet in site.rglob("*.css"):
        addresses = re.findall(r"url\(\s*[\"']?([^)\"']+)|@import\s+[\"']([^\"']+)", sheet.read_text(encoding="utf-8"))
        assert [one for pair in addresses for one in pair if one.startswith(ELSEWHERE)] == [], sheet


def test_every_public_name_is_on_the_page_of_the_python_interface(site: Path, read: dict[Path, Page]):
    import hlcli

    homes = {f"hlcli.{name}" for name in hlcli._HOMES}
    titles = set(re.findall(r'<h3 id="[\w.]+" class="doc doc-heading">.*?doc-object-name[^>]*>(\w+)<',
                            (site / "api.html").read_text(encoding="utf-8"), flags=re.DOTALL))  # fmt: skip
    assert homes - {f"hlcli.{title}" for title in titles} == set()


@pytest.fixture(scope="module")
def moved() -> Callable[..., str]:
    """The function of the hook that leads links to where their targets stand on the site."""
    return runpy.run_path(str(ROOT / "docs" / "site_links.py"))["site_links"]


@pytest.mark.parametrize(
    ("written", "home", "place", "shown"),
    [
        ("[a](store.md#x)", "docs/a.md", "a.md", "[a](store.md#x)"),
        ("[a](../store.md)", "docs/methods/a.md", "methods/a.md", "[a](../store.md)"),
        ("[a](docs/store.md)", "CONTRIBUTING.md", "contributing.md", "[a](store.md)"),
        ("[a](../docs/store.md)", "benchmarks/README.md", "benchmarks.md", "[a](store.md)"),
        ("[rules](../CONTRIBUTING.md#tests)", "docs/a.md", "a.md", "[rules](contributing.md#tests)"),
        ("[a](../../README.md)", "docs/methods/a.md", "methods/a.md", "[a](../index.md)"),
        ("[`model.py`](../../hlcli/methods/sgre/model.py)", "docs/methods/a.md", "methods/a.md",
         "`hlcli/methods/sgre/model.py`"),
        ("[the script](../benchmarks/x.py)", "docs/a.md", "a.md", "the script (`benchmarks/x.py`)"),
        ("[a](https://example.org/x) ![b](images/b.png) [c](#d)", "docs/a.md", "a.md",
         "[a](https://example.org/x) ![b](images/b.png) [c](#d)"),
    ],
)  # fmt: skip
def test_links_lead_where_their_targets_stand_on_the_site(
    moved: Callable[..., str], written: str, home: str, place: str, shown: str
):
    assert moved(written, home, place) == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Text:\n- a\n- b", "Text:\n\n- a\n- b"),
        ("```\nx\n```\n| a |\n|---|", "```\nx\n```\n\n| a |\n|---|"),
        ("```\n$ x\n- a\n| b |\n```", "```\n$ x\n- a\n| b |\n```"),
        ("- a\n  goes on\n- b\n\n1. c", "- a\n  goes on\n- b\n\n1. c"),
        ("Text:\n1. a\n\n| a |\n|---|\n| b |", "Text:\n\n1. a\n\n| a |\n|---|\n| b |"),
    ],
)
def test_blocks_are_separated(written: str, shown: str):
    assert runpy.run_path(str(ROOT / "docs" / "site_blocks.py"))["separated"](written) == shown
