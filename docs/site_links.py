"""Hook of MkDocs: what the site has besides the pages in docs/, and where links lead.

A few pages from outside docs/ are part of the site (`_BORROWED`), and so is a page of all public names, which
mkdocstrings fills with their docstrings. Links to files that the site does not have become the file's path in the
repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import hlcli

_ROOT = Path(__file__).resolve().parent.parent
_BORROWED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Where pages from outside docs/ stand on the site."""

_PLACES = {**_BORROWED, "README.md": "index.md", "docs/api.txt": "api.md"}
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`(?!\]))", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages that are not in docs/."""
    for source, place in _BORROWED.items():
        files.append(File.generated(config, place, content=(_ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "api.md", content=_api_page()))
    return files


def _api_page() -> str:
    """All public names, by kind; each line `::: hlcli.NAME` becomes what its docstring says."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes and types": [], "Errors": []}
    for name in hlcli._HOMES:
        kind = "Functions" if name[0].islower() else "Errors" if name.endswith("Error") else "Classes and types"
        kinds[kind].append(name)
    parts = [f"## {kind}\n\n" + "\n\n".join(f"::: hlcli.{name}" for name in kinds[kind]) for kind in kinds]
    return "\n\n".join(["# Python API", "[A tour with examples](python.md) comes first.", *parts]) + "\n"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links of a page to where their targets stand on the site."""
    place = page.file.src_uri
    home = {there: here for here, there in _BORROWED.items()}.get(place, f"docs/{place}")
    parts = _CODE.split(markdown)
    return "".join(part if number % 2 else site_links(part, home, place) for number, part in enumerate(parts))


def site_links(markdown: str, home: str, place: str) -> str:
    """Links as they have to be on the site.

    Args:
        markdown: text without code.
        home: path of its page in the repository, e.g. `CONTRIBUTING.md`.
        place: path of its page on the site, e.g. `contributing.md`.
    """

    def moved(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        there = _PLACES.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
        if there:
            return f"[{words}]({posixpath.relpath(there, posixpath.dirname(place) or '.')}{anchor})"
        return f"`{wanted}`" if words.strip("`") in wanted else f"{words} (`{wanted}`)"

    return _LINK.sub(moved, markdown)
