"""Hierarchical and multi-label image understanding: download, preprocess, train, evaluate, predict, look.

The names below are the public interface; each is imported when it is first used, so that `import hlcli` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlcli.conversion import convert
    from hlcli.data.download import download
    from hlcli.data.labels import LabelSpace
    from hlcli.data.preparation import preprocess
    from hlcli.embeddings.graphs import embed_graph
    from hlcli.embeddings.labels import embed_labels
    from hlcli.errors import HlcliError
    from hlcli.evaluation.captions import evaluate_captions
    from hlcli.evaluation.labels import evaluate
    from hlcli.features.embedding import embed_images
    from hlcli.figures.drawing import visualize
    from hlcli.prediction.captions import caption
    from hlcli.prediction.labels import Predictor, load, predict
    from hlcli.recipe import Recipe
    from hlcli.training.loop import train

__version__ = "0.1.0"

__all__ = [
    "HlcliError",
    "LabelSpace",
    "Predictor",
    "Recipe",
    "__version__",
    "caption",
    "convert",
    "download",
    "embed_graph",
    "embed_images",
    "embed_labels",
    "evaluate",
    "evaluate_captions",
    "load",
    "predict",
    "preprocess",
    "train",
    "visualize",
]

_HOMES = {
    "HlcliError": "hlcli.errors",
    "LabelSpace": "hlcli.data.labels",
    "Predictor": "hlcli.prediction.labels",
    "Recipe": "hlcli.recipe",
    "caption": "hlcli.prediction.captions",
    "convert": "hlcli.conversion",
    "download": "hlcli.data.download",
    "embed_graph": "hlcli.embeddings.graphs",
    "embed_images": "hlcli.features.embedding",
    "embed_labels": "hlcli.embeddings.labels",
    "evaluate": "hlcli.evaluation.labels",
    "evaluate_captions": "hlcli.evaluation.captions",
    "load": "hlcli.prediction.labels",
    "predict": "hlcli.prediction.labels",
    "preprocess": "hlcli.data.preparation",
    "train": "hlcli.training.loop",
    "visualize": "hlcli.figures.drawing",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hlcli' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
