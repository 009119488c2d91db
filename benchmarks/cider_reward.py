"""CIDEr-D as the reward of self-critical training and as a metric, against pycocoevalcap's.

    python benchmarks/cider_reward.py --out cider_reward.json

`reward` is one training step: 5 captions for each of 4 images, document frequencies of all references. Here
pycocoevalcap's scorer is given every advantage: frequencies, their logarithm's base and the n-gram counts of the
references are kept from step to step, so that it only has to count the hypotheses and compare. `frequencies given` is
the same for 1,000 images with one caption each and nothing kept but the frequencies; `evaluation` is all that
pycocoevalcap does for 1,000 images, their document frequencies included. Captions are drawn from words as frequent as
in natural text and changed here and there, so that hypotheses and references share n-grams. Every call scores
hypotheses that neither side has seen before. Both sides run in turn, each first in every other round; the median over
the rounds counts, and the largest difference between their scores is told.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs, cook_test

from hlcli.metrics.captioning.cider import CiderD, DocumentFrequencies, cider_d, document_frequencies

BATCH_SIZE, BEAMS, REFERENCES = 4, 5, 5
NUM_WORDS = 5000
WARM_UP = 2
"""Calls of each side before the first that counts."""

Score = Callable[[list[str]], Sequence[float] | np.ndarray]


class Work(NamedTuple):
    """One comparison: `draw` makes hypotheses, for which both sides return the same scores."""

    name: str
    draw: Callable[[], list[str]]
    ours: Score
    theirs: Score
    repeats: int


class GivenFrequencies(CiderScorer):
    """pycocoevalcap's scorer with document frequencies from elsewhere, as the papers' training programs change it."""

    def __init__(self, frequencies: DocumentFrequencies) -> None:
        self.log_documents = np.log(float(frequencies.num_documents))
        super().__init__()
        self.document_frequency = defaultdict(float, {tuple(g.split()): n for g, n in frequencies.counts.items()})

    @property
    def ref_len(self) -> float:
        """Logarithm of the number of documents, which the scorer would set to that of the images it is given."""
        return self.log_documents

    @ref_len.setter
    def ref_len(self, _: float | None) -> None:
        """Stays as it is."""

    def scores(self, hypotheses: Sequence[str], counted: Sequence[list]) -> list[float]:
        """CIDEr-D of each hypothesis against references whose n-grams are counted."""
        self.ctest = [cook_test(caption) for caption in hypotheses]
        self.crefs = list(counted)
        return self.compute_cider()


class Captions:
    """Images that each have a caption of 8 to 14 words, of which variants are drawn."""

    def __init__(self, num_images: int) -> None:
        self.rng = np.random.default_rng(0)
        chances = 1 / np.arange(2, NUM_WORDS + 2)
        self.chances = chances / chances.sum()
        self.bases = [self._words(int(self.rng.integers(8, 15))) for _ in range(num_images)]

    def variants(self, image: int, count: int) -> list[str]:
        """So many new captions of an image; a third of the words differs."""
        base = self.bases[image]
        other = self._words((count, len(base)))
        words = np.where(self.rng.random(other.shape) < 0.35, other, base)
        return [" ".join(f"w{word}" for word in caption) for caption in words]

    def _words(self, shape: int | tuple[int, int]) -> np.ndarray:
        return self.rng.choice(NUM_WORDS, size=shape, p=self.chances)


def reward_work(captions: Captions, references: list[list[str]], frequencies: DocumentFrequencies) -> Work:
    """Scores of the beams of a batch."""
    rows = [row for row in range(BATCH_SIZE) for _ in range(BEAMS)]
    reward, scorer = CiderD(references, frequencies), GivenFrequencies(frequencies)
    counted = [cook_refs(references[row]) for row in rows]
    return Work(
        f"reward, {BATCH_SIZE} x {BEAMS}",
        lambda: [caption for row in range(BATCH_SIZE) for caption in captions.variants(row, BEAMS)],
        lambda beams: reward.scores(rows, beams),
        lambda beams: scorer.scores(beams, counted),
        20,
    )


def make_work(captions: Captions, references: list[list[str]], frequencies: DocumentFrequencies) -> list[Work]:
    """The three comparisons."""
    scorer, gts = GivenFrequencies(frequencies), dict(enumerate(references))

    def draw() -> list[str]:
        return [captions.variants(row, 1)[0] for row in range(len(references))]

    def evaluate(hypotheses: list[str]) -> Sequence[float]:
        return Cider().compute_score(gts, {row: [caption] for row, caption in enumerate(hypotheses)})[1]

    size = f"{len(references):,} x {REFERENCES}"
    return [
        reward_work(captions, references, frequencies),
        Work(
            f"frequencies given, {size}",
            draw,
            lambda hypotheses: cider_d(hypotheses, references, frequencies).per_image,
            lambda hypotheses: scorer.scores(hypotheses, [cook_refs(image) for image in references]),
            1,
        ),
        Work(
            f"evaluation, {size}",
            draw,
            lambda hypotheses: cider_d(hypotheses, references).per_image,
            evaluate,
            1,
        ),
    ]


def seconds(score: Score, batches: list[list[str]]) -> float:
    """Mean time of a call."""
    start = time.perf_counter()
    for hypotheses in batches:
        score(hypotheses)
    return (time.perf_counter() - start) / len(batches)


def measure(work: Work, rounds: int) -> dict[str, str | float]:
    """Median seconds of both sides, the median of their ratios, and how far their scores are apart."""
    differences = []
    for _ in range(WARM_UP):
        hypotheses = work.draw()
        differences.append(np.abs(np.array(work.ours(hypotheses)) - np.array(work.theirs(hypotheses))).max())
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        batches = [work.draw() for _ in range(work.repeats)]
        for side in list(taken)[:: -1 if number % 2 else 1]:
            taken[side].append(seconds(getattr(work, side), batches))
    ratios = sorted(theirs / ours for ours, theirs in zip(*taken.values(), strict=True))
    return {
        "work": work.name,
        "hlcli_seconds": statistics.median(taken["ours"]),
        "pycocoevalcap_seconds": statistics.median(taken["theirs"]),
        "ratio": statistics.median(ratios),
        "lowest_ratio": ratios[0],
        "largest_difference": float(max(differences)),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    options = parser.parse_args()
    if options.images < BATCH_SIZE:
        parser.error(f"--images must be {BATCH_SIZE} or more")
    captions = Captions(options.images)
    references = [captions.variants(image, REFERENCES) for image in range(options.images)]
    frequencies = document_frequencies([caption] for image in references for caption in image)
    rows = [measure(work, options.rounds) for work in make_work(captions, references, frequencies)]
    print(
        f"median of {options.rounds} rounds; document frequencies of {frequencies.num_documents:,} captions "
        f"({options.images:,} images where they are part of the evaluation)"
    )
    for row in rows:
        print(
            f"{row['work']:30} hlcli {1000 * row['hlcli_seconds']:8.2f} ms   pycocoevalcap "
            f"{1000 * row['pycocoevalcap_seconds']:8.2f} ms   {row['ratio']:5.1f}x (lowest {row['lowest_ratio']:.1f}x)"
            f"   largest difference {row['largest_difference']:.0e}"
        )
    if options.out is not None:
        setting = {"images": options.images, "document_frequencies_of_captions": frequencies.num_documents}
        setting |= {"rounds": options.rounds, "python": platform.python_version()}
        setting |= {"cpus": os.cpu_count()} | {name: version(name) for name in ("numpy", "pycocoevalcap")}
        options.out.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
