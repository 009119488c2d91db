"""The report on a captioner: what it said of a split, as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hlcli.data.failures import Failure
from hlcli.data.store import open_records
from hlcli.errors import InputError
from hlcli.evaluation.captions import CaptionEvaluation
from hlcli.figures.captions import Look, View, find_view, look_at
from hlcli.figures.images import IMAGES_AT_A_TIME, Item, Items, Photo
from hlcli.metrics.bootstrap import bootstrap
from hlcli.metrics.captioning.resampled import caption_measure
from hlcli.prediction.caption_predictor import CaptionPredictor
from hlcli.report import pictures
from hlcli.report.charts import Chart, line_chart
from hlcli.report.facts import interval_facts, recipe_facts, split_facts, training_facts
from hlcli.report.page import write_page

_HEADLINES = ("CIDEr", "BLEU-4", "METEOR", "ROUGE-L", "SPICE")
_RANKING = ("CIDEr", "SPICE", "METEOR", "ROUGE-L", "BLEU-4")
"""What tells good captions from bad ones: the first of these that was measured."""
_DRAWS = 1000
_CARDS, _MOST_ROWS, _BINS, _MOST_REPEATED = 7, 2000, 20, 10


class _CaptionLine(NamedTuple):
    """A row of the table: an image, what was said of it, its scores and what people said."""

    image: str
    caption: str
    scores: Sequence[float]
    log_prob: float
    references: Sequence[str]


class _Card(NamedTuple):
    """One image with its caption, and where the model looked for every word."""

    photo: pictures.Photo
    line: _CaptionLine
    veils: Sequence[pictures.Veil]


def write_caption_report(path: Path, evaluation: CaptionEvaluation, predictor: CaptionPredictor) -> list[Failure]:
    """Write the page of a split that was captioned.

    Args:
        path: its file.
        evaluation: what `evaluate_captions` gave.
        predictor: the model, or models.

    Returns:
        Images that could not be decoded when they were drawn.

    Raises:
        HlcliError: when the file cannot be written.
    """
    failures: list[Failure] = []
    loaded, metrics = predictor.models[0], evaluation.metrics
    names = [] if metrics is None else [name for name in _HEADLINES if name in metrics.per_image]
    lines = _caption_lines(evaluation, names)
    ranking = next((name for name in _RANKING if name in names), None)
    order = _rank(lines, names, ranking)
    best, worst = order[: min(_CARDS, len(order) // 2)], order[::-1][: min(_CARDS, -(-len(order) // 2))]
    kept = order if len(order) <= _MOST_ROWS else [*order[: _MOST_ROWS // 2], *order[-(_MOST_ROWS // 2) :]]
    content = {
        "title": f"{loaded.recipe.model.name} on {loaded.recipe.data.title}, {evaluation.split}",
        "folder": None if loaded.folder is None else str(loaded.folder),
        "split": evaluation.split,
        "num_models": len(predictor.models),
        "num_images": len(lines),
        "draws": _DRAWS,
        "scores": _with_intervals(evaluation),
        "headlines": [name for name in _HEADLINES if metrics is not None and name in metrics.values],
        "recipe": [*recipe_facts(loaded), ("Words", f"{len(predictor.vocabulary):,}")],
        "recipe_text": loaded.recipe.to_yaml(),
        "splits": split_facts(loaded.recipe, evaluation.split),
        "skipped": list(loaded.recipe.data.skip),
        "training": training_facts(loaded.folder, loaded.recipe),
        "charts": _charts(lines, names, ranking),
        "ranking": ranking or "log-probability",
        "score_names": names,
        "lines": [lines[row] for row in sorted(kept)],
        "repeated": _repeated(lines),
        "silent": [line.image for line in lines if not line.caption],
        "num_different": len({line.caption for line in lines}),
        "worst": _make_cards(predictor, evaluation, lines, worst, failures),
        "best": _make_cards(predictor, evaluation, lines, best, failures),
        "failures": failures,
        "page_data": {"curves": None},
    }
    write_page(path, "captions.html", content)
    return failures


def _caption_lines(evaluation: CaptionEvaluation, names: Sequence[str]) -> list[_CaptionLine]:
    per_image = {} if evaluation.metrics is None else evaluation.metrics.per_image
    columns = [per_image[name].tolist() for name in names]
    return [
        _CaptionLine(said.image, said.caption, [column[row] for column in columns], said.log_prob, references)
        for row, (said, references) in enumerate(zip(evaluation.captions, evaluation.references, strict=True))
    ]


def _with_intervals(evaluation: CaptionEvaluation) -> dict[str, dict[str, Any]]:
    """Every metric with its interval, where images drawn anew can tell one."""
    metrics = evaluation.metrics
    if metrics is None:
        return {}
    said = [caption.caption for caption in evaluation.captions]
    intervals = bootstrap(caption_measure(metrics, said, evaluation.references), len(said), resamples=_DRAWS)
    return {name: {"value": value, **interval_facts(intervals, name)} for name, value in metrics.values.items()}


def _rank(lines: Sequence[_CaptionLine], names: Sequence[str], ranking: str | None) -> list[int]:
    """Rows from the best caption to the worst; without true captions, from the surest on."""
    keys = [line.log_prob if ranking is None else line.scores[names.index(ranking)] for line in lines]
    return np.lexsort((-np.array([line.log_prob for line in lines]), -np.array(keys))).tolist()


def _charts(lines: Sequence[_CaptionLine], names: Sequence[str], ranking: str | None) -> list[Chart]:
    """How scores and lengths spread over the images."""
    found = []
    if ranking is not None:
        scores = [line.scores[names.index(ranking)] for line in lines]
        found.append(_histogram(f"{ranking} of the images", scores, ranking, _BINS, (0.0, max([*scores, 0.1]))))
    lengths = [len(line.caption.split()) for line in lines]
    low, high = min(lengths), max(lengths) + 1
    limits = (low - 0.5, high - 0.5)  # a bar stands around its number
    bins = high - low if high - low <= _BINS else _BINS
    return [*found, _histogram("Length of the captions", lengths, "words", bins, limits)]


def _histogram(title: str, values: Sequence[float], x_name: str, bins: int, limits: tuple[float, float]) -> Chart:
    counts, edges = np.histogram(values, bins=bins, range=limits)
    most = 1.05 * float(counts.max())
    pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    bars = [(left, right, count / most) for left, right, count in pairs]
    counts_x = all(isinstance(value, int) for value in values)
    return line_chart(
        title, [], x_name=x_name, x_range=limits, y_range=(0, most), bars=bars, bars_name="number of images",
        counts_x=counts_x,
    )  # fmt: skip


def _repeated(lines: Sequence[_CaptionLine]) -> list[tuple[str, int]]:
    """Captions that several images have, most frequent first."""
    return [(text, n) for text, n in Counter(line.caption for line in lines).most_common(_MOST_REPEATED) if n > 1]


def _make_cards(
    predictor: CaptionPredictor,
    evaluation: CaptionEvaluation,
    lines: Sequence[_CaptionLine],
    rows: Sequence[int],
    failures: list[Failure],
) -> list[_Card]:
    """Cards of some images, in that order; those that cannot be decoded now are listed."""
    records = open_records(predictor.recipe.data, evaluation.split)
    images = [lines[row].image for row in rows]
    items = Items(images, lambda number: Item(images[number], records[rows[number]].image))
    view = find_view(predictor.models[0])
    cards = []
    for start in range(0, len(rows), IMAGES_AT_A_TIME):
        found = list(items.photos(range(start, min(start + IMAGES_AT_A_TIME, len(rows))), failures))
        looks: Sequence[Look | None] = [None] * len(found)
        if len(predictor.networks) == 1 and found:
            looks = look_at(predictor, [photo for _, photo in found], failures)
        for (number, photo), look in zip(found, looks, strict=True):
            cards.append(_make_card(photo, rows[number], lines[rows[number]], view, look))
    return cards


def _make_card(photo: Photo, row: int, line: _CaptionLine, view: View, look: Look | None) -> _Card:
    item, image = photo
    shown = pictures.make_photo(f"photo-{row}", Path(item.name).name, view.seen_part(image))
    if look is None:
        return _Card(shown, line, [])
    try:
        words = view.words(look)
    except InputError:  # nobody knows how the cells of stored features lie
        return _Card(shown, line, [])
    return _Card(shown, line, [pictures.make_veil(shown, w.word, w.attention_map, box=w.box) for w in words])
