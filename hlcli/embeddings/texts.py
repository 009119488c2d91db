"""The words that stand for a label: what an encoder of label names gets to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hlcli.errors import DataError, InputError, RecipeError, named, nearest
from hlcli.plain_text import counted
from hlcli.recipe_reading.text import read_yaml

PHOTO_TEMPLATE = "a photo of a {}."
"""CLIP's own sentence for a label."""

PREPARED_EMBEDDINGS = "label_embeddings.safetensors"
"""What `hlcli embed labels DATASET` writes into the data set's folder."""

PREPARED_GRAPH = "label_graph.safetensors"
"""What `hlcli embed graph DATASET` writes into the data set's folder."""

_CLEANED = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}
"""Pascal VOC's words written together, as SALGL and SGRE part them; they change nothing else."""


@dataclass(frozen=True)
class TextRules:
    """How labels become text.

    Args:
        names: a YAML file `label: text`, or a `.txt` file with one text per label in their order; labels that a YAML
            file leaves out keep their own name.
        template: put around every text, which takes the place of `{}`.
        verbatim: leave label names as they are, `diningtable` too.
        numbers: accept texts that are bare numbers.
    """

    names: str | Path | None = None
    template: str = "{}"
    verbatim: bool = False
    numbers: bool = False


def label_texts(label_names: Sequence[str], rules: TextRules) -> tuple[str, ...]:
    """One text per label, in the order of the labels.

    Raises:
        InputError: when the template has no place for a text, or a text is empty or a bare number.
        DataError: when the file of names cannot be read or does not fit the labels.
    """
    if rules.template.count("{}") != 1:
        raise InputError(f"--template: one {{}} was expected, for the label's text (got {rules.template!r}).")
    given = {} if rules.names is None else _read_names(Path(rules.names), label_names)
    cleaned = {} if rules.verbatim else _CLEANED
    texts = [given.get(label, cleaned.get(label, label)) for label in label_names]
    if not rules.numbers:
        _refuse_numbers(texts, rules.names)
    for label, text in zip(label_names, texts, strict=True):
        if not text.strip():
            where = "" if rules.names is None else f"{rules.names}: "
            raise DataError(f"{where}label {label!r} has an empty text.", "Give it words.")
    return tuple(rules.template.replace("{}", text) for text in texts)


def label_words(names: Sequence[str], rules: TextRules | None = None) -> tuple[str, ...]:
    """What CLIP reads for each name, of labels or parents: underscores as blanks, unless `verbatim`.

    VOC's `diningtable` stays one word, as in HSPNet's published graph: its texts, its graph and zero-shot read alike.

    Raises:
        InputError: as `label_texts`.
        DataError: likewise.
    """
    rules = rules or TextRules()
    blank = "_" if rules.verbatim else " "
    return tuple(text.replace("_", blank) for text in label_texts(names, replace(rules, verbatim=True)))


def _refuse_numbers(texts: Sequence[str], names: str | Path | None) -> None:
    numbers = [text for text in texts if text.strip().isdecimal()]
    if numbers:
        where = "labels are" if names is None else f"texts are, even with {names},"
        raise InputError(
            f"{len(numbers)} of {len(texts)} {where} bare numbers ({named(numbers)}): a text encoder would embed "
            "digits.",
            "Name them in a file: --names FILE.txt, one text per line, or a YAML file `'0': dog`. --force embeds them "
            "as they are; model.label_embeddings=random needs no names.",
        )


def _read_names(path: Path, label_names: Sequence[str]) -> dict[str, str]:
    """Texts by label."""
    if path.suffix.lower() == ".txt":
        return dict(zip(label_names, _read_lines(path, len(label_names)), strict=True))
    try:
        tree = read_yaml(path)
    except RecipeError as error:
        raise DataError(error.message, error.hint) from error
    unknown = [label for label in tree if label not in set(label_names)]
    if unknown:
        near = nearest(unknown[0], label_names)
        raise DataError(
            f"{path}: {counted(len(unknown), 'name is no label', 'names are no labels')} of the data set: "
            f"{named(unknown)}.",
            f"Did you mean {near[0]}?" if near else "Every line reads `label: text`.",
        )
    for label, text in tree.items():
        if not isinstance(text, str):
            raise DataError(f"{path}: the text of {label} is {text!r}.", "Put it in quotes if it is meant as words.")
    return tree


def _read_lines(path: Path, expected: int) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if len(lines) != expected:
        raise DataError(f"{path} has {len(lines)} lines; the data set has {expected} labels.", "One text per label.")
    return lines
