"""Scenes: words stand where the cloud has put them, heat maps hold their numbers, pages can be read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from PIL import Image, ImageDraw, ImageFont

from hlcli.data.datasets.coco_labels import DRAWN_TOGETHER, SHORT_NAMES
from hlcli.data.datasets.shapes_scene import TREE
from hlcli.data.labels import LabelSpace
from hlcli.visualization.label_groups import Group, label_groups, most_frequent, tick_names, typical_labels
from hlcli.visualization.scene_strips import Strip, strips_figure
from hlcli.visualization.scenes import (
    READING,
    UNITS_HIGH,
    UNITS_WIDE,
    SceneSummary,
    arrange_words,
    heat_map_figure,
    overview_figure,
    word_outline,
    words_figure,
)

from .figure_text import assert_readable, texts

WORDS = {"dog": 200, "traffic light": 120, "cat": 90, "sofa": 60, "Straße": 20, "cup": 3, "never": 0}


def summary(scene: int, names: list[str], *, is_empty: bool = False) -> SceneSummary:
    probs = np.random.default_rng(scene).random((len(names), len(names)))
    cloud = None if is_empty else arrange_words({name: 10 + i for i, name in enumerate(names)})
    return SceneSummary(f"scene {scene}: 25% of the labels seen in training", cloud, names, probs)


def test_words_of_a_cloud_are_the_larger_the_more_they_count():
    cloud = arrange_words(WORDS)
    assert [placed.word for placed in cloud] == list(WORDS)[:-1]
    area = {placed.word: np.prod(placed.outline.get_extents().size) / len(placed.word) for placed in cloud}
    assert area["dog"] > area["cat"] > area["cup"]


def test_words_lie_inside_the_cloud_and_over_no_other_word():
    cloud = arrange_words({f"{word} {i}": size + 1 for i in range(3) for word, size in WORDS.items()})
    assert len(cloud) > 12  # words that would be too small are left out
    for placed in cloud:
        box = placed.outline.get_extents()
        assert min(box.x0, box.y0) >= -1
        assert box.x1 <= UNITS_WIDE + 1
        assert box.y1 <= UNITS_HIGH + 1
    for first, second in combinations(cloud, 2):
        assert not first.outline.intersects_path(second.outline, filled=False), (first.word, second.word)


def test_the_same_words_give_the_same_cloud():
    first, second = arrange_words(WORDS), arrange_words(WORDS)
    for a, b in zip(first, second, strict=True):
        assert (a.word, a.colour) == (b.word, b.colour)
        np.testing.assert_array_equal(a.outline.vertices, b.outline.vertices)


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("word", ["fork", "jay", "traffic light"])
def test_an_outline_covers_what_the_cloud_drew(word: str, is_turned: bool):
    from matplotlib.font_manager import findfont

    font = findfont("DejaVu Sans")
    turn = Image.Transpose.ROTATE_90 if is_turned else None
    canvas = Image.new("L", (600, 600))
    letters = ImageFont.TransposedFont(ImageFont.truetype(font, 60), turn)
    ImageDraw.Draw(canvas).text((40, 70), word, fill="white", font=letters)
    box = word_outline(word, font, 60, 40, 70, is_turned=is_turned).get_extents()
    np.testing.assert_allclose([box.x0, box.y0, box.x1, box.y1], canvas.getbbox(), atol=2)


def test_words_are_shapes_with_their_names_in_the_file():
    figure = words_figure("scene 0", arrange_words(WORDS))
    assert {patch.get_gid() for patch in figure.findobj(PathPatch)} >= set(WORDS) - {"never"}
    assert READING in texts(figure)
    assert_readable(figure)
    assert "No label has a two-hundredth of its images here." in texts(words_figure("scene 0", arrange_words({"a": 0})))


def test_long_words_are_cut_and_shown():
    (placed,) = arrange_words({"W" * 300: 5})
    assert placed.word.endswith("…")
    assert placed.outline.get_extents().x1 <= UNITS_WIDE + 1


def test_a_heat_map_holds_its_numbers_on_a_scale_from_0_to_1():
    probs = np.random.default_rng(0).random((5, 5)) / 3
    figure = heat_map_figure("scene 0, street", ["car", "bus", "traffic light", "$x^", "person"], probs)
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), probs)
    assert image.get_clim() == (0, 1)
    assert {"traffic light", "$x^", "scene 0, street"} <= set(texts(figure))
    assert_upright_texts_are_apart(figure)


def test_a_heat_map_of_eighty_labels_can_be_read():
    names = [f"label number {i}" for i in range(80)]
    assert_upright_texts_are_apart(heat_map_figure("scene 3, chosen", names, np.zeros((80, 80))))


@pytest.mark.parametrize("scenes", [1, 4, 5])
def test_all_scenes_are_on_one_page(scenes: int):
    names = [f"a rather long name {i}" for i in range(12)]
    summaries = [summary(scene, names[: 12 if scene else 3]) for scene in range(scenes)]
    figure = overview_figure(f"{scenes} scenes.", summaries)
    shown = texts(figure)
    assert any(text.startswith("Within one cloud") for text in shown)
    assert [text for text in shown if text.startswith("scene ")] == [row.title for row in summaries]
    assert_upright_texts_are_apart(figure)


def test_a_scene_that_was_never_seen_says_so():
    figure = overview_figure("2 scenes.", [summary(0, ["a", "b"]), summary(1, ["a", "b"], is_empty=True)])
    assert texts(figure).count("No training image was counted for this scene.") == 1
    assert len([axes for axes in figure.axes if axes.images]) == 2  # one heat map, one scale
    assert_readable(overview_figure("1 scene.", [summary(0, ["a"], is_empty=True)]))


def assert_upright_texts_are_apart(figure: Figure) -> None:
    """Leaning texts have boxes that overlap though they do not; they must stay inside the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure).draw()
    for text in figure.findobj(Text):
        if text.get_rotation() and text.get_text():
            box = text.get_window_extent()
            assert min(box.x0, box.y0) >= -1.5
            assert box.x1 <= figure.bbox.width + 1.5
            text.set_visible(False)
    assert_readable(figure)


def test_coco_is_drawn_in_four_groups_whatever_its_order():
    known = dict.fromkeys(name for members in DRAWN_TOGETHER.values() for name in members)
    names = [*reversed(known), *(f"other {i}" for i in range(80 - len(known)))]
    labels = LabelSpace.flat(names)
    groups = label_groups(labels, np.zeros(80), together=DRAWN_TOGETHER)
    assert [group.name for group in groups] == ["street", "animals", "indoor", "table"]
    assert [names[label] for label in groups[0].labels][4] == "person"
    assert tick_names(labels, SHORT_NAMES)[names.index("traffic light")] == "tlight"
    assert tick_names(LabelSpace.flat(["traffic light"])) == ["traffic light"]


def test_labels_of_a_tree_are_drawn_below_their_parents():
    labels = LabelSpace.from_tree(TREE)
    groups = label_groups(labels, np.zeros(12))
    assert [group.name for group in groups] == ["nature", "architecture", "transport"]  # the level above has pairs
    assert sorted(label for group in groups for label in group.labels) == list(range(12))
    lonely = LabelSpace.from_tree({"a": ["b"], "c": ["d", "e"]})
    assert label_groups(lonely, np.zeros(3)) == [Group("c", (1, 2))]
    assert label_groups(lonely, np.zeros(3), chosen=(0, 2)) == [Group("chosen", (0, 2))]


def test_other_labels_are_drawn_by_frequency():
    seen = np.arange(30) % 17
    (group,) = label_groups(LabelSpace.flat([f"l{i}" for i in range(30)]), seen)
    assert group.labels[:4] == (16, 15, 14, 13)
    assert len(group.labels) == 12
    assert most_frequent(seen, among=[3, 5, 20]) == (5, 3, 20)


def test_labels_are_typical_of_a_scene_by_the_share_of_their_images():
    seen = np.array([[9.0, 1, 5, 0], [2, 2, 6, 0], [1, 8, 0, 0]])
    assert typical_labels(seen) == [(0, 2, 1), (2, 1, 0), (1, 0)]
    assert typical_labels(np.ones((2, 2)) * [1, 3]) == [(1, 0), (1, 0)]  # of equal shares the frequent


def test_strips_show_all_scenes_of_every_image():
    rng = np.random.default_rng(0)
    sizes = [(60, 80), (300, 60), (40, 400)]
    strips = [
        Strip(f"{i}.jpg", rng.integers(0, 255, (*size, 3), dtype=np.uint8), rng.dirichlet(np.ones(6)))
        for i, size in enumerate(sizes)
    ]
    names = [f"{i}: bicycle, traffic light, stop sign and more" for i in range(6)]
    figure = strips_figure(strips, names)
    shown = texts(figure)
    for strip in strips:
        assert strip.name in shown
        assert f"{strip.scene_probs.max():.2f}" in shown
    bold = [text for axes in figure.axes for text in axes.texts if text.get_weight() == "bold"]
    assert len(bold) == 2 * len(strips)
    assert_readable(figure)
    assert_readable(strips_figure([strips[0]._replace(scene_probs=np.ones(1))], ["0"]))
    with pytest.raises(ValueError, match="probabilities of 2 scenes"):
        strips_figure(strips, ["0", "1"])
