"""The `model` section of a recipe for a CLIP model that is used as it is. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NoReturn

from pydantic import AfterValidator, Field

from hlcli.errors import DataError, InputError, RecipeError
from hlcli.label_texts import TextRules, label_texts
from hlcli.methods.base import Criterion, MethodSection

if TYPE_CHECKING:
    from torch import nn

    from hlcli.clip import ClipTowers
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch


def _check_template(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError(f"one {{}} was expected, for the label's name (got {template!r})")
    return template


Template = Annotated[str, AfterValidator(_check_template)]


class ZeroShot(MethodSection):
    """A CLIP model without training: how well does an image fit the name of each label?"""

    backbone_kind: ClassVar[Literal["grid", "clip"]] = "clip"
    needs_training: ClassVar[bool] = False

    method: Literal["zero_shot"] = "zero_shot"
    templates: tuple[Template, ...] = Field(
        ("a photo of a {}.",),
        min_length=1,
        description="Sentences around a label's name, which takes the place of {}; their features are averaged.",
    )
    texts: Path | None = Field(
        None, description="Other names of the labels: YAML file `label: text`, or a .txt file with one per label."
    )
    scores: Literal["sigmoid", "softmax"] = Field(
        "sigmoid", description="Each label on its own, or as its share among all labels."
    )
    half_at: float = Field(
        0.25,
        ge=-1,
        le=1,
        description="Cosine of image and label that scores one half (sigmoid); moves thresholds alone.",
    )

    def build(self, backbone: ClipTowers, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that CLIP model and label space; without a folder its label features follow with weights."""
        from hlcli.methods.zero_shot.model import ZeroShot as ZeroShotModel
        from hlcli.methods.zero_shot.model import label_features, no_features

        if self.scores == "softmax" and labels.num_labels < 2:
            raise RecipeError("model.scores: softmax needs two labels at least.", "Set it to sigmoid.")
        features = (
            no_features(backbone, labels.num_labels)
            if data_folder is None
            else label_features(backbone, [self._texts(template, labels) for template in self.templates])
        )
        return ZeroShotModel(backbone.visual, features, backbone.logit_scale, scores=self.scores, half_at=self.half_at)

    def _texts(self, template: str, labels: LabelSpace) -> list[str]:
        try:
            texts = label_texts(labels.label_names, TextRules(names=self.texts))
        except DataError:
            raise
        except InputError as error:
            raise RecipeError(f"model.texts: {error.message}", "Write their words to a file: model.texts.") from error
        return [template.replace("{}", text.replace("_", " ")) for text in texts]

    def training_losses(self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int) -> NoReturn:
        """There are none.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(
            "model.method: zero_shot is used without training; there is nothing to train.",
            "Measure it: hlcli eval --recipe FILE.",
        )
