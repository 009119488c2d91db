"""Figures of captions: images → captions, and for every word where the model looks → a page per image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from hlcli.captioning.generated import read_captions
from hlcli.data.failures import Failure
from hlcli.errors import InputError
from hlcli.features.extractors import WINDOWS
from hlcli.features.windows import window_boxes
from hlcli.figures.files import Figures, file_stems
from hlcli.figures.images import IMAGES_OF_A_SPLIT, Photo, choose_images, shrink
from hlcli.figures.pages import draw_groups
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.caption_inputs import FeatureSources, LoadedPhoto, PhotoLoader
from hlcli.prediction.captions import CaptionPredictor
from hlcli.prediction.given_images import DrawnImage
from hlcli.recipe import Recipe
from hlcli.visualization.attention import is_even
from hlcli.visualization.captions import WordMap, caption_figure
from hlcli.visualization.saving import save_figure


def draw_captions(
    model: GivenModel,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    images: Sequence[Path] = (),
    split: str | None = None,
    max_images: int | None = None,
) -> Figures:
    """A page per image, `captions/NAME.png`: the photo, its caption, and where the model looks for each word.

    Args:
        model: run folder, model folder or upstream checkpoint of a captioner.
        out: folder for the folder `captions`.
        file_format: png, svg or pdf.
        recipe: where the data is, or what an upstream checkpoint is.
        images: files, folders and patterns.
        split: all its images; without one and without images, a few of test.
        max_images: so many of the images, evenly spread.

    Returns:
        The files, and the images that could not be captioned (also listed in `captions.failures.jsonl`).

    Raises:
        InputError: when the model makes no captions, or there are no images.
    """
    loaded = open_model(model, recipe)
    predictor = CaptionPredictor(loaded, features=FeatureSources(of_data=not images))
    view = find_view(loaded)
    count = max_images or (None if images or split else IMAGES_OF_A_SPLIT)
    items = choose_images(images, loaded.recipe, None, split, count)
    stems, folder = file_stems(items.names), out / "captions"

    def draw(_: int, found: list[tuple[int, Photo]], failures: list[Failure]) -> list[Path]:
        files = []
        looks = look_at(predictor, [photo for _, photo in found], failures)
        for (number, (item, image)), look in zip(found, looks, strict=True):
            if look is not None:
                seen = shrink(view.seen_part(image))
                true = item.captions[0] if item.captions else None
                figure = caption_figure(Path(item.name).name, seen, look.caption, view.words(look), true)
                files.append(save_figure(figure, folder, stems[number], file_format))
        return files

    return draw_groups(items, draw, out / "captions.jsonl")


class Look(NamedTuple):
    """A caption, its words, and what was looked at for each: grid cells [T, N] and regions [T, R]."""

    caption: str
    words: list[str]
    grid: np.ndarray
    regions: np.ndarray


class View(NamedTuple):
    """How the parts of what a model sees lie in a photo.

    Args:
        grid: height and width of the grid; None: a square.
        boxes: of the regions, [R, 4] as fractions of what is seen; None where these are not known.
        cut_to: height and width of which the photo's middle has the shape; None: all of it is seen.
    """

    grid: tuple[int, int] | None
    boxes: np.ndarray | None
    cut_to: tuple[int, int] | None

    def seen_part(self, image: PIL.Image.Image) -> PIL.Image.Image:
        """What the model sees of a photo."""
        if self.cut_to is None:
            return image
        height, width = self.cut_to
        scale = min(image.height / height, image.width / width)
        left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
        return image.crop((round(left), round(top), round(left + scale * width), round(top + scale * height)))

    def words(self, look: Look) -> list[WordMap]:
        """Every word with its map; words that are said again at once are left out, as in the caption.

        Raises:
            InputError: when nobody knows how the grid lies.
        """
        height, width = self.grid or _square(look.grid.shape[1])
        cells = look.grid[:, look.grid.shape[1] - height * width :].reshape(-1, height, width)
        kept = [row for row, word in enumerate(look.words) if row == 0 or word != look.words[row - 1]]
        return [self._word(look.words[row], cells[row], look.regions[row]) for row in kept]

    def _word(self, word: str, cells: np.ndarray, regions: np.ndarray) -> WordMap:
        if self.boxes is None:
            return WordMap(word, cells)
        weights = regions[: len(self.boxes)]
        if is_even(weights):
            return WordMap(word, cells, even_regions=True)
        left, top, right, bottom = self.boxes[int(weights.argmax())].tolist()
        return WordMap(word, cells, (left, top, right, bottom))


def find_view(loaded: LoadedModel) -> View:
    """How a model's grid and regions lie in a photo; boxes of regions are known where they are windows."""
    network: Any = loaded.model
    data, facts = loaded.recipe.data, loaded.facts.get("features") or {}
    grid_facts, region_facts = facts.get("grid") or {}, facts.get("region") or {}
    boxes = None if network.windows is None else network.windows.boxes.cpu().numpy()
    if boxes is None and region_facts.get("detector") == WINDOWS:
        boxes = window_boxes().numpy()[: min(region_facts["max_regions"], data.max_regions)]
    if network.backbone is not None:
        return View(network.backbone.grid, boxes, data.height_width if data.resize == "crop" else None)
    cut_to = (data.height_width if data.resize == "crop" else None) if not grid_facts else None
    if grid_facts.get("resize") == "crop":
        cut_to = tuple(grid_facts["image_size"])
    grid = grid_facts.get("grid")
    return View(None if grid is None else (grid[0], grid[1]), boxes, cut_to)


def look_at(predictor: CaptionPredictor, photos: Sequence[Photo], failures: list[Failure]) -> list[Look | None]:
    """Captions of decoded images and what was looked at; None, and a failure, where there are no features."""
    load = PhotoLoader(predictor.inputs.loads)
    loaded = [load((row, item.name, DrawnImage(image))) for row, (item, image) in enumerate(photos)]
    failures += [Failure(photo.name, photo.parts) for photo in loaded if isinstance(photo.parts, str)]
    ready = [photo for photo in loaded if not isinstance(photo.parts, str)]
    looks = iter(_look(predictor, ready) if ready else ())
    return [None if isinstance(photo.parts, str) else next(looks) for photo in loaded]


@torch.inference_mode()
def _look(predictor: CaptionPredictor, photos: Sequence[LoadedPhoto]) -> list[Look]:
    (inputs,) = predictor.inputs.compute(photos)
    (captioner,) = predictor.networks
    network = captioner.network
    with predictor.autocast():
        memory = captioner.encode(inputs)
        found = predictor.decoding.find_captions(network, memory, first_row=photos[0].row)
        words = found.token_ids[:, 0]  # [B, L]
        heard = torch.cat((torch.full_like(words[:, :1], network.begin), words[:, :-1]), dim=1)
        grid, regions = network.word_attention(memory, heard)  # [B, L, N], [B, L, R]
    looks = []
    for text, ids, own_grid, own_regions in zip(
        read_captions(found, predictor.vocabulary), words.tolist(), grid, regions, strict=True
    ):
        said = predictor.vocabulary.decode(ids)
        looks.append(Look(text[0].text, said, _numbers(own_grid[: len(said)]), _numbers(own_regions[: len(said)])))
    return looks


def _numbers(weights: Tensor) -> np.ndarray:
    return weights.float().cpu().numpy()


def _square(cells: int) -> tuple[int, int]:
    side = math.isqrt(cells)
    if side * side != cells:
        raise InputError(
            f"Nothing says how the {cells} grid cells lie: they are no square.",
            "Features made by `hlcli embed images` say it.",
        )
    return side, side
