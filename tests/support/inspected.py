"""Small folders of photos with a label file, for inspections; and what an inspection says of them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from hlcli.data.datasets.folder import Folder
from hlcli.data.datasets.shapes import Shapes
from hlcli.inspection.findings import Finding, Inspection


def scene(number: int, size: int = 160) -> Image.Image:
    """A drawn scene."""
    return Shapes(render_size=size).records("train")[number].image.draw()  # type: ignore[union-attr]


def reencoded(image: Image.Image, scale: float = 0.6, quality: int = 60) -> Image.Image:
    """The image, scaled and saved as JPEG, as somebody else might have got it."""
    small = image.resize((round(image.width * scale), round(image.height * scale)))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def write_folder(folder: Path, rows: dict[str, str], *, first: int = 0) -> Folder:
    """A `folder` data set of drawn scenes: `rows` are `labels,split` by file; files that are there already stay.

    Args:
        folder: a folder that may be there.
        rows: e.g. `{"a.png": "cat;dog,train"}`.
        first: number of the first scene.
    """
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(rows, first):
        if not (photos / name).exists():
            scene(number).save(photos / name)
    lines = ["image,labels,split", *(f"{name},{rest}" for name, rest in rows.items())]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return Folder(images=photos, labels=folder / "labels.csv", root=folder)


def found(inspection: Inspection, about: str, text: str) -> Finding:
    """The one finding about something whose sentence holds a text."""
    fitting = [finding for finding in inspection.findings if finding.about == about and text in finding.what]
    assert len(fitting) == 1, [finding.what for finding in inspection.findings]
    return fitting[0]
