"""Whether weights are those of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hlcli.errors import CheckpointError, named
from hlcli.plain_text import counted

if TYPE_CHECKING:
    from torch import Tensor


def refuse_misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], verdict: str, hint: str) -> None:
    """Refuse weights that are not those of a network.

    Args:
        own: what the network needs, by name.
        state: what there is.
        verdict: what does not fit what, for the message.
        hint: what may be wrong.

    Raises:
        CheckpointError: naming missing, unexpected and mis-shaped weights.
    """
    mistakes = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    found = [
        f"{counted(len(names), 'key')} {kind} ({named(sorted(names))})" for kind, names in mistakes.items() if names
    ]
    if found:
        raise CheckpointError(f"{verdict}: {', '.join(found)}.", hint)
