"""Hierarchical and multi-label image understanding: download, preprocess, train, evaluate, predict, look.

The names below are the public interface, and all that the commands use; everything inside the modules may change.
Each is imported when it is first used, so that `import hlcli` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlcli.conversion import convert, export_upstream
    from hlcli.data.datasets.base import DownloadOptions
    from hlcli.data.download import download, find_downloads, plan_download
    from hlcli.data.failures import failures_file
    from hlcli.data.labels import LabelSpace
    from hlcli.data.preparation import preprocess
    from hlcli.data_sets import data_section, data_sections, near_data_set
    from hlcli.embeddings.encoders.choice import EncoderOptions
    from hlcli.embeddings.graphs import embed_graph, import_graph
    from hlcli.embeddings.labels import embed_labels
    from hlcli.embeddings.texts import TextRules
    from hlcli.errors import HlcliError, InputError, RecipeError
    from hlcli.evaluation.caption_files import score_captions
    from hlcli.evaluation.captions import evaluate_captions
    from hlcli.evaluation.labels import default_split, evaluate
    from hlcli.features.embedding import embed_images, plan_images
    from hlcli.features.extractors import FeatureOptions
    from hlcli.features.vinvl import import_vinvl
    from hlcli.figures.drawing import visualize
    from hlcli.inspection.data import debug_data
    from hlcli.metrics.results import Metrics
    from hlcli.model_folder import LoadedModel
    from hlcli.model_opening import load_model
    from hlcli.prediction.caption_files import check_caption_file
    from hlcli.prediction.caption_inputs import FeatureSources
    from hlcli.prediction.caption_predictor import CaptionPredictor
    from hlcli.prediction.captions import caption
    from hlcli.prediction.labels import Predictor, load, predict
    from hlcli.pushing import push
    from hlcli.recipe import Recipe, change_section, data_set_name, section_classes
    from hlcli.recipe_reading.shipped import copy_recipe, describe_recipes, find_recipe
    from hlcli.runs import Run
    from hlcli.system import describe_system
    from hlcli.training.loop import train
    from hlcli.training.planning import plan_training

__version__ = "0.1.0"

__all__ = [
    "CaptionPredictor",
    "DownloadOptions",
    "EncoderOptions",
    "FeatureOptions",
    "FeatureSources",
    "HlcliError",
    "InputError",
    "LabelSpace",
    "LoadedModel",
    "Metrics",
    "Predictor",
    "Recipe",
    "RecipeError",
    "Run",
    "TextRules",
    "__version__",
    "caption",
    "change_section",
    "check_caption_file",
    "convert",
    "copy_recipe",
    "data_section",
    "data_sections",
    "data_set_name",
    "debug_data",
    "default_split",
    "describe_recipes",
    "describe_system",
    "download",
    "embed_graph",
    "embed_images",
    "embed_labels",
    "evaluate",
    "evaluate_captions",
    "export_upstream",
    "failures_file",
    "find_downloads",
    "find_recipe",
    "import_graph",
    "import_vinvl",
    "load",
    "load_model",
    "near_data_set",
    "plan_download",
    "plan_images",
    "plan_training",
    "predict",
    "preprocess",
    "push",
    "score_captions",
    "section_classes",
    "train",
    "visualize",
]

_HOMES = {
    "CaptionPredictor": "hlcli.prediction.caption_predictor",
    "DownloadOptions": "hlcli.data.datasets.base",
    "EncoderOptions": "hlcli.embeddings.encoders.choice",
    "FeatureOptions": "hlcli.features.extractors",
    "FeatureSources": "hlcli.prediction.caption_inputs",
    "HlcliError": "hlcli.errors",
    "InputError": "hlcli.errors",
    "LabelSpace": "hlcli.data.labels",
    "LoadedModel": "hlcli.model_folder",
    "Metrics": "hlcli.metrics.results",
    "Predictor": "hlcli.prediction.labels",
    "Recipe": "hlcli.recipe",
    "RecipeError": "hlcli.errors",
    "Run": "hlcli.runs",
    "TextRules": "hlcli.embeddings.texts",
    "caption": "hlcli.prediction.captions",
    "change_section": "hlcli.recipe",
    "check_caption_file": "hlcli.prediction.caption_files",
    "convert": "hlcli.conversion",
    "copy_recipe": "hlcli.recipe_reading.shipped",
    "data_section": "hlcli.data_sets",
    "data_sections": "hlcli.data_sets",
    "data_set_name": "hlcli.recipe",
    "debug_data": "hlcli.inspection.data",
    "default_split": "hlcli.evaluation.labels",
    "describe_recipes": "hlcli.recipe_reading.shipped",
    "describe_system": "hlcli.system",
    "download": "hlcli.data.download",
    "embed_graph": "hlcli.embeddings.graphs",
    "embed_images": "hlcli.features.embedding",
    "embed_labels": "hlcli.embeddings.labels",
    "evaluate": "hlcli.evaluation.labels",
    "evaluate_captions": "hlcli.evaluation.captions",
    "export_upstream": "hlcli.conversion",
    "failures_file": "hlcli.data.failures",
    "find_downloads": "hlcli.data.download",
    "find_recipe": "hlcli.recipe_reading.shipped",
    "import_graph": "hlcli.embeddings.graphs",
    "import_vinvl": "hlcli.features.vinvl",
    "load": "hlcli.prediction.labels",
    "load_model": "hlcli.model_opening",
    "near_data_set": "hlcli.data_sets",
    "plan_download": "hlcli.data.download",
    "plan_images": "hlcli.features.embedding",
    "plan_training": "hlcli.training.planning",
    "predict": "hlcli.prediction.labels",
    "preprocess": "hlcli.data.preparation",
    "push": "hlcli.pushing",
    "score_captions": "hlcli.evaluation.caption_files",
    "section_classes": "hlcli.recipe",
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
