"""Draw a made-up scene: an untidy backdrop, things built from polygons, light, grain."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hlcli.data.datasets.shapes_scene import LIGHTS, Colour, Scene, Thing

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_Point = tuple[float, float]
Part = tuple[str, tuple[_Point, ...]]
_OVERSAMPLING = 2
_DARK: Colour = (38, 36, 42)
_LIGHT: Colour = (236, 234, 222)
_WOOD: Colour = (98, 70, 46)
_GRAIN = 9


def _ellipse(x: float, y: float, across: float, down: float, corners: int = 16) -> tuple[_Point, ...]:
    """Centre and radii to a polygon."""
    angles = (2 * math.pi * i / corners for i in range(corners))
    return tuple((x + across * math.cos(a), y + down * math.sin(a)) for a in angles)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[_Point, ...]:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _petals(count: int) -> tuple[Part, ...]:
    angles = (2 * math.pi * i / count for i in range(count))
    return tuple(("body", _ellipse(0.22 * math.cos(a), -0.2 + 0.2 * math.sin(a), 0.13, 0.13, 10)) for a in angles)


def _blade(degrees: float) -> Part:
    """A sail of the windmill, from the hub outwards."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((0.04, -0.015), (0.44, -0.015), (0.44, 0.11), (0.1, 0.11))
    return "accent", tuple((c * u - s * v, -0.1 + s * u + c * v) for u, v in corners)


# Outlines in a square from -0.5 to 0.5, y downwards, painted in this order. `body` takes the thing's colour.
OUTLINES: dict[str, tuple[Part, ...]] = {
    "tree": (
        ("wood", _box(-0.06, 0.05, 0.06, 0.5)),
        ("body", _ellipse(-0.19, -0.02, 0.19, 0.18, 12)),
        ("body", _ellipse(0.19, -0.02, 0.19, 0.18, 12)),
        ("body", _ellipse(0.0, -0.22, 0.26, 0.28)),
    ),
    "fir": (
        ("wood", _box(-0.06, 0.36, 0.06, 0.5)),
        ("body", ((0.0, -0.12), (0.38, 0.38), (-0.38, 0.38))),
        ("body", ((0.0, -0.32), (0.3, 0.12), (-0.3, 0.12))),
        ("body", ((0.0, -0.5), (0.21, -0.12), (-0.21, -0.12))),
    ),
    "flower": (
        ("leaf", _box(-0.03, 0.0, 0.03, 0.5)),
        ("leaf", ((0.0, 0.42), (0.24, 0.2), (0.1, 0.42))),
        *_petals(6),
        ("accent", _ellipse(0.0, -0.2, 0.11, 0.11, 10)),
    ),
    "fish": (
        ("accent", ((-0.2, 0.0), (-0.5, -0.22), (-0.42, 0.0), (-0.5, 0.22))),
        ("accent", ((-0.06, -0.14), (0.06, -0.28), (0.2, -0.12))),
        ("body", _ellipse(0.1, 0.0, 0.38, 0.2)),
        ("light", _ellipse(0.32, -0.05, 0.05, 0.05, 8)),
    ),
    "bird": (
        ("body", ((-0.2, 0.08), (-0.5, 0.0), (-0.46, 0.16))),
        ("body", _ellipse(0.0, 0.1, 0.3, 0.12)),
        ("body", _ellipse(0.28, -0.02, 0.12, 0.12, 10)),
        ("beak", ((0.36, -0.06), (0.5, 0.02), (0.36, 0.06))),
        ("accent", ((-0.12, 0.1), (0.16, 0.08), (-0.16, -0.34))),
    ),
    "house": (
        ("body", _box(-0.36, -0.06, 0.36, 0.5)),
        ("accent", ((-0.48, -0.04), (0.0, -0.5), (0.48, -0.04))),
        ("dark", _box(-0.22, 0.16, -0.02, 0.5)),
        ("light", _box(0.1, 0.08, 0.27, 0.25)),
    ),
    "tower": (
        ("body", _box(-0.18, -0.34, 0.18, 0.5)),
        ("body", _box(-0.25, -0.4, 0.25, -0.26)),
        ("body", _box(-0.25, -0.5, -0.13, -0.4)),
        ("body", _box(-0.06, -0.5, 0.06, -0.4)),
        ("body", _box(0.13, -0.5, 0.25, -0.4)),
        ("dark", _box(-0.05, -0.18, 0.06, 0.0)),
        ("dark", _box(-0.08, 0.26, 0.08, 0.5)),
    ),
    "windmill": (
        ("body", ((-0.13, -0.12), (0.13, -0.12), (0.22, 0.5), (-0.22, 0.5))),
        ("dark", _box(-0.06, 0.28, 0.06, 0.5)),
        *(_blade(angle) for angle in (35, 125, 215, 305)),
        ("dark", _ellipse(0.0, -0.1, 0.05, 0.05, 8)),
    ),
    "car": (
        ("body", ((-0.3, 0.0), (-0.18, -0.24), (0.16, -0.24), (0.3, 0.0))),
        ("light", ((-0.2, -0.02), (-0.12, -0.18), (-0.02, -0.18), (-0.02, -0.02))),
        ("light", ((0.03, -0.02), (0.03, -0.18), (0.12, -0.18), (0.2, -0.02))),
        ("body", ((-0.5, 0.0), (0.42, 0.0), (0.5, 0.08), (0.5, 0.17), (-0.5, 0.17))),
        ("dark", _ellipse(-0.27, 0.17, 0.11, 0.11, 10)),
        ("dark", _ellipse(0.27, 0.17, 0.11, 0.11, 10)),
    ),
    "bus": (
        ("body", _box(-0.5, -0.31, 0.5, 0.2)),
        *(("light", _box(left, -0.22, left + 0.17, -0.04)) for left in (-0.44, -0.21, 0.02, 0.25)),
        ("accent", _box(-0.5, 0.02, 0.5, 0.08)),
        ("dark", _ellipse(-0.28, 0.2, 0.1, 0.1, 10)),
        ("dark", _ellipse(0.28, 0.2, 0.1, 0.1, 10)),
    ),
    "sailboat": (
        ("wood", _box(-0.02, -0.5, 0.02, 0.28)),
        ("light", ((0.04, -0.48), (0.4, 0.2), (0.04, 0.2))),
        ("accent", ((-0.04, -0.36), (-0.04, 0.2), (-0.32, 0.2))),
        ("body", ((-0.43, 0.26), (0.43, 0.26), (0.3, 0.48), (-0.3, 0.48))),
    ),
    "balloon": (
        ("dark", ((-0.22, 0.02), (0.22, 0.02), (0.08, 0.38), (-0.08, 0.38))),
        ("body", _ellipse(0.0, -0.16, 0.35, 0.34)),
        ("accent", _ellipse(0.0, -0.16, 0.13, 0.34, 12)),
        ("wood", _box(-0.1, 0.36, 0.1, 0.5)),
    ),
    "cloud": (
        ("light", _ellipse(-0.24, 0.06, 0.26, 0.12, 12)),
        ("light", _ellipse(0.22, 0.06, 0.28, 0.1, 12)),
        ("light", _ellipse(0.0, -0.04, 0.24, 0.15, 12)),
    ),
    "disc": (("light", _ellipse(0.0, 0.0, 0.3, 0.3)),),
    "stone": (("body", ((-0.5, 0.3), (-0.36, -0.1), (0.02, -0.3), (0.4, -0.06), (0.5, 0.3))),),
    "crate": (("body", _box(-0.4, -0.4, 0.4, 0.4)), ("accent", _box(-0.4, -0.08, 0.4, 0.08))),
    "cone": (("body", ((0.0, -0.5), (0.36, 0.4), (-0.36, 0.4))),),
    "ball": (("body", _ellipse(0.0, 0.0, 0.4, 0.4)),),
    "post": (("wood", _box(-0.09, -0.9, 0.09, 0.5)),),
}

# Rows and columns of the coarse patterns that give the ground its texture: long streaks are water, tall ones grass.
_TEXTURES = {
    "harbour": (18, 3),
    "lake": (14, 4),
    "town": (9, 9),
    "park": (12, 12),
    "meadow": (6, 24),
    "forest": (8, 16),
}


@dataclass(frozen=True, slots=True)
class SceneDrawing:
    """A scene that is drawn when its image is asked for.

    Args:
        scene: what to draw.
        render_size: side of the square image in pixels.
    """

    scene: Scene
    render_size: int

    def draw(self) -> Image:
        """Draw the scene, RGB."""
        import numpy as np
        from PIL import Image, ImageDraw

        rng = random.Random(self.scene.noise_seed)
        side = self.render_size * _OVERSAMPLING
        backdrop = Image.fromarray(_paint_backdrop(self.scene, self.render_size, rng))
        image = backdrop.resize((side, side), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(image, "RGBA")
        _draw_hills(pen, self.scene, side, rng)
        for thing in (*self.scene.clutter, *self.scene.things):
            _draw_thing(pen, thing, side)
        pixels = np.asarray(image.reduce(_OVERSAMPLING), dtype=np.float32)
        pixels = pixels * np.asarray(LIGHTS[self.scene.light], dtype=np.float32) + _make_grain(pixels.shape, rng)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _paint_backdrop(scene: Scene, size: int, rng: random.Random) -> np.ndarray:
    """Sky and textured ground, uint8 [size, size, 3]."""
    import numpy as np

    heights = (np.arange(size, dtype=np.float32) / size)[:, None]  # [size, 1]
    top, bottom, ground = np.asarray((*scene.sky, scene.ground), dtype=np.float32)
    sky = top + (bottom - top) * (heights / scene.horizon).clip(0, 1)  # [size, 3]
    depth = ((heights - scene.horizon) / (1 - scene.horizon)).clip(0, 1)
    rows = np.where(heights < scene.horizon, sky, ground * (1.12 - 0.3 * depth))[:, None]  # [size, 1, 3]
    clouds = _make_texture((4, 6), size, rng) * 0.5
    soil = _make_texture(_TEXTURES[scene.place], size, rng)
    texture = np.where(heights < scene.horizon, clouds, soil)[..., None]  # [size, size, 1]
    return (rows + texture).clip(0, 255).astype(np.uint8)


def _make_texture(grid: tuple[int, int], size: int, rng: random.Random) -> np.ndarray:
    """Smooth random brightness, about ±30, from a coarse grid: float32 [size, size]."""
    import numpy as np
    from PIL import Image

    rows, columns = grid
    coarse = Image.frombytes("L", (columns, rows), rng.randbytes(rows * columns))
    return (np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) - 128) * 0.25


def _make_grain(shape: tuple[int, ...], rng: random.Random) -> np.ndarray:
    """Noise as of a sensor, float32."""
    import numpy as np

    noise = np.frombuffer(rng.randbytes(math.prod(shape)), dtype=np.uint8).reshape(shape)
    return (noise.astype(np.float32) - 127.5) * (_GRAIN / 127.5)


def _draw_hills(pen: ImageDraw, scene: Scene, side: int, rng: random.Random) -> None:
    """A ridge along the horizon, between the colours of sky and ground."""
    count = 7
    crest = [(i / (count - 1) * side, (scene.horizon - rng.uniform(0, 0.14)) * side) for i in range(count)]
    colour = tuple((a + b) // 2 for a, b in zip(scene.sky[1], scene.ground, strict=True))
    pen.polygon([(0, scene.horizon * side), *crest, (side, scene.horizon * side)], fill=colour)


def _draw_thing(pen: ImageDraw, thing: Thing, side: int) -> None:
    """Paint a thing's parts; the side away from the light is darker."""
    paints = {
        "body": thing.colour,
        "accent": thing.accent,
        "dark": _DARK,
        "light": _LIGHT,
        "wood": _WOOD,
        "leaf": (70, 120, 60),
        "beak": (232, 160, 40),
    }
    cosine = math.cos(math.radians(thing.degrees)) * thing.side * side
    sine = math.sin(math.radians(thing.degrees)) * thing.side * side
    x, y, flip = thing.x * side, thing.y * side, -1 if thing.is_mirrored else 1
    for paint, outline in OUTLINES[thing.kind]:
        points = [(x + cosine * u * flip - sine * v, y + sine * u * flip + cosine * v) for u, v in outline]
        pen.polygon(points, fill=paints[paint])
