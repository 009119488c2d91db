"""The label tree as matrices: targets go up by OR, features go up by the mean over children."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hlcli.data.labels import LabelSpace


class LabelHierarchy(nn.Module):
    """Moves targets and features from a level of the label tree to the level above.

    Step s leads from level s + 1 to level s, levels counted coarse → fine. A tree of one level has no steps.
    The matrices follow from the label space, so they are not part of the saved state.

    Args:
        labels: the label space.
    """

    def __init__(self, labels: LabelSpace) -> None:
        super().__init__()
        self.num_steps = len(labels.levels) - 1
        for step, (above, below) in enumerate(zip(labels.levels, labels.levels[1:], strict=False)):
            membership = torch.zeros(len(above), len(below))  # [K_parent, K_child]
            membership[list(below.parent_index or ()), range(len(below))] = 1
            self.register_buffer(f"membership{step}", membership, persistent=False)
            # 1 / number of children where the child belongs to the parent; made on use from exact integers
            self.register_buffer(f"group_size{step}", membership.sum(dim=1, keepdim=True), persistent=False)

    def lift(self, targets: Tensor) -> tuple[Tensor, ...]:
        """Targets of every level, coarse → fine, from fine targets [B, L]: a parent is on when any child is."""
        levels = [targets]
        for step in reversed(range(self.num_steps)):
            membership = self.get_buffer(f"membership{step}").to(targets.dtype)
            levels.append((levels[-1] @ membership.T > 0).to(targets.dtype))  # [B, K_parent]
        return tuple(reversed(levels))

    def lift_ignored(self, targets: Tensor, ignore: Tensor) -> tuple[Tensor, ...]:
        """Ignored labels of every level, coarse → fine, from those of the finest, [B, L] bool.

        Nothing is known of a parent when one of its children is ignored and none is on.
        """
        masks = [ignore]
        on = targets.masked_fill(ignore, 0)
        for step in reversed(range(self.num_steps)):
            membership = self.get_buffer(f"membership{step}").to(targets.dtype)
            on = (on @ membership.T > 0).to(targets.dtype)
            masks.append((masks[-1].to(targets.dtype) @ membership.T > 0) & (on == 0))
        return tuple(reversed(masks))

    def average(self, child_features: Tensor, step: int) -> Tensor:
        """Mean over each parent's children: [B, K_child, D] → [B, K_parent, D]."""
        weights = self.get_buffer(f"membership{step}") / self.get_buffer(f"group_size{step}")
        return weights @ child_features
