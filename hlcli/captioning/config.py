"""The `objective` section of a recipe that trains captions. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from hlcli.section_base import Section

if TYPE_CHECKING:
    from hlcli.captioning.objectives import CaptionLoss
    from hlcli.captioning.vocabulary import Vocabulary
    from hlcli.metrics.captioning.cider import DocumentFrequencies


class CaptionObjective(Section):
    """What a captioner is trained for."""

    task: ClassVar[Literal["labels", "captions"]] = "captions"

    reads_captions: ClassVar[bool] = True
    """Whether the loss reads the captions of a batch as tokens."""

    @property
    def one_row_per_caption(self) -> bool:
        """Whether a row of the training data is one caption, or an image with all of its captions."""
        raise NotImplementedError

    def build(
        self,
        vocabulary: Vocabulary,
        references: Sequence[Sequence[str]],
        frequencies: Callable[[str], DocumentFrequencies],
    ) -> CaptionLoss:
        """The loss of a training.

        Args:
            vocabulary: words of the token ids.
            references: all captions of every training image.
            frequencies: document frequencies of n-grams in the training captions, by their unit.
        """
        raise NotImplementedError


class CrossEntropy(CaptionObjective):
    """Likelihood of every next word of the true captions (teacher forcing)."""

    loss: Literal["cross_entropy"] = "cross_entropy"
    group_captions: bool = Field(
        False,
        description="A row is an image with all its captions, encoded once; false: one caption, as the paper has it.",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over the vocabulary.")

    @property
    def one_row_per_caption(self) -> bool:
        """As `group_captions` says."""
        return not self.group_captions

    def build(
        self,
        vocabulary: Vocabulary,
        references: Sequence[Sequence[str]],
        frequencies: Callable[[str], DocumentFrequencies],
    ) -> CaptionLoss:
        """The loss of a training."""
        from hlcli.captioning.objectives import CrossEntropyLoss

        return CrossEntropyLoss(self.label_smoothing)


class SelfCritical(CaptionObjective):
    """Self-critical sequence training (Rennie et al., 2017): CIDEr-D above a baseline rewards the model's captions."""

    reads_captions: ClassVar[bool] = False

    loss: Literal["self_critical"] = "self_critical"
    beam_size: int = Field(5, ge=2, description="Captions per image that are rewarded, found by beam search.")
    max_words: int = Field(20, ge=1, description="Longest caption, its end mark counted.")
    baseline: Literal["beams", "greedy"] = Field(
        "beams", description="What a reward must exceed: the mean of the image's beams, or the greedy caption's reward."
    )
    df_unit: Literal["caption", "image"] = Field(
        "caption", description="What counts as a document: every training caption, as the paper has it, or an image."
    )
    gradient: Literal["search", "teacher_forcing"] = Field(
        "search",
        description="Where gradients flow: through the search itself, or, faster, through one pass over its captions; "
        "equal without dropout.",
    )

    @property
    def one_row_per_caption(self) -> bool:
        """A row is an image."""
        return False

    def build(
        self,
        vocabulary: Vocabulary,
        references: Sequence[Sequence[str]],
        frequencies: Callable[[str], DocumentFrequencies],
    ) -> CaptionLoss:
        """The loss of a training."""
        from hlcli.captioning.objectives import SelfCriticalLoss
        from hlcli.metrics.captioning.cider import CiderD
        from hlcli.metrics.captioning.ptb import ptb_tokenize

        return SelfCriticalLoss(
            vocabulary,
            CiderD(references, frequencies(self.df_unit), tokenize=ptb_tokenize),
            beam_size=self.beam_size,
            max_words=self.max_words,
            greedy_baseline=self.baseline == "greedy",
            through_search=self.gradient == "search",
        )
