"""RandAugment and cutout as the references use them, drawn from one `random.Random` per image.

RandAugment here is the behaviour of the PyPI package `randaugment` 1.0.2: two operations are drawn from fifteen,
each at a level from 1 to 9, and each is applied with probability one half. A level picks one point of a grid of ten.
"""

from __future__ import annotations

import random

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

OPERATIONS = (
    "Invert",
    "Cutout",
    "Sharpness",
    "AutoContrast",
    "Posterize",
    "ShearX",
    "TranslateX",
    "TranslateY",
    "ShearY",
    "Rotate",
    "Equalize",
    "Contrast",
    "Color",
    "Solarize",
    "Brightness",
)
_NUM_LEVELS = 9
# Value at level 0 and at level 9; the levels between lie evenly on the line.
_GRIDS = {
    "Cutout": (0.0, 20.0),
    "Sharpness": (0.0, 0.9),
    "Contrast": (0.0, 0.9),
    "Color": (0.0, 0.9),
    "Brightness": (0.0, 0.9),
    "Posterize": (8.0, 4.0),
    "ShearX": (0.0, 0.3),
    "ShearY": (0.0, 0.3),
    "TranslateX": (0.0, 150 / 331),
    "TranslateY": (0.0, 150 / 331),
    "Rotate": (0.0, 30.0),
    "Solarize": (256.0, 0.0),
}
_WHOLE_NUMBERS = ("Cutout", "Posterize")
_GREY = (128, 128, 128)
_CUTOUT_COLOUR = (125, 122, 113)
_ENHANCERS = {
    "Sharpness": ImageEnhance.Sharpness,
    "Contrast": ImageEnhance.Contrast,
    "Color": ImageEnhance.Color,
    "Brightness": ImageEnhance.Brightness,
}


def operation_value(name: str, level: int) -> float:
    """What a level means for an operation: a factor, an angle, a share of the side, pixels, bits or a threshold.

    Raises:
        ValueError: when the operation or the level does not exist.
    """
    if name not in OPERATIONS:
        raise ValueError(f"Expected an operation of {', '.join(OPERATIONS)}, but got {name!r}.")
    if not 0 <= level <= _NUM_LEVELS:
        raise ValueError(f"Expected a level from 0 to {_NUM_LEVELS}, but got {level}.")
    first, last = _GRIDS.get(name, (0.0, 0.0))
    value = first + level * ((last - first) / _NUM_LEVELS)
    return float(round(value)) if name in _WHOLE_NUMBERS else value


def apply_operation(
    image: Image.Image, name: str, level: int, sign: int = 1, centre: tuple[int, int] = (0, 0)
) -> Image.Image:
    """Apply one operation.

    Args:
        image: an RGB image.
        name: one of `OPERATIONS`.
        level: 1 to 9; see `operation_value`.
        sign: 1 or -1; the direction of shears, translations and enhancements. Rotation is always counter-clockwise.
        centre: (x, y) of the square that Cutout fills.
    """
    value = operation_value(name, level)
    signed = sign * value
    match name:
        case "Invert":
            return ImageOps.invert(image)
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Posterize":
            return ImageOps.posterize(image, int(value))
        case "Solarize":
            return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # the threshold need not be whole
        case "ShearX":
            return _affine(image, (1, signed, 0, 0, 1, 0), Image.Resampling.BICUBIC)
        case "ShearY":
            return _affine(image, (1, 0, 0, signed, 1, 0), Image.Resampling.BICUBIC)
        case "TranslateX":
            return _affine(image, (1, 0, signed * image.width, 0, 1, 0), Image.Resampling.NEAREST)
        case "TranslateY":
            return _affine(image, (1, 0, 0, 0, 1, signed * image.height), Image.Resampling.NEAREST)
        case "Rotate":
            return _rotate(image, value)
        case "Cutout":
            return _fill_square(image, int(value), centre)
        case _:
            return _ENHANCERS[name](image).enhance(1 + signed)


def rand_augment(image: Image.Image, rng: random.Random) -> Image.Image:
    """Draw two operations with their levels and apply each with probability one half."""
    policy = [(rng.choice(OPERATIONS), rng.randint(1, _NUM_LEVELS)) for _ in range(2)]
    for name, level in policy:
        if rng.random() < 0.5:
            sign = rng.choice((-1, 1))
            centre = (rng.randrange(image.width), rng.randrange(image.height))
            image = apply_operation(image, name, level, sign, centre)
    return image


def draw_cutout(
    image: Image.Image,
    length: int | tuple[int, int],
    centre: tuple[int, int],
    colour: tuple[int, int, int],
    bounds: tuple[int, int] | None = None,
) -> Image.Image:
    """Paint one rectangle over a copy of the image.

    The corners lie half a length before and after the centre and both belong to the rectangle, so an even
    length paints one pixel more than it says, as in the references.

    Args:
        image: an RGB image.
        length: side in pixels, or (width, height).
        centre: (x, y).
        colour: red, green, blue.
        bounds: (x, y) past which no corner goes; default the image's (width, height). The references take
            (height, width), which only differs where an image is not square.
    """
    width, height = (length, length) if isinstance(length, int) else length
    if width < 1 or height < 1:
        raise ValueError(f"Expected a cutout length of at least 1 pixel, but got {length}.")
    (x, y), half_width, half_height = centre, width // 2, height // 2
    right, bottom = bounds or image.size
    image = image.copy()
    corners = (
        min(max(x - half_width, 0), right),
        min(max(y - half_height, 0), bottom),
        min(x + half_width, right),
        min(y + half_height, bottom),
    )
    ImageDraw.Draw(image).rectangle(corners, fill=colour)
    return image


def cutout(image: Image.Image, holes: int, length: int | tuple[int, int], rng: random.Random) -> Image.Image:
    """Paint rectangles of random place and colour over a copy of the image."""
    for _ in range(holes):
        centre = (rng.randrange(image.width), rng.randrange(image.height))
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        image = draw_cutout(image, length, centre, colour)
    return image


def _affine(
    image: Image.Image, matrix: tuple[float, float, float, float, float, float], resample: Image.Resampling
) -> Image.Image:
    """Map every output pixel to the input by a 2×3 matrix; grey where there is nothing."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=_GREY)


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Turn counter-clockwise; the corners left empty become grey."""
    return image.rotate(degrees, fillcolor=_GREY)


def _fill_square(image: Image.Image, length: int, centre: tuple[int, int]) -> Image.Image:
    """Fill a grey square whose far edges do not belong to it (unlike those of `draw_cutout`)."""
    (x, y), half = centre, length // 2
    image = image.copy()
    left, top = max(x - half, 0), max(y - half, 0)
    image.paste(_CUTOUT_COLOUR, (left, top, min(x + half, image.width), min(y + half, image.height)))
    return image
