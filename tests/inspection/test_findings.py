"""Findings read well for one and for many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from inspected import reencoded, scene, write_folder

from hlcli.inspection.data import debug_data
from hlcli.inspection.findings import finding_on, in_number

WRONG = re.compile(r"\b1 [a-z ]*(are|have|count|say)\b|\b1 (images|ids|files|pictures|groups|names|splits)\b|[{|}]")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1 image is grey: fetch it."),
        (2, "2 images are grey: fetch them."),
        (3000, "3,000 images are grey: fetch th"),
    ],
)
def test_one_and_many_have_their_own_words(number: int, text: str):
    template = "{} {image is|images are} grey: fetch {it|them}."
    assert in_number(template, number).startswith(text)
    (finding,) = finding_on(["a"] * number, "note", "images", template, template)
    assert finding.what == finding.mend
    assert finding.what.startswith(text)


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_said_of_one_reads_as_well_as_of_two(tmp_path: Path, number: int):
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = {"whole.png": "w;x,train"}
    for at in range(number):
        (photos / f"page{at}.png").write_text("<html>")
        reencoded(scene(10 + at)).save(photos / f"leak{at}.jpg")
        scene(20 + at).save(photos / f"unlisted{at}.png")
        scene(30 + at, 24).convert("L").resize((200, 20)).save(photos / f"odd{at}.png")
        scene(10 + at).save(photos / f"first{at}.png")
        rows |= {f"page{at}.png": "w,train", f"leak{at}.jpg": f"y{at},val", f"odd{at}.png": "w;z,train"}
        rows |= {f"first{at}.png": f"w;x{at};x {at},train", f"absent{at}.png": ",train", f"copy{at}.png": "w,train"}
        reencoded(scene(10 + at), 0.9).save(photos / f"copy{at}.png")
    data = write_folder(tmp_path, rows)
    for at in range(number):
        (photos / f"absent{at}.png").unlink()
    inspection = debug_data(data, workers=1)
    texts = [text for finding in inspection.findings for text in (finding.what, finding.mend)]
    assert len(texts) > 25
    assert [text for text in texts if WRONG.search(text)] == []
    assert any(text.startswith(f"{number} picture{'s are' if number > 1 else ' is'} in more") for text in texts)
