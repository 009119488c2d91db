"""Hierarchical and multi-label image understanding: download, preprocess, train, evaluate, predict, look.

The names below are the public interface, and all that the commands use; everything inside the modules may change.
Each is imported when it is first used, so that `import hlcli` is light. docs/python.md is a tour of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; `X as X` tells them that X is meant for others
    from hlcli.calibration.models import calibrate as calibrate
    from hlcli.calibration.results import Calibration as Calibration
    from hlcli.calibration.results import CalibrationScores as CalibrationScores
    from hlcli.calibration.splits import ThresholdScope as ThresholdScope
    from hlcli.captioning.generated import GeneratedCaption as GeneratedCaption
    from hlcli.captioning.vocabulary import Vocabulary as Vocabulary
    from hlcli.comparison.models import compare as compare
    from hlcli.comparison.results import Comparison as Comparison
    from hlcli.comparison.results import ComparisonTable as ComparisonTable
    from hlcli.comparison.results import ItemScores as ItemScores
    from hlcli.comparison.results import MetricDifference as MetricDifference
    from hlcli.data.data_set_names import data_section as data_section
    from hlcli.data.data_set_names import data_set_classes as data_set_classes
    from hlcli.data.data_set_names import near_data_set as near_data_set
    from hlcli.data.datasets.base import DownloadOptions as DownloadOptions
    from hlcli.data.datasets.base import DownloadReport as DownloadReport
    from hlcli.data.datasets.base import PlannedFile as PlannedFile
    from hlcli.data.download import download as download
    from hlcli.data.download import find_downloads as find_downloads
    from hlcli.data.download import plan_download as plan_download
    from hlcli.data.failures import Failure as Failure
    from hlcli.data.failures import failures_file as failures_file
    from hlcli.data.labels import LabelSpace as LabelSpace
    from hlcli.data.labels import Level as Level
    from hlcli.data.preparation import Preparation as Preparation
    from hlcli.data.preparation import preprocess as preprocess
    from hlcli.data.records import Drawable as Drawable
    from hlcli.data.records import ImageSource as ImageSource
    from hlcli.data.records import Record as Record
    from hlcli.data.records import Records as Records
    from hlcli.data.section import DataSection as DataSection
    from hlcli.data.section import PrepareOptions as PrepareOptions
    from hlcli.data.transforms import Resize as Resize
    from hlcli.embeddings.encoders.choice import EncoderOptions as EncoderOptions
    from hlcli.embeddings.graphs import LabelGraph as LabelGraph
    from hlcli.embeddings.graphs import embed_graph as embed_graph
    from hlcli.embeddings.graphs import import_graph as import_graph
    from hlcli.embeddings.labels import LabelEmbeddings as LabelEmbeddings
    from hlcli.embeddings.labels import embed_labels as embed_labels
    from hlcli.embeddings.texts import TextRules as TextRules
    from hlcli.embeddings.vectors import Neighbour as Neighbour
    from hlcli.errors import CheckpointError as CheckpointError
    from hlcli.errors import DataError as DataError
    from hlcli.errors import DownloadError as DownloadError
    from hlcli.errors import HlcliError as HlcliError
    from hlcli.errors import InputError as InputError
    from hlcli.errors import LostProcessError as LostProcessError
    from hlcli.errors import MissingDependencyError as MissingDependencyError
    from hlcli.errors import RecipeError as RecipeError
    from hlcli.errors import TrainingError as TrainingError
    from hlcli.evaluation.caption_files import score_captions as score_captions
    from hlcli.evaluation.captions import CaptionEvaluation as CaptionEvaluation
    from hlcli.evaluation.captions import evaluate_captions as evaluate_captions
    from hlcli.evaluation.label_scoring import SplitScores as SplitScores
    from hlcli.evaluation.labels import Evaluation as Evaluation
    from hlcli.evaluation.labels import default_split as default_split
    from hlcli.evaluation.labels import evaluate as evaluate
    from hlcli.exporting.models import Exported as Exported
    from hlcli.exporting.models import export as export
    from hlcli.exporting.verification import ExportDifference as ExportDifference
    from hlcli.features.embedding import embed_images as embed_images
    from hlcli.features.embedding import plan_images as plan_images
    from hlcli.features.extractors import FeatureOptions as FeatureOptions
    from hlcli.features.file_report import FeaturePlan as FeaturePlan
    from hlcli.features.file_report import FeatureReport as FeatureReport
    from hlcli.features.layout import FeatureKind as FeatureKind
    from hlcli.features.vinvl import import_vinvl as import_vinvl
    from hlcli.figures.drawing import FigureOptions as FigureOptions
    from hlcli.figures.drawing import list_figures as list_figures
    from hlcli.figures.drawing import visualize as visualize
    from hlcli.figures.files import Figures as Figures
    from hlcli.hub.pushing import push as push
    from hlcli.inspection.data import debug_data as debug_data
    from hlcli.inspection.findings import Finding as Finding
    from hlcli.inspection.findings import FindingLevel as FindingLevel
    from hlcli.inspection.findings import FindingTopic as FindingTopic
    from hlcli.inspection.findings import Inspection as Inspection
    from hlcli.inspection.findings import SplitCounts as SplitCounts
    from hlcli.metrics.calibration_maps import CalibrationMap as CalibrationMap
    from hlcli.metrics.calibration_maps import CalibrationMethod as CalibrationMethod
    from hlcli.metrics.calibration_maps import LevelMap as LevelMap
    from hlcli.metrics.captioning.summary import CaptionMetrics as CaptionMetrics
    from hlcli.metrics.multilabel import EmptyLabels as EmptyLabels
    from hlcli.metrics.multilabel import LevelThreshold as LevelThreshold
    from hlcli.metrics.results import LabelRow as LabelRow
    from hlcli.metrics.results import Metrics as Metrics
    from hlcli.metrics.threshold_tuning import TunedMetric as TunedMetric
    from hlcli.models.conversion import convert as convert
    from hlcli.models.conversion import export_upstream as export_upstream
    from hlcli.models.folder import LoadedModel as LoadedModel
    from hlcli.models.opening import GivenModel as GivenModel
    from hlcli.models.opening import open_model as open_model
    from hlcli.own_photos.starting import StartedRecipe as StartedRecipe
    from hlcli.own_photos.starting import init_recipe as init_recipe
    from hlcli.prediction.caption_files import check_caption_file as check_caption_file
    from hlcli.prediction.caption_inputs import FeatureSources as FeatureSources
    from hlcli.prediction.caption_predictor import CaptionOptions as CaptionOptions
    from hlcli.prediction.caption_predictor import CaptionPredictor as CaptionPredictor
    from hlcli.prediction.caption_predictor import load_captioner as load_captioner
    from hlcli.prediction.caption_rows import Caption as Caption
    from hlcli.prediction.captions import Captions as Captions
    from hlcli.prediction.captions import caption as caption
    from hlcli.prediction.given_images import GivenImage as GivenImage
    from hlcli.prediction.given_images import Images as Images
    from hlcli.prediction.label_rows import PredictedLabel as PredictedLabel
    from hlcli.prediction.label_rows import Prediction as Prediction
    from hlcli.prediction.label_rows import Predictions as Predictions
    from hlcli.prediction.label_rows import Scene as Scene
    from hlcli.prediction.labels import Predicted as Predicted
    from hlcli.prediction.labels import Predictor as Predictor
    from hlcli.prediction.labels import PredictorOptions as PredictorOptions
    from hlcli.prediction.labels import load as load
    from hlcli.prediction.labels import predict as predict
    from hlcli.profiling import PhaseTime as PhaseTime
    from hlcli.profiling import Profile as Profile
    from hlcli.recipe import EvalSection as EvalSection
    from hlcli.recipe import Recipe as Recipe
    from hlcli.recipe import change_section as change_section
    from hlcli.recipe import data_set_name as data_set_name
    from hlcli.recipe import section_classes as section_classes
    from hlcli.recipe_reading.shipped import ShippedRecipe as ShippedRecipe
    from hlcli.recipe_reading.shipped import copy_recipe as copy_recipe
    from hlcli.recipe_reading.shipped import describe_recipes as describe_recipes
    from hlcli.recipe_reading.shipped import find_recipe as find_recipe
    from hlcli.recipe_reading.shipped import list_recipes as list_recipes
    from hlcli.runs import Run as Run
    from hlcli.section_base import Section as Section
    from hlcli.system import describe_system as describe_system
    from hlcli.thresholds import ThresholdRule as ThresholdRule
    from hlcli.training.loop import train as train
    from hlcli.training.planning import TrainingPlan as TrainingPlan
    from hlcli.training.planning import plan_training as plan_training

__version__ = "0.1.0"

_HOMES = {
    # What is done with data
    "download": "hlcli.data.download",
    "plan_download": "hlcli.data.download",
    "find_downloads": "hlcli.data.download",
    "preprocess": "hlcli.data.preparation",
    "init_recipe": "hlcli.own_photos.starting",
    "debug_data": "hlcli.inspection.data",
    "embed_labels": "hlcli.embeddings.labels",
    "embed_graph": "hlcli.embeddings.graphs",
    "import_graph": "hlcli.embeddings.graphs",
    "embed_images": "hlcli.features.embedding",
    "plan_images": "hlcli.features.embedding",
    "import_vinvl": "hlcli.features.vinvl",
    # What is done with models
    "train": "hlcli.training.loop",
    "plan_training": "hlcli.training.planning",
    "evaluate": "hlcli.evaluation.labels",
    "evaluate_captions": "hlcli.evaluation.captions",
    "score_captions": "hlcli.evaluation.caption_files",
    "compare": "hlcli.comparison.models",
    "calibrate": "hlcli.calibration.models",
    "load": "hlcli.prediction.labels",
    "load_captioner": "hlcli.prediction.caption_predictor",
    "open_model": "hlcli.models.opening",
    "predict": "hlcli.prediction.labels",
    "caption": "hlcli.prediction.captions",
    "visualize": "hlcli.figures.drawing",
    "convert": "hlcli.models.conversion",
    "export_upstream": "hlcli.models.conversion",
    "export": "hlcli.exporting.models",
    "push": "hlcli.hub.pushing",
    # What can be asked
    "describe_recipes": "hlcli.recipe_reading.shipped",
    "list_recipes": "hlcli.recipe_reading.shipped",
    "list_figures": "hlcli.figures.drawing",
    "find_recipe": "hlcli.recipe_reading.shipped",
    "copy_recipe": "hlcli.recipe_reading.shipped",
    "section_classes": "hlcli.recipe",
    "change_section": "hlcli.recipe",
    "data_section": "hlcli.data.data_set_names",
    "data_set_classes": "hlcli.data.data_set_names",
    "data_set_name": "hlcli.recipe",
    "near_data_set": "hlcli.data.data_set_names",
    "default_split": "hlcli.evaluation.labels",
    "failures_file": "hlcli.data.failures",
    "check_caption_file": "hlcli.prediction.caption_files",
    "describe_system": "hlcli.system",
    "Profile": "hlcli.profiling",
    # What they take
    "Recipe": "hlcli.recipe",
    "Section": "hlcli.section_base",
    "EvalSection": "hlcli.recipe",
    "DataSection": "hlcli.data.section",
    "PrepareOptions": "hlcli.data.section",
    "DownloadOptions": "hlcli.data.datasets.base",
    "TextRules": "hlcli.embeddings.texts",
    "EncoderOptions": "hlcli.embeddings.encoders.choice",
    "FeatureOptions": "hlcli.features.extractors",
    "FeatureKind": "hlcli.features.layout",
    "Resize": "hlcli.data.transforms",
    "FeatureSources": "hlcli.prediction.caption_inputs",
    "FigureOptions": "hlcli.figures.drawing",
    "PredictorOptions": "hlcli.prediction.labels",
    "CaptionOptions": "hlcli.prediction.caption_predictor",
    "ThresholdRule": "hlcli.thresholds",
    "LevelThreshold": "hlcli.metrics.multilabel",
    "CalibrationMethod": "hlcli.metrics.calibration_maps",
    "ThresholdScope": "hlcli.calibration.splits",
    "TunedMetric": "hlcli.metrics.threshold_tuning",
    "GivenImage": "hlcli.prediction.given_images",
    "Images": "hlcli.prediction.given_images",
    "GivenModel": "hlcli.models.opening",
    # What they give
    "LabelSpace": "hlcli.data.labels",
    "Level": "hlcli.data.labels",
    "Vocabulary": "hlcli.captioning.vocabulary",
    "Record": "hlcli.data.records",
    "Records": "hlcli.data.records",
    "ImageSource": "hlcli.data.records",
    "Drawable": "hlcli.data.records",
    "PlannedFile": "hlcli.data.datasets.base",
    "DownloadReport": "hlcli.data.datasets.base",
    "Preparation": "hlcli.data.preparation",
    "Inspection": "hlcli.inspection.findings",
    "Finding": "hlcli.inspection.findings",
    "FindingLevel": "hlcli.inspection.findings",
    "FindingTopic": "hlcli.inspection.findings",
    "SplitCounts": "hlcli.inspection.findings",
    "StartedRecipe": "hlcli.own_photos.starting",
    "LabelEmbeddings": "hlcli.embeddings.labels",
    "LabelGraph": "hlcli.embeddings.graphs",
    "Neighbour": "hlcli.embeddings.vectors",
    "FeaturePlan": "hlcli.features.file_report",
    "FeatureReport": "hlcli.features.file_report",
    "Run": "hlcli.runs",
    "TrainingPlan": "hlcli.training.planning",
    "LoadedModel": "hlcli.models.folder",
    "Evaluation": "hlcli.evaluation.labels",
    "SplitScores": "hlcli.evaluation.label_scoring",
    "Calibration": "hlcli.calibration.results",
    "CalibrationScores": "hlcli.calibration.results",
    "CalibrationMap": "hlcli.metrics.calibration_maps",
    "LevelMap": "hlcli.metrics.calibration_maps",
    "Comparison": "hlcli.comparison.results",
    "ComparisonTable": "hlcli.comparison.results",
    "MetricDifference": "hlcli.comparison.results",
    "ItemScores": "hlcli.comparison.results",
    "Metrics": "hlcli.metrics.results",
    "LabelRow": "hlcli.metrics.results",
    "EmptyLabels": "hlcli.metrics.multilabel",
    "Predictor": "hlcli.prediction.labels",
    "Prediction": "hlcli.prediction.label_rows",
    "Predictions": "hlcli.prediction.label_rows",
    "Predicted": "hlcli.prediction.labels",
    "PredictedLabel": "hlcli.prediction.label_rows",
    "Scene": "hlcli.prediction.label_rows",
    "CaptionPredictor": "hlcli.prediction.caption_predictor",
    "Caption": "hlcli.prediction.caption_rows",
    "Captions": "hlcli.prediction.captions",
    "GeneratedCaption": "hlcli.captioning.generated",
    "CaptionEvaluation": "hlcli.evaluation.captions",
    "CaptionMetrics": "hlcli.metrics.captioning.summary",
    "Failure": "hlcli.data.failures",
    "Figures": "hlcli.figures.files",
    "Exported": "hlcli.exporting.models",
    "ExportDifference": "hlcli.exporting.verification",
    "ShippedRecipe": "hlcli.recipe_reading.shipped",
    "PhaseTime": "hlcli.profiling",
    # What they raise
    "HlcliError": "hlcli.errors",
    "InputError": "hlcli.errors",
    "RecipeError": "hlcli.errors",
    "DataError": "hlcli.errors",
    "CheckpointError": "hlcli.errors",
    "DownloadError": "hlcli.errors",
    "LostProcessError": "hlcli.errors",
    "TrainingError": "hlcli.errors",
    "MissingDependencyError": "hlcli.errors",
}

__all__ = ["__version__", *_HOMES]


if not TYPE_CHECKING:  # a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module 'hlcli' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
