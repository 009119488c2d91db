"""What is in a made-up scene: places, things, colours, light. Decided here, drawn in `shapes_drawing.py`.

Six kinds of place, each with its own chances for every label, give labels that go together as in real photos.
Colours and light are drawn without looking at the labels, so that only form tells one label from another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

Colour = tuple[int, int, int]
_Box = tuple[float, float, float, float]

TREE = {
    "nature": {"plants": ["tree", "fir", "flower"], "animals": ["fish", "bird"]},
    "architecture": {"buildings": ["house", "tower", "windmill"]},
    "transport": {"road vehicles": ["car", "bus"], "craft": ["sailboat", "balloon"]},
}
KINDS = tuple(kind for middle in TREE.values() for kinds in middle.values() for kind in kinds)

PLACES: dict[str, dict[str, float]] = {
    "harbour": {"sailboat": 0.85, "bird": 0.45, "tower": 0.45, "fish": 0.35, "house": 0.35, "car": 0.15},
    "town": {"house": 0.70, "car": 0.65, "bus": 0.55, "tower": 0.40, "tree": 0.25, "bird": 0.10},
    "meadow": {"flower": 0.80, "windmill": 0.55, "tree": 0.40, "bird": 0.35, "balloon": 0.30, "house": 0.15},
    "forest": {"fir": 0.85, "tree": 0.65, "bird": 0.35, "flower": 0.20, "house": 0.20, "tower": 0.10},
    "park": {"balloon": 0.80, "bus": 0.45, "car": 0.45, "flower": 0.30, "windmill": 0.30, "tower": 0.15},
    "lake": {"fish": 0.80, "fir": 0.40, "sailboat": 0.35, "flower": 0.30, "tree": 0.25, "balloon": 0.15},
}
"""Chance of every label in a place."""

LIGHTS: dict[str, tuple[float, float, float]] = {
    "at noon": (1.0, 1.0, 1.0),
    "in the morning": (1.02, 0.98, 0.9),
    "at dusk": (0.95, 0.78, 0.72),
    "in the mist": (0.92, 0.95, 0.98),
    "at night": (0.55, 0.6, 0.75),
}
"""How the light colours what it falls on: factors of red, green and blue."""

_COLOURS: dict[str, Colour] = {
    "red": (196, 44, 40),
    "orange": (232, 132, 32),
    "yellow": (240, 206, 60),
    "green": (62, 140, 62),
    "teal": (36, 146, 150),
    "blue": (48, 88, 186),
    "purple": (122, 66, 156),
    "pink": (232, 128, 168),
    "brown": (124, 80, 48),
    "white": (240, 240, 234),
    "grey": (132, 134, 140),
    "black": (40, 40, 46),
}
_COLOUR_NAMES = tuple(_COLOURS)
_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((72, 130, 205), (186, 214, 236)),
    ((120, 160, 200), (232, 224, 206)),
    ((106, 84, 140), (240, 168, 120)),
    ((150, 156, 164), (206, 208, 210)),
    ((40, 70, 130), (140, 170, 210)),
    ((190, 140, 150), (246, 214, 180)),
    ((90, 150, 150), (214, 232, 214)),
)
_GROUNDS: tuple[Colour, ...] = (
    (96, 136, 64),
    (60, 104, 70),
    (176, 156, 110),
    (120, 116, 112),
    (64, 108, 150),
    (70, 140, 150),
    (130, 96, 70),
    (206, 210, 216),
)
_FLYING = ("bird", "balloon")
_CLUTTER_ABOVE = ("cloud", "disc")
_CLUTTER_BELOW = ("stone", "crate", "cone", "ball", "post")
_LARGEST_CROWD = 6
_TRIES = 14
_LITTLE_OVERLAP, _MOST_OVERLAP = 0.05, 0.3  # shares of the smaller of two boxes
# Native width and height of a kind as a share of its side; see the outlines in `shapes_drawing.py`.
_PROPORTIONS = {
    "tree": (0.76, 1.0),
    "fir": (0.76, 1.0),
    "flower": (0.76, 1.0),
    "fish": (1.0, 0.56),
    "bird": (1.0, 0.62),
    "house": (0.96, 1.0),
    "tower": (0.5, 1.0),
    "windmill": (0.9, 1.0),
    "car": (1.0, 0.52),
    "bus": (1.0, 0.62),
    "sailboat": (0.86, 1.0),
    "balloon": (0.72, 1.0),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in a scene; lengths are shares of the image's side.

    Args:
        kind: a label, or a kind of clutter.
        colour_name: the word for its colour.
        colour: its main colour.
        accent: the colour of its lesser parts.
        x: centre, from the left.
        y: centre, from the top.
        side: of the square it fits in.
        degrees: small rotation.
        is_mirrored: left and right swapped.
    """

    kind: str
    colour_name: str
    colour: Colour
    accent: Colour
    x: float
    y: float
    side: float
    degrees: float
    is_mirrored: bool

    @property
    def box(self) -> _Box:
        """Left, top, right, bottom, before the rotation."""
        return _box_around(self.kind, self.x, self.y, self.side)


@dataclass(frozen=True, slots=True)
class Scene:
    """A place with things in it, from the farthest to the nearest.

    Args:
        place: one of `PLACES`.
        light: one of `LIGHTS`.
        horizon: height of the horizon, from the top.
        sky: colours at the top and at the horizon.
        ground: colour of ground or water.
        things: what the labels are about.
        clutter: what no label is about.
        noise_seed: seed of textures and noise.
    """

    place: str
    light: str
    horizon: float
    sky: tuple[Colour, Colour]
    ground: Colour
    things: tuple[Thing, ...]
    clutter: tuple[Thing, ...]
    noise_seed: int

    @property
    def labels(self) -> tuple[int, ...]:
        """Indices of the kinds that can be seen, ascending."""
        return tuple(sorted({KINDS.index(thing.kind) for thing in self.things}))


def compose_scene(rng: random.Random) -> Scene:
    """Make up a scene."""
    place = rng.choice(tuple(PLACES))
    light = rng.choice(tuple(LIGHTS))
    horizon = rng.uniform(0.34, 0.6)
    top, bottom = rng.choice(_SKIES)
    sky = (_vary(top, 18, rng), _vary(bottom, 18, rng))
    ground = _vary(rng.choice(_GROUNDS), 22, rng)
    things = _place_things(_choose_kinds(place, rng), horizon, rng)
    clutter = tuple(_make_clutter(horizon, rng) for _ in range(rng.randint(2, 5)))
    return Scene(place, light, horizon, sky, ground, things, clutter, rng.getrandbits(32))


def _choose_kinds(place: str, rng: random.Random) -> list[str]:
    """The kinds in a place, one entry per thing; at least one."""
    chances = PLACES[place]
    kinds = [kind for kind, chance in chances.items() if rng.random() < chance]
    kinds = kinds or [max(chances, key=chances.__getitem__)]
    rng.shuffle(kinds)
    crowd = kinds[:_LARGEST_CROWD]
    for kind in kinds:
        extra = rng.choice((0, 0, 0, 0, 0, 1, 1, 2))
        crowd += [kind] * min(extra, max(_LARGEST_CROWD - 1 - len(crowd), 0))
    return crowd


def _place_things(kinds: list[str], horizon: float, rng: random.Random) -> tuple[Thing, ...]:
    """Give every thing a look and a place where it hides none of the others; far ones come first."""
    looks: dict[str, tuple[str, Colour]] = {}
    largest = 0.50 - 0.03 * len(kinds)
    things: list[Thing] = []
    for kind in kinds:
        name, accent = looks.setdefault(kind, (rng.choice(_COLOUR_NAMES), _COLOURS[rng.choice(_COLOUR_NAMES)]))
        side = rng.uniform(0.72, 1.0) * largest
        spot = _find_free_spot(kind, side, horizon, [thing.box for thing in things], rng)
        if spot is not None:
            colour, turn, is_mirrored = _vary(_COLOURS[name], 16, rng), rng.uniform(-9, 9), rng.random() < 0.5
            things.append(Thing(kind, name, colour, _vary(accent, 16, rng), *spot, side, turn, is_mirrored))
    return tuple(sorted(things, key=lambda thing: thing.y + thing.side / 2))


def _find_free_spot(
    kind: str, side: float, horizon: float, taken: list[_Box], rng: random.Random
) -> tuple[float, float] | None:
    """The best of some random centres; None where all of them are crowded."""
    best, least = None, _MOST_OVERLAP
    for _ in range(_TRIES):
        spot = _random_spot(kind, side, horizon, rng)
        box = _box_around(kind, *spot, side)
        overlap = max((_overlap(box, other) for other in taken), default=0.0)
        if overlap < least:
            best, least = spot, overlap
        if overlap < _LITTLE_OVERLAP:
            break
    return best


def _random_spot(kind: str, side: float, horizon: float, rng: random.Random) -> tuple[float, float]:
    """A centre: in the air for what flies, else with its foot between the horizon and the lower edge."""
    left, top, _, _ = _box_around(kind, 0.0, 0.0, side)
    x = rng.uniform(-left, 1 + left)
    if kind in _FLYING:
        return x, rng.uniform(-top, max(horizon, 0.05 - top))
    return x, rng.uniform(horizon + 0.04, 0.98) + top


def _box_around(kind: str, x: float, y: float, side: float) -> _Box:
    width, height = _PROPORTIONS.get(kind, (1.0, 1.0))
    half_width, half_height = width * side / 2, height * side / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def _overlap(a: _Box, b: _Box) -> float:
    """Shared area of two boxes as a share of the smaller one."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def _make_clutter(horizon: float, rng: random.Random) -> Thing:
    is_above = rng.random() < 0.4
    kind = rng.choice(_CLUTTER_ABOVE if is_above else _CLUTTER_BELOW)
    name = rng.choice(_COLOUR_NAMES)
    side = rng.uniform(0.14, 0.3) if is_above else rng.uniform(0.07, 0.15)
    y = rng.uniform(0, horizon) if is_above else rng.uniform(horizon, 0.98)
    accent = _COLOURS[rng.choice(_COLOUR_NAMES)]
    return Thing(kind, name, _vary(_COLOURS[name], 16, rng), accent, rng.random(), y, side, rng.uniform(-20, 20), False)


def _vary(colour: Colour, reach: int, rng: random.Random) -> Colour:
    """A colour close to the given one."""
    red, green, blue = (min(255, max(0, part + rng.randint(-reach, reach))) for part in colour)
    return red, green, blue
