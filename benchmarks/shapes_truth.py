"""What SALGL and SGRE learn on drawn scenes, held against how these were made.

    python benchmarks/shapes_truth.py --seeds 0 1 2 --out shapes_truth.json

SALGL is never told the place of an image. Its scenes are compared with the places by normalised mutual information
(0 unrelated, 1 the same), and its counts of labels seen together with those of the places. SGRE is never told where a
thing is: the pointing game counts how often the cell to which a true label attends most lies on that thing, beside the
share that a random cell would hit. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score

import hlcli
from hlcli.data.datasets.shapes_drawing import SceneDrawing
from hlcli.data.datasets.shapes_scene import KINDS, PLACES, Scene
from hlcli.data.records import Record
from hlcli.metrics.scenes import heat_map
from hlcli.prediction.labels import Predictor
from hlcli.recipe import Recipe
from hlcli.runs import Run

RECIPES = {"salgl": "salgl/shapes", "sgre": "sgre/shapes"}


def scene_of(record: Record) -> Scene:
    """How an image was made."""
    assert isinstance(record.image, SceneDrawing)
    return record.image.scene


def check_scenes(predictor: Predictor, records: Sequence[Record]) -> dict[str, Any]:
    """Learned scenes against places."""
    places = list(PLACES)
    truth = [places.index(scene_of(record).place) for record in records]
    found = [row.scene.index for row in predictor.predict([record.image.draw() for record in records])]  # type: ignore
    table = np.zeros((len(places), max(found) + 1), dtype=int)
    np.add.at(table, (truth, found), 1)
    return {
        "nmi": normalized_mutual_info_score(truth, found),
        "nmi_of_labels_alone": label_clusters(records, truth),
        "accuracy_of_best_match": table[linear_sum_assignment(-table)].sum() / len(truth),
        "table": table.tolist(),
    }


def label_clusters(records: Sequence[Record], truth: Sequence[int]) -> float:
    """What k-means on the true labels reaches: the places overlap, so that even these do not tell them surely."""
    from sklearn.cluster import KMeans

    matrix = np.zeros((len(records), len(KINDS)))
    for row, record in zip(matrix, records, strict=True):
        row[list(record.labels)] = 1
    return float(
        normalized_mutual_info_score(truth, KMeans(len(PLACES), n_init=10, random_state=0).fit_predict(matrix))
    )


def planted_counts(records: Sequence[Record]) -> np.ndarray:
    """Labels seen together in each place, [places, L, L]."""
    counts = np.zeros((len(PLACES), len(KINDS), len(KINDS)))
    for record in records:
        place = list(PLACES).index(scene_of(record).place)
        counts[np.ix_([place], record.labels, record.labels)] += 1
    return counts


def compare_heat_maps(learned: np.ndarray, planted: np.ndarray, figure: Path) -> float:
    """Mean correlation of the heat maps of scenes with those of the places that they match best; drawn in pairs."""
    from matplotlib.figure import Figure

    ours, theirs = np.asarray(heat_map(learned)), np.asarray(heat_map(planted))
    correlation = np.array([[np.corrcoef(np.ravel(a), np.ravel(b))[0, 1] for b in theirs] for a in ours])
    correlation = np.nan_to_num(correlation)  # a scene that was never chosen
    pairs = list(zip(*linear_sum_assignment(-correlation), strict=True))
    drawing = Figure(figsize=(2.4 * len(pairs), 5.4), layout="constrained")
    axes = drawing.subplots(2, len(pairs), squeeze=False)
    for column, (scene, place) in enumerate(pairs):
        title = f"scene {scene}\n(correlation {correlation[scene, place]:.2f})"
        for row, (values, name) in enumerate(((ours[scene], title), (theirs[place], list(PLACES)[place]))):
            axes[row, column].imshow(values, vmin=0, vmax=1, cmap="magma")
            axes[row, column].set_title(name, fontsize=9)
            axes[row, column].set_xticks(range(len(KINDS)), KINDS, rotation=90, fontsize=5)
            axes[row, column].set_yticks(range(len(KINDS)), KINDS if column == 0 else [""] * len(KINDS), fontsize=5)
    drawing.suptitle("P(column | row): scenes as SALGL learned them, above the places they match best", fontsize=10)
    drawing.savefig(figure, dpi=150)
    return float(np.mean([correlation[pair] for pair in pairs]))


@torch.inference_mode()
def pointing_game(predictor: Predictor, method: Any, records: Sequence[Record]) -> dict[str, float]:
    """How often the cell of most attention has its centre on a thing of that label."""
    hits, chances = [], []
    for record in records:
        scene = scene_of(record)
        image = predictor.transform(scene_image(record))[None].to(predictor.device)
        maps = method.level_maps(predictor.model, predictor.normalize(image)).attention_maps[-1][0]  # [L, h, w]
        height, width = maps.shape[1:]
        on = on_things(scene, height, width)
        for label in record.labels:
            hits.append(bool(on[label].flat[int(maps[label].argmax())]))
            chances.append(float(on[label].mean()))
    return {"pointing_game": statistics.mean(hits), "chance": statistics.mean(chances)}


def scene_image(record: Record) -> Any:
    """The drawing."""
    return record.image.draw()  # type: ignore[union-attr]


def on_things(scene: Scene, height: int, width: int) -> np.ndarray:
    """Whether the centre of a cell lies in the box of a thing of that kind: [L, h, w]."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    on = np.zeros((len(KINDS), height, width), dtype=bool)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        on[KINDS.index(thing.kind)] |= (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return on


def measure(method: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with a seed (first weights, order and images) and compare."""
    overrides = [f"train.seed={seed}", f"data.seed={seed}", *arguments.set]
    recipe = Recipe.from_yaml(RECIPES[method], overrides)
    folder = arguments.runs / f"{method}-{seed}"
    if not (arguments.reuse and Run(folder).state() == "finished"):
        hlcli.train(recipe, folder, overwrite=True)
    predictor = hlcli.load(folder)
    records = recipe.data.records("test")
    row: dict[str, Any] = {"method": method, "seed": seed, "mAP": hlcli.evaluate(folder).metrics["mAP"]}
    if method == "salgl":
        counts = recipe.model.cooccurrence(predictor.model)
        row |= check_scenes(predictor, records)
        row["heat_map_correlation"] = compare_heat_maps(
            counts.double().numpy(), planted_counts(recipe.data.records("train")), folder / "heat_maps.png"
        )
    return row | pointing_game(predictor, recipe.model, records)


def main() -> None:
    """Measure all methods and seeds that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="Changes to the recipes, e.g. train.epochs=2.")
    parser.add_argument("--reuse", action="store_true", help="Only measure what is trained already.")
    parser.add_argument("--runs", type=Path, default=Path("runs/shapes-truth"))
    parser.add_argument("--out", type=Path, default=Path("shapes_truth.json"))
    arguments = parser.parse_args()
    rows = []
    for method in arguments.methods:
        for seed in arguments.seeds:
            rows.append(measure(method, seed, arguments))
            shown = {name: round(value, 3) for name, value in rows[-1].items() if isinstance(value, float)}
            print(method, seed, shown, flush=True)
            arguments.out.write_text(json.dumps(rows, indent=1, default=float))


if __name__ == "__main__":
    main()
