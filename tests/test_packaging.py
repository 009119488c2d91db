"""What is installed: the wheel is complete, the sdist makes the same wheel, nothing warns at import."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from programs import SOURCE, program_environment
from source_files import imports_of

PROJECT = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {
    "PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn", "umap": "umap-learn", "open_clip": "open-clip-torch",
    "pydantic_core": "pydantic", "triton": "torch",
}  # fmt: skip
"""Libraries that are imported by another name than they are installed by, or come with another one."""


def build(source: Path, target: str, out: Path) -> Path:
    """A wheel or an sdist of this source tree, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env=program_environment())
    [made] = out.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(SOURCE, "sdist", folder / "made")) as archive:
        archive.extractall(folder, filter="data")
    [unpacked] = [path for path in folder.iterdir() if path.name != "made"]
    return unpacked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build(SOURCE, "wheel", tmp_path_factory.mktemp("wheel")))


def test_the_wheel_holds_the_package_with_its_recipes_and_nothing_else(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    sources = {path.relative_to(SOURCE).as_posix() for path in (SOURCE / "hlcli").rglob("*.py")}
    recipes = {f"hlcli/{path.relative_to(SOURCE).as_posix()}" for path in (SOURCE / "recipes").rglob("*.yaml")}
    templates = {path.relative_to(SOURCE).as_posix() for path in (SOURCE / "hlcli/report/templates").iterdir()}
    assert sources | recipes | templates | {"hlcli/py.typed", "hlcli/data/datasets/sources.yaml"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"hlcli"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_the_metadata_says_what_is_needed(wheel: zipfile.ZipFile):
    [name] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    lines = wheel.read(name).decode().splitlines()
    assert "Requires-Python: >=3.11" in lines
    for extra in EXTRAS:
        assert f"Provides-Extra: {extra}" in lines
    [entry] = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "hlcli = hlcli.__main__:start" in wheel.read(entry).decode()


def test_the_readme_names_every_extra():
    [line] = [line for line in (SOURCE / "README.md").read_text(encoding="utf-8").splitlines() if "Extras: " in line]
    assert set(re.findall(r"`(\w+)`", line)) == set(EXTRAS)


def test_what_the_code_imports_is_asked_for():
    """A library that only comes along with another one may stop doing so."""
    asked = {
        re.match(r"[\w-]+", text)[0].lower().replace("_", "-")
        for texts in (PROJECT["dependencies"], *EXTRAS.values())
        for text in texts
    }
    used = {
        name.partition(".")[0]
        for path in (SOURCE / "hlcli").rglob("*.py")
        for name in imports_of(path, in_functions=True)
    } - sys.stdlib_module_names
    assert {name for name in used if DISTRIBUTIONS.get(name, name).lower().replace("_", "-") not in asked} == set()


def test_the_sdist_makes_the_same_wheel(wheel: zipfile.ZipFile, sdist: Path, tmp_path: Path):
    again = zipfile.ZipFile(build(sdist, "wheel", tmp_path))
    contents = {name: wheel.getinfo(name).CRC for name in wheel.namelist()}
    assert {name: again.getinfo(name).CRC for name in again.namelist()} == contents
    assert (sdist / "tests" / "golden").is_dir()
    assert (sdist / "docs" / "examples" / "slurm.sh").is_file()


@pytest.mark.parametrize("words", [["-c", "import hlcli"], ["-m", "hlcli", "--help"]], ids=["import", "help"])
def test_nothing_warns(words: list[str]):
    done = subprocess.run(
        [sys.executable, "-W", "error", *words], capture_output=True, text=True, env=program_environment(), timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
