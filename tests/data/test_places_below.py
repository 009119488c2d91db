"""How a store names files: from its root on, links resolved, a folder looked up once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hlcli.data.image_files import find_images, places_below


def plain_place(path: Path, root: Path) -> str:
    """What `places_below` says, without remembering folders."""
    real = path.resolve()
    return str(real.relative_to(root.resolve())) if real.is_relative_to(root.resolve()) else str(real)


def test_names_are_those_of_resolved_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, elsewhere = tmp_path / "root", tmp_path / "root-2"
    for folder in (root / "a" / "b", elsewhere):
        folder.mkdir(parents=True)
        (folder / "x.jpg").touch()
    os.symlink(elsewhere, root / "linked")
    os.symlink(elsewhere / "x.jpg", root / "a" / "link.jpg")
    os.symlink("link.jpg", root / "a" / "twice.jpg")
    os.symlink(root, tmp_path / "alias")
    paths = [root / "a/b/x.jpg", root / "a/../a/b/x.jpg", root / "linked/x.jpg", root / "a/link.jpg"]
    paths += [root / "a/twice.jpg", elsewhere / "x.jpg", root / "a/absent.jpg", tmp_path / "alias/a/b/x.jpg"]
    for given in (root, tmp_path / "alias"):
        place_of = places_below(given)
        assert [place_of(path) for path in paths] == [plain_place(path, root) for path in paths]
    monkeypatch.chdir(root)
    assert places_below(Path())(Path("a/b/x.jpg")) == "a/b/x.jpg"


def test_a_folder_is_listed_in_the_order_of_paths(tmp_path: Path):
    names = ["a.jpg", "a/z.jpg", "a b/c.jpg", "a-b.jpg", "a/b/c.jpg", "a/b.jpg", "é/a.jpg", "\x01/a.jpg", "a!/a.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == sorted(tmp_path / name for name in names)
    assert find_images([tmp_path, tmp_path / "a.jpg"]) == find_images(tmp_path)
    assert find_images(str(tmp_path / "**" / "**" / "*.jpg")) == find_images(tmp_path)
