from __future__ import annotations

from hlcli.errors import nearest


def test_what_somebody_may_have_meant_is_told_of_endless_names_too():
    assert nearest("salgel", {"hleg": 1, "salgl": 2}) == ["salgl"]
    assert nearest("nothing", ["hleg"]) == []
    assert nearest("x" * 1_000_000, ["x" * 99]) == ["x" * 99]
