"""The parts of a recipe that every method shares; `recipe.py` puts them together. No torch here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile, Prepared, Source
    from hlcli.data.labels import LabelSpace
    from hlcli.data.records import Records

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all recipe sections: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, values: Any) -> Any:
        """True is not 1: pydantic would take it for a number."""
        if not isinstance(values, dict):
            return values
        takers = {name for name, field in cls.model_fields.items() if _takes_booleans(field.annotation)}
        return {key: value if key in takers else _hide_booleans(value) for key, value in values.items()}


class _MisplacedBoolean:
    """Stands for true or false where neither belongs; no field takes it."""


def _hide_booleans(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_hide_booleans(entry) for entry in value]
    return _MisplacedBoolean() if isinstance(value, bool) else value


def _takes_booleans(annotation: Any) -> bool:
    """Whether bool, or a literal true or false, is part of a type."""
    return annotation is bool or isinstance(annotation, bool) or any(map(_takes_booleans, get_args(annotation)))


class Backbone(Section):
    """The image encoder."""

    name: str = Field(
        "resnet101.tv_in1k",
        description="Any timm model name; or `cvt_w24_384.in22k`, `cvt:FOLDER_OR_HUB_NAME`, `tresnet_lv2`.",
    )
    pretrained: bool = Field(True, description="Start from the published weights.")
    weights: Path | None = Field(
        None, description="Local weights instead (safetensors or a torch state dict), timm's or the papers' own."
    )
    stage: int | None = Field(
        None, ge=0, description="Stage that gives the grid, counted as timm's out_indices; null: the last one."
    )
    freeze_batch_norm: bool = Field(False, description="Keep batch-norm statistics and weights constant.")
    frozen: tuple[str, ...] = Field((), description="Name prefixes of timm parameters that are not trained.")
    class_token: bool = Field(
        False, description="Keep a transformer's class token as a token before the grid (not for HLEG)."
    )
    position_antialias: bool = Field(
        True, description="Resize a transformer's learned positions as timm does; false: plain bicubic, as the papers."
    )


class _Optimizer(Section):
    lr: float = Field(1e-4, gt=0, description="Learning rate; the peak where a schedule is used.")
    weight_decay: float = Field(1e-2, ge=0, description="Pull of the weights towards zero.")
    backbone_lr_factor: float = Field(1.0, ge=0, description="Learning rate of the backbone as a share of lr.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Share of the gradients' mean kept per step.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Share of the squared gradients' mean kept per step.")
    eps: float = Field(1e-8, gt=0, description="Added to the denominator of a step.")
    decay_vectors: bool = Field(True, description="Weight decay on 1-D parameters and biases too.")


class AdamW(_Optimizer):
    """Adam with decoupled weight decay."""

    optimizer: Literal["adamw"] = "adamw"


class Adam(_Optimizer):
    """Adam with L2 coupled into the gradient."""

    optimizer: Literal["adam"] = "adam"


class AdamTwd(_Optimizer):
    """The papers' `Adam_twd`: coupled L2, none on 1-D parameters and biases."""

    optimizer: Literal["adam_twd"] = "adam_twd"
    decay_vectors: Literal[False] = Field(False, description="Weight decay on 1-D parameters and biases: never.")


class Sgd(Section):
    """Stochastic gradient descent with momentum."""

    optimizer: Literal["sgd"] = "sgd"
    lr: float = Field(1e-2, gt=0, description="Learning rate; the peak where a schedule is used.")
    weight_decay: float = Field(1e-4, ge=0, description="Pull of the weights towards zero, part of the gradient.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Share of the last step kept in the next one.")
    backbone_lr_factor: float = Field(1.0, ge=0, description="Learning rate of the backbone as a share of lr.")
    decay_vectors: bool = Field(True, description="Weight decay on 1-D parameters and biases too.")


AnyOptim = AdamW | Adam | AdamTwd | Sgd
Optim = Annotated[AnyOptim, Field(discriminator="optimizer")]


class OneCycle(Section):
    """Cosine up, cosine down, stepped every optimiser step; beta1 (or momentum) moves the other way."""

    schedule: Literal["onecycle"] = "onecycle"
    warmup_fraction: float = Field(0.2, gt=0, lt=1, description="Share of the steps before the peak.")
    start_divisor: float = Field(25.0, gt=0, description="First learning rate = lr / this.")
    final_divisor: float = Field(1e4, gt=0, description="Last learning rate = first / this.")
    cycle_momentum: bool = Field(True, description="Move beta1 between the two values below.")
    base_momentum: float = Field(0.85, ge=0, lt=1, description="beta1 or momentum at the peak.")
    max_momentum: float = Field(0.95, ge=0, lt=1, description="beta1 or momentum at both ends.")
    epochs: int | None = Field(None, ge=1, description="Length of the schedule when it differs from train.epochs.")


class Cosine(Section):
    """Linear warm-up, then a half cosine down to a share of the peak."""

    schedule: Literal["cosine"] = "cosine"
    warmup_steps: int = Field(0, ge=0, description="Optimiser steps before the peak.")
    final_fraction: Fraction = Field(0.0, description="Last learning rate as a share of lr.")


class Constant(Section):
    """The same learning rate throughout, after an optional linear warm-up."""

    schedule: Literal["constant"] = "constant"
    warmup_steps: int = Field(0, ge=0, description="Optimiser steps before the full learning rate.")


AnySchedule = OneCycle | Cosine | Constant
Schedule = Annotated[AnySchedule, Field(discriminator="schedule")]


class Train(Section):
    """The training loop."""

    epochs: int = Field(6, ge=1, description="Passes over the training images.")
    batch_size: int = Field(128, ge=1, description="Images per optimiser step, over all processes.")
    last_batch: Literal["drop", "keep"] = Field(
        "drop",
        description="Images that fill no batch at an epoch's end wait for another epoch, or make a smaller batch.",
    )
    accumulation_steps: int = Field(1, ge=1, description="Parts into which a process cuts its share of a batch.")
    precision: Literal["fp32", "fp16", "bf16"] | None = Field(
        None, description="Arithmetic; null takes what `accelerate launch` says, else fp32."
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.9997, description="Share of the averaged weights kept per step; null turns averaging off."
    )
    ema_start_epoch: int = Field(0, ge=0, description="Epoch in which averaging begins, counted from 0.")
    clip_norm: float | None = Field(None, gt=0, description="Largest norm of the gradient.")
    seed: int = Field(31, ge=0, lt=2**31, description="Decides first weights, order of images and augmentation.")
    cpu: bool = Field(False, description="Stay on the CPU even where there is a GPU.")
    channels_last: bool = Field(True, description="Memory layout that convolutions like best.")
    checkpoint_every_steps: int | None = Field(
        500, ge=1, description="Save all training state this often, besides the end of every epoch."
    )
    log_every_steps: int = Field(10, ge=1, description="Optimiser steps between two lines of metrics.jsonl.")
    early_stop_epochs: int | None = Field(
        None, ge=1, description="Stop when more than this many epochs in a row bring no new best."
    )
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "aim"], ...] = Field(
        (), description="Where metrics go besides metrics.jsonl; each needs its own package."
    )
    init_weights: Path | None = Field(None, description="Model folder or upstream checkpoint to start from.")
    init_omit: tuple[str, ...] = Field((), description="Name prefixes of weights not taken from init_weights.")


class Eval(Section):
    """What is measured, and how."""

    split: str = Field("val", description="Split that is evaluated during training.")
    batch_size: int = Field(128, ge=1, description="Images per step and process.")
    every_epochs: int = Field(
        1, ge=1, description="Epochs from one evaluation to the next; the last is never left out."
    )
    weights: Literal["best", "ema", "regular"] = Field(
        "best", description="Which weights are evaluated during training: both kinds and the better ones kept, or one."
    )
    select_by: str = Field("F1_samples", description="Metric that chooses the best model, e.g. mAP or coarse/CF1.")
    threshold: Literal["self", "val"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        "val", description="Tuned on the evaluated split (self), on val, or a fixed number."
    )
    average_precision: Literal["interpolated", "plain", "eleven_point"] = Field(
        "interpolated", description="Area under the envelope (VOC 2010+), under the raw curve, or VOC 2007."
    )
    empty_labels: Literal["skip", "zero", "nan"] = Field(
        "skip", description="Average precision of a label without positives: left out of the mean, 0, or not a number."
    )
    consistent: bool = Field(False, description="Never score a label above its parent.")
    undefined_as_one: bool = Field(
        False,
        description="CP, CR, CF1: count the precision of a label that is never predicted, and the recall of one "
        "without positives, as 1 (the programs of SALGL and SGRE) instead of 0.",
    )
    at_threshold: bool = Field(
        False, description="A score that equals the threshold counts as predicted (SALGL, SGRE), not as missed."
    )


class PrepareOptions(Section):
    """Options of `hlcli preprocess` that one data set alone has.

    A set that is prepared has a subclass; its fields are the command line's options, `max_missing` `--max-missing`.
    """


class DataSection(Section):
    """What every data set's section shares: where it is and how images become tensors."""

    reads_directly: ClassVar[bool] = False  # True: usable without `hlcli preprocess`
    prepare_options: ClassVar[type[PrepareOptions]] = PrepareOptions
    licence: ClassVar[str] = ""  # terms of what `hlcli download` fetches; empty where there is nothing to fetch
    sources: ClassVar[tuple[Source, ...]] = ()

    root: Path | None = Field(None, description="Data root; default $HLCLI_DATA, else ./data.")
    store: Path | None = Field(None, description="Prepared store to read instead of ROOT/NAME/store.")
    image_size: Annotated[int, Field(ge=8)] | tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = Field(
        224, description="Side in pixels, or [height, width]."
    )
    resize: Literal["stretch", "crop"] = Field(
        "stretch",
        description="To image_size by stretching, or by scaling the shorter side (bicubic) and cutting out the centre, "
        "as CLIP does.",
    )
    normalization: Literal["imagenet", "clip", "half", "none"] = Field(
        "imagenet",
        description="Mean and deviation of the colours that are taken out; half brings them to -1…1 (what ViT weights "
        "expect), none leaves them from 0 to 1.",
    )
    randaugment: bool = Field(False, description="The reference's RandAugment: two operations of fifteen.")
    cutout: int = Field(0, ge=0, description="Number of random rectangles painted over an image.")
    cutout_length: int | None = Field(None, ge=1, description="Their side in pixels; default cutout_fraction of it.")
    cutout_fraction: Fraction = Field(0.5, description="Their side as a share of the image's.")
    horizontal_flip: bool = Field(False, description="Mirror half of the training images.")
    random_shift: int = Field(0, ge=0, description="Largest random shift in pixels, up to each side.")
    workers: int = Field(2, ge=0, description="Loader processes per process; 0 loads in the main one.")
    skip: tuple[str, ...] = Field((), description="Image ids that are left out, e.g. undecodable ones.")
    labels_kept: Literal["all", "single"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        "all",
        description="Labels that training images keep: all, a single one drawn at random, or each with this "
        "probability. The others count as not observed.",
    )
    labels_kept_seed: int = Field(0, ge=0, description="Decides which labels are kept.")
    labels_list: Path | None = Field(
        None, description="List `path,index index` that says which training images there are, and their labels."
    )

    @property
    def name(self) -> str:
        """The data set's name, as in `data.dataset`."""
        return str(type(self).model_fields["dataset"].default)

    @property
    def height_width(self) -> tuple[int, int]:
        """Image height and width in pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    def folder(self) -> Path:
        """ROOT/NAME: the official layout as downloaded, and the store."""
        return (self.root or Path(os.environ.get("HLCLI_DATA", "data"))) / self.name

    def label_space(self) -> LabelSpace:
        """Names and levels of the labels, without reading a store."""
        raise NotImplementedError

    def chosen_labels(self, stored: LabelSpace) -> LabelSpace:
        """The label space that this section asks for, of a store that was written with `stored`."""
        return stored

    def split_names(self) -> tuple[str, ...]:
        """The splits that `records` knows; only where `reads_directly`."""
        raise NotImplementedError

    def download(self, folder: Path, options: DownloadOptions) -> DownloadReport:
        """Fetch the data set's files into `folder`; only where there is a `licence`."""
        from hlcli.data import archive_download

        return archive_download.download(self.name, self.sources, folder, options)

    def plan_download(self, folder: Path, options: DownloadOptions) -> list[PlannedFile]:
        """What `download` would do; writes nothing, opens no connection."""
        from hlcli.data import archive_plan

        return archive_plan.plan(self.name, self.sources, folder, options)

    def prepare(self, source: Path, options: Any) -> Prepared:
        """Read the official layout below `source`; only where not `reads_directly`.

        Args:
            source: folder of the official layout.
            options: an object of the class `prepare_options`.
        """
        raise NotImplementedError

    def records(self, split: str) -> Records:
        """The records of a split; only where `reads_directly`."""
        raise NotImplementedError
