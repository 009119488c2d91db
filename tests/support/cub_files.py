"""Small files in CUB-200-2011's official layout, made up."""

from __future__ import annotations

from pathlib import Path

from intentonomy_files import photo

from hlcli.data.datasets.cub_labels import ATTRIBUTES

IMAGES = {
    1: ("001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 0, (0, 8, 311)),
    2: ("001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, (212, 4, 23)),
    4: ("002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg", 1, (9, 24)),
    3: ("002.Laysan_Albatross/Laysan_Albatross_0001_545.jpg", 1, ()),
}
"""Number → file, 1 where it is a training image, attributes from 0."""


def attribute_rows() -> list[str]:
    """A row per image and attribute; one of them has a column too many, as a few of the real ones."""
    rows = []
    for number, (_, _, present) in IMAGES.items():
        for label in range(len(ATTRIBUTES)):
            certainty = 1 + (number + label) % 4
            extra = "0 " if (number, label) == (2, 9) else ""
            rows.append(f"{number} {label + 1} {int(label in present)} {certainty} {extra}1.509")
    return rows


def write_cub(folder: Path, *, attributes_at: str | None = ".") -> Path:
    """The content of the archive below `folder`; `attributes_at` is where `attributes.txt` lies there."""
    main = folder / "CUB_200_2011"
    (main / "attributes").mkdir(parents=True)
    (main / "images.txt").write_text("".join(f"{number} {file}\n" for number, (file, _, _) in IMAGES.items()))
    (main / "train_test_split.txt").write_text("".join(f"{number} {mark}\n" for number, (_, mark, _) in IMAGES.items()))
    (main / "attributes" / "image_attribute_labels.txt").write_text("\n".join(attribute_rows()) + "\n")
    if attributes_at is not None:
        text = "".join(f"{number} {name}\n" for number, name in enumerate(ATTRIBUTES, 1))
        (folder / attributes_at / "attributes.txt").write_text(text)
    for file, _, _ in IMAGES.values():
        path = main / "images" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo())
    return folder
