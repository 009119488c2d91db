"""CIDEr-D as the reward of self-critical training and as a metric, against pycocoevalcap's.

    python benchmarks/cider_reward.py --out cider_reward.json

`reward` is one training step: 5 captions for each of 4 images, document frequencies of all training captions. Here
pycocoevalcap's scorer is given every advantage: frequencies, their logarithm's base and the n-gram counts of the
references are kept from step to step, so that it only has to count the hypotheses and compare. `frequencies given` is
the same for 1,000 images with one caption each and nothing kept but the frequencies; `evaluation` is all that
pycocoevalcap does for 1,000 images, their document frequencies included. Captions are drawn from words as frequent as
in natural text and changed here and there, so that hypotheses and references share n-grams. Both sides run in turn;
the median over the rounds counts, and the largest difference between their scores is told.
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

BATCH_SIZE, BEAMS = 4, 5
NUM_WORDS = 5000
WARM_UP = 3


class Work(NamedTuple):
    """One comparison: both sides return the same scores."""

    name: str
    ours: Callable[[], np.ndarray]
    theirs: Callable[[], Sequence[float]]
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


def make_captions(num_images: int, per_image: int) -> list[list[str]]:
    """For each image so many variants of one caption of 8 to 14 words."""
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(2, NUM_WORDS + 2)
    chances /= chances.sum()
    captions = []
    for _ in range(num_images):
        base = rng.choice(NUM_WORDS, size=rng.integers(8, 15), p=chances)
        other = rng.choice(NUM_WORDS, size=(per_image, len(base)), p=chances)
        variants = np.where(rng.random(other.shape) < 0.35, other, base)
        captions.append([" ".join(f"w{word}" for word in variant) for variant in variants])
    return captions


def make_work(num_images: int) -> list[Work]:
    """The three comparisons."""
    captions = make_captions(num_images, BEAMS + 5)
    references = [image[BEAMS:] for image in captions]
    hypotheses = [image[0] for image in captions]
    frequencies = document_frequencies([caption] for image in references for caption in image)

    rows = [row for row in range(BATCH_SIZE) for _ in range(BEAMS)]
    beams = [caption for image in captions[:BATCH_SIZE] for caption in image[:BEAMS]]
    reward, scorer = CiderD(references, frequencies), GivenFrequencies(frequencies)
    counted = [cook_refs(references[row]) for row in rows]

    gts = dict(enumerate(references))
    res = {row: [caption] for row, caption in enumerate(hypotheses)}
    return [
        Work(
            f"reward, {BATCH_SIZE} x {BEAMS}",
            lambda: reward.scores(rows, beams),
            lambda: scorer.scores(beams, counted),
            20,
        ),
        Work(
            f"frequencies given, {num_images:,} x 5",
            lambda: cider_d(hypotheses, references, frequencies).per_image,
            lambda: scorer.scores(hypotheses, [cook_refs(image) for image in references]),
            1,
        ),
        Work(
            f"evaluation, {num_images:,} x 5",
            lambda: cider_d(hypotheses, references).per_image,
            lambda: Cider().compute_score(gts, res)[1],
            1,
        ),
    ]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Mean time of a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(work: Work, rounds: int) -> dict[str, str | float]:
    """Median seconds of both sides, the median of their ratios, and how far their scores are apart."""
    difference = float(np.abs(np.array(work.ours()) - np.array(work.theirs())).max())
    seconds(work.ours, WARM_UP)
    pairs = [(seconds(work.ours, work.repeats), seconds(work.theirs, work.repeats)) for _ in range(rounds)]
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    return {
        "work": work.name,
        "hlcli_seconds": statistics.median(ours for ours, _ in pairs),
        "pycocoevalcap_seconds": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ratios),
        "lowest_ratio": ratios[0],
        "largest_difference": difference,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    options = parser.parse_args()
    rows = [measure(work, options.rounds) for work in make_work(options.images)]
    print(f"median of {options.rounds} rounds")
    for row in rows:
        print(
            f"{row['work']:30} hlcli {1000 * row['hlcli_seconds']:8.2f} ms   pycocoevalcap "
            f"{1000 * row['pycocoevalcap_seconds']:8.2f} ms   {row['ratio']:5.1f}x (lowest {row['lowest_ratio']:.1f}x)"
            f"   largest difference {row['largest_difference']:.0e}"
        )
    if options.out is not None:
        setting = {"images": options.images, "rounds": options.rounds, "python": platform.python_version()}
        setting |= {"cpus": os.cpu_count()} | {name: version(name) for name in ("numpy", "pycocoevalcap")}
        options.out.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
