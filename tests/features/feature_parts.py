"""Small feature files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hlcli.features.reading import FeatureWriter

FACTS = {"kind": "grid", "backbone": "clip:ViT-L-14", "image_size": [224, 224], "width": 3}


def write(path: Path, *image_ids: str, facts: dict | None = None, dtype: str = "float32") -> Path:
    with FeatureWriter(path, facts, dtype=dtype) as writer:
        for number, image_id in enumerate(image_ids):
            cells = np.arange(6.0).reshape(2, 3) + number
            writer.write(image_id, {"features": cells, "global": cells.mean(axis=0)})
    return path
