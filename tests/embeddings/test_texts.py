from __future__ import annotations

from pathlib import Path

import pytest

from hlcli.embeddings.texts import TextRules, label_texts, label_words
from hlcli.errors import DataError, HlcliError, InputError

VOC = ("aeroplane", "diningtable", "pottedplant", "tvmonitor")


def test_only_the_three_voc_words_are_parted():
    assert label_texts((*VOC, "hot_dog", "TVmonitor"), TextRules()) == (
        "aeroplane", "dining table", "potted plant", "tv monitor", "hot_dog", "TVmonitor",
    )  # fmt: skip
    assert label_texts(VOC, TextRules(verbatim=True)) == VOC


def test_clip_reads_underscores_as_blanks_and_the_rest_as_it_is(tmp_path: Path):
    assert label_words((*VOC, "hot_dog")) == (*VOC, "hot dog")
    assert label_words(("hot_dog", "tvmonitor"), TextRules(verbatim=True)) == ("hot_dog", "tvmonitor")
    (tmp_path / "names.yaml").write_text("tvmonitor: tv_set\n")
    assert label_words(VOC, TextRules(tmp_path / "names.yaml")) == (*VOC[:3], "tv set")
    with pytest.raises(InputError, match="bare numbers"):
        label_words(("1", "2"))


def test_a_yaml_file_names_some_labels_and_the_template_surrounds_all(tmp_path: Path):
    (tmp_path / "names.yaml").write_text("tvmonitor: television\naeroplane: plane {x}\n")
    rules = TextRules(tmp_path / "names.yaml", "a photo of a {}.")
    assert label_texts(VOC, rules) == (
        "a photo of a plane {x}.", "a photo of a dining table.", "a photo of a potted plant.",
        "a photo of a television.",
    )  # fmt: skip


def test_a_text_file_names_labels_line_by_line(tmp_path: Path):
    (tmp_path / "names.txt").write_text("dog\r\ncafé au lait \n", encoding="utf-8")
    assert label_texts(("0", "1"), TextRules(tmp_path / "names.txt")) == ("dog", "café au lait")
    with pytest.raises(DataError, match=r"names\.txt has 2 lines; the data set has 3 labels"):
        label_texts(("0", "1", "2"), TextRules(tmp_path / "names.txt"))


def test_bare_numbers_are_no_names_unless_insisted_upon(tmp_path: Path):
    numbers = tuple(map(str, range(500)))
    with pytest.raises(InputError, match=r"500 of 500 labels are bare numbers \(0, 1, 2, 3, 4 and 495 more") as caught:
        label_texts(numbers, TextRules())
    assert "--names" in str(caught.value.hint)
    assert "--force" in str(caught.value.hint)
    assert label_texts(numbers, TextRules(numbers=True)) == numbers
    (tmp_path / "names.yaml").write_text("'0': dog\n")
    with pytest.raises(InputError, match=r"2 of 3 texts are, even with .*names\.yaml, bare numbers \(1, 2\)"):
        label_texts(("0", "1", "2"), TextRules(tmp_path / "names.yaml"))
    assert label_texts(("0", "route 66"), TextRules(tmp_path / "names.yaml")) == ("dog", "route 66")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("n.yaml", "aeroplan: plane\n", "1 name is no label of the data set: aeroplan. Did you mean aeroplane?"),
        ("n.yaml", "qqq: plane\n", "no label of the data set: qqq. Every line reads"),
        ("n.yaml", "aeroplane: 747\n", "the text of aeroplane is 747"),
        ("n.yaml", "aeroplane: ' '\n", "label 'aeroplane' has an empty text"),
        ("n.yaml", "- plane\n", "line 1: names with values were expected"),
        ("n.txt", "a\n\nb\nc\n", "label 'diningtable' has an empty text"),
        ("n.txt", b"\xff\n", "cannot be read as UTF-8"),
        ("gone.yaml", None, "gone.yaml is missing"),
        ("gone.txt", None, "gone.txt is missing"),
    ],
)
def test_a_file_of_names_that_does_not_fit_is_told(
    tmp_path: Path, file: str, content: str | bytes | None, message: str
):
    if content is not None:
        (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        label_texts(VOC, TextRules(tmp_path / file))
    assert message in str(caught.value)


@pytest.mark.parametrize("template", ["a photo", "{} and {}", ""])
def test_a_template_has_one_place_for_the_text(template: str):
    with pytest.raises(HlcliError, match=r"--template: one \{\} was expected"):
        label_texts(VOC, TextRules(template=template))
