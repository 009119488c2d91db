"""Captions by beam search. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hlcli.sections import Eval

if TYPE_CHECKING:
    from hlcli.captioning.search import Decoder, Hypotheses


class BeamSearch(Eval):
    """Of captions: the likeliest ones, as far as a beam search finds them."""

    decoder: Literal["beam"] = "beam"
    beam_size: int = Field(5, ge=1, description="Captions kept while one is searched; 1 is greedy.")
    length_penalty: float = Field(
        0.0, ge=0, description="Power of the length that a caption's log-probability is divided by at the end."
    )
    block_ngrams: int = Field(0, ge=0, description="Never repeat so many words in a row within a caption; 0 may.")

    def find_captions(self, network: Decoder, memory: Any, num_captions: int = 1, *, first_row: int) -> Hypotheses:
        """The best captions of the widest beam asked for; `first_row` makes no difference."""
        from hlcli.captioning.search import beam_search

        return beam_search(
            network,
            memory,
            beam_size=max(self.beam_size, num_captions),
            max_length=self.max_words,
            num_results=num_captions,
            length_penalty=self.length_penalty,
            block_ngrams=self.block_ngrams,
            forbidden=self.unwanted_words,
        )
