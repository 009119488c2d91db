"""CUB-200-2011: 312 labels in their official order, named as HSPNet writes them, two sets of parents, and counts."""

from __future__ import annotations

_COLOURS = "blue brown iridescent purple rufous grey yellow olive green pink orange black white red buff"
_EYE_COLOURS = _COLOURS.replace("iridescent ", "")
_PATTERNS = "solid spotted striped multi-colored"
_VALUES = {
    "bill_shape": "curved_(up_or_down) dagger hooked needle hooked_seabird spatulate all-purpose cone specialized",
    "wing_color": _COLOURS,
    "upperparts_color": _COLOURS,
    "underparts_color": _COLOURS,
    "breast_pattern": _PATTERNS,
    "back_color": _COLOURS,
    "tail_shape": "forked_tail rounded_tail notched_tail fan-shaped_tail pointed_tail squared_tail",
    "upper_tail_color": _COLOURS,
    "head_pattern": "spotted malar crested masked unique_pattern eyebrow eyering plain eyeline striped capped",
    "breast_color": _COLOURS,
    "throat_color": _COLOURS,
    "eye_color": _EYE_COLOURS,
    "bill_length": "about_the_same_as_head longer_than_head shorter_than_head",
    "forehead_color": _COLOURS,
    "under_tail_color": _COLOURS,
    "nape_color": _COLOURS,
    "belly_color": _COLOURS,
    "wing_shape": "rounded-wings pointed-wings broad-wings tapered-wings long-wings",
    "size": "large_(16_-_32_in) small_(5_-_9_in) very_large_(32_-_72_in) medium_(9_-_16_in) very_small_(3_-_5_in)",
    "shape": "upright-perching_water-like chicken-like-marsh long-legged-like duck-like owl-like gull-like "
    "hummingbird-like pigeon-like tree-clinging-like hawk-like sandpiper-like upland-ground-like swallow-like "
    "perching-like",
    "back_pattern": _PATTERNS,
    "tail_pattern": _PATTERNS,
    "belly_pattern": _PATTERNS,
    "primary_color": _COLOURS,
    "leg_color": _COLOURS,
    "bill_color": _COLOURS,
    "crown_color": _COLOURS,
    "wing_pattern": _PATTERNS,
}
_PARTS = (
    "throat breast crown head forehead primary back shape belly bill nape underparts upperparts wing under upper leg "
    "tail size eye"
)
"""In HSPNet's order."""

ATTRIBUTES = tuple(f"has_{parent}::{value}" for parent, values in _VALUES.items() for value in values.split())
"""As `attributes.txt` names them."""


def _label_name(parent: str, value: str) -> str:
    """A label as HSPNet writes it: the value and the part of the body, which is the parent's first word.

    What stands in brackets is cut off: `bill_shape`, `curved_(up_or_down)` is "curved bill".
    """
    value = value.partition("_(")[0].replace("perching_water", "perching-water")
    return f"{value} {parent.partition('_')[0]}"


OFFICIAL_PARENTS = {
    parent.replace("_", " "): tuple(_label_name(parent, value) for value in values.split())
    for parent, values in _VALUES.items()
}
LABEL_NAMES = tuple(name for names in OFFICIAL_PARENTS.values() for name in names)
PARENTS = {part: tuple(name for name in LABEL_NAMES if name.endswith(f" {part}")) for part in _PARTS.split()}
"""HSPNet's: all labels of a part of the body together, whether colour, pattern or shape."""

NUM_ROWS = 3_677_856
"""Rows of `image_attribute_labels.txt`: 312 for each of 11,788 images."""

COUNTS = {"train": 5_994, "test": 5_794}
"""Images by split."""

TEST_LABELS = 182_704
"""Positives of the test images by HSPNet's list."""
