"""CLIP models of open_clip by name: configurations, image sizes, tokenizers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from hlcli.encoders.clip_weights import PREFIX, fetch_clip_model, load_clip_weights, uses_quick_gelu
from hlcli.encoders.loading import first_line, optional_package
from hlcli.errors import InputError, RecipeError, nearest
from hlcli.json_text import parse_json

DEFAULT_WEIGHTS = "openai"
_RESNET_STRIDE = 32
_JSON = ".json"
_SHOWN = 40
"""Characters of an inline configuration that messages show."""

TINY = "tiny"
_TINY_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""A small model of our own, without published weights: for trials from scratch."""

_NOT_BUILT = (
    *(TypeError, ValueError, AttributeError, AssertionError),
    *(RuntimeError, LookupError, ArithmeticError, OSError),
)
"""What open_clip and timm raise for a configuration that makes no model."""

_WHOLE_NUMBERS = {
    "vision_cfg": ("width", "head_width", "patch_size"),
    "text_cfg": ("context_length", "vocab_size", "width", "heads", "layers"),
}
"""Keys of a configuration that must be whole numbers above 0 where they are given."""


class _ClipSource(NamedTuple):
    """Where a CLIP model comes from."""

    name: str  # the recipe's, cut short where it is a whole configuration
    architecture: str  # open_clip's name; empty where there is a configuration instead
    tag: str  # of its published weights; empty where there are none
    config: dict[str, Any]  # what open_clip's classes are built with

    @property
    def is_resnet(self) -> bool:
        """Whether the image tower is one of CLIP's own ResNets."""
        vision = self.config["vision_cfg"]
        return isinstance(vision.get("layers"), list | tuple) and not vision.get("timm_model_name")


def open_clip(user: str) -> ModuleType:
    """The library; `user` is what needs it, for the message.

    Raises:
        MissingDependencyError: when it is not installed.
    """
    return optional_package("open_clip", "open_clip", user=user, install='"hlcli[clip]"')


def split_clip_name(name: str) -> tuple[str, str]:
    """`RN50/openai` as architecture and weights; OpenAI's `ViT-B/32` is `ViT-B-32`."""
    architecture, _, weights = re.sub(r"^(ViT-\w+)/(\d+)", r"\1-\2", name).partition("/")
    return architecture, weights


def check_architecture(library: ModuleType, architecture: str) -> None:
    """Refuse a name that open_clip does not know.

    Raises:
        InputError: with the names that are near.
    """
    known = library.list_models()
    if architecture not in known:
        near = nearest(architecture, known, most=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "open_clip.list_models() lists them."
        raise InputError(f"clip:{architecture}: open_clip has no model of this name.", hint)


def is_untrained_clip(name: str) -> bool:
    """Whether what follows `clip:` is a configuration (a file, inline, or `tiny`), which has no weights of its own."""
    return name == TINY or name.startswith("{") or name.endswith(_JSON)


def short_clip_name(name: str) -> str:
    """What messages call a model: its name, or the beginning of an inline configuration."""
    return f"{name[:_SHOWN]}…" if name.startswith(f"{PREFIX}{{") and len(name) > _SHOWN else name


def inline_clip_name(name: str) -> str:
    """`clip:FILE.json` as `clip:{…}`, which needs the file no more; other names unchanged.

    Raises:
        RecipeError: when the file holds no configuration.
    """
    rest = name.removeprefix(PREFIX)
    if rest == name or rest.startswith("{") or not rest.endswith(_JSON):
        return name
    config = _read_config(Path(rest).expanduser())
    return PREFIX + json.dumps(config, sort_keys=True, separators=(",", ":"))


def find_clip_model(name: str) -> _ClipSource:
    """The source of `clip:NAME`, `clip:NAME/TAG`, `clip:FILE.json`, `clip:{…}` (that file's content) or `clip:tiny`.

    Raises:
        RecipeError: when there is none, or its text tower is a model of another library.
        MissingDependencyError: without open_clip.
    """
    rest = name.removeprefix(PREFIX)
    shown = short_clip_name(name)
    library = open_clip(f"backbone.name: {shown}")
    if rest.startswith("{"):
        return _ClipSource(shown, "", "", _parse_config(rest, shown))
    if rest.endswith(_JSON):
        return _ClipSource(name, "", "", _read_config(Path(rest).expanduser()))
    if rest == TINY:
        return _ClipSource(name, "", "", deepcopy(_TINY_CONFIG))
    architecture, tag = split_clip_name(rest)
    try:
        check_architecture(library, architecture)
    except InputError as error:
        raise RecipeError(f"backbone.name: {error.message}", error.hint) from error
    if tag and not library.is_pretrained_cfg(architecture, tag):
        tags = ", ".join(library.list_pretrained_tags_by_model(architecture))
        raise RecipeError(
            f"backbone.name: there are no published weights {tag!r} of {architecture}.",
            f"Published: {tags or 'none'}. A file of weights goes to backbone.weights.",
        )
    if not tag and library.is_pretrained_cfg(architecture, DEFAULT_WEIGHTS):
        tag = DEFAULT_WEIGHTS
    config = library.get_model_config(architecture)
    if uses_quick_gelu(library, architecture, tag):
        config["quick_gelu"] = True
    return _ClipSource(name, architecture, tag, config)


def _read_config(path: Path) -> dict[str, Any]:
    """The configuration in a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeError(
            f"backbone.name: {path} is missing.",
            "Give the path of an open_clip model configuration, or a name such as clip:RN50-quickgelu.",
        ) from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"backbone.name: {path} cannot be read: {error}.") from error
    return _parse_config(text, str(path))


def _parse_config(text: str, source: str) -> dict[str, Any]:
    """An open_clip model configuration, bare or as a folder's `open_clip_config.json` has it."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise _unfit(source, f"it is no JSON: {error}") from error
    config = content.get("model_cfg", content) if isinstance(content, dict) else None
    if not isinstance(config, dict) or not {"embed_dim", *_WHOLE_NUMBERS} <= set(config):
        raise _unfit(source, "embed_dim, vision_cfg and text_cfg were expected")
    _check_number(source, "embed_dim", config["embed_dim"])
    for section, keys in _WHOLE_NUMBERS.items():
        values = config[section]
        if not isinstance(values, dict):
            raise _unfit(source, f"{section} must be names with values, got {values!r:.60}")
        for key in keys:
            if values.get(key) is not None:
                _check_number(source, f"{section}.{key}", values[key])
    for key in ("image_size", "layers"):
        numbers = config["vision_cfg"].get(key, 1)
        for number in numbers if isinstance(numbers, list) else [numbers]:
            _check_number(source, f"vision_cfg.{key}", number)
    if not isinstance(config["text_cfg"].get("tokenizer_kwargs") or {}, dict):
        raise _unfit(source, "text_cfg.tokenizer_kwargs must be names with values")
    return config


def _check_number(source: str, key: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _unfit(source, f"{key} must be a whole number above 0, got {value!r:.60}")


def _unfit(source: str, reason: str) -> RecipeError:
    return RecipeError(
        f"backbone.name: {source} is no model configuration: {reason}.",
        "docs/backbones.md shows one; open_clip.get_model_config(NAME) gives those of its own models.",
    )


def check_clip_size(source: _ClipSource, image_size: tuple[int, int]) -> None:
    """Refuse images whose edges would be cut off.

    Raises:
        RecipeError: naming the sizes that fit.
    """
    vision = source.config["vision_cfg"]
    if vision.get("timm_model_name"):
        return  # its own error names the size
    step = _RESNET_STRIDE if source.is_resnet else int(vision.get("patch_size") or 16)
    if any(side % step or side < step for side in image_size):
        raise RecipeError(
            f"data.image_size: {source.name} does not take images of {image_size[0]}×{image_size[1]} pixels: sides "
            f"must be multiples of {step}."
        )


def resnet_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """Cells of a CLIP ResNet's last map."""
    return image_size[0] // _RESNET_STRIDE, image_size[1] // _RESNET_STRIDE


def make_clip_model(
    source: _ClipSource, image_size: tuple[int, int], *, pretrained: bool = False, weights: Path | None = None
) -> Any:
    """open_clip's model in float32; a ResNet at its own size, others at `image_size`.

    Args:
        source: what to build.
        image_size: height and width in pixels.
        pretrained: fetch the published weights, unless there are local ones.
        weights: a local file.

    Raises:
        RecipeError: when it cannot be built, or has no published weights.
        CheckpointError: when local weights do not fit.
        DownloadError: when published ones cannot be fetched.
    """
    library = open_clip(f"backbone.name: {source.name}")
    size = None if source.is_resnet else image_size
    if pretrained and weights is None:
        return _published(library, source, size)
    model = _construct(library, source, size)
    if weights is not None:
        load_clip_weights(model, weights)
    return model


def _construct(library: ModuleType, source: _ClipSource, image_size: tuple[int, int] | None) -> Any:
    config = deepcopy(source.config)
    if image_size is not None:
        config["vision_cfg"]["image_size"] = image_size
    _refuse_foreign_text(source)
    make = library.CustomTextCLIP if config.pop("custom_text", False) else library.CLIP
    try:
        return make(**config)
    except _NOT_BUILT as error:
        reason = f"cannot be built: {first_line(error)}"
        if source.config["vision_cfg"].get("timm_model_name") and image_size:  # all other sizes are checked before
            reason = f"cannot be built for images of {image_size[0]}×{image_size[1]} pixels: {first_line(error)}"
        raise RecipeError(f"backbone.name: {source.name} {reason}") from error


def _refuse_foreign_text(source: _ClipSource) -> None:
    text = source.config["text_cfg"]
    if text.get("hf_model_name") or text.get("hf_tokenizer_name") or "multimodal_cfg" in source.config:
        raise RecipeError(
            f"backbone.name: the text tower of {source.name} cannot be used: it is no CLIP transformer.",
            "Take a CLIP model such as RN50-quickgelu or ViT-B-32-quickgelu.",
        )


def _published(library: ModuleType, source: _ClipSource, image_size: tuple[int, int] | None) -> Any:
    if not source.tag:
        tags = library.list_pretrained_tags_by_model(source.architecture)
        raise RecipeError(
            f"backbone.pretrained: there are no weights to fetch for {source.name}.",
            f"Write {PREFIX}{source.architecture}/{tags[0]}." if tags else "Set backbone.weights: FILE, or false.",
        )
    return fetch_clip_model(
        library, source.architecture, source.tag, image_size=image_size, hint="Go online once, or set backbone.weights."
    )


def clip_tokenizer(source: _ClipSource) -> Callable[[list[str]], Tensor]:
    """Texts to token ids, one column wider than the model reads, so that what does not fit can be seen."""
    library = open_clip(f"backbone.name: {source.name}")
    text = source.config["text_cfg"]
    try:
        tokenizer = library.SimpleTokenizer(**(text.get("tokenizer_kwargs") or {}))
    except _NOT_BUILT as error:
        raise _unfit(source.name, f"text_cfg.tokenizer_kwargs: {first_line(error)}") from error
    return partial(tokenizer, context_length=int(text.get("context_length") or 77) + 1)
