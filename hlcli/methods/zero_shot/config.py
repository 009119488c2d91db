"""The `model` section of a recipe for a CLIP model that is used as it is. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NoReturn, cast

from pydantic import AfterValidator, Field, field_validator

from hlcli.embeddings.texts import PHOTO_TEMPLATE, TextRules, label_words
from hlcli.errors import DataError, InputError, RecipeError
from hlcli.methods.base import Criterion, MethodSection

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.clip import ClipTowers
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.zero_shot.model import ZeroShot as ZeroShotModel


def _check_template(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("one {} was expected, for the label's name")
    return template


_Template = Annotated[str, AfterValidator(_check_template)]


class ZeroShot(MethodSection):
    """A CLIP model without training: how well does an image fit the name of each label?"""

    backbone_kind: ClassVar[Literal["grid", "clip"]] = "clip"
    needs_training: ClassVar[bool] = False

    method: Literal["zero_shot"] = "zero_shot"
    templates: tuple[_Template, ...] = Field(
        (PHOTO_TEMPLATE,),
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

    @field_validator("templates")
    @classmethod
    def _check_templates(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        if not templates:  # a `min_length` would count the wrong ones as missing too
            raise ValueError("at least one sentence was expected")
        return templates

    def build(self, backbone: ClipTowers, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that CLIP model and label space; without a folder its label features follow with weights."""
        from hlcli.methods.zero_shot.model import ZeroShot as ZeroShotModel
        from hlcli.methods.zero_shot.model import label_features, no_features

        if self.scores == "softmax" and labels.num_labels < 2:
            raise RecipeError("model.scores: softmax needs two labels at least.", "Set it to sigmoid.")
        if data_folder is None:
            features = no_features(backbone, labels.num_labels)
        else:
            words = self._words(labels)
            # (1)
            sentences = [[template.replace("{}", text) for text in words] for template in self.templates]
            features = label_features(backbone, sentences)
        return ZeroShotModel(backbone.visual, features, backbone.logit_scale, scores=self.scores, half_at=self.half_at)

    def image_encoder(self, model: nn.Module) -> nn.Module:
        """CLIP's image encoder."""
        return model.get_submodule("visual")

    def label_vectors(self, model: nn.Module) -> Tensor:
        """The features of the labels' sentences, [L, D]."""
        return cast("ZeroShotModel", model).label_features

    def _words(self, labels: LabelSpace) -> tuple[str, ...]:
        """What is read for every label.

        Raises:
            RecipeError: when it is a bare number.
            DataError: when the file of texts cannot be read or does not fit, or a text is empty.
        """
        try:
            return label_words(labels.label_names, TextRules(names=self.texts))
        except DataError:
            raise
        except InputError as error:
            raise RecipeError(f"model.texts: {error.message}", "Write their words to a file: model.texts.") from error

    def training_losses(self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int) -> NoReturn:
        """There are none.

        Raises:
            RecipeError: always.
        """
        self.check_trainable()
        raise NotImplementedError
