"""Small files in PASCAL VOC's official layout, made up."""

from __future__ import annotations

from pathlib import Path

from intentonomy_files import photo

from hlcli.data.datasets.voc_labels import LABEL_NAMES

OBJECTS = {
    "000005": ["chair", "chair", "sofa!"],
    "000007": ["car", "car!"],
    "000009": ["person", "horse"],
    "000012": ["dog!"],
    "000001": ["dog", "person!"],
    "000002": ["train"],
}
"""Image id → its objects; `!` marks the difficult ones."""

LISTS = {"train": ["000005", "000009"], "val": ["000007", "000012"], "test": ["000001", "000002"]}
LISTS["trainval"] = sorted(LISTS["train"] + LISTS["val"])

_OBJECT = """
  <object>
    <part><name>hand</name><bndbox><xmin>1</xmin></bndbox></part>
    <name>{name}</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>{difficult}</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
  </object>"""


def annotation(objects: list[str]) -> str:
    """The XML of an image; every object also has a part with a name of its own."""
    parts = [_OBJECT.format(name=text.rstrip("!"), difficult=int(text.endswith("!"))) for text in objects]
    return f"<annotation>\n  <folder>VOC2007</folder>\n  <filename>a.jpg</filename>{''.join(parts)}\n</annotation>\n"


def class_lines(label: str, ids: list[str]) -> str:
    """`<class>_<list>.txt`: 1 present, 0 difficult only, -1 absent; the year 2007 ends lines as Windows does."""
    rows = []
    for image_id in ids:
        objects = OBJECTS[image_id]
        value = "1" if label in objects else "0" if f"{label}!" in objects else "-1"
        rows.append(f"{image_id} {value:>2}\r\n")
    return "".join(rows)


def write_voc(folder: Path, lists: tuple[str, ...] = ("train", "val", "trainval", "test")) -> Path:
    """The layout below `folder`, an extra photo among the others."""
    main = folder / "ImageSets" / "Main"
    for path in (main, folder / "Annotations", folder / "JPEGImages"):
        path.mkdir(parents=True)
    for name in lists:
        (main / f"{name}.txt").write_text("".join(f"{image_id}\r\n" for image_id in LISTS[name]), newline="")
        for label in LABEL_NAMES:
            (main / f"{label}_{name}.txt").write_text(class_lines(label, LISTS[name]), newline="")
    for image_id, objects in OBJECTS.items():
        (folder / "Annotations" / f"{image_id}.xml").write_text(annotation(objects))
    for image_id in [*OBJECTS, "000333"]:
        (folder / "JPEGImages" / f"{image_id}.jpg").write_bytes(photo())
    return folder
