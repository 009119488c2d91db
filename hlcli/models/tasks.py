"""What a model is for, and which command uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hlcli.errors import InputError

if TYPE_CHECKING:
    from hlcli.methods.base import MethodSection

_OTHER_COMMANDS = {
    "captions": "`hlcli caption MODEL IMAGES…` uses it, `hlcli caption MODEL --split test` measures it, and "
    "`hlcli visualize captions MODEL` shows where it looks.",
    "labels": "`hlcli eval MODEL --images …` uses it.",
}


def check_task(method: MethodSection, task: Literal["labels", "captions"]) -> None:
    """Refuse a model of the other kind.

    Raises:
        InputError: naming the command to use.
    """
    if method.task != task:
        raise InputError(
            f"The model ({method.name}) makes {method.task}; a model that makes {task} is needed here.",
            _OTHER_COMMANDS[method.task],
        )
