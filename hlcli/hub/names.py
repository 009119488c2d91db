"""Names of models on the Hugging Face hub, `hf://owner/name`, which stand for a model folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hlcli.errors import CheckpointError, HlcliError, InputError

_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may do this."
_NETWORK = "Check the network (HTTPS_PROXY, HF_ENDPOINT, HF_HUB_OFFLINE)."

_NOT_THE_HUB = (json.JSONDecodeError, UnicodeDecodeError)
"""An answer that is no JSON comes from somebody else, such as a hotel's network."""

_PREFIXES = ("hf://", "hf:/")
"""A `Path` makes one slash of two."""


class HubName(NamedTuple):
    """A model on the hub.

    Args:
        repository: `owner/name`.
        revision: a branch, a tag or a commit; None for the newest version.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


def hub_name(model: str | Path) -> HubName | None:
    """What `hf://owner/name` or `hf://owner/name@revision` means; None for a place on disk.

    Raises:
        InputError: when the name cannot be one on the hub.
    """
    text = str(model)
    prefix = next((prefix for prefix in _PREFIXES if text.startswith(prefix)), None)
    return None if prefix is None else parse_repository(text.removeprefix(prefix))


def parse_repository(text: str) -> HubName:
    """`owner/name` or `owner/name@revision`.

    Raises:
        InputError: saying what is wrong with it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repository, _, revision = text.partition("@")
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"{text!r} is no name on the hub: {first_line(error)}.", "Give OWNER/NAME.") from error
    if repository.count("/") != 1:
        raise InputError(f"{text!r} is no name on the hub.", "Give OWNER/NAME, for example jane/birds.")
    return HubName(repository, revision or None)


def local_model(model: str | Path, files: Sequence[str]) -> Path:
    """The folder or file of a model on this disk; one on the hub is fetched, or taken from the hub's cache.

    Args:
        model: a place on disk, or `hf://owner/name`.
        files: what is fetched.

    Raises:
        InputError: when the name cannot be one on the hub.
        CheckpointError: when there is no such model on the hub, or it is not for everybody.
        HlcliError: when the hub cannot be asked, or does not answer as a hub, and the model was not fetched before.
    """
    name = hub_name(model)
    if name is None:
        return Path(model)
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(name.repository, revision=name.revision, allow_patterns=list(files)))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError) as error:
        raise CheckpointError(f"{name} is not on the hub, or not for you to see.", hub_hint(error)) from error
    except errors.LocalEntryNotFoundError as error:
        raise HlcliError(f"{name}: the hub cannot be reached.", f"It was not fetched before. {_NETWORK}") from error
    except hub_errors() as error:
        raise HlcliError(f"{name} cannot be fetched: {first_line(error)}.", hub_hint(error)) from error


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises: of answers, the hub's or not, of the network (by its HTTP library), of disks."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*HfHubHTTPError.__bases__, OSError, *_NOT_THE_HUB)


def hub_hint(error: Exception) -> str | None:
    """What helps against one of `hub_errors`; to log in where the hub wants to know who asks."""
    from huggingface_hub import errors, get_token

    status = getattr(getattr(error, "response", None), "status_code", None)
    is_nobody = status == 404 and get_token() is None and not isinstance(error, errors.RevisionNotFoundError)
    if is_nobody or status in (401, 403) or isinstance(error, errors.LocalTokenNotFoundError):
        return _LOG_IN
    if status == 404:
        return "Check OWNER/NAME, and the version behind `@`."
    return _NETWORK if status is None and getattr(error, "errno", None) is None else None


def first_line(error: Exception) -> str:
    """The first line of the hub's words, without its full stop."""
    if isinstance(error, _NOT_THE_HUB):
        return "the hub cannot be reached, somebody else answers"
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
