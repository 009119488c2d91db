from __future__ import annotations

import math
import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from hlcli.errors import HlcliError, MissingDependencyError
from hlcli.metrics.captioning import java
from hlcli.metrics.captioning.bleu import bleu
from hlcli.metrics.captioning.cider import CiderD, DocumentFrequencies, cider, cider_d, document_frequencies
from hlcli.metrics.captioning.rouge import rouge_l
from hlcli.metrics.captioning.summary import METRICS, WITHOUT_JAVA, caption_metrics
from hlcli.sections import Eval

CLOSE = {"rtol": 1e-12, "atol": 1e-12}

captions = st.lists(
    st.sampled_from(["a", "dog", "cat", "on", "the", "mat", "runs", "'", "-lrb-", "café"]), max_size=8
).map(" ".join)
images = st.lists(st.tuples(captions, st.lists(captions, min_size=1, max_size=4)), min_size=1, max_size=6)
Images = list[tuple[str, list[str]]]

HYPOTHESES = ["a dog runs on the mat", "the cat", "two birds sit on a wire"]
REFERENCES = [
    ["a dog runs on a mat", "the dog is running", "a brown dog"],
    ["the cat sleeps", "a cat on the sofa"],
    ["two birds on a wire", "birds sit on the wire", "a wire with two birds", "two small birds"],
]


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


# Java. A stand-in for the program answers as the protocol says; the real METEOR runs in the golden tests.


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    java.java_version.cache_clear()
    yield
    java.java_version.cache_clear()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_probe: None):
    """Puts a `java` on PATH that is this Python code; `-version` is answered already."""
    if os.name != "posix":
        pytest.skip("needs a script that can be executed")

    def install(code: str) -> Path:
        script = tmp_path / "bin" / "java"
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\n"
            f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
            "if '-version' in sys.argv:\n"
            "    print('openjdk version \"17.0.1\" 2021', file=sys.stderr); sys.exit()\n" + code
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(script.parent))
        return tmp_path / "pid"

    return install


def has_ended(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


METEOR = """
sizes = []
for line in sys.stdin:
    kind, *parts = line.rstrip("\\n").split(" ||| ")
    if kind == "SCORE":
        print(len(parts) - 1, len(parts[-1]), flush=True)
    else:
        scores = [int(part.split()[0]) / 10 for part in parts]
        print("\\n".join(map(str, [*scores, 0.5])), flush=True)
"""


def test_meteor_is_asked_in_its_protocol_and_ended(stand_in):
    pid_file = stand_in(METEOR)
    scores = java.meteor(["a ||| dog\nruns", "", "c"], REFERENCES)
    assert scores.value == 0.5
    assert scores.per_image.tolist() == [0.3, 0.2, 0.4]  # numbers of references, so nothing was split in two
    assert has_ended(pid_file)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.sleep(60)", "took more than 1 second"),
        ("import subprocess; subprocess.run(['/bin/sleep', '60'])", "took more than 1 second"),
        ("sys.exit('out of memory')", "ended early: out of memory"),
        ("sys.stdin.readline(); print('1', flush=True); sys.exit(3)", "ended early: it gave no reason"),
        ("[print('x', flush=True) for _ in sys.stdin]", "'x' where a number was expected"),
    ],
)
def test_meteor_that_fails_is_ended_and_explained(stand_in, code: str, message: str):
    pid_file = stand_in(code)
    with pytest.raises(HlcliError, match=message):
        java.meteor(HYPOTHESES, REFERENCES, timeout_seconds=1)
    assert has_ended(pid_file)


SPICE = """
rows = json.load(open(sys.argv[sys.argv.index("-out") - 1]))
scores = [{"image_id": row["image_id"], "scores": {"All": {"f": len(row["refs"]) / 10}}} for row in reversed(rows)]
assert "--add-opens=java.base/java.lang=ALL-UNNAMED" in os.environ["JDK_JAVA_OPTIONS"]
print("x" * 200_000)
json.dump(scores, open(sys.argv[sys.argv.index("-out") + 1], "w"))
"""


@pytest.fixture
def spice_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pycocoevalcap with the models of SPICE, which the real one fetches."""
    package = tmp_path / "path" / "pycocoevalcap"
    (package / "spice" / "lib").mkdir(parents=True)
    for name in ("spice-1.0.jar", *(f"lib/{name}" for name in java.SPICE_MODELS)):
        (package / "spice" / name).touch()
    monkeypatch.syspath_prepend(package.parent)  # its folders are searched in this order
    return package


def test_spice_scores_stay_with_their_images(stand_in, spice_models: Path):
    pid_file = stand_in(SPICE)
    scores = java.spice(HYPOTHESES, REFERENCES)
    assert scores.per_image.tolist() == [0.3, 0.2, 0.4]
    assert scores.value == pytest.approx(0.3)
    assert has_ended(pid_file)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.sleep(60)", "took more than 1 second"),
        ("sys.exit('no heap')", "ended with code 1: no heap"),
        ("", "left no scores: it gave no reason"),
    ],
)
def test_spice_that_fails_is_ended_and_explained(stand_in, spice_models: Path, code: str, message: str):
    pid_file = stand_in(code)
    with pytest.raises(HlcliError, match=message):
        java.spice(HYPOTHESES, REFERENCES, timeout_seconds=1)
    assert has_ended(pid_file)


def test_missing_models_of_spice_are_named_with_the_command_that_fetches_them(stand_in, spice_models: Path):
    stand_in(SPICE)
    (spice_models / "spice" / "lib" / java.SPICE_MODELS[1]).unlink()
    with pytest.raises(MissingDependencyError, match=r"3\.6\.0-models\.jar.*get_stanford_models"):
        caption_metrics(HYPOTHESES, REFERENCES, names=["SPICE"])


@pytest.mark.parametrize("metric", ["METEOR", "SPICE"])
def test_missing_java_is_said_before_any_work(metric, monkeypatch: pytest.MonkeyPatch, fresh_probe: None):
    monkeypatch.setenv("PATH", "")
    assert java.java_version() is None
    with pytest.raises(MissingDependencyError, match=f"{metric} needs Java 8 or newer"):
        caption_metrics([], [], names=[metric])


def test_java_that_does_not_run_counts_as_missing(stand_in):
    pid_file = stand_in("")
    script = pid_file.parent / "bin" / "java"
    script.write_text("#!/bin/sh\necho 'No Java runtime present, requesting install.' >&2\nexit 1\n")
    assert java.java_version() is None


@pytest.mark.skipif(shutil.which("java") is None, reason="no java on PATH")
def test_version_is_the_one_that_java_tells(fresh_probe: None):
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    version = java.java_version()
    assert version is not None
    assert f'"{version}"' in said


def test_recipes_and_metrics_agree_on_the_names_of_metrics() -> None:
    names = get_args(get_args(Eval.model_fields["caption_metrics"].annotation)[0])
    assert set(names) == set(METRICS)
    assert Eval().caption_metrics == WITHOUT_JAVA
