"""Fonts for characters that matplotlib's own font lacks: Chinese, Japanese and Korean, where the machine has some."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

_OWN = "DejaVu Sans"
_EAST_ASIAN = (
    (
        "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Source Han Sans",
        "Source Han Sans JP", "Source Han Sans SC", "Source Han Sans CN", "Source Han Sans TC", "Source Han Sans K",
        "Arial Unicode MS", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback",
    ),
    ("Noto Sans SC", "Noto Sans TC", "PingFang SC", "PingFang HK", "Hiragino Sans GB", "Heiti TC", "Microsoft YaHei",
     "Microsoft JhengHei", "SimHei", "SimSun"),
    ("Noto Sans JP", "Hiragino Sans", "Hiragino Kaku Gothic Pro", "Yu Gothic", "Meiryo", "MS Gothic", "IPAexGothic",
     "IPAGothic", "IPAPGothic", "TakaoGothic", "VL Gothic"),
    ("Noto Sans KR", "Apple SD Gothic Neo", "AppleGothic", "Malgun Gothic", "Gulim", "NanumGothic", "Baekmuk Gulim"),
)  # fmt: skip
"""Families of Linux, macOS and Windows: of most of these scripts, of Chinese, of Japanese, of Korean."""


@cache
def font_families() -> tuple[str, ...]:
    """Families in which a character is looked for: matplotlib's own, then those for East Asian scripts."""
    from matplotlib import rcParams
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    chosen = (next((name for name in families if name in there), None) for families in _EAST_ASIAN)
    return (*rcParams["font.family"], *filter(None, chosen))


def font_file(texts: Iterable[str]) -> str:
    """The file of the first font that has all characters of the texts; matplotlib's own where none has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    characters = {ord(letter) for text in texts for letter in text if not letter.isspace()}
    files = [findfont(FontProperties(family=[name])) for name in (_OWN, *font_families())]
    return next((file for file in files if characters <= {*get_font(file).get_charmap()}), files[0])
