"""`hlcli visualize` after a real, tiny training run."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from noise_photos import write_photos
from PIL import Image
from typer.testing import CliRunner

import hlcli
from hlcli.cli import main
from hlcli.data.store import open_records
from hlcli.errors import InputError
from hlcli.figures.drawing import KINDS, FigureOptions
from hlcli.figures.images import Item, check_offers
from hlcli.figures.labels import count_labels
from hlcli.figures.levels import find_examples
from hlcli.methods.base import MethodSection
from hlcli.recipe import Recipe, section_classes

runner = CliRunner()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A trained run whose network has a grid of 2×2 cells."""
    from tiny import tiny_recipe

    recipe = tiny_recipe("train.epochs=1", "data.image_size=64")
    return hlcli.train(recipe, tmp_path_factory.mktemp("figures") / "run").folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven photos and two files that are none."""
    folder = write_photos(tmp_path / "photos", 7)
    (folder / "0-broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    (folder / "empty.png").write_bytes(b"")
    return folder


def visualize(*words: object, code: int = 0):
    result = runner.invoke(main.app, ["--quiet", "visualize", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def assert_is_picture(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        assert min(image.size) > 100
        assert len(image.convert("L").histogram()) == 256
        assert image.convert("L").getextrema() != (255, 255)


@pytest.mark.parametrize("kind", ["curves", "labels", "levels"])
def test_every_kind_works_right_after_training(run: Path, kind: str):
    expected = run / "figures" / f"{kind}.png"
    assert visualize(kind, run).stdout == f"{expected}\n"
    assert_is_picture(expected)
    assert not [path for path in expected.parent.iterdir() if path.name.startswith(".")]


def test_photos_are_drawn_on_pages_and_failures_are_listed(run: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = visualize("levels", run, "--images", photos, "--out", out, "--json", code=3)
    document = json.loads(result.stdout)
    assert document["files"] == [str(out / "levels-1.png"), str(out / "levels-2.png")]
    for file in document["files"]:
        assert_is_picture(Path(file))
    names = [Path(row["image"]).name for row in document["failures"]]
    assert names == ["0-broken.jpg", "empty.png"]
    listed = [json.loads(line) for line in (out / "levels.failures.jsonl").read_text().splitlines()]
    assert listed == document["failures"]
    listed_in = f"2 images could not be shown; all are listed in {out / 'levels.failures.jsonl'}."
    assert listed_in in result.stderr.replace("\n", "")
    visualize("levels", run, "--images", photos / "1.png", "--out", out)
    assert [path.name for path in out.iterdir()] == ["levels.png"]  # no older pages, no older failures


def test_some_of_the_files_found_are_spread_over_them(run: Path, photos: Path, tmp_path: Path):
    images = ["--images", photos / "?.png", "--max-images", 3, "--out", tmp_path / "out"]
    files = visualize("attention", run, *images).stdout.splitlines()
    assert [Path(file).stem for file in files] == ["0", "3", "6"]
    assert visualize("levels", run, *images).stdout == f"{tmp_path / 'out' / 'levels.png'}\n"  # seven need two pages


def test_one_option_takes_several_photos(run: Path, photos: Path, tmp_path: Path):
    result = visualize("attention", run, "--images", photos / "1.png", photos / "2.png", "--out", tmp_path)
    assert [Path(line).name for line in result.stdout.splitlines()] == ["1.png", "2.png"]


def test_only_broken_images_give_no_page(run: Path, photos: Path, tmp_path: Path):
    result = visualize("levels", run, "--images", photos / "empty.png", "--out", tmp_path / "out", code=3)
    assert result.stdout == ""
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["levels.failures.jsonl"]


def test_of_many_broken_images_a_few_are_told(run: Path, photos: Path, tmp_path: Path):
    for number in range(6):
        (photos / f"{number}.png").write_bytes(b"")
    told = visualize("attention", run, "--images", photos, "--out", tmp_path, code=3).stderr
    assert told.count("failed: ") == 5
    assert "and 3 more\n8 images could not be shown; all are listed in " in told
    assert len((tmp_path / "attention.failures.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize("kind", ["curves", "labels", "levels", "attention", "scenes", "embeddings", "report"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    (tmp_path / "file").touch()
    monkeypatch.setattr("hlcli.models.opening.read_model", lambda *_: pytest.fail("the model was read"))
    for place in ("file", "file/below/figures"):
        result = visualize(kind, run, "--out", tmp_path / place, code=2)
        assert f"{tmp_path / place} cannot be written: Not a directory." in result.stderr.replace("\n", "")
        assert "Give another place with --out." in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("file_format", ["svg", "pdf"])
def test_other_formats(run: Path, tmp_path: Path, file_format: str):
    visualize("labels", run / "model", "--format", file_format, "--out", tmp_path)
    assert (tmp_path / f"labels.{file_format}").stat().st_size > 1000


def test_labels_of_a_recipe_need_no_model(tiny_file: Path, tmp_path: Path):
    visualize("labels", tiny_file, "--split", "val", "--labels", "plants", "--format", "svg", "--out", tmp_path)
    svg = (tmp_path / "labels.svg").read_text()
    assert "shapes: labels of 21 images (val)" in svg
    assert "<!-- flower -->" in svg
    assert "<!-- nature -->" in svg
    assert "<!-- animals -->" not in svg
    visualize("labels", tiny_file, "--set", "data.num_train=9", "--format", "svg", "--out", tmp_path)
    assert "labels of 9 images (train)" in (tmp_path / "labels.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            ["curve", "RUN"],
            "There is no figure 'curve'; there are curves, labels, levels, attention, scenes, embeddings, captions, "
            "report.",
            "Did you mean curves?",
        ),
        (
            ["curves", "RUN", "--split", "val"],
            "curves has no use for --split; it is for labels, levels, attention, scenes, embeddings, captions and "
            "report.",
            None,
        ),
        (["levels", "RUN", "--raw"], "levels has no use for --raw; it is for attention.", None),
        (["attention", "RUN", "--level", "midle"], "no maps on level 'midle'", "coarse, middle, fine"),
        (["attention", "RUN", "--labels", "flowr"], "There is no label 'flowr'", "Did you mean 'flower'?"),
        (["scenes", "RUN"], "A model of method hleg has no scenes.", "Methods that have: salgl."),
        (["labels", "RUN", "--top-k", "2"], "labels has no use for --top-k; it is for levels and embeddings.", None),
        (
            ["embeddings", "RUN", "--projection", "tsn"],
            "tsne, umap, pca were expected (got 'tsn').",
            "Did you mean tsne?",
        ),
        (["embeddings", "RUN", "--level", "midle"], "There is no level 'midle'.", "Did you mean 'middle'?"),
        (["embeddings", "RUN", "--max-images", "1"], "One image has no neighbours.", "Give several"),
        (["levels", "RUN", "--projection", "pca"], "levels has no use for --projection; it is for embeddings.", None),
        (["levels", "RUN", "--images", "x", "--split", "val"], "--images and --split exclude each other.", "Leave"),
        (["levels", "RUN", "--labels", "flowr"], "There is no label 'flowr'.", "Did you mean 'flower'?"),
        (["levels", "RUN", "--split", "trian"], "has no split 'trian'", None),
        (["labels", "RUN", "--format", "jpeg"], "png, svg, pdf were expected (got 'jpeg')", None),
        (["curves", "RUN/model"], "is not a run", None),
        (["levels", "RUN/nothing"], "does not exist", "Give a run folder"),
        (["levels", "RUN", "RUN"], "holds a model; images were expected.", "one model"),
        (["levels", "RUN", "--images", "RUN"], "holds a model; images were expected.", "one model"),
        (["labels", "quikstart"], "neither a file nor a shipped recipe", "Did you mean quickstart?"),
    ],
)
def test_mistakes_are_named(run: Path, tmp_path: Path, words: list[str], message: str, hint: str | None):
    result = visualize(*[word.replace("RUN", str(run)) for word in words], "--out", tmp_path, code=2)
    assert message in result.stderr
    assert (hint or "") in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_scores_in_the_figure_are_those_of_predictions(run: Path, photos: Path):
    predictor = hlcli.load(run)
    images = [Image.open(photos / f"{i}.png") for i in range(3)]
    method = Recipe.from_yaml(run / "recipe.yaml").model
    items = [(Item(f"{i}.png", b"", (4,)), image) for i, image in enumerate(images)]
    examples = find_examples(predictor, method, items, top_k=2)
    labels = predictor.labels
    for example, prediction in zip(examples, predictor.predict(images), strict=True):
        for depth, level in enumerate(labels.levels):
            best = np.argsort(-prediction.levels[depth], kind="stable")[:2]
            assert [label.name for label in example.levels[depth]] == [level.label_names[i] for i in best]
            assert [label.score for label in example.levels[depth]] == pytest.approx(
                prediction.levels[depth][best], abs=1e-5
            )
            true_label = (*labels.ancestors(4), 4)[depth]
            assert [label.is_true for label in example.levels[depth]] == [i == true_label for i in best]
            for label in example.levels[depth]:
                assert label.attention_map.shape == (2, 2)
                assert label.attention_map.sum() == pytest.approx(1, abs=1e-5)
        assert example.true_labels == (labels.label_names[4],)


def test_named_labels_replace_the_best_ones(run: Path, photos: Path):
    from hlcli.visualization.branches import find_branches

    predictor = hlcli.load(run)
    items = [(Item("0.png", b""), Image.open(photos / "0.png"))]
    method = Recipe.from_yaml(run / "recipe.yaml").model
    branches = find_branches(predictor.labels, ["windmill"])
    (example,) = find_examples(predictor, method, items, branches, top_k=3)
    assert [[label.name for label in level] for level in example.levels] == [
        ["architecture"],
        ["buildings"],
        ["windmill"],
    ]
    assert example.true_labels is None
    assert example.levels[0][0].is_true is None


def test_counts_of_parents_count_an_image_once(tiny):
    recipe = tiny()
    records, labels = open_records(recipe.data, "train"), recipe.data.label_space()
    counts = count_labels(records, labels)
    for depth, level in enumerate(labels.levels):
        for index in range(len(level)):
            below = {f for f in range(labels.num_labels) if (*labels.ancestors(f), f)[depth] == index}
            assert counts[depth][index] == sum(bool(below & set(record.labels)) for record in records)


def test_method_without_maps_is_refused_and_others_are_named():
    class Plain(MethodSection):
        method: str = "plain"

    with pytest.raises(InputError, match="method plain has no attention per label") as caught:
        check_offers(Plain(), "level_maps", "attention per label")
    able = [name for name, section in section_classes("model").items() if section.offers("level_maps")]
    assert {"query2label", "hleg", "salgl", "sgre"} <= set(able) < set(section_classes("model"))
    assert caught.value.hint == f"Methods that have: {', '.join(able)}."
    check_offers(Recipe.from_yaml("quickstart").model, "level_maps", "attention per label")


def test_attention_of_every_level_as_pages_and_plain_files(run: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = ["--images", photos, "--labels", "predicted", "--labels", "tower", "--level", "fine", "--raw", "--out", out]
    document = json.loads(visualize("attention", run, *words, "--json", code=3).stdout)
    assert len(document["failures"]) == 2
    pages = [path for path in document["files"] if path.endswith(".png")]
    assert [Path(page).stem for page in pages] == list("0123456")
    assert_is_picture(Path(pages[0]))
    with Image.open(out / "attention" / "3" / "_tower.jpg") as image:
        assert image.size == (64, 64)
    coarse = ["--split", "val", "--max-images", 2, "--level", "coarse", "--format", "svg", "--out", out]
    files = visualize("attention", run, *coarse).stdout.splitlines()
    assert len(files) == 2
    names = hlcli.load(run).labels.levels[0].label_names
    assert all(any(f"<!-- {name}" in Path(file).read_text() for name in names) for file in files)
    assert not (out / "attention.failures.jsonl").exists()


def test_kinds_take_what_their_functions_take():
    for kind in KINDS:
        parameters = inspect.signature(kind.load()).parameters.values()
        assert {row.name for row in parameters if row.kind is row.KEYWORD_ONLY} == set(kind.options)
        assert set(kind.options) <= set(FigureOptions.__annotations__)
    with pytest.raises(TypeError, match="'lables'"):
        hlcli.visualize("labels", "quickstart", lables=["a"])


def test_the_name_of_a_picture_is_no_folder(run: Path, tmp_path: Path):
    done = runner.invoke(main.app, ["visualize", "curves", str(run), "--out", str(tmp_path / "fig.png")])
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "a folder was expected" in done.stderr
    (tmp_path / "old.png").mkdir()
    done = runner.invoke(main.app, ["visualize", "curves", str(run), "--out", str(tmp_path / "old.png")])
    assert done.exit_code == 0, done.output


def test_the_next_step_after_labels_is_a_report_of_models_alone(run: Path, tmp_path: Path):
    place = tmp_path / "mine"
    place.mkdir()
    (place / "recipe.yaml").write_text((run / "recipe.yaml").read_text("utf-8"), "utf-8")
    for model, words in ((place, "train --recipe"), (run, "visualize report"), (run / "model", "visualize report")):
        done = runner.invoke(main.app, ["visualize", "labels", str(model), "--out", str(tmp_path / "figures")])
        assert done.exit_code == 0, done.output
        assert f"Next: hlcli {words} {model}" in done.stderr
