"""What every multi-label loss offers to the training loop."""

from __future__ import annotations

from torch import Tensor, nn


class Loss(nn.Module):
    """A multi-label loss per image and label, not yet summed or averaged.

    Its parameters, if it has some, are trained with the network, its buffers saved.

    Attributes:
        lr_factor: learning rate of its parameters as a multiple of the network's.
        is_focal: whether easy labels cost next to nothing, so that the mean is small.
    """

    lr_factor: float = 1.0
    is_focal: bool = False

    def forward(
        self, logits: Tensor, targets: Tensor, epoch: int = 0, rows: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Loss [B, L], not reduced; see `hlcli.methods.base.Criterion` for the arguments.

        Those after the targets play no part, unless a loss overrides this.
        """
        return self.per_label(logits, targets)

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss where it depends on each logit and target alone; the same shapes."""
        raise NotImplementedError
