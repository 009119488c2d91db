"""Intentonomy's label tree, its subsets, and the numbers that tell whether the files are complete.

Fine names are those of the annotation files. The parents above have no published names on the middle level and
no published order on the coarse one, so the names here are for display; indices are what counts.
"""

from __future__ import annotations

from typing import NamedTuple

from hlcli.data.labels import LabelSpace

SPLITS = ("train", "val", "test")

_COARSE_NAMES = (
    "financial and occupational success",
    "self-fulfil",
    "openness to experience",
    "health",
    "security and belonging",
    "virtues",
    "family",
    "power",
    "ambition and ability",
)

# name, index of its coarse parent
MIDDLE = (
    ("good job", 0),
    ("easy life", 0),
    ("harmony", 1),
    ("happy", 1),
    ("appreciating beauty / creativity", 2),
    ("excitement and enjoyment", 2),
    ("health", 3),
    ("love", 4),
    ("social life and sharing", 4),
    ("attractive", 4),
    ("inspire / teach others", 5),
    ("good parent", 6),
    ("compete", 7),
    ("hard working", 8),
    ("order and planning", 8),
)

# name, index of its middle parent
FINE = (
    ("Attractive", 9),
    ("BeatCompete", 12),
    ("Communicate", 8),
    ("CreativeUnique", 4),
    ("CuriousAdventurousExcitingLife", 5),
    ("EasyLife", 1),
    ("EnjoyLife", 5),
    ("FineDesignLearnArt-Arch", 4),
    ("FineDesignLearnArt-Art", 4),
    ("FineDesignLearnArt-Culture", 4),
    ("GoodParentEmoCloseChild", 11),
    ("Happy", 3),
    ("HardWorking", 13),
    ("Harmony", 2),
    ("Health", 6),
    ("InLove", 7),
    ("InLoveAnimal", 7),
    ("InspirOthrs", 10),
    ("ManagableMakePlan", 14),
    ("NatBeauty", 4),
    ("PassionAbSmthing", 5),
    ("Playful", 5),
    ("ShareFeelings", 8),
    ("SocialLifeFriendship", 8),
    ("SuccInOccupHavGdJob", 0),
    ("TchOthrs", 10),
    ("ThngsInOrdr", 14),
    ("WorkILike", 0),
)

FINE_NAMES = tuple(name for name, _ in FINE)
NUM_LABELS = len(FINE)

# By difficulty the first three are all labels; by what the photo must show, so are the last three.
SUBSETS = {
    "easy": (0, 7, 19),
    "medium": (1, 3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 16, 18, 22, 26),
    "hard": (2, 5, 8, 17, 20, 21, 23, 24, 25, 27),
    "object": (0, 3, 10, 11, 12, 16, 23),
    "context": (7, 8),
    "other": (1, 2, 4, 5, 6, 9, 13, 14, 15, 17, 18, 19, 20, 21, 22, 24, 25, 26, 27),
}


class SplitCounts(NamedTuple):
    """What a complete split holds.

    Args:
        num_images: photos.
        coarse: photos per coarse label.
        middle: photos per middle label.
        fine: photos per fine label.
        by_number: photos with one fine label, with two, …
    """

    num_images: int
    coarse: tuple[int, ...]
    middle: tuple[int, ...]
    fine: tuple[int, ...]
    by_number: tuple[int, ...]


# fmt: off
COUNTS = {
    "train": SplitCounts(
        12_740,
        (1647, 2000, 7712, 724, 4638, 900, 932, 580, 1390),
        (1114, 576, 1319, 730, 5692, 3170, 724, 2081, 1214, 1785, 900, 932, 580, 252, 1241),
        (1785, 580, 348, 549, 1311, 576, 1080, 1508, 1130, 1060, 932, 730, 252, 1319,
         724, 1153, 1029, 145, 679, 2375, 462, 637, 251, 662, 583, 762, 641, 565),
        (6322, 3446, 1816, 777, 255, 96, 20, 5, 3),
    ),
    "val": SplitCounts(
        498,
        (53, 74, 316, 22, 210, 9, 15, 12, 63),
        (26, 28, 14, 60, 217, 178, 22, 40, 61, 119, 9, 15, 12, 33, 31),
        (119, 12, 15, 18, 52, 28, 107, 45, 12, 32, 15, 60, 33, 14,
         22, 18, 22, 7, 12, 131, 15, 43, 12, 38, 8, 2, 20, 18),
        (225, 163, 71, 30, 8, 1),
    ),
    "test": SplitCounts(
        1_217,
        (128, 185, 749, 73, 505, 23, 68, 29, 133),
        (60, 70, 43, 143, 549, 419, 73, 93, 124, 313, 23, 68, 29, 73, 68),
        (313, 29, 30, 51, 131, 70, 279, 91, 48, 75, 68, 143, 73, 43,
         73, 53, 41, 19, 14, 347, 30, 104, 26, 77, 22, 4, 56, 41),
        (547, 379, 166, 88, 28, 7, 2),
    ),
}
# fmt: on


def label_space() -> LabelSpace:
    """9 coarse, 15 middle and 28 fine labels, with the authors' subsets of the fine ones."""
    return LabelSpace.from_parents(
        [_COARSE_NAMES, [name for name, _ in MIDDLE], FINE_NAMES],
        [[parent for _, parent in MIDDLE], [parent for _, parent in FINE]],
        SUBSETS,
    )
