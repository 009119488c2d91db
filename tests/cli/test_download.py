from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from intentonomy_files import ROWS, document, image_id, photo, write_annotations, write_photos
from typer.testing import CliRunner

from hlcli.cli.main import app
from hlcli.data.datasets.base import Source
from hlcli.data.datasets.intentonomy import Intentonomy
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.session import Session
from hlcli.locks import lock_folder

PHOTOS = {image_id(split, row): photo() for split, rows in ROWS.items() for row in range(len(rows))}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serves the annotation files under /mirror, and all photos; stands in for the published places."""
    with FaultyServer() as running:
        sources = []
        for split, rows in ROWS.items():
            name = f"intentonomy_{split}2020.json"
            content = json.dumps(document(split, running.url(""))).encode()
            running.files[f"/mirror/{name}"] = content
            running.files |= {f"/{image_id(split, row)}": PHOTOS[image_id(split, row)] for row in range(len(rows))}
            digest = Checksum("git-sha1", "").start(len(content))
            digest.update(content)
            checksum = Checksum("git-sha1", digest.hexdigest())
            sources.append(Source(name, (running.url(f"/mirror/{name}"),), len(content), checksum, part="annotations"))
        sources = [source._replace(by_hand="It is at https://share.example.") for source in sources]
        sources.append(Source("extra.npy", (running.url("/extra.npy"),), part="annotations", is_needed=False))
        monkeypatch.setattr(Intentonomy, "sources", tuple(sources))
        monkeypatch.setattr(archive_download, "Session", partial(Session, per_second=1e9, clock=FakeClock()))
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["download", *words, "--root", str(root)])


def photos_of(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "intentonomy" / "low").glob("*.jpg"))


ALL = sorted(image_id(split, row) for split, rows in ROWS.items() for row in range(len(rows)))


def test_everything_is_fetched_and_a_second_run_asks_nobody(server, root):
    result = run(root, "intentonomy")
    assert result.exit_code == 0, result.output
    assert f"9 photos in {root / 'intentonomy'} (9 of them new)" in result.stdout
    assert "Unsplash licence" in result.stderr
    assert "extra.npy could not be fetched" in result.stderr
    assert photos_of(root) == ALL
    assert (root / "intentonomy" / "low" / f"{ALL[0]}.jpg").read_bytes() == PHOTOS[ALL[0]]
    queries = {entry.path.split("?")[1] for entry in server.log if "?" in entry.path}
    assert queries == {"ixid=x&q=30&w=1024&fit=max&fm=jpg"}

    server.log.clear()
    again = run(root, "intentonomy", "--accept-licence", "--offline")
    assert again.exit_code == 0
    assert "(0 of them new)" in again.stdout
    assert "Unsplash" not in again.stderr
    assert server.log == []


def test_several_annotation_files_may_follow_one_option(server, root, tmp_path):
    write_annotations(tmp_path / "mine", base_url=server.url(""))
    files = [str(tmp_path / "mine" / f"intentonomy_{split}2020.json") for split in ("val", "test")]
    result = run(root, "intentonomy", "--json", *files, "--width", "0")
    assert result.exit_code == 0, result.output
    assert photos_of(root) == sorted(image_id(s, i) for s in ("val", "test") for i in range(len(ROWS[s])))
    assert not (root / "intentonomy" / "intentonomy_train2020.json").exists()
    assert (root / "intentonomy" / "intentonomy_val2020.json").exists()
    assert {entry.path.split("?")[1] for entry in server.log} == {"ixid=x&q=30"}


def test_an_annotation_file_does_not_replace_a_different_one(server, root, tmp_path):
    write_annotations(root / "intentonomy", ("val",), base_url="https://elsewhere.example")
    write_annotations(tmp_path, ("val",), base_url=server.url(""))
    result = run(root, "intentonomy", "--json", str(tmp_path / "intentonomy_val2020.json"))
    assert result.exit_code == 2
    assert "Give --overwrite to replace it" in result.stderr


@pytest.mark.parametrize(("tolerated", "code"), [("0", 3), ("0.1", 3), ("0.2", 0)])
def test_missing_photos_are_listed_and_decide_the_exit_code(server, root, tolerated, code):
    server.always[f"/{ALL[2]}"] = Fault(status=404)
    result = run(root, "intentonomy", "--max-missing", tolerated)
    assert result.exit_code == code, result.output
    assert "warning: 1 photo missing (11.1%)" in result.stderr
    assert ALL[2] in result.stderr
    assert json.loads((root / "intentonomy" / "failures.jsonl").read_text())["id"] == ALL[2]
    if code == 3:
        server.always.clear()
        assert run(root, "intentonomy").exit_code == 3
        assert run(root, "intentonomy", "--retry-failed").exit_code == 0
        assert not (root / "intentonomy" / "failures.jsonl").exists()


def test_what_is_no_address_costs_its_photo_alone(server, root):
    folder = root / "intentonomy"
    write_annotations(folder, base_url=server.url(""))
    path = folder / "intentonomy_val2020.json"
    content = json.loads(path.read_text())
    for image, url in zip(content["images"], ("file:///x", server.url("/x").replace("://", "//")), strict=True):
        image["unsplash_url"] = url
    path.write_text(json.dumps(content))
    server.files["/x"] = photo()
    result = run(root, "intentonomy", "--json", str(path))
    assert result.exit_code == 3, result.output
    assert photos_of(root) == [image_id("val", 1)]
    failure = json.loads((folder / "failures.jsonl").read_text())
    assert (failure["id"], failure["url"], failure["gone"]) == (image_id("val", 0), "file:///x", False)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_own_annotation_files_and_parts_do_not_go_together(server, root, tmp_path, more):
    write_annotations(tmp_path, ("val",), base_url=server.url(""))
    path = tmp_path / "intentonomy_val2020.json"
    result = run(root, "intentonomy", "--json", str(path), "--part", "annotations", *more)
    assert result.exit_code == 2
    assert "--json and --part do not go together" in result.stderr
    assert server.log == []


def test_a_damaged_annotation_file_on_the_mirror_is_an_error_that_says_where_else_it_is(server, root):
    server.files["/mirror/intentonomy_val2020.json"] = b"<html>"
    result = run(root, "intentonomy")
    assert result.exit_code == 1
    assert "intentonomy_val2020.json could not be fetched" in result.stderr
    assert "https://share.example" in result.stderr
    assert "--from DIR" in result.stderr
    assert not (root / "intentonomy" / "intentonomy_val2020.json").exists()
    assert (root / "intentonomy" / "intentonomy_test2020.json").exists()


def test_another_mirror_is_asked_first_and_verified(server, root):
    for split in ROWS:
        server.files[f"/other/intentonomy_{split}2020.json"] = server.files[f"/mirror/intentonomy_{split}2020.json"]
    server.files["/other/intentonomy_val2020.json"] = b"{}"
    assert run(root, "intentonomy", "--mirror", server.url("/other/")).exit_code == 0
    asked = [entry.path for entry in server.log if "val2020" in entry.path]
    assert asked == ["/other/intentonomy_val2020.json"] * 2 + ["/mirror/intentonomy_val2020.json"]


def test_files_placed_by_hand_need_no_network(server, root, tmp_path):
    hand = tmp_path / "hand"
    hand.mkdir()
    for split in ROWS:
        name = f"intentonomy_{split}2020.json"
        (hand / name).write_bytes(server.files[f"/mirror/{name}"])
    write_photos(hand)
    result = run(root, "intentonomy", "--from", str(hand), "--offline")
    assert result.exit_code == 0, result.output
    assert photos_of(root) == ALL
    assert server.log == []


def test_a_wrong_file_placed_by_hand_is_refused_unless_told(server, root, tmp_path):
    write_annotations(tmp_path / "hand", base_url=server.url("/x"))
    result = run(root, "intentonomy", "--from", str(tmp_path / "hand"), "--offline")
    assert result.exit_code == 2
    assert "bytes, expected" in result.stderr
    assert "--no-verify" in result.stderr
    result = run(root, "intentonomy", "--from", str(tmp_path / "hand"), "--offline", "--no-verify")
    assert result.exit_code == 3
    assert "checksums are not compared" in result.stderr


def test_offline_says_which_file_is_missing_and_where_it_belongs(server, root):
    result = run(root, "intentonomy", "--offline")
    assert result.exit_code == 1
    assert f"{root / 'intentonomy' / 'intentonomy_train2020.json'} is missing" in result.stderr
    assert f"Put it into {root / 'intentonomy'}" in result.stderr
    assert server.log == []


def test_a_damaged_file_on_disk_is_named_and_left_alone(server, root):
    (root / "intentonomy").mkdir(parents=True)
    path = root / "intentonomy" / "intentonomy_val2020.json"
    path.write_text("{}")
    result = run(root, "intentonomy")
    assert result.exit_code == 2
    assert "damaged or not the published one" in result.stderr
    assert path.read_text() == "{}"
    assert run(root, "intentonomy", "--overwrite").exit_code == 0


def test_another_width_is_refused_unless_overwritten(server, root):
    assert run(root, "intentonomy").exit_code == 0
    result = run(root, "intentonomy", "--width", "512")
    assert result.exit_code == 2
    assert "9 images" in result.stderr
    assert "--width" in result.stderr
    assert run(root, "intentonomy", "--width", "512", "--overwrite").exit_code == 0


def test_a_dry_run_writes_nothing_and_asks_nobody(server, root):
    result = run(root, "intentonomy", "--dry-run")
    assert result.exit_code == 0
    assert "intentonomy_train2020.json" in result.stdout
    assert "14,455 photos" in result.stdout
    assert server.log == []
    assert not root.exists()
    write_annotations(root / "intentonomy", ("val",))
    result = run(root, "intentonomy", "--dry-run")
    assert "2 photos" in result.stdout
    assert "13,957 photos" in result.stdout


def test_unknown_names_get_a_hint(server, root):
    result = run(root, "intentonmy")
    assert result.exit_code == 2
    assert "known: intentonomy" in result.stderr
    assert "Did you mean intentonomy?" in result.stderr
    assert run(root, "--json", "a.json").exit_code == 2
    result = run(root, "intentonomy", "--json", "nowhere.json")
    assert result.exit_code == 2
    assert "nowhere.json: there is no such file" in result.stderr


def test_two_runs_at_once_are_refused(server, root):
    with lock_folder(root / "intentonomy"):
        result = run(root, "intentonomy")
    assert result.exit_code == 1
    assert "Another hlcli is downloading" in result.stderr


def test_the_python_call_does_the_same(server, root):
    from hlcli.data.download import download

    (report,) = download("intentonomy", root)
    assert (report.present, report.fetched, report.missing, report.failures) == (0, 9, (), None)
    assert report.folder == root / "intentonomy"


def test_a_part_alone_brings_annotations_and_no_photo(server, root):
    result = run(root, "intentonomy", "--part", "annotations")
    assert result.exit_code == 0, result.output
    assert f"intentonomy: 3 files in {root / 'intentonomy'} (3 of them new)." in result.stdout
    assert photos_of(root) == []
    result = run(root, "intentonomy", "--part", "photos")
    assert result.exit_code == 2
    assert "intentonomy has no part 'photos'; it has annotations." in result.stderr


def test_verify_looks_again_at_annotations_and_photos(server, root):
    assert run(root, "intentonomy").exit_code == 0
    folder = root / "intentonomy"
    whole = (folder / "intentonomy_val2020.json").read_bytes()
    for path in (folder / "intentonomy_val2020.json", folder / "low" / f"{ALL[0]}.jpg"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    server.log.clear()
    result = run(root, "intentonomy", "--verify", "--accept-licence")
    assert result.exit_code == 0, result.output
    assert "(1 of them new)" in result.stdout
    assert "intentonomy_val2020.json is damaged: git-sha1 is" in result.stderr
    assert f"{ALL[0]}.jpg is damaged: sha256 is" in result.stderr
    assert (folder / "intentonomy_val2020.json").read_bytes() == whole
    assert (folder / "low" / f"{ALL[0]}.jpg").read_bytes() == PHOTOS[ALL[0]]
    assert len([entry for entry in server.log if "extra" not in entry.path]) == 2
