"""The parts of a recipe that every method shares; `recipe.py` puts them together. No torch here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hlcli.data.section import DataSection, PrepareOptions
from hlcli.section_base import Fraction, Section

if TYPE_CHECKING:
    from hlcli.captioning.search import Decoder, Hypotheses

__all__ = ["DataSection", "Fraction", "PrepareOptions", "Section"]


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
    gradient_checkpointing: bool = Field(
        False, description="Train in less memory: run the blocks of a timm model twice, for about a quarter more time."
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


class ByEpoch(Section):
    """A share of the learning rate for every epoch, by a table; each share lasts until the next one begins."""

    schedule: Literal["by_epoch"] = "by_epoch"
    factors: tuple[tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(gt=0)]], ...] = Field(
        min_length=1, description="Pairs [epoch, share of lr], epochs counted from 0 and ascending."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        epochs = [epoch for epoch, _ in self.factors]
        if epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise ValueError(f"factors must begin with epoch 0 and ascend (got epochs {epochs})")
        return self


AnySchedule = OneCycle | Cosine | Constant | ByEpoch
Schedule = Annotated[AnySchedule, Field(discriminator="schedule")]


def _as_text(place: Any) -> Any:
    """A path as text: `hf://OWNER/NAME` is none, and would lose a slash."""
    return os.fspath(place) if isinstance(place, os.PathLike) else place


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
    deterministic: bool = Field(
        False, description="Same bits every time on a GPU too, more slowly; an operation that cannot ends the training."
    )
    cpu: bool = Field(False, description="Stay on the CPU even where there is a GPU.")
    channels_last: bool = Field(True, description="Memory layout that convolutions like best.")
    checkpoint_every_steps: int | None = Field(
        500, ge=1, description="Save all training state this often, besides the end of every epoch."
    )
    log_every_steps: int = Field(10, ge=1, description="Optimiser steps between two lines of metrics.jsonl.")
    early_stop_epochs: int | None = Field(
        None, ge=1, description="Stop when more than this many epochs in a row bring no new best."
    )
    early_stop_from_epoch: int = Field(
        0, ge=0, description="Epoch, counted from 0, before which running out of patience only starts it anew."
    )
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        (), description="Where metrics go besides metrics.jsonl; extras `track`, `wandb` and `mlflow` bring them."
    )
    init_weights: Annotated[str, BeforeValidator(_as_text)] | None = Field(
        None, description="Model to start from: run folder, model folder, `hf://OWNER/NAME`, or upstream checkpoint."
    )
    init_omit: tuple[str, ...] = Field((), description="Name prefixes of weights not taken from init_weights.")
    init_best: bool = Field(
        False, description="Keep a new model only if it beats the one of init_weights by its own eval.select_by."
    )
    keep_best_state: bool = Field(
        False, description="Keep all training state of the best epoch too, for `hlcli train --resume-best`."
    )


class Eval(Section):
    """What is measured, and how. The variants, a file each in `captioning/decoders`, say how captions are found."""

    split: str = Field("val", description="Split that is evaluated during training.")
    batch_size: int = Field(128, ge=1, description="Images per step and process.")
    every_epochs: int = Field(
        1, ge=1, description="Epochs from one evaluation to the next; the last is never left out."
    )
    weights: Literal["best", "ema", "regular"] = Field(
        "best", description="Which weights are evaluated during training: both kinds and the better ones kept, or one."
    )
    select_by: str | None = Field(
        None,
        description="Metric that chooses the best model, e.g. mAP or coarse/CF1; null: F1_samples, CIDEr for captions.",
    )
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
    max_words: int = Field(20, ge=1, description="Longest caption, its end mark counted.")
    allow_unknown: bool = Field(
        True, description="Let captions hold <unk>, the word for all that are not known; false: the next best word."
    )
    caption_metrics: tuple[Literal["BLEU", "ROUGE-L", "CIDEr", "METEOR", "SPICE"], ...] = Field(
        ("BLEU", "ROUGE-L", "CIDEr"), min_length=1, description="Scores of captions; METEOR and SPICE need Java."
    )

    def find_captions(self, network: Decoder, memory: Any, num_captions: int = 1, *, first_row: int) -> Hypotheses:
        """Captions of every image of a batch, best first.

        Args:
            network: makes the captions.
            memory: of B images.
            num_captions: n, of each image.
            first_row: place of the batch among all images; what is drawn is drawn by it.
        """
        raise NotImplementedError

    @property
    def unwanted_words(self) -> tuple[int, ...]:
        """Tokens that captions must not hold."""
        from hlcli.captioning.vocabulary import UNKNOWN

        return () if self.allow_unknown else (UNKNOWN,)

    @classmethod
    def own_keys(cls) -> tuple[str, ...]:
        """Keys that this way to find captions has beside those of all, the name of the way among them."""
        return tuple(key for key in cls.model_fields if key not in Eval.model_fields)
