"""Hierarchical and multi-label image understanding: download, preprocess, train, evaluate, predict, look.

The names below are the public interface; each is imported when it is first used, so that `import hlcli` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlcli.caption_evaluation import evaluate_captions
    from hlcli.caption_prediction import caption
    from hlcli.conversion import convert
    from hlcli.data.download import download
    from hlcli.data.labels import LabelSpace
    from hlcli.data.preparation import preprocess
    from hlcli.embeddings import embed_labels
    from hlcli.errors import HlcliError
    from hlcli.evaluation import evaluate
    from hlcli.figures import visualize
    from hlcli.image_features import embed_images
    from hlcli.label_graphs import embed_graph
    from hlcli.prediction import Predictor, load, predict
    from hlcli.recipe import Recipe
    from hlcli.training import train

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
    "Predictor": "hlcli.prediction",
    "Recipe": "hlcli.recipe",
    "caption": "hlcli.caption_prediction",
    "convert": "hlcli.conversion",
    "download": "hlcli.data.download",
    "embed_graph": "hlcli.label_graphs",
    "embed_images": "hlcli.image_features",
    "embed_labels": "hlcli.embeddings",
    "evaluate": "hlcli.evaluation",
    "evaluate_captions": "hlcli.caption_evaluation",
    "load": "hlcli.prediction",
    "predict": "hlcli.prediction",
    "preprocess": "hlcli.data.preparation",
    "train": "hlcli.training",
    "visualize": "hlcli.figures",
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
