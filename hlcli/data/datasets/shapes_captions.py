"""Five true sentences about a made-up scene, each of another build. Left and right are as drawn, not mirrored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from hlcli.data.datasets.shapes_scene import KINDS, TREE, Scene, Thing

_COUNTS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_NOUNS = {"fir": ("fir tree", "fir trees"), "fish": ("fish", "fish"), "bus": ("bus", "buses")}
_PREPOSITIONS = {"lake": "by"}
_MIDDLE_OF = {kind: middle for groups in TREE.values() for middle, kinds in groups.items() for kind in kinds}


class Group(NamedTuple):
    """All things of one kind in a scene; they share a colour."""

    kind: str
    colour: str
    things: tuple[Thing, ...]

    @property
    def x(self) -> float:
        """Mean distance from the left, as a share of the side."""
        return sum(thing.x for thing in self.things) / len(self.things)

    @property
    def verb(self) -> str:
        """The form of `to be` that agrees with it."""
        return "is" if len(self.things) == 1 else "are"

    @property
    def noun(self) -> str:
        """Singular or plural, as its number wants."""
        singular, plural = _NOUNS.get(self.kind, (self.kind, f"{self.kind}s"))
        return singular if len(self.things) == 1 else plural

    @property
    def phrase(self) -> str:
        """Count, colour and noun: `a red car`, `two white sailboats`."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        count = article if len(self.things) == 1 else _COUNTS[len(self.things)]
        return f"{count} {self.colour} {self.noun}"

    @property
    def side(self) -> str:
        """Where most of it is."""
        if self.x < 0.4:
            return "on the left"
        return "on the right" if self.x > 0.6 else "near the middle"


def describe(scene: Scene, rng: random.Random) -> tuple[str, ...]:
    """Five captions: everything, the main thing and its side, how two things lie, numbers, groups of labels."""
    groups = group_things(scene)
    rng.shuffle(groups)
    main = max(groups, key=lambda group: sum(thing.side for thing in group.things))
    counts = _join([f"{_COUNTS[len(group.things)]} {group.noun}" for group in groups])
    total = f", {_COUNTS[len(scene.things)]} in all" if len(groups) > 1 else " and nothing else"
    where = f"{_PREPOSITIONS.get(scene.place, 'in')} the {scene.place}"
    return (
        _sentence(f"{_join([group.phrase for group in groups])} {where} {scene.light}"),
        _sentence(f"{rng.choice(('there', 'in this picture there'))} {main.verb} {main.phrase} {main.side}"),
        _sentence(_relate(groups, where)),
        _sentence(f"{rng.choice(('a view', 'a photo'))} of a {scene.place} with {counts}{total}"),
        _sentence(f"{_join(_middle_names(scene))} seen {scene.light} {where}"),
    )


def group_things(scene: Scene) -> list[Group]:
    """The things of a scene by kind, in label order."""
    groups = []
    for kind in KINDS:
        things = tuple(thing for thing in scene.things if thing.kind == kind)
        if things:
            groups.append(Group(kind, things[0].colour_name, things))
    return groups


def _relate(groups: Sequence[Group], where: str) -> str:
    """How the two groups that lie farthest apart stand to each other."""
    first, last = min(groups, key=lambda group: group.x), max(groups, key=lambda group: group.x)
    if last.x - first.x > 0.15:
        return f"{first.phrase} to the left of {last.phrase}"
    if len(groups) > 1:
        return f"{groups[0].phrase} close to {groups[1].phrase}"
    return f"nothing but {first.phrase} {where}"


def _middle_names(scene: Scene) -> list[str]:
    """The middle-level labels of a scene, without repeats."""
    return list(dict.fromkeys(_MIDDLE_OF[KINDS[label]] for label in scene.labels))


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
