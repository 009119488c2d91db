from __future__ import annotations

import json
from pathlib import Path

import pytest

from hlcli.json_text import parse_json, read_json

DOCUMENT = {"a": [1, -2.5, None, True, "é\n𝕏\\u0000"], "b": {"a": 1}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_document_is_read_in_every_encoding_that_programs_write(tmp_path: Path, encoding: str):
    (tmp_path / "a.json").write_text(json.dumps(DOCUMENT, ensure_ascii=False), encoding=encoding)
    assert read_json(tmp_path / "a.json") == parse_json(json.dumps(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1, "b": {"c": 2, "c": 2}}', "key 'c' is given twice"),
        (f"{{{', '.join(f'{chr(34)}k{i % 99_999}{chr(34)}: 1' for i in range(100_000))}}}", "key 'k0' is given twice"),
        ("[NaN]", "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("[1e309]", "number 1e309 is too large"),
        (f"[{'9' * 5000}]", "number 9{40}… is too long"),
        (r'["a\u0000"]', "holds NUL or half of a surrogate pair"),
        (r'{"a": {"\uD800": 1}}', "holds NUL or half of a surrogate pair"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        (b'["\xff"]', "no UTF-8 text .byte 0xff at 2"),
        (b"", "Expecting value"),
        ('["a', "Unterminated string"),
        (f'{{"{"k" * 10_000_000}": 1, "{"k" * 10_000_000}": 2}}', "key 'k{40}' is given twice"),
    ],
)
def test_what_can_be_meant_in_two_ways_is_refused_in_a_short_line(content: str | bytes, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(content)
    assert len(str(caught.value)) < 160
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", ["1e999", "9" * 50])
def test_numbers_are_checked_whatever_objects_become(number: str):
    with pytest.raises(ValueError, match=r"too large|too long"):
        parse_json(f'{{"a": {number}}}', dict)


def test_what_tells_encodings_is_there():
    """`json` does not list it among its public names."""
    assert json.detect_encoding("{}".encode("utf-16")) == "utf-16"
