"""One captioner, or several together, ready for anybody's images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

import torch

from hlcli.captioning.generated import GeneratedCaption, read_captions
from hlcli.captioning.search import Ensemble
from hlcli.captioning.vocabulary import Vocabulary
from hlcli.data.failures import Failure
from hlcli.data.records import ImageSource
from hlcli.errors import DataError, InputError
from hlcli.features.extractors import weights_sum
from hlcli.launching import find_processes
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.models.tasks import check_task
from hlcli.prediction.caption_inputs import (
    FeatureSources,
    InputMaker,
    LoadedPhoto,
    NamedImages,
    PhotoLoader,
    RowLoader,
)
from hlcli.prediction.caption_parts import StoredFeatures
from hlcli.prediction.caption_rows import Caption, make_caption
from hlcli.prediction.given_images import Images, named_sources
from hlcli.prediction.image_stream import check_at_least, in_order
from hlcli.profiling import phase
from hlcli.recipe import EvalSection, Recipe

_Item = TypeVar("_Item")


class CaptionPredictor:
    """One captioner, or several whose log-probabilities are averaged, ready for images.

    Args:
        models: of `open_model`; they must know the same words.
        decoding: how captions are found; default as in the first model's recipe.
        num_captions: captions per image.
        features: where features come from, for models that do not see the image itself.
        batch_size: images per step; default the first recipe's.
        workers: loader processes.
        cpu: stay on the CPU.

    Raises:
        InputError: for a model that is no captioner, models of different words, or options that do not fit.
        ValueError: for numbers that cannot be meant.

    Examples:
        >>> captioner = hlcli.CaptionPredictor([hlcli.open_model("runs/captions")], num_captions=2)
        >>> len(captioner.caption("photos/cat0.jpg")[0].alternatives)
        1
    """

    def __init__(
        self,
        models: LoadedModel | Sequence[LoadedModel],
        *,
        decoding: EvalSection | None = None,
        num_captions: int = 1,
        features: FeatureSources | None = None,
        batch_size: int | None = None,
        workers: int = 0,
        cpu: bool = False,
    ) -> None:
        self.models = [models] if isinstance(models, LoadedModel) else list(models)
        for loaded in self.models:
            check_task(loaded.recipe.model, "captions")
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, workers=workers)
        recipe = self.recipe = self.models[0].recipe
        self.vocabulary = _shared_vocabulary(self.models)
        self.num_captions, self.features = num_captions, features or FeatureSources()
        self.decoding = self._check_decoding(decoding or recipe.eval)
        self.batch_size, self.workers = batch_size or recipe.eval.batch_size, workers
        self.processes = find_processes(cpu=cpu or recipe.train.cpu, precision=recipe.train.precision)
        device, self.autocast = self.processes.device, self.processes.autocast
        self.networks: list[Any] = [loaded.model.to(device).eval() for loaded in self.models]
        self._together = _Together(self.networks)
        self.inputs = InputMaker(self.models, self.features, device)

    def caption(self, images: Images) -> list[Caption]:
        """Caption one image or many: paths, URLs, encoded bytes, PIL images, arrays, tensors; see `GivenImage`.

        Raises:
            DataError: for an image that cannot be read, fetched or decoded; `stream` goes on with the next one.
            TypeError: for what is no image.
            ValueError: for arrays and tensors of another shape, or with numbers outside [0, 1].
        """
        captions = []
        for result in self.stream(images):
            if isinstance(result, Failure):
                raise DataError(result.error)
            captions.append(result)
        return captions

    def stream(self, images: Images) -> Iterator[Caption | Failure]:
        """One result per image, in order, for any number of images: they are taken when they are needed.

        Where files hold the features, all images are named first, so that no two are taken for one.

        Raises:
            TypeError: for what is no image.
            ValueError: for arrays and tensors of another shape, or with numbers outside [0, 1].
            InputError: for images that files of features cannot tell apart.
        """
        sources: Iterable[tuple[str, ImageSource]] = named_sources(images)
        if any(isinstance(load, StoredFeatures) for load in self.inputs.loads):
            sources = list(sources)
            self.check_names([name for name, _ in sources])
        numbered = ((row, name, source) for row, (name, source) in enumerate(sources))
        return self._in_order(numbered, PhotoLoader(self.inputs.loads))

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse photos that files of features cannot tell apart.

        Raises:
            InputError: naming two.
        """
        for load in self.inputs.loads:
            if isinstance(load, StoredFeatures):
                load.check(names)

    def _in_order(self, items: Iterable[_Item], load: Callable[[_Item], LoadedPhoto]) -> Iterator[Caption | Failure]:
        return in_order(
            items,
            load,
            self._caption_batch,
            self.processes,
            batch_size=self.batch_size,
            workers=self.workers,
        )

    def describe(self) -> dict[str, Any]:
        """What decides the captions, beside the images."""
        return {
            "models": [weights_sum(network) for network in self.networks],
            "words": self.vocabulary.fingerprint(),
            "search": {
                "num_captions": self.num_captions,
                **self.decoding.model_dump(include={"max_words", "allow_unknown", *self.decoding.own_keys()}),
            },
            "features": [str(path) for path in self.features],
            "batch size": self.batch_size,
        }

    @torch.inference_mode()
    def _caption_batch(self, photos: list[LoadedPhoto]) -> list[Caption | Failure]:
        said = iter(self._say([photo for photo in photos if not isinstance(photo.parts, str)]))
        return [
            Failure(photo.name, photo.parts) if isinstance(photo.parts, str) else _checked(photo.name, next(said))
            for photo in photos
        ]

    def _say(self, photos: list[LoadedPhoto]) -> list[list[GeneratedCaption]]:
        """Captions of every photo, best first."""
        if not photos:
            return []
        with phase("forward"):
            inputs = self.inputs.compute(photos)
            with self.autocast():
                memory = self._together.encode(inputs)
        with phase("search"), self.autocast():
            found = self.decoding.find_captions(
                self._together.network, memory, self.num_captions, first_row=photos[0].row
            )
        return read_captions(found, self.vocabulary)

    def _check_decoding(self, decoding: EvalSection) -> EvalSection:
        """How captions are found, if the models can.

        Raises:
            InputError: for numbers that do not fit.
        """
        most = min(loaded.recipe.model.most_words() for loaded in self.models) + 1
        if decoding.max_words > most:
            raise InputError(
                f"--max-length must be between 1 and {most}, the longest caption of the model with its end mark "
                f"(got {decoding.max_words})."
            )
        beam_size = getattr(decoding, "beam_size", 1)
        if self.num_captions < 1 or max(beam_size, self.num_captions) > len(self.vocabulary):
            raise InputError(
                f"--beam and --num-captions must be between 1 and the {len(self.vocabulary)} words of the model "
                f"(got {beam_size} and {self.num_captions})."
            )
        if self.features.of_data:
            return decoding
        return decoding.model_copy(update={"allow_unknown": False})  # nobody wants <unk> in the caption of a photo


def stream_named(predictor: CaptionPredictor, images: NamedImages, *, start: int = 0) -> Iterator[Caption | Failure]:
    """One result per image from number `start` on, in order; processes share the work, each gets all results."""
    load = RowLoader(images, PhotoLoader(predictor.inputs.loads))
    return predictor._in_order(range(start, len(images.names)), load)


class _Together:
    """Several captioners as one, each with its own inputs; a single one is left as it is.

    Args:
        networks: captioners that know the same words.

    Attributes:
        network: what makes captions of a memory.
    """

    def __init__(self, networks: Sequence[Any]) -> None:
        self.networks = networks
        self.network: Any = Ensemble([one.network for one in networks]) if len(networks) > 1 else networks[0].network

    def encode(self, inputs: Sequence[Any]) -> Any:
        """The memory of a batch of images, of which each captioner has its own inputs."""
        memories = [network.encode(own) for network, own in zip(self.networks, inputs, strict=True)]
        return memories if len(memories) > 1 else memories[0]


def _checked(image: str, found: Sequence[GeneratedCaption]) -> Caption | Failure:
    """An image's captions; a failure where their scores mean nothing."""
    if all(math.isfinite(caption.log_prob) for caption in found):
        return make_caption(image, found)
    return Failure(
        image,
        f"Image {image} cannot be captioned: its scores are not finite. Its features, the model's weights or the "
        "precision are at fault.",
    )


def _shared_vocabulary(models: Sequence[LoadedModel]) -> Vocabulary:
    """The words that all models know.

    Raises:
        InputError: when these are not the same.
    """
    first, *others = [loaded.vocabulary for loaded in models]
    assert first is not None
    for number, vocabulary in enumerate(others, start=2):
        assert vocabulary is not None
        if vocabulary.fingerprint() != first.fingerprint():
            raise InputError(
                f"Model {number} of the ensemble knows other words than the first one: {len(vocabulary):,} and "
                f"{len(first):,}.",
                "Models of an ensemble must be trained with the same vocabulary; data.vocabulary says which.",
            )
    return first


class CaptionOptions(TypedDict, total=False):
    """What a `CaptionPredictor` can be asked for; it says what each means."""

    decoding: EvalSection | None
    num_captions: int
    features: FeatureSources | None
    batch_size: int | None
    workers: int
    cpu: bool


def load_captioner(
    model: GivenModel | Sequence[GivenModel],
    *,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    **options: Unpack[CaptionOptions],
) -> CaptionPredictor:
    """Load a captioner, or several that are to caption together.

    Args:
        model: run folder, model folder, `hf://owner/name`, upstream checkpoint (then with `recipe`), or a loaded
            model; or several.
        recipe: what an upstream checkpoint is.
        overrides: `section.key=value`, changes of the recipe.
        **options: those of `CaptionPredictor`.

    Raises:
        InputError: when a model cannot be used, is no captioner, or knows other words than the first one.

    Examples:
        >>> captioner = hlcli.load_captioner("runs/captions")
        >>> captioner.caption("photos/cat0.jpg")[0].image
        'photos/cat0.jpg'
    """
    places = [model] if isinstance(model, GivenModel) else model
    return CaptionPredictor([open_model(place, recipe, overrides, task="captions") for place in places], **options)
