"""Damage for files: bytes without regard to any grammar, and trees (of JSON, of YAML) that stay well-formed."""

from __future__ import annotations

import copy
import json
import re
from random import Random
from typing import Any

_TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *("NaN", "Infinity", "-Infinity", "1e309", "-1e309", "1e-400", "-0", "-1", "0x10", "007", "1_000", "1e5"),
        *("2.5", "9223372036854775808", "9" * 400, "1" * 5000, "null", "true", "no", "~", "''", '""', '"', "'", "`"),
        *("\\", "\\u0000", "\\ud800", "\\udfff\\ud800", "\\x00", "\x00", "\ufeff", "\u2028", "\x85", "\x1b[31m"),
        *(
            "\u202e",
            "[",
            "]",
            "{",
            "}",
            "[[",
            "{}",
            "[]",
            '{"a":',
            ",",
            ";",
            "|",
            "\t",
            " ",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
        ),
        *(":", "- ", "&a ", "*a", "<<: *a", "!!python/object/apply:os.system ['true']", "!x ", "? ", "> ", "| "),
        *("---\n", "...", "# ", "%YAML 1.1\n", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&lt;", "<![CDATA[", "-->"),
        *("<a>", "</a>", "é", "e\u0301", "../../etc/passwd", "/etc/passwd", "C:\\a", "a/../b", "\\\\", "%s", "{0}"),
        *("$HOME", "𝕏", "\udcff", "١٢"),
    )
)

_WORD = re.compile(rb"[^\s\[\]{}:,;|<>\"'=]+")
_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, 1.0, -0.5, 1e-320, 1e308, float("inf"),
    float("nan"), "", " ", "a", "0", "1", "-1", "1e5", "\x00", "\n", "a\nb", "\ud800", "\ufeff", "\x1b[31m", "é", "..",
    "../a", "/a", "a" * 3000, [], {}, [[]], [None], [1], ["a"], {"a": 1}, {"": None}, [{}], [0.5],
)  # fmt: skip


def mutate(content: bytes, random: Random) -> bytes:
    """A file with a few things done to it, whatever is in it."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        content = random.choice(_WAYS)(content, random)
    return content


def mutate_tree(tree: Any, random: Random) -> Any:
    """A copy of nested lists and mappings in which some values, keys or entries are others."""
    tree = [copy.deepcopy(tree)]
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = [(tree, 0), *_places(tree[0])]
        holder, key = random.choice(places)
        way = random.randrange(8)
        if way <= 3 or holder is tree:
            holder[key] = copy.deepcopy(random.choice(_SCALARS))
        elif way == 4:
            other, place = random.choice(places)
            holder[key] = copy.deepcopy(other[place])
        elif way == 5:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(random.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
        else:
            holder[str(random.choice(_SCALARS)) if random.random() < 0.5 else f"{key}"[1:]] = holder.pop(key)
    return tree[0]


def json_bytes(tree: Any, random: Random) -> bytes:
    """A tree as JSON, at times with a key twice, with a BOM, or as UTF-16."""
    text = json.dumps(tree, ensure_ascii=random.random() < 0.9)
    if random.random() < 0.05 and '": ' in text:
        start = random.choice([match.start() for match in re.finditer('"[^"]*": ', text)])
        end = text.index(": ", start)
        text = f"{text[:start]}{text[start:end]}: 0, {text[start:]}"
    encoding = random.choice(("utf-16", "utf-8-sig")) if random.random() < 0.03 else "utf-8"
    return text.encode(encoding, "surrogatepass")


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every entry of a tree, as its holder and the key there."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [place for key in keys for place in ((node, key), *_places(node[key]))]


def _span(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 1, 2, 4, 16, 64)))


def _flip(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + random.randbytes(end - start) + content[end:]


def _flip_bit(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    return (
        content[:place]
        + bytes(byte ^ 1 << random.randrange(8) for byte in content[place : place + 1])
        + content[place + 1 :]
    )


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _delete(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + content[end:]


def _splice(content: bytes, random: Random) -> bytes:
    """A piece of the file somewhere else in it."""
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    place = random.randrange(len(content) + 1)
    return content[:place] + content[start : min(end, start + 10_000)] + content[place:]


def _insert(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + random.choice(_TOKENS) + content[place:]


def _replace_word(content: bytes, random: Random) -> bytes:
    words = list(_WORD.finditer(content[:50_000]))
    if not words:
        return random.choice(_TOKENS)
    word = random.choice(words)
    other = random.choice(words)[0] if random.random() < 0.3 else random.choice(_TOKENS)
    return content[: word.start()] + other + content[word.end() :]


def _swap_lines(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return b"\n"
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    if random.random() < 0.7:
        lines.pop(random.randrange(len(lines)))
    return b"".join(lines)


def _reencode(content: bytes, random: Random) -> bytes:
    way = random.randrange(5)
    if way == 0:
        return b"\xef\xbb\xbf" + content
    if way == 1:
        return content.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n")))
    return content.decode("latin-1").encode(random.choice(("utf-16", "utf-16-be", "utf-32", "utf-7")))


def _nest(content: bytes, random: Random) -> bytes:
    place, depth = random.randrange(len(content) + 1), random.choice((10, 10, 40, 40, 40, 300, 300, 1000, 1000, 60_000))
    opening = random.choice((b"[", b"{", b'{"a":', b"- ", b"<a>", b"(", b'"', b"?"))
    return content[:place] + opening * depth + content[place:]


def _lengthen(content: bytes, random: Random) -> bytes:
    place, length = random.randrange(len(content) + 1), random.choice((30, 100, 100, 1000, 1000, 5000, 5000, 140_000))
    filling = random.choice((b"a", b"9", b" ", b"\n", b"\xff", b"\x00", b",", b";"))
    return content[:place] + filling * length + content[place:]


def _noise(content: bytes, random: Random) -> bytes:
    return random.randbytes(random.choice((0, 1, 3, 30, 300)))


def _shreds(content: bytes, random: Random) -> bytes:
    return b"".join(random.choice(_TOKENS) for _ in range(random.randrange(30)))


_WAYS = (
    *(_flip, _flip_bit, _cut, _delete, _splice, _insert, _insert, _replace_word, _replace_word, _replace_word),
    *(_swap_lines, _reencode, _nest, _lengthen, _noise, _shreds),
)
