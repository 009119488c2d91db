"""The made-up scenes: repeatable, complete, hard for colours and easy for forms."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.data.datasets.shapes import Shapes
from hlcli.data.datasets.shapes_captions import group_things
from hlcli.data.datasets.shapes_drawing import OUTLINES, SceneDrawing
from hlcli.data.datasets.shapes_scene import KINDS, PLACES
from hlcli.data.kept_labels import open_training_records
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError


def make_records(num_train: int = 2000, split: str = "train", **options: object):
    return Shapes(image_size=64, num_train=num_train, num_val=500, num_test=3, **options).records(split)


KNOWN_LABELS = [(4, 6, 10), (2, 11), (0, 1, 5), (4, 10)]
KNOWN_CAPTION = "Two grey towers, a grey bird and two blue sailboats in the harbour in the mist."


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(make_records())


@pytest.fixture(scope="module")
def train() -> tuple[np.ndarray, np.ndarray]:
    return draw_split("train", 1500)


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray]:
    return draw_split("val", 500)


def draw_split(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [B, 64, 64, 3] and targets [B, 12]."""
    records = make_records(split=split)
    targets = np.zeros((count, len(KINDS)), dtype=np.int64)
    for row in range(count):
        targets[row, list(records[row].labels)] = 1
    return np.stack([np.asarray(records[row].image.draw()) for row in range(count)]), targets


def test_label_space_has_three_levels():
    space = Shapes().label_space()
    assert space.level_sizes == (3, 5, 12)
    assert space.label_names == KINDS
    assert LabelSpace.from_json(space.to_json()) == space


def test_every_label_can_occur_and_can_be_drawn():
    assert {kind for chances in PLACES.values() for kind in chances} == set(KINDS)
    assert set(KINDS) <= set(OUTLINES)


def test_a_record_depends_on_seed_split_and_row_alone():
    few, many = make_records(10), make_records(100_000)
    assert len(many) == 100_000
    assert [few[row] for row in range(10)] == [many[row] for row in range(10)]
    assert few[3] != make_records(10, seed=1)[3]
    assert few[2].labels != make_records(split="val")[2].labels or few[2].image != make_records(split="val")[2].image
    assert many[99_999].image_id == "shapes-train-099999"


def test_records_and_pictures_are_the_same_in_another_process():
    code = (
        "import zlib; from hlcli.data.datasets.shapes import Shapes; r = Shapes(image_size=64).records('test');"
        "print([r[i].captions for i in range(5)], [zlib.crc32(r[i].image.draw().tobytes()) for i in range(5)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().strip()


def test_known_records_stay_what_they_are():
    """Published numbers rest on these images: a change here is a change of the data set."""
    records = make_records()
    assert [records[row].labels for row in range(4)] == KNOWN_LABELS
    assert records[0].captions[0] == KNOWN_CAPTION


def test_a_drawing_is_small_to_send_and_repeatable():
    image = make_records(200)[123].image
    data = pickle.dumps(image)
    assert len(data) < 4000
    assert pickle.loads(data).draw().tobytes() == image.draw().tobytes()


@pytest.mark.parametrize(("options", "side"), [({}, 64), ({"render_size": 96}, 96), ({"image_size": (48, 80)}, 80)])
def test_pictures_have_the_size_that_was_asked_for(options, side):
    image = Shapes(**{"image_size": 64, **options}).records("val")[0].image.draw()
    assert (image.size, image.mode) == ((side, side), "RGB")


def test_another_render_size_shows_the_same_scene():
    small, large = (Shapes(render_size=side).records("val")[4] for side in (32, 128))
    assert small.labels == large.labels
    shrunk = np.asarray(large.image.draw().resize((32, 32)), dtype=float)
    assert np.corrcoef(shrunk.ravel(), np.asarray(small.image.draw(), dtype=float).ravel())[0, 1] > 0.7


def test_rows_outside_a_split_and_unknown_splits_are_refused():
    with pytest.raises(IndexError):
        make_records(5)[5]
    with pytest.raises(DataError, match="train, val, test"):
        make_records(split="dev")
    with pytest.raises(DataError, match="train, val"):
        Shapes(num_test=0).records("test")
    assert Shapes(num_test=0).split_names() == ("train", "val")


def test_prevalences_and_label_counts_are_those_of_a_photo_collection(records):
    counts = [len(record.labels) for record in records]
    prevalence = np.bincount([label for record in records for label in record.labels], minlength=12) / len(records)
    assert min(counts) >= 1
    assert 2 <= np.mean(counts) <= 4
    assert prevalence.min() > 0.10
    assert prevalence.max() < 0.35
    assert all(list(record.labels) == sorted(set(record.labels)) for record in records)


def test_labels_go_together_by_place(records):
    targets = np.zeros((len(records), 12), dtype=bool)
    for row, record in enumerate(records):
        targets[row, list(record.labels)] = True
    together = {
        (a, b): targets[:, KINDS.index(a)][targets[:, KINDS.index(b)]].mean() / targets[:, KINDS.index(a)].mean()
        for a, b in (("car", "bus"), ("fir", "tree"), ("windmill", "flower"), ("car", "fir"), ("sailboat", "windmill"))
    }
    assert min(together["car", "bus"], together["fir", "tree"], together["windmill", "flower"]) > 1.4
    assert max(together["car", "fir"], together["sailboat", "windmill"]) < 0.5


def test_single_kept_labels_are_true_ones_and_evaluation_stays_whole():
    data = Shapes(image_size=64, num_train=2000, num_val=500, num_test=3, labels_kept="single")
    full, single = make_records(), open_training_records(data)
    assert all(len(single[row].labels) == 1 for row in range(300))
    assert all(set(single[row].labels) <= set(full[row].labels) for row in range(300))
    assert {single[row].labels[0] for row in range(300)} == set(range(12))
    val, single_val = make_records(split="val"), data.records("val")
    assert [single_val[row] for row in range(20)] == [val[row] for row in range(20)]
    assert [single[row].image for row in range(20)] == [full[row].image for row in range(20)]


def test_captions_are_five_different_sentences_that_name_what_is_there(records):
    for record in records[:500]:
        assert len(set(record.captions)) == 5
        assert all(caption[0].isupper() and caption.endswith(".") for caption in record.captions)
        scene = record.image.scene
        for group in group_things(scene):
            assert group.phrase in record.captions[0] or group.phrase.capitalize() in record.captions[0]
        assert scene.place in record.captions[0]
        absent = set(KINDS) - {KINDS[label] for label in record.labels} - {"tree", "fish"}
        words = set(" ".join(record.captions).replace(".", " ").replace(",", " ").lower().split())
        assert not words & (absent | {f"{kind}s" for kind in absent})


def test_captions_tell_left_from_right(records):
    told = 0
    for record in records[:300]:
        first, _, last = record.captions[2].rstrip(".").partition(" to the left of ")
        if not last:
            continue
        groups = {group.phrase: group for group in group_things(record.image.scene)}
        leftmost = next(group for phrase, group in groups.items() if phrase.lower() == first.lower())
        assert leftmost.x < groups[last].x
        told += 1
    assert told > 100


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_every_labelled_thing_shows_in_the_picture(seed):
    record = make_records(seed=seed)[0]
    scene = record.image.scene
    whole = np.asarray(record.image.draw(), dtype=int)
    for label in record.labels:
        kept = tuple(thing for thing in scene.things if KINDS.index(thing.kind) != label)
        without = SceneDrawing(replace_things(scene, kept), 64).draw()
        changed = (np.asarray(without, dtype=int) != whole).any(axis=2).sum()
        assert changed > 25, f"{KINDS[label]} can hardly be seen"


def replace_things(scene, things):
    return dataclasses.replace(scene, things=things)


def test_colours_do_not_give_the_labels_away(train, held_out):
    """One-vs-rest logistic regression on 3×8 and on 512 bins stays below 0.5 mAP (chance: 0.21)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for histogram in (histogram_of_channels, histogram_of_colours):
        classifier = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.01)))
        classifier.fit(histogram(train[0]), train[1])
        scores = classifier.decision_function(histogram(held_out[0]))
        assert 0.2 < average_precision_score(held_out[1], scores, average="macro") < 0.5


def histogram_of_channels(images: np.ndarray) -> np.ndarray:
    """Square roots of 3×8 bins: [B, 24]."""
    bins = [np.stack([(images[..., c] >> 5 == b).mean(axis=(1, 2)) for b in range(8)], 1) for c in range(3)]
    return np.sqrt(np.concatenate(bins, axis=1))


def histogram_of_colours(images: np.ndarray) -> np.ndarray:
    """Square roots of 512 bins: [B, 512]."""
    codes = (images >> 5).astype(np.int64) @ np.array([64, 8, 1])
    return np.sqrt(np.stack([np.bincount(code.ravel(), minlength=512) / code.size for code in codes]))
