"""Small files of a reader: tables, lists, features and weights that commands of the documentation name."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from archive_files import make_zip
from intentonomy_files import ROWS, image_id
from nuswide_files import OFFICIAL

_COLOURS = ("red", "green", "blue")
_LISTS = {
    "voc_train.txt": "000005.jpg,8\n000009.jpg,14\n",
    "voc_val.txt": "000007.jpg,6\n000012.jpg,11\n",
    "cub_train.txt": "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg, 212\n",
}
_COCO_LIST = "COCO_train2014_000000000009.jpg,45\nCOCO_train2014_000000000030.jpg,0\n"


def _rows(count: int) -> list[tuple[str, list[str], str]]:
    """Photos called by their numbers, with one or two labels each, most of them to train on."""
    return [
        (f"{n}.jpg", [_COLOURS[n % 3], *(["large"] if n % 5 == 0 else [])], "val" if n % 4 == 3 else "train")
        for n in range(count)
    ]


def write_table(name: str, count: int) -> None:
    """A table of photos and their labels in hlcli's own form."""
    rows = [f"{photo},{';'.join(labels)},{split}" for photo, labels, split in _rows(count)]
    Path(name).write_text("\n".join(["image,labels,split", *rows, ""]))


def write_tags(name: str) -> None:
    """The same as another program writes it."""
    rows = [f'{photo},"{", ".join(labels)}",{split}' for photo, labels, split in _rows(24)]
    Path(name).write_text("\n".join(["file,tags,split", *rows, ""]))


def write_captions() -> None:
    """Captions of the photos as a table, and in COCO's form for each split."""
    texts = {number: f"a {_COLOURS[number % 3]} photo" for number in range(24)}
    Path("captions.csv").write_text("image,captions\n" + "".join(f"{n}.jpg,{text}\n" for n, text in texts.items()))
    for split, numbers in {"train": range(16), "val": range(16, 24)}.items():
        images = [{"id": number, "file_name": f"{number}.jpg"} for number in numbers]
        captions = [{"id": number, "image_id": number, "caption": texts[number]} for number in numbers]
        Path(f"captions_{split}.json").write_text(json.dumps({"images": images, "annotations": captions}))


def write_results() -> None:
    """What a model said of two photos, and what people did."""
    Path("captions.jsonl").write_text('{"image": 1, "caption": "a dog"}\n{"image": 2, "caption": "a red cat"}\n')
    people = [{"id": number, "image_id": number, "caption": text} for number, text in {1: "a dog", 2: "a cat"}.items()]
    document = {"images": [{"id": 1}, {"id": 2}], "annotations": people}
    Path("captions_val2014.json").write_text(json.dumps(document))


def write_lists() -> None:
    """Label lists of HSPNet's and SPLC's authors, for the small data sets."""
    Path("DIR").mkdir()
    for name, text in _LISTS.items():
        Path("DIR", name).write_text(text)
    Path("coco_train_singlelabel.txt").write_text(_COCO_LIST)


def write_masks() -> None:
    """Object masks of Intentonomy's photos: one that covers all."""
    everything = {"size": [16, 24], "counts": [0, 16 * 24]}
    entry = {"scores": [0.9], "masks": [everything], "image_shape": [16, 24]}
    ids = [image_id(split, row) for split, rows in ROWS.items() for row in range(len(rows))]
    Path("coco_maskrcnn.json").write_text(json.dumps({f"low/{one}.jpg": entry for one in ids}))


def write_vinvl() -> None:
    """VinVL's two tables, of two photos."""
    folder = Path("vinvl/train2014")
    folder.mkdir(parents=True)
    rows = base64.b64encode(np.ones((2, 2054), dtype="<f4").tobytes()).decode()
    facts = {"image_h": 16, "image_w": 24, "objects": [{"rect": [0, 0, 5, 5], "conf": 0.9}] * 2}
    (folder / "features.tsv").write_text("".join(f"{name}\t2\t{rows}\n" for name in (9, 522418)))
    (folder / "predictions.tsv").write_text("".join(f"{name}\t{json.dumps(facts)}\n" for name in (9, 522418)))


def write_relation() -> None:
    """A published label graph, of VOC's 20 labels and 4 parents."""
    np.save("relation+voc+super.npy", np.full((24, 24), 0.5, dtype=np.float32) + np.eye(24, dtype=np.float32) / 2)


def write_weights() -> None:
    """Weights of the backbone that stands for all others, as a file."""
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), "resnet50.safetensors")


def write_downloads() -> None:
    """What a browser has fetched: archives that their authors send on request."""
    photos = Path("data/nuswide/Flickr")
    Path("Downloads").mkdir(exist_ok=True)
    content = {file.replace("\\", "/"): (photos / file.replace("\\", "/")).read_bytes() for file in OFFICIAL}
    Path("Downloads/Flickr.zip").write_bytes(make_zip(content))
    shutil.rmtree(photos.parent)


def official(name: str, write: Callable[[Path], object]) -> Callable[[], object]:
    """A data set as it is published, in its place."""
    return lambda: write(Path("data", name))
