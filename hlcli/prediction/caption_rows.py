"""What is said of one image: its caption, and other sentences that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hlcli.captioning.generated import GeneratedCaption


class Caption(NamedTuple):
    """The best caption of an image; `log_prob` is the sum over its words, the end mark among them.

    `alternatives` are other captions, best first.
    """

    image: str
    caption: str
    log_prob: float
    alternatives: tuple[GeneratedCaption, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line that is written for the image."""
        return {
            "image": self.image,
            "caption": self.caption,
            "log_prob": round(self.log_prob, 6),
            "alternatives": [
                {"caption": other.text, "log_prob": round(other.log_prob, 6)} for other in self.alternatives
            ],
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Caption:
        """The caption that a line was written for.

        Raises:
            KeyError, TypeError: when it was written for something else.
        """
        best, *others = ((row["caption"], row["log_prob"]) for row in (line, *line["alternatives"]))
        texts, numbers = zip(best, *others, strict=True)
        if not all(isinstance(text, str) for text in (line["image"], *texts)):
            raise TypeError("image and captions must be text")
        if not all(type(number) in (int, float) for number in numbers):
            raise TypeError("log_prob must be a number")
        return cls(line["image"], *best, tuple(GeneratedCaption(*other) for other in others))


def make_caption(image: str, found: Sequence[GeneratedCaption]) -> Caption:
    """The first of at least one caption, and those of the others that say something else."""
    different: dict[str, GeneratedCaption] = {}
    for caption in found:
        different.setdefault(caption.text, caption)
    best, *others = different.values()
    return Caption(image, best.text, best.log_prob, tuple(others))
