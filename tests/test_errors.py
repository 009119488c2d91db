from __future__ import annotations

import pytest

from hlcli.errors import HlcliError, nearest


def test_what_somebody_may_have_meant_is_told_of_endless_names_too():
    assert nearest("salgel", {"hleg": 1, "salgl": 2}) == ["salgl"]
    assert nearest("nothing", ["hleg"]) == []
    assert nearest("x" * 1_000_000, ["x" * 99]) == ["x" * 99]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("a.jpg is missing.", "a.jpg is missing. Give another one."),
        ("a.jpg cannot be read: no such host", "a.jpg cannot be read: no such host. Give another one."),
    ],
)
def test_message_and_remedy_are_two_sentences(message: str, text: str):
    assert str(HlcliError(message, "Give another one.")) == text
