"""CIDEr-D and CIDEr: how much a caption has in common with its references, rare n-grams counting most.

Vedantam et al., CIDEr: Consensus-based Image Description Evaluation (CVPR 2015). Captions are vectors of n-grams,
n = 1…4, weighted by

    w(g) = tf(g) · (ln N - ln max(1, df(g)))

with tf the number of times the caption has g, df the number of documents that have it, and N the number of documents:
in an evaluation, a document is all references of an image; for the reward of self-critical training it is usually a
single training caption. CIDEr is ten times the mean, over n and over the references, of the cosine of two vectors;
CIDEr-D also cuts the weights of the hypothesis down to those of the reference, and multiplies by
exp(-(difference in length)² / 72). What papers and pycocoevalcap call CIDEr is CIDEr-D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.captioning.arguments import Scores, check_captions, check_references
from hlcli.metrics.captioning.ngrams import (
    MAX_N,
    Integers,
    NgramCounts,
    Ngrams,
    count_ngrams,
    document_counts,
    spell,
)

_SCALE = 10.0
_SIGMA = 6.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many documents n-grams occur.

    Args:
        counts: n-gram, its words joined by blanks → number of documents, for those in two or more; whatever is not
            listed weighs as much as an n-gram of a single document.
        num_documents: the number of all documents.
    """

    counts: Mapping[str, int] = field(repr=False)
    num_documents: int

    def __post_init__(self) -> None:
        if self.num_documents < 1:
            raise ValueError(f"Expected `num_documents` to be at least 1, but got {self.num_documents}")

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"num_documents": self.num_documents, "counts": dict(self.counts)}

    @classmethod
    def from_json(cls, document: Any) -> DocumentFrequencies:
        """What `to_json` made.

        Raises:
            ValueError: when it is something else.
        """
        counts = document.get("counts") if isinstance(document, dict) else None
        if not isinstance(counts, dict) or type(document.get("num_documents")) is not int:
            raise ValueError("Expected document frequencies with `num_documents` and `counts`")
        strange = next((ngram for ngram, count in counts.items() if type(count) is not int or count < 1), None)
        if strange is not None:
            raise ValueError(f"Expected `counts[{strange!r}]` to be at least 1, but got {counts[strange]!r}")
        return cls(counts, document["num_documents"])


def document_frequencies(documents: Iterable[Sequence[str]]) -> DocumentFrequencies:
    """Count the documents that have each n-gram.

    Args:
        documents: each one or several tokenised captions.

    Raises:
        ValueError: when there is none.
    """
    sizes: list[int] = []

    def captions() -> Iterator[str]:
        for document in documents:
            if isinstance(document, str):
                raise ValueError(f"Expected each document to be a list of captions, but got {document!r}")
            sizes.append(len(document))
            yield from document

    counted = count_ngrams(captions())
    document_of = np.repeat(np.arange(len(sizes)), sizes)
    counts: dict[str, int] = {}
    texts: dict[int, str] = {}
    for level in counted.levels:
        frequency = document_counts(level, document_of)
        common = np.flatnonzero(frequency > 1)  # their first words are as common, and so have a text
        texts = spell(level, common, texts, counted.words)
        counts.update(zip(texts.values(), frequency[common].tolist(), strict=True))
    return DocumentFrequencies(counts, len(sizes))


class CiderD:
    """CIDEr-D of captions for known images: the reward of self-critical training.

    An image's references are counted once for all its hypotheses in a call.

    Args:
        references: the true captions of every image, one or more, tokenised unless `tokenize` is given.
        frequencies: of the training captions.
        tokenize: tokenises a reference. It is applied when an image is first scored, and the result is kept, so that
            training need not wait for all images at its start.

    Raises:
        ValueError: when an image has no references.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        frequencies: DocumentFrequencies,
        *,
        tokenize: Callable[[str], str] | None = None,
    ) -> None:
        check_references(references)
        self.references = references
        self.frequencies = frequencies
        self.tokenize = tokenize
        self._tokenized: dict[int, list[str]] = {}

    def scores(self, rows: Sequence[int], hypotheses: Sequence[str]) -> Floats:
        """CIDEr-D of each hypothesis, [H].

        Args:
            rows: [H] the image that each hypothesis is for, a place in the references; images may repeat.
            hypotheses: [H] tokenised captions.
        """
        if len(rows) != len(hypotheses):
            raise ValueError(f"Expected one row per hypothesis, but got {len(rows)} rows, {len(hypotheses)} hypotheses")
        if not hypotheses:
            return np.empty(0)
        images, image_of = np.unique(np.asarray(rows), return_inverse=True)
        references = [self._references_of(image) for image in images.tolist()]
        return _consensus(hypotheses, image_of, references, self.frequencies, is_d=True)

    def _references_of(self, image: int) -> Sequence[str]:
        if self.tokenize is None:
            return self.references[image]
        if image not in self._tokenized:
            self._tokenized[image] = [self.tokenize(caption) for caption in self.references[image]]
        return self._tokenized[image]


def cider_d(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], frequencies: DocumentFrequencies | None = None
) -> Scores:
    """CIDEr-D of one hypothesis per image, as pycocoevalcap counts it.

    Args:
        hypotheses: one tokenised caption per image.
        references: the tokenised true captions of each image, one or more.
        frequencies: None counts them over the references given here, each image a document; then a single image
            scores 0.

    Raises:
        ValueError: when hypotheses and references do not fit together.
    """
    return _scores(hypotheses, references, frequencies, is_d=True)


def cider(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], frequencies: DocumentFrequencies | None = None
) -> Scores:
    """CIDEr without the D: no clipping and no penalty for length; otherwise as `cider_d`, not what papers report."""
    return _scores(hypotheses, references, frequencies, is_d=False)


def _scores(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies | None,
    *,
    is_d: bool,
) -> Scores:
    check_captions(hypotheses, references)
    per_image = _consensus(hypotheses, np.arange(len(hypotheses)), references, frequencies, is_d=is_d)
    return Scores(float(per_image.mean()), per_image)


class _Pairs(NamedTuple):
    """Every hypothesis with every reference of its image. Captions are numbered hypotheses first.

    Args:
        num_hypotheses: H.
        image: [C] the image of each caption.
        hypothesis: [P] ascending.
        reference: [P] its place among all captions.
        offset: [H] add the place of a reference to get the place of its pair.
    """

    num_hypotheses: int
    image: Integers
    hypothesis: Integers
    reference: Integers
    offset: Integers


def _pair_up(image_of: Integers, num_references: Integers) -> _Pairs:
    num_hypotheses = len(image_of)
    first = num_hypotheses + np.cumsum(num_references) - num_references  # each image's first reference
    sizes = num_references[image_of]
    return _Pairs(
        num_hypotheses,
        image=np.concatenate([image_of, np.repeat(np.arange(len(num_references)), num_references)]),
        hypothesis=np.repeat(np.arange(num_hypotheses), sizes),
        reference=_ranges(first[image_of], sizes),
        offset=np.cumsum(sizes) - sizes - first[image_of],
    )


def _consensus(
    hypotheses: Sequence[str],
    image_of: Integers,
    references: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies | None,
    *,
    is_d: bool,
) -> Floats:
    """Score each of H hypotheses against the references of its image, [H]."""
    counted = count_ngrams(chain(hypotheses, *references))
    num_references = np.array([len(captions) for captions in references])
    pairs = _pair_up(image_of, num_references)
    similarity = np.zeros(len(pairs.hypothesis))
    for level, rarity in _with_rarity(counted, pairs, frequencies):
        similarity += _cosines(level, level.times * rarity[level.ngram], pairs, is_clipped=is_d)
    if is_d:
        length = np.maximum(counted.lengths - 1, 0)
        difference = length[pairs.hypothesis] - length[pairs.reference]
        similarity *= np.exp(-(difference**2) / (2 * _SIGMA**2))
    total = np.bincount(pairs.hypothesis, similarity, minlength=pairs.num_hypotheses)
    return _SCALE * total / (MAX_N * num_references[image_of])


def _with_rarity(
    counted: NgramCounts, pairs: _Pairs, frequencies: DocumentFrequencies | None
) -> Iterator[tuple[Ngrams, Floats]]:
    """The n-grams of each length with their ln N - ln max(1, df), [G]."""
    if frequencies is None:
        is_reference = np.arange(len(pairs.image)) >= pairs.num_hypotheses
        num_images = int(pairs.image.max()) + 1
        for level in counted.levels:
            entries = is_reference[level.caption]
            of_references = level._replace(caption=level.caption[entries], ngram=level.ngram[entries])
            yield level, np.log(num_images) - np.log(np.maximum(1, document_counts(of_references, pairs.image)))
        return
    texts: dict[int, str] = {}
    for level in counted.levels:
        texts = spell(level, np.arange(len(level.last_word)), texts, counted.words)
        known = [max(1, frequencies.counts.get(text, 1)) for text in texts.values()]
        yield level, np.log(frequencies.num_documents) - np.log(np.array(known, dtype=np.float64))


def _cosines(level: Ngrams, weights: Floats, pairs: _Pairs, *, is_clipped: bool) -> Floats:
    """Cosine of both vectors of each pair, [P]; 0 where one has no length.

    Args:
        level: the n-grams of one length.
        weights: [E] of its entries.
        pairs: hypotheses and their references.
        is_clipped: a hypothesis gains nothing from a weight above that of the reference.
    """
    norms = np.sqrt(np.bincount(level.caption, weights**2, minlength=len(pairs.image)))
    split = np.searchsorted(level.caption, pairs.num_hypotheses)  # where the entries of the references begin
    keys = pairs.image[level.caption] * len(level.last_word) + level.ngram
    order = split + np.argsort(keys[split:], kind="stable")
    first, last = (np.searchsorted(keys[order], keys[:split], side=side) for side in ("left", "right"))
    mine = np.repeat(np.arange(split), last - first)
    theirs = order[_ranges(first, last - first)]
    in_common = np.minimum(weights[mine], weights[theirs]) if is_clipped else weights[mine]
    pair = pairs.offset[level.caption[mine]] + level.caption[theirs]
    products = np.bincount(pair, in_common * weights[theirs], minlength=len(pairs.hypothesis))
    scale = norms[pairs.hypothesis] * norms[pairs.reference]
    return np.divide(products, scale, out=np.zeros(len(scale)), where=scale > 0)


def _ranges(first: Integers, sizes: Integers) -> Integers:
    """The numbers first, first + 1, … of each range, one range after the other."""
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(first - before, sizes)
