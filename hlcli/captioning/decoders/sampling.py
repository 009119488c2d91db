"""Captions that are drawn. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hlcli.sections import Eval

if TYPE_CHECKING:
    from hlcli.captioning.search import Decoder, Hypotheses


class Sampling(Eval):
    """Of captions: words drawn by their probabilities; of several captions the likeliest comes first."""

    decoder: Literal["sample"] = "sample"
    temperature: float = Field(1.0, gt=0, description="Above 1 makes rare words likelier, below 1 rarer.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Only the likeliest words are drawn, which together reach this probability."
    )
    seed: int = Field(0, ge=0, description="Of the draws.")

    def find_captions(self, network: Decoder, memory: Any, num_captions: int = 1, *, first_row: int) -> Hypotheses:
        """Drawn captions, the same for the same batch, whoever works on it; never with marks that are no words."""
        from hlcli.captioning.drawing import draw
        from hlcli.captioning.vocabulary import BEGIN, PADDING

        return draw(
            network,
            memory,
            num_captions=num_captions,
            max_length=self.max_words,
            temperature=self.temperature,
            top_p=self.top_p,
            forbidden=(*self.unwanted_words, PADDING, BEGIN),
            seed=f"{self.seed}/{first_row}",
        )
