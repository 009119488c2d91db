"""What caption metrics are called: as one asks for them, and as their values are told. No NumPy here."""

from __future__ import annotations

from collections.abc import Sequence

METRICS = ("BLEU", "METEOR", "ROUGE-L", "CIDEr", "SPICE")
WITHOUT_JAVA = ("BLEU", "ROUGE-L", "CIDEr")


def spelt_out(names: Sequence[str]) -> list[str]:
    """Names under which metrics of `METRICS` are told, in its order: `BLEU` gives four.

    Examples:
        >>> spelt_out(["CIDEr", "BLEU"])
        ['BLEU-1', 'BLEU-2', 'BLEU-3', 'BLEU-4', 'CIDEr']
    """
    chosen = [name for name in METRICS if name in names]
    return [one for name in chosen for one in ([f"BLEU-{n}" for n in range(1, 5)] if name == "BLEU" else [name])]
