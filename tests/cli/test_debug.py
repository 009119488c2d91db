from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from command_line import failed, run
from inspected import scene, write_folder

SMALL = ["--set", "num_train=12", "--set", "num_val=4", "--set", "num_test=0", "--set", "render_size=32"]


def folder_words(folder: Path) -> list[str]:
    return ["debug", "data", "folder", "--root", str(folder), "--workers", "1",
            "--set", f"images={folder / 'photos'}", "--set", f"labels={folder / 'labels.csv'}"]  # fmt: skip


def test_a_sound_data_set_ends_with_0_and_shows_counts():
    done = run("debug", "data", "shapes", *SMALL, "--min-positives", 1)
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().splitlines()[-1].startswith("shapes: 0 errors, ")
    assert "16 images decoded: smallest 32×32" in done.stdout


def test_json_is_one_document_with_all_names(tmp_path: Path):
    rows = {f"{number}.png": f"label {number},train" for number in range(30)}
    write_folder(tmp_path, rows)
    done = run(*folder_words(tmp_path), "--no-images", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["splits"][0]["images"] == 30
    few = [one for one in document["findings"] if "fewer than 10 positives" in one["what"]]
    assert [len(one["where"]) for one in few] == [30]


def test_errors_end_with_3_and_are_shown_first_with_where_and_how_to_mend(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for number in range(7):
        (tmp_path / "photos" / f"bad{number}.png").write_text("no image")
    scene(0).save(tmp_path / "photos" / "copy.png")
    bad = {f"bad{number}.png": "x,train" for number in range(7)}
    write_folder(tmp_path, {"a.png": "x,train", **bad, "copy.png": "x,val"})
    done = run(*folder_words(tmp_path))
    assert done.exit_code == 3, done.output
    lines = done.stdout.splitlines()
    starts = [line.partition(":")[0] for line in lines if line.startswith(("error: ", "warning: ", "note: "))]
    assert starts[:2] == ["error", "error"]
    assert starts == sorted(starts, key=["error", "warning", "note"].index)
    assert "error: images: 7 images cannot be decoded." in lines
    where = lines[lines.index("error: images: 7 images cannot be decoded.") + 1]
    assert where.startswith("  where: train bad0.png: it is not an image in a known format")
    assert where.endswith("; and 2 more")
    assert "  where: train a.png = val copy.png" in lines
    assert "  mend: Fetch them again, or list their ids under data.skip." in lines
    assert "train bad6.png" in run(*folder_words(tmp_path), "--all").stdout


def test_one_image_without_a_file_is_a_finding_beside_others(tmp_path: Path):
    write_folder(tmp_path, {f"{number}.png": "x,train" for number in range(5)})
    (tmp_path / "photos" / "3.png").write_text("no image")
    (tmp_path / "photos" / "4.png").unlink()
    done = run(*folder_words(tmp_path))
    assert done.exit_code == 3, done.output
    lines = done.stdout.splitlines()
    at = lines.index("error: files: 1 of 5 images has no file.")
    assert lines[at + 1] == "  where: train 4.png"
    assert lines[at + 2].startswith("  mend: Fetch it again, or correct the file data.labels")
    assert "error: images: 1 image cannot be decoded." in lines


@pytest.mark.skipif(os.name != "posix", reason="such names are not allowed")
def test_control_characters_in_names_are_spelt_out_but_in_json(tmp_path: Path):
    write_folder(tmp_path, {"a.png": "z;[bold]y,train"})
    odd = ("e\x1b[31mRED.jpg", "nl\nline.jpg", "tab\t\x9b\u2028.jpg", os.fsdecode(b"\xe9.jpg"))
    for name in odd:
        scene(1).save(tmp_path / "photos" / name)
    done = run(*folder_words(tmp_path), "--all")
    assert [
        letter for letter in done.stdout if letter != "\n" and unicodedata.category(letter) in ("Cc", "Zl", "Cs")
    ] == []
    for text in (r"e\x1b[31mRED.jpg", r"nl\nline.jpg", r"tab\t\x9b\u2028.jpg", r"\udce9.jpg"):
        assert text in done.stdout.partition("\nwarning")[2], text
    assert "│ [bold]y " in done.stdout
    (tmp_path / "photos" / odd[-1]).unlink()
    document = json.loads(run(*folder_words(tmp_path), "--json").stdout)
    assert "[bold]y" in document["positives"]
    assert any(odd[1] in name for finding in document["findings"] for name in finding["where"])


def test_the_rarest_and_the_commonest_labels_are_shown_or_all(tmp_path: Path):
    rows = {f"{number}.png": f"{';'.join(f'l{label:02}' for label in range(number, 25))},train" for number in range(25)}
    write_folder(tmp_path, rows)
    done = run(*folder_words(tmp_path), "--no-images")
    assert "l09" in done.stdout
    assert "l12" not in done.stdout.partition("warning")[0]
    assert "… 5 more (--all)" in done.stdout
    done = run(*folder_words(tmp_path), "--no-images", "--all")
    assert "l12" in done.stdout
    assert "more (--all)" not in done.stdout


def test_a_recipe_is_asked_what_it_wants(tmp_path: Path, work_folder: Path):
    done = run("debug", "data", "quickstart", "--no-images", "--root", tmp_path, "--set", "data.num_train=8",
               "--set", "model.method=salgl", "--set", "model.label_embeddings=prepared")  # fmt: skip
    assert done.exit_code == 3, done.output
    assert f"error: recipe: {tmp_path / 'shapes' / 'label_embeddings.safetensors'} is missing." in done.stdout
    assert "  mend: Run `hlcli embed labels" in done.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["shape"], "shape is no data set, recipe file or shipped recipe."),
        (["shape"], "Did you mean shapes?"),
        (["hleg/intentonmy"], "Did you mean hleg/intentonomy?"),
        (["voc2007", "--root", "gone"], "Run `hlcli preprocess voc2007 --root gone` first."),
        (["shapes", "--set", "num_trian=3"], "Did you mean num_train?"),
        (["folder", "--set", "images=gone", "--set", "labels=gone.csv"], "gone.csv does not exist"),
        (["shapes", "--sample", "0"], "--sample"),
        (["shapes", "--workers", "0"], "--workers"),
    ],
)
def test_bad_input_ends_with_2(work_folder: Path, words: list[str], text: str):
    failed(run("debug", "data", *words), text)


def test_captions_alone_have_no_columns_of_labels(tmp_path: Path):
    for number in range(4):
        (tmp_path / "photos").mkdir(exist_ok=True)
        scene(number).save(tmp_path / "photos" / f"{number}.png")
    rows = "".join(f"{number}.png,A red car.,{'val' if number == 3 else 'train'}\n" for number in range(4))
    (tmp_path / "labels.csv").write_text("image,captions,split\n" + rows, "utf-8")
    done = run(*folder_words(tmp_path))
    assert "without captions" in done.stdout
    assert "labels per image" not in done.stdout
