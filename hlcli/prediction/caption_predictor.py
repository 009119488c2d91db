"""One captioner, or several together, ready for anybody's images."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from hlcli.captioning.search import Ensemble, sample
from hlcli.captioning.vocabulary import Vocabulary
from hlcli.errors import DataError, InputError
from hlcli.evaluation.caption_scoring import GeneratedCaption, read_captions, search_captions, unwanted
from hlcli.features.extractors import weights_sum
from hlcli.launching import make_accelerator
from hlcli.model_folder import LoadedModel
from hlcli.prediction.caption_inputs import FeatureSources, InputMaker, LoadedPhoto, LoadedPhotos, NamedImages
from hlcli.prediction.caption_parts import StoredFeatures
from hlcli.prediction.caption_rows import Caption, make_caption
from hlcli.prediction.image_stream import in_order
from hlcli.prediction.label_rows import Failure
from hlcli.prediction.labels import named_source
from hlcli.tasks.models import check_task


@dataclass(frozen=True)
class SearchOptions:
    """How captions are found; None stands for what the recipe's evaluation section says.

    Args:
        beam_size: captions kept while one is searched; 1 is greedy.
        max_words: longest caption, its end mark counted.
        length_penalty: power of the length that a log-probability is divided by.
        block_ngrams: no sequence of so many words comes twice in a caption; 0 allows it.
        num_captions: captions per image.
        temperature: draw words instead of searching: above 1 flattens their probabilities, below 1 sharpens them.
        top_p: draw only the likeliest words, as few as together reach this probability; 1 for all.
        seed: of the draws.
    """

    beam_size: int | None = None
    max_words: int | None = None
    length_penalty: float | None = None
    block_ngrams: int | None = None
    num_captions: int = 1
    temperature: float | None = None
    top_p: float | None = None
    seed: int = 0

    @property
    def is_drawn(self) -> bool:
        """Whether words are drawn."""
        return self.temperature is not None or self.top_p is not None


class CaptionPredictor:
    """One captioner, or several whose log-probabilities are averaged, ready for images.

    Args:
        models: of `open_model`; they must know the same words.
        search: how captions are found; what it leaves open is as in the first model's recipe.
        features: where features come from, for models that do not see the image itself.
        batch_size: images per step; default the first recipe's.
        workers: loader processes.
        cpu: stay on the CPU.

    Raises:
        InputError: for a model that is no captioner, models of different words, or options that do not fit.
    """

    def __init__(
        self,
        models: LoadedModel | Sequence[LoadedModel],
        *,
        search: SearchOptions | None = None,
        features: FeatureSources | None = None,
        batch_size: int | None = None,
        workers: int = 0,
        cpu: bool = False,
    ) -> None:
        self.models = [models] if isinstance(models, LoadedModel) else list(models)
        for loaded in self.models:
            check_task(loaded.recipe.model, "captions")
        recipe = self.recipe = self.models[0].recipe
        self.vocabulary = _shared_vocabulary(self.models)
        self.search, self.features = search or SearchOptions(), features or FeatureSources()
        self.section = self._check_search()
        self.batch_size, self.workers = batch_size or recipe.eval.batch_size, workers
        self.accelerator = make_accelerator(cpu=cpu or recipe.train.cpu, precision=recipe.train.precision)
        device = self.accelerator.device
        self.networks: list[Any] = [loaded.model.to(device).eval() for loaded in self.models]
        self._together = Together(self.networks)
        self.inputs = InputMaker(self.models, self.features, device)

    def caption(self, images: Iterable[str | Path | Image | bytes]) -> list[Caption]:
        """Caption images given as paths, encoded bytes or PIL images.

        Raises:
            DataError: for an image that cannot be decoded.
        """
        captions = []
        named = [named_source(image, number) for number, image in enumerate(images)]
        names, sources = [name for name, _ in named], [source for _, source in named]
        self.check_names(names)
        for result in self.stream(NamedImages(names, sources.__getitem__)):
            if isinstance(result, Failure):
                raise DataError(result.error)
            captions.append(result)
        return captions

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse photos that files of features cannot tell apart.

        Raises:
            InputError: naming two.
        """
        for load in self.inputs.loads:
            if isinstance(load, StoredFeatures):
                load.check(names)

    def stream(self, images: NamedImages, *, start: int = 0) -> Iterator[Caption | Failure]:
        """One result per image from number `start` on, in order; processes share the work, each gets all results."""
        return in_order(
            LoadedPhotos(images, self.inputs.loads),
            self._caption_batch,
            self.accelerator,
            batch_size=self.batch_size,
            workers=self.workers,
            start=start,
        )

    def describe(self) -> dict[str, Any]:
        """What decides the captions, beside the images."""
        return {
            "models": [weights_sum(network) for network in self.networks],
            "words": self.vocabulary.fingerprint(),
            "search": {**asdict(self.search), **self.section.model_dump(include=_SEARCHED)},
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
        inputs = self.inputs.compute(photos)
        with self.accelerator.autocast():
            memory = self._together.encode(inputs)
            if self.search.is_drawn:
                return self._draw(memory, first_row=photos[0].row)
            return search_captions(self._together, memory, self.vocabulary, self.section, self.search.num_captions)  # type: ignore[arg-type]

    def _draw(self, memory: Any, *, first_row: int) -> list[list[GeneratedCaption]]:
        """Drawn captions, likeliest first; the same for the same batch, whoever works on it."""
        seed = random.Random(f"{self.search.seed}/{first_row}").getrandbits(32)  # all that a CPU's generator looks at
        generator = torch.Generator(self.accelerator.device).manual_seed(seed)
        network = Drawable(self._together.network)
        found = sample(
            network,
            memory,
            num_samples=self.search.num_captions,
            max_length=self.section.max_words,
            temperature=_or_one(self.search.temperature),
            top_p=_or_one(self.search.top_p),
            forbidden=unwanted(self.section),
            generator=generator,
        )
        found = found._replace(log_probs=found.log_probs.masked_fill(network.is_lost[:, None, None], torch.nan))
        return [sorted(image, key=lambda drawn: -drawn.log_prob) for image in read_captions(found, self.vocabulary)]

    def _check_search(self) -> Any:
        """The evaluation section with what was asked for.

        Raises:
            InputError: for numbers that do not fit.
        """
        search, section = self.search, self.recipe.eval
        asked = {name: value for name, value in asdict(search).items() if name in _SEARCHED and value is not None}
        if not self.features.of_data:
            asked["allow_unknown"] = False  # nobody wants <unk> in the caption of a photo; scores are another matter
        section = section.model_copy(update=asked)
        most = min(loaded.recipe.model.most_words() for loaded in self.models) + 1
        if not 1 <= section.max_words <= most:
            raise InputError(
                f"--max-length must be between 1 and {most}, the longest caption of the model with its end mark "
                f"(got {section.max_words})."
            )
        kept = max(section.beam_size, search.num_captions)
        if min(section.beam_size, search.num_captions) < 1 or kept > len(self.vocabulary):
            raise InputError(
                f"--beam and --num-captions must be between 1 and the {len(self.vocabulary)} words of the model "
                f"(got {section.beam_size} and {search.num_captions})."
            )
        if section.length_penalty < 0 or section.block_ngrams < 0:
            raise InputError("--length-penalty and --block-ngrams must be 0 or more.")
        temperature, top_p = _or_one(search.temperature), _or_one(search.top_p)
        if temperature <= 0 or not 0 < top_p <= 1:
            raise InputError("--temperature must be above 0, and --top-p above 0 and at most 1.")
        return section


_SEARCHED = {"beam_size", "max_words", "length_penalty", "block_ngrams"}


class Together:
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


class Drawable:
    """A captioner whose words can always be drawn: with equal chances where its probabilities are no numbers.

    Args:
        network: the captioner.

    Attributes:
        is_lost: images [B] for which that has happened.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.begin, self.end, self.vocabulary_size = network.begin, network.end, network.vocabulary_size
        self.reorder = network.reorder
        self.is_lost = torch.zeros(0, dtype=torch.bool)

    def start(self, memory: Any) -> tuple[Tensor, Any]:
        """First tokens [B, 1], and the state before they are read."""
        last, state = self.network.start(memory)
        self.is_lost = torch.zeros(len(last), dtype=torch.bool, device=last.device)
        return last, state

    def step(self, state: Any, token_ids: Tensor) -> tuple[Tensor, Any]:
        """Log-probabilities [B, K, V] of the words behind the last tokens [B, K], and the new state."""
        log_probs, state = self.network.step(state, token_ids)
        self.is_lost = self.is_lost | log_probs.isnan().flatten(1).any(dim=1)
        return log_probs.masked_fill(self.is_lost[:, None, None], -math.log(self.vocabulary_size)), state


def _checked(image: str, found: Sequence[GeneratedCaption]) -> Caption | Failure:
    """An image's captions; a failure where their scores mean nothing."""
    if all(math.isfinite(caption.log_prob) for caption in found):
        return make_caption(image, found)
    return Failure(
        image,
        f"Image {image} cannot be captioned: its scores are not finite. Its features, the model's weights or the "
        "precision are at fault.",
    )


def _or_one(value: float | None) -> float:
    return 1.0 if value is None else value


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
