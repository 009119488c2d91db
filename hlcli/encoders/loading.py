"""What encoders of label names share: their shape, optional packages, models from the Hugging Face hub."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError
from torch import Tensor

from hlcli.errors import DownloadError, InputError, MissingDependencyError
from hlcli.json_text import read_json

Loaded = TypeVar("Loaded")

_UNFIT = (
    OSError, EOFError, ValueError, TypeError, RuntimeError, LookupError, AttributeError, AssertionError, MemoryError,
    ArithmeticError, SafetensorError, getattr(hub_errors, "StrictDataclassError", ValueError),  # of newer versions
)  # fmt: skip
"""What libraries raise for a folder whose files contradict each other."""

_SECONDS_TO_ANSWER = 10
"""How long the hub has to answer at all, or HF_HUB_ETAG_TIMEOUT if that is longer; its own client would try again for
a minute."""

_FOLDER_HINT = "Is the name right? Without a network, copy the model's folder here and give its path to --encoder."


class Encoder(NamedTuple):
    """Turns one text into a vector.

    Args:
        encode: a text to a vector [E].
        settings: JSON-ready facts on how it does so.
    """

    encode: Callable[[str], Tensor]
    settings: dict[str, Any]


def optional_package(
    module: str, package: str, *, user: str = "This encoder", install: str | None = None
) -> ModuleType:
    """Import a package that hlcli does not bring along.

    Args:
        module: what is imported.
        package: what messages call it.
        user: what needs it.
        install: what pip is told to install; None: the package.

    Raises:
        MissingDependencyError: when it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{user} needs {package} ({error}).", f"pip install {install or package}"
        ) from error


def load_pretrained(name: str, load: Callable[[bool], Loaded]) -> Loaded:
    """A model from a folder, the hub's cache or the hub, asked in this order.

    Args:
        name: a folder, or a name on the hub.
        load: loads it; its argument says to open no connection.

    Raises:
        InputError: when there is no such folder, it holds no such model, or a name cannot be one of the hub.
        DownloadError: when the hub has no such model or cannot be reached.
        MissingDependencyError: when the model needs a package that is not installed.
    """
    is_folder = Path(name).expanduser().is_dir()
    if not is_folder and (name.startswith((".", "/", "~")) or Path(name).exists()):
        raise InputError(f"{name} is not a folder of a text model.")
    if not is_folder:
        _check_name(name)
    try:
        with _quiet_libraries():
            if not is_folder:
                with suppress(OSError):  # not in the cache
                    return load(True)
                ask_hub(name)
            return load(is_folder)
    except ImportError as error:
        raise MissingDependencyError(f"{name} needs a package that is not installed: {first_line(error)}") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{name}: its weights are damaged or ask to run code, which is refused.", "Take them as safetensors."
        ) from error
    except _UNFIT as error:
        if is_folder:
            raise InputError(f"{name} is not a folder of a text model: {first_line(error)}") from error
        raise _not_fetched(name, error) from error


def _check_name(name: str) -> None:
    """Refuse what cannot be a name on the hub, before asking for it."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name!r} is neither a folder nor a name on the Hugging Face hub: {error}") from error


def ask_hub(name: str, hint: str = _FOLDER_HINT) -> None:
    """Ask the hub once whether it is there, whatever it answers.

    Raises:
        DownloadError: when it does not answer.
    """
    try:
        reach_hub()
    except ConnectionError as error:
        raise _not_fetched(name, error, hint) from error


def reach_hub() -> None:
    """Ask the hub once whether it is there, whatever it answers; not where it is not to be asked (HF_HUB_OFFLINE).

    Raises:
        ConnectionError: when it does not answer.
    """
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return
    try:
        httpx.head(constants.ENDPOINT, timeout=max(_SECONDS_TO_ANSWER, constants.HF_HUB_ETAG_TIMEOUT))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(first_line(error)) from error


def is_cached(repository: str, files: Sequence[str]) -> bool:
    """Whether one of these files of a model on the hub was fetched before."""
    return cached_file(repository, files) is not None


def cached_file(repository: str, files: Sequence[str]) -> str | None:
    """The first of these files of a model on the hub that was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((place for place in found if isinstance(place, str)), None)


def _not_fetched(name: str, error: Exception, hint: str = _FOLDER_HINT) -> DownloadError:
    return DownloadError(f"{name} cannot be fetched from the Hugging Face hub: {first_line(error)}", hint)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """The libraries' own messages would only repeat ours."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "sentence_transformers", "httpx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def refuse_foreign_code(folder: Path) -> None:
    """Make sure that a sentence-transformers folder names no program of its own, which loading it would run.

    Raises:
        InputError: when it does, or cannot be read.
    """
    path = folder / "modules.json"
    try:
        kinds = [str(module["type"]) for module in read_json(path)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} does not list the modules of a sentence-transformers model: {error}") from error
    foreign = [kind for kind in kinds if not kind.startswith("sentence_transformers.")]
    if foreign:
        raise InputError(f"{path} asks for code that is not part of sentence-transformers: {foreign[0]}.")


def first_line(error: Exception) -> str:
    """What another library's error says first."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
