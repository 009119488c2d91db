"""NUS-WIDE in the variants of other papers: ASL's lists, SPML's arrays."""

from __future__ import annotations

import numpy as np
import pytest
from nuswide_files import write_asl, write_spml

from hlcli.data.datasets.nuswide_annotations import read_index_list
from hlcli.errors import DataError, InputError

from .nuswide_parts import given_published_sizes, given_source, prepare, rows  # noqa: F401


def test_the_lists_of_asl_are_another_variant(tmp_path, published_sizes):
    write_asl(tmp_path)
    prepared = prepare(tmp_path, variant="asl")
    assert rows(prepared, "train") == [("0_11_a_m.jpg", ["person"]), ("1_12_b_m.jpg", ["animal", "grass", "zebra"])]
    assert rows(prepared, "test") == [("3_14_d_m.jpg", ["lake", "water"])]
    assert prepared.notes["data_set"] == "ASL's re-crawl"
    assert prepared.notes["variant"] == "asl"
    single = prepare(tmp_path, variant="asl", single_positive=True)
    assert rows(single, "train") == [("0_11_a_m.jpg", ["person"]), ("1_12_b_m.jpg", ["grass"])]
    assert single.notes["data_set"] == "ASL's re-crawl"
    (tmp_path / "nus_train_full.txt").write_text("0_11_a_m.jpg,42\n")
    with pytest.raises(DataError, match="variant asl, train: 3 images were expected, found 1"):
        prepare(tmp_path, variant="asl", allow_partial=False)
    (tmp_path / "nus_val.txt").write_text("a.jpg,81\n")
    with pytest.raises(DataError, match=r"nus_val\.txt, line 1: label 81 is not one of 0\.\.80"):
        prepare(tmp_path, variant="asl")
    (tmp_path / "nus_val.txt").unlink()
    with pytest.raises(DataError, match=r"nus_val\.txt is missing.*--part asl"):
        prepare(tmp_path, variant="asl")


def test_a_list_of_training_labels_works_with_asls_lists(tmp_path, published_sizes):
    write_asl(tmp_path)
    single = prepare(tmp_path, variant="asl", single_positive=True)
    prepared = prepare(tmp_path, variant="asl", allow_partial=False, labels=tmp_path / "nus_train_singlelabel.txt")
    assert prepared.splits == single.splits
    assert prepared.notes["label_lists"]["train"]["labels"] == 2
    assert prepared.notes["data_set"] == "ASL's re-crawl"
    (tmp_path / "odd.txt").write_text("0_11_a_m.jpg,41\n1_12_b_m.jpg,80\n")
    with pytest.raises(DataError, match=r"odd\.txt: 1 of 2 images have listed labels that are none of theirs"):
        prepare(tmp_path, variant="asl", labels=tmp_path / "odd.txt")
    with pytest.raises(InputError, match="single_positive and labels both say"):
        prepare(tmp_path, variant="asl", labels=tmp_path / "odd.txt", single_positive=True)


def test_a_list_of_training_labels_works_with_the_official_split(source, tmp_path):
    (tmp_path / "single.txt").write_text("zebra/0002_12.jpg,30\n")
    prepared = prepare(source, labels=tmp_path / "single.txt")
    assert rows(prepared, "train") == [("zebra/0002_12.jpg", ["grass"])]
    assert len(prepared.splits["test"]) == 2


def test_the_arrays_of_spml_are_another_variant(tmp_path, published_sizes):
    write_spml(tmp_path)
    prepared = prepare(tmp_path, variant="spml", keep_unlabelled=True)
    assert rows(prepared, "train") == [("a.jpg", ["bear", "boats"]), ("b.jpg", [])]
    assert rows(prepared, "test") == [("c.jpg", ["bear", "boats"])]
    assert prepared.notes["data_set"] == "SPML's re-crawl"
    np.save(tmp_path / "formatted_val_labels.npy", np.zeros((1, 80)))
    with pytest.raises(DataError, match=r"has shape \[1, 80\], expected \[1, 81\]"):
        prepare(tmp_path, variant="spml")
    np.save(tmp_path / "formatted_val_images.npy", np.array(["c.jpg"], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        prepare(tmp_path, variant="spml")


def test_options_of_another_variant_are_refused(source):
    with pytest.raises(InputError, match="--variant asl"):
        prepare(source, single_positive=True)


@pytest.mark.parametrize(
    ("content", "single", "message"),
    [
        ("<html>\n", False, r"line 1: `file,index index …` was expected, got '<html>'"),
        ("a.jpg,1\nb.jpg,2\na.jpg,3\n", False, r"line 3: a\.jpg was listed before, in line 1"),
        ("a.jpg," + "1" * 5000, False, "line 1: label 1{20} is not one of 0..80"),
        ("../a.jpg,1\n", False, "line 1: a path below"),
        ("a.jpg,1\nb.jpg,1 2\n", True, "line 2: one label was expected, got 2"),
        ("a.jpg,\n", True, "line 1: one label was expected, got 0"),
    ],
)
def test_a_damaged_list_of_asl_is_named(tmp_path, content, single, message):
    (tmp_path / "nus.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=rf"nus\.txt, {message}"):
        read_index_list(tmp_path / "nus.txt", is_single=single)


def test_matrices_of_other_values_and_other_files_are_refused(tmp_path):
    write_spml(tmp_path)
    path = tmp_path / "formatted_val_labels.npy"
    for value in (2.0, np.nan, -1):
        np.save(path, np.full((1, 81), value))
        with pytest.raises(DataError, match=r"formatted_val_labels\.npy must hold zeros and ones only"):
            prepare(tmp_path, variant="spml")
    with open(path, "wb") as handle:
        np.savez(handle, np.zeros((1, 81)))
    with pytest.raises(DataError, match="it holds several arrays"):
        prepare(tmp_path, variant="spml")
    np.save(path, np.array(1.0))
    with pytest.raises(DataError, match=r"has shape \[\]"):
        prepare(tmp_path, variant="spml")
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**15}, 81)}}\n"
    for content in (b"PK\x03\x04", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            prepare(tmp_path, variant="spml")
