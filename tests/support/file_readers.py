"""Every kind of text file that hlcli reads: a valid one, and the smallest public call that reads it.

A new reader is a line in `data_set_readers` (or in `model_readers` of `model_file_readers.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import coco_files
import cub_files
import intentonomy_files
import karpathy_files
import nuswide_files
import vg500_files
import voc_files

from hlcli.data.coco_captions import read_caption_annotations, read_image_list
from hlcli.data.datasets import cub_annotations, nuswide_annotations, vg500_names, voc_annotations
from hlcli.data.datasets.coco_annotations import read_instances
from hlcli.data.datasets.folder import Folder, labelled_records, read_hierarchy
from hlcli.data.datasets.intentonomy_annotations import read_annotations
from hlcli.data.datasets.intentonomy_masks import read_object_masks
from hlcli.data.datasets.karpathy_annotations import read_karpathy
from hlcli.data.datasets.label_lists import read_label_list
from hlcli.data.datasets.nuswide_download import read_addresses
from hlcli.data.datasets.vg500 import Vg500, Vg500Options
from hlcli.data.datasets.vg500 import read_labels as read_vg500_labels
from hlcli.data.datasets.voc_labels import LABEL_NAMES as VOC_NAMES
from hlcli.data.labels import LabelSpace
from hlcli.evaluation.caption_files import score_captions
from hlcli.own_photos.drawing_splits import fill_splits
from hlcli.own_photos.image_names import ImageNames
from hlcli.own_photos.label_file import merge_rows, write_label_file
from hlcli.own_photos.starting import init_recipe
from hlcli.own_photos.tables import read_own_table
from hlcli.recipe_reading.text import write_yaml


class Reader(NamedTuple):
    """How one kind of file is read.

    Args:
        name: of the kind.
        make: fills a folder with valid files, and returns the one that is going to be damaged.
        read: reads that file; whatever is wrong with it, it raises nothing but our own errors.
        again: writes what was read and reads that; it must be equal. None where nothing writes such files.
        cost: so many times fewer files are tried in the suite, because reading one takes so long.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    again: Callable[[Any, Path], Any] | None = None
    cost: int = 1


def text_file(name: str, content: str) -> Callable[[Path], Path]:
    """Makes one file of a text."""

    def make(folder: Path) -> Path:
        (folder / name).write_text(content, encoding="utf-8", newline="")
        return folder / name

    return make


def within(fill: Callable[[Path], Any], *place: str) -> Callable[[Path], Path]:
    """Makes a whole layout, of which one file is damaged."""

    def make(folder: Path) -> Path:
        fill(folder / "layout")
        return folder.joinpath("layout", *place)

    return make


_TABLE = 'image,labels,split,captions\na.jpg,dog;cat,train,"A dog, a cat.|Two."\nb.jpg,cat,val,\nc.jpg,,train,One\n'
_TREE = "pets:\n  furry: [cat, dog]\n  others: [fish, 'no']\nfarm:\n  big: [cow]\n"
_MARKS = "filename;cat;dog;set\na.jpg;1;0;train\nsub/b.jpg;0;1;dev\nc.jpg;1;1;\n"
_LISTED = "image,tags,subset\na.jpg,\"['dog', 'cat']\",training\nb.jpg,\"['cat']\",\nc.jpg,[],test\n"
_KEPT = LabelSpace.flat(["cat", "dog"])
_IMAGES = ("a.jpg", "b.jpg", "c.jpg")
_LINES = '{"image": "1000_ab0.jpg", "caption": "a sentence"}\n{"image": "1001_ab1.jpg", "caption": "the number"}\n'


def _photos(table: str, name: str = "labels.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for image in _IMAGES:
            (folder / image).write_bytes(intentonomy_files.photo())
        return text_file(name, table)(folder)

    return make


def _read_folder(path: Path) -> Any:
    data = Folder(images=path.parent, labels=path)
    return data.label_space(), [(split, list(data.records(split))) for split in data.split_names()]


def _init(path: Path) -> Any:
    folder, number = path.parent, 0
    while (new := folder / f"new{number}").exists():
        number += 1
    return init_recipe(new, images=folder, labels=path).splits


def _read_table(path: Path) -> Any:
    """What `hlcli init` reads of a table, and writes of it; writing sees to it that both say the same."""
    names = ImageNames(path.parent, [path.parent / image for image in _IMAGES])
    table = read_own_table(path, names.find)
    rows = [row for row in merge_rows(table) if row.file is not None]
    write_label_file(path.with_name("labels.csv"), table, fill_splits(str(path), rows, {"train": 0.8, "val": 0.2}))


def _hierarchy_again(labels: LabelSpace, path: Path) -> LabelSpace:
    def branch(depth: int, parent: int | None) -> Any:
        level = labels.levels[depth]
        children = [i for i in range(len(level)) if parent is None or (level.parent_index or ())[i] == parent]
        names = [level.label_names[i] for i in children]
        if depth + 1 == len(labels.levels):
            return names
        return {name: branch(depth + 1, i) for name, i in zip(names, children, strict=True)}

    tree = branch(0, None)
    if isinstance(tree, list):
        return LabelSpace.from_tree(tree)
    path.write_text(write_yaml(tree), encoding="utf-8")
    return read_hierarchy(path)


def _masks(folder: Path) -> Path:
    packed = {"size": [4, 4], "counts": [3, 5, 8]}
    entry = {"scores": [0.9, 0.3], "masks": [packed, {"size": [4, 4], "counts": "04L"}], "image_shape": [4, 4]}
    return text_file("masks.json", json.dumps({"low/a.jpg": entry, "low/b.jpg": {"scores": [], "masks": None}}))(folder)


def _objects(folder: Path) -> Path:
    names = [f"name {i}" for i in range(500)]
    document = vg500_files.make_objects(vg500_files.LABELS, names, noise=0)
    return text_file("objects.json", json.dumps(document))(folder)


def _vg500(path: Path) -> Any:
    prepared = Vg500().prepare(path.parent, Vg500Options(allow_partial=True, without_images=True))
    return {split: list(records) for split, records in prepared.splits.items()}


def _results(folder: Path) -> Path:
    karpathy_files.write_json(folder / "true.json", karpathy_files.flickr_document(("train", "train")))
    return text_file("found.jsonl", _LINES)(folder)


def _references(folder: Path) -> Path:
    _results(folder)
    return folder / "true.json"


def _score(path: Path) -> Any:
    scores = score_captions(path.parent / "found.jsonl", path.parent / "true.json", names=("BLEU",))
    return scores.values


_COCO = ("annotations", "instances_train2014.json")
_VOC = ("ImageSets", "Main")
_CUB = "CUB_200_2011"
_CUB_ROWS = "\n".join(row for row in cub_files.attribute_rows() if row.startswith("1 "))


def _official(path: Path) -> Any:
    root = next(above for above in path.parents if above.name == "layout")
    return nuswide_annotations.read_official(root, {}, allow_partial=True)


def data_set_readers() -> list[Reader]:
    """Files of data sets: one's own, and those of the published sets."""
    images = list(cub_files.IMAGES)
    return [
        Reader("labels of one's own", _photos(_TABLE), _read_folder),
        Reader("labels to measure on", _photos(_TABLE), lambda path: list(labelled_records(path.parent, path, _KEPT))),
        Reader("hierarchy", text_file("tree.yaml", _TREE), read_hierarchy, _hierarchy_again),
        Reader("init", _photos(_LISTED, "table.csv"), _init, cost=10),
        Reader("table of marks", text_file("table.csv", _MARKS), _read_table),
        Reader("table of lists", text_file("table.csv", _LISTED), _read_table),
        Reader("COCO instances", within(coco_files.write_coco, *_COCO), read_instances),
        Reader(
            "COCO captions", json_file("c.json", karpathy_files.caption_document("val2014")), read_caption_annotations
        ),
        Reader("COCO image list", json_file("i.json", karpathy_files.caption_document("train2014")), read_image_list),
        Reader("Karpathy COCO", json_file("k.json", karpathy_files.coco_document()), read_karpathy),
        Reader("Karpathy Flickr", json_file("f.json", karpathy_files.flickr_document()), read_karpathy),
        Reader("Intentonomy train", json_file("t.json", intentonomy_files.document("train")), read_annotations),
        Reader("Intentonomy test", json_file("t.json", intentonomy_files.document("test")), read_annotations),
        Reader("Intentonomy masks", _masks, lambda path: read_object_masks(path, {"a", "b"}, 3)),
        Reader("VOC objects", within(voc_files.write_voc, "Annotations", "000005.xml"), voc_annotations.read_objects),
        Reader("VOC images", within(voc_files.write_voc, *_VOC, "trainval.txt"), voc_annotations.read_image_list),
        Reader(
            "VOC class list",
            within(voc_files.write_voc, *_VOC, f"{VOC_NAMES[4]}_test.txt"),
            lambda path: voc_annotations.read_class_lists(path.parent, "test", ("000001",)),
        ),
        Reader("NUS-WIDE images", within(nuswide_files.write_official, "ImageList", "Imagelist.txt"), _official),
        Reader(
            "NUS-WIDE labels",
            within(nuswide_files.write_official, "Groundtruth", "AllLabels", "Labels_sky.txt"),
            _official,
        ),
        Reader("NUS-WIDE concepts", within(nuswide_files.write_official, "ConceptsList", "Concepts81.txt"), _official),
        Reader(
            "NUS-WIDE index list",
            within(nuswide_files.write_asl, "nus_train_full.txt"),
            nuswide_annotations.read_index_list,
        ),
        Reader("NUS-WIDE addresses", text_file("urls.txt", _ADDRESSES), lambda path: list(read_addresses(path))),
        Reader("label list", text_file("l.txt", "a/b.jpg,1 2\nc.jpg, 0\n"), lambda path: read_label_list(path, 3)),
        Reader(
            "VG-500 labels",
            within(vg500_files.write_partition, "vg_category_500_labels_index.json"),
            read_vg500_labels,
        ),
        Reader("VG-500 list", within(vg500_files.write_partition, "train_list_500.txt"), _vg500),
        Reader("VG-500 objects", _objects, vg500_names.read_objects),
        Reader("VG-500 names", text_file("n.txt", "".join(f"n{i}\n" for i in range(500))), vg500_names.read_names),
        Reader("CUB images", within(cub_files.write_cub, _CUB, "images.txt"), cub_annotations.read_images),
        Reader(
            "CUB splits",
            within(cub_files.write_cub, _CUB, "train_test_split.txt"),
            lambda path: cub_annotations.read_splits(path, images),
        ),
        Reader("CUB attributes", within(cub_files.write_cub, "attributes.txt"), cub_annotations.check_attributes),
        Reader("CUB rows", text_file("r.txt", _CUB_ROWS), lambda path: cub_annotations.read_present(path, [1])),
        Reader("captions to score", _results, _score),
        Reader("true captions", _references, _score),
    ]


_ADDRESSES = (
    "Photo_file Photo_id url_Large url_Middle url_Small url_Original\n"
    "C:\\ImageData\\Flickr\\actor\\0001_2124494179.jpg 2124494179 null http://x/2.jpg http://x/3.jpg null\n"
    "C:\\ImageData\\Flickr\\a b\\0002_11.jpg 11 null null null null\n"
)


def json_file(name: str, document: Any) -> Callable[[Path], Path]:
    return text_file(name, json.dumps(document))
