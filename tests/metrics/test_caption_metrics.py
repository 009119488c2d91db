from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from hlcli.metrics.captioning.bleu import bleu
from hlcli.metrics.captioning.cider import CiderD, DocumentFrequencies, cider, cider_d, document_frequencies
from hlcli.metrics.captioning.names import METRICS, WITHOUT_JAVA
from hlcli.metrics.captioning.resampled import caption_measure
from hlcli.metrics.captioning.rouge import rouge_l
from hlcli.metrics.captioning.summary import caption_metrics
from hlcli.sections import Eval

from .caption_samples import HYPOTHESES, REFERENCES

CLOSE = {"rtol": 1e-12, "atol": 1e-12}

captions = st.lists(
    st.sampled_from(["a", "dog", "cat", "on", "the", "mat", "runs", "'", "-lrb-", "café"]), max_size=8
).map(" ".join)
images = st.lists(st.tuples(captions, st.lists(captions, min_size=1, max_size=4)), min_size=1, max_size=6)
Images = list[tuple[str, list[str]]]


def apart(found: Images) -> tuple[list[str], list[list[str]]]:
    return [hypothesis for hypothesis, _ in found], [references for _, references in found]


def for_pycocoevalcap(found: Images) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    return dict(enumerate(r for _, r in found)), {row: [h] for row, (h, _) in enumerate(found)}


def ngrams(caption: str, n: int) -> Counter[str]:
    words = caption.split()
    return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))


def plain_bleu(found: Images, n: int) -> float:
    """BLEU-n of a set: clipped precisions, and a penalty by the references closest in length."""
    sizes = [len(h.split()) for h, _ in found]
    closest = [
        min((abs(len(r.split()) - size), len(r.split())) for r in refs)[1]
        for size, (_, refs) in zip(sizes, found, strict=True)
    ]
    product = 1.0
    for k in range(1, n + 1):
        matches = 0
        for hypothesis, references in found:
            best = Counter[str]()
            for reference in references:
                best |= ngrams(reference, k)
            matches += (ngrams(hypothesis, k) & best).total()
        product *= (matches + 1e-15) / (sum(max(0, size - k + 1) for size in sizes) + 1e-9)
    ratio = (sum(sizes) + 1e-15) / (sum(closest) + 1e-9)
    return product ** (1 / n) * (math.exp(1 - 1 / ratio) if ratio < 1 else 1.0)


def plain_rouge(hypothesis: str, references: Sequence[str]) -> float:
    """ROUGE-L of one image."""

    @lru_cache(None)
    def common(mine: tuple[str, ...], theirs: tuple[str, ...]) -> int:
        if not mine or not theirs:
            return 0
        if mine[-1] == theirs[-1]:
            return common(mine[:-1], theirs[:-1]) + 1
        return max(common(mine[:-1], theirs), common(mine, theirs[:-1]))

    mine = tuple(hypothesis.split(" "))
    shares = [(common(mine, theirs), len(theirs)) for theirs in (tuple(r.split(" ")) for r in references)]
    precision, recall = max(size for size, _ in shares) / len(mine), max(size / length for size, length in shares)
    return 2.44 * precision * recall / (recall + 1.44 * precision) if precision else 0.0


def plain_cider(
    hypothesis: str, references: Sequence[str], counts: Mapping[str, int], num_documents: int, *, is_d: bool
) -> float:
    """The formula of the paper, one n-gram after the other."""

    def weights(caption: str, n: int) -> dict[str, float]:
        return {
            g: tf * (math.log(num_documents) - math.log(max(1, counts.get(g, 0))))
            for g, tf in ngrams(caption, n).items()
        }

    total = 0.0
    for reference in references:
        gap = max(len(hypothesis.split()) - 1, 0) - max(len(reference.split()) - 1, 0)
        for n in range(1, 5):
            mine, theirs = weights(hypothesis, n), weights(reference, n)
            dot = sum((min(w, theirs[g]) if is_d else w) * theirs[g] for g, w in mine.items() if g in theirs)
            norm = math.sqrt(sum(w * w for w in mine.values()) * sum(w * w for w in theirs.values()))
            cosine = dot / norm if norm else 0.0
            total += cosine * (math.exp(-(gap**2) / 72) if is_d else 1.0)
    return 10 * total / (4 * len(references))


@given(images)
@settings(max_examples=60, deadline=None)
def test_cider_d_is_what_pycocoevalcap_finds(found: Images):
    assume(any(reference for _, references in found for reference in references))  # or pycocoevalcap fails
    value, per_image = Cider().compute_score(*for_pycocoevalcap(found))
    ours = cider_d(*apart(found))
    np.testing.assert_allclose(ours.per_image, per_image, **CLOSE)
    np.testing.assert_allclose(ours.value, value, **CLOSE)


@given(images)
@settings(max_examples=40, deadline=None)
def test_bleu_follows_the_formula(found: Images):
    for n, ours in enumerate(bleu(*apart(found)), start=1):
        np.testing.assert_allclose(ours.value, plain_bleu(found, n), **CLOSE)
        np.testing.assert_allclose(ours.per_image, [plain_bleu([image], n) for image in found], **CLOSE)


@given(images)
@settings(max_examples=40, deadline=None)
def test_rouge_follows_the_formula(found: Images):
    ours = rouge_l(*apart(found))
    expected = [plain_rouge(*image) for image in found]
    np.testing.assert_allclose(ours.per_image, expected, **CLOSE)
    np.testing.assert_allclose(ours.value, np.mean(expected), **CLOSE)


@given(images, images, st.booleans())
@settings(max_examples=60, deadline=None)
def test_both_ciders_follow_the_formula_with_frequencies_of_other_captions(found: Images, other: Images, is_d: bool):
    documents = [references for _, references in other]
    counts = Counter(
        g for document in documents for g in {g for c in document for n in range(1, 5) for g in ngrams(c, n)}
    )
    frequencies = document_frequencies(documents)
    assert frequencies == DocumentFrequencies({g: c for g, c in counts.items() if c > 1}, len(documents))
    ours = (cider_d if is_d else cider)(*apart(found), frequencies)
    expected = [plain_cider(h, r, counts, len(documents), is_d=is_d) for h, r in found]
    np.testing.assert_allclose(ours.per_image, expected, **CLOSE)


@given(images, st.data())
@settings(max_examples=40, deadline=None)
def test_reward_of_a_batch_is_the_score_of_each_caption_alone(found: Images, data: st.DataObject):
    _, references = apart(found)
    frequencies = document_frequencies([c] for image in references for c in image)
    batch = data.draw(st.lists(st.tuples(st.integers(0, len(found) - 1), captions), max_size=8))
    rows, hypotheses = [row for row, _ in batch], [caption for _, caption in batch]
    rewards = CiderD(references, frequencies).scores(rows, hypotheses)
    alone = [cider_d([h], [references[row]], frequencies).value for row, h in batch]
    assert rewards.shape == (len(batch),)
    np.testing.assert_allclose(rewards, alone, **CLOSE)


@given(images, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_of_images_and_references_changes_nothing(found: Images, random):
    order = list(range(len(found)))
    random.shuffle(order)
    shuffled = [(found[row][0], random.sample(found[row][1], len(found[row][1]))) for row in order]
    straight, other = (caption_metrics(*apart(given), tokenized=True) for given in (found, shuffled))
    for name, values in straight.per_image.items():
        np.testing.assert_allclose(other.per_image[name], values[order], **CLOSE)
        np.testing.assert_allclose(other.values[name], straight.values[name], **CLOSE)


def test_caption_that_is_its_only_reference_has_full_marks():
    hypotheses = ["a dog runs on the mat", "two birds sit on wires"]
    metrics = caption_metrics(hypotheses, [[caption] for caption in hypotheses], tokenized=True)
    assert metrics.values == pytest.approx({f"BLEU-{n}": 1.0 for n in range(1, 5)} | {"ROUGE-L": 1.0, "CIDEr": 10.0})


def test_single_image_has_a_cider_of_zero_but_not_with_given_frequencies():
    assert cider_d(HYPOTHESES[:1], REFERENCES[:1]).value == 0.0
    assert cider_d(HYPOTHESES[:1], REFERENCES[:1], document_frequencies(REFERENCES)).value > 1.0


def test_empty_hypothesis_scores_zero_everywhere():
    metrics = caption_metrics(["", *HYPOTHESES[1:]], REFERENCES, tokenized=True)
    assert {name: scores[0] for name, scores in metrics.per_image.items()} == dict.fromkeys(metrics.values, 0.0)


def test_all_empty_captions_are_scored_without_a_warning():
    with np.errstate(all="raise"):
        assert cider_d(["", ""], [[""], ["", ""]], document_frequencies([["a"], ["b"]])).value == 0.0


def test_cider_d_of_a_repeated_word_is_cut_and_that_of_cider_is_not():
    frequencies = document_frequencies([["a b"], ["c"], ["d"]])
    once, often = (metric(["b b b"], [["b"]], frequencies).value for metric in (cider_d, cider))
    assert once == pytest.approx(10 / 4 / 3 * math.exp(-4 / 72))
    assert often == pytest.approx(10 / 4)


def test_scoring_does_not_make_the_frequencies_grow():
    frequencies = document_frequencies(REFERENCES)
    before = dict(frequencies.counts)
    CiderD(REFERENCES, frequencies).scores([0, 1], ["words never seen", "a new one"])
    assert frequencies.counts == before


def test_references_of_the_reward_are_tokenised_once_and_only_when_needed():
    asked: list[str] = []

    def tokenize(caption: str) -> str:
        asked.append(caption)
        return caption.lower().rstrip(".")

    frequencies = document_frequencies(REFERENCES)
    raw = [[f"{caption.capitalize()}." for caption in captions] for captions in REFERENCES]
    reward = CiderD(raw, frequencies, tokenize=tokenize)
    expected = CiderD(REFERENCES, frequencies).scores([1, 1, 0], HYPOTHESES)
    for _ in range(2):
        np.testing.assert_array_equal(reward.scores([1, 1, 0], HYPOTHESES), expected)
    assert sorted(asked) == sorted(raw[0] + raw[1])


def test_frequencies_survive_json_and_other_documents_are_refused():
    frequencies = document_frequencies(REFERENCES)
    assert DocumentFrequencies.from_json(frequencies.to_json()) == frequencies
    for document in ([], {"counts": {}}, {"counts": {"a": 0}, "num_documents": 1}, {"counts": {}, "num_documents": 0}):
        with pytest.raises(ValueError, match=r"Expected .*(counts|num_documents)"):
            DocumentFrequencies.from_json(document)
    with pytest.raises(ValueError, match="list of captions"):
        document_frequencies(["a caption in place of a list"])


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (["a"], [["a"], ["b"]], "1 hypotheses and 2 lists"),
        ([], [], "at least one image"),
        (["a", "b"], [["a"], []], r"references\[1\]"),
        (["a"], ["a caption"], r"references\[0\]"),
        ("a", [["a"]], "single string"),
    ],
)
def test_captions_that_do_not_fit_are_refused(hypotheses, references, message):
    for metric in (bleu, rouge_l, cider_d, cider):
        with pytest.raises(ValueError, match=message):
            metric(hypotheses, references)


def test_raw_captions_are_tokenised_each_alone():
    raw = ["A dog runs, on the mat!", "The cat.", "Two birds sit on a wire ..."]
    assert caption_metrics(raw, REFERENCES).values == caption_metrics(HYPOTHESES, REFERENCES, tokenized=True).values


def test_only_the_metrics_asked_for_are_computed_in_their_fixed_order():
    metrics = caption_metrics(HYPOTHESES, REFERENCES, names=["CIDEr", "BLEU"], tokenized=True)
    assert list(metrics.values) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr"]
    assert metrics.num_images == 3
    assert metrics.to_json() == metrics.values
    assert str(metrics).splitlines()[-1] == f"CIDEr   {metrics.values['CIDEr']:.4f}"


@pytest.mark.parametrize("names", [["BLUE"], [], "BLEU"])
def test_unknown_metrics_are_refused_with_the_known_ones(names):
    with pytest.raises(ValueError, match=", ".join(METRICS)):
        caption_metrics(HYPOTHESES, REFERENCES, names=names)


def test_metrics_are_silent(capfd: pytest.CaptureFixture[str]):
    caption_metrics(HYPOTHESES, REFERENCES)
    assert capfd.readouterr() == ("", "")


def test_recipes_and_metrics_agree_on_the_names_of_metrics() -> None:
    names = get_args(get_args(Eval.model_fields["caption_metrics"].annotation)[0])
    assert set(names) == set(METRICS)
    assert Eval().caption_metrics == WITHOUT_JAVA


def test_metrics_of_captions_drawn_anew_are_those_of_the_drawn_captions():
    """BLEU from summed counts, ROUGE-L as a mean; CIDEr's weights of n-grams stay those of the whole set."""
    rng = np.random.default_rng(0)
    whole = caption_metrics(HYPOTHESES, REFERENCES)
    measure = caption_measure(whole, HYPOTHESES, REFERENCES)
    assert measure(np.arange(len(HYPOTHESES))) == pytest.approx(dict(whole.values))
    for _ in range(5):
        rows = np.sort(rng.integers(len(HYPOTHESES), size=len(HYPOTHESES)))
        drawn = caption_metrics([HYPOTHESES[row] for row in rows], [REFERENCES[row] for row in rows])
        found = measure(rows)
        assert {name: found[name] for name in drawn.values if name != "CIDEr"} == pytest.approx(
            {name: value for name, value in drawn.values.items() if name != "CIDEr"}
        )
        assert found["CIDEr"] == pytest.approx(whole.per_image["CIDEr"][rows].mean())
