"""The `push` verb: a model onto the Hugging Face hub, with a card that says what it is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hlcli.errors import CheckpointError, HlcliError
from hlcli.files import write_json
from hlcli.hub.card import write_card
from hlcli.hub.names import first_line, hub_errors, hub_hint, hub_name, local_model, parse_repository
from hlcli.hub.public_recipe import without_places
from hlcli.models.description import DESCRIPTION_FILE, read_document
from hlcli.models.folder import MODEL_FILES, LoadedModel, copy_model, model_facts, save_model
from hlcli.models.opening import GivenModel
from hlcli.recipe import Recipe

_CARD = "README.md"


def push(model: GivenModel, repository: str, *, private: bool = False, message: str = "") -> str:
    """Put the model of a run, or a model folder, on the hub; its recipe goes without the places of this disk.

    Args:
        model: run folder, model folder, another model on the hub, or a loaded model.
        repository: `owner/name`; made if it is not there, a new version if it is.
        private: make a new one that only its owner sees.
        message: of the version; default one that names hlcli.

    Returns:
        The address of its page.

    Raises:
        InputError: when there is no model, or the name cannot be one on the hub.
        HlcliError: when the hub refuses it, or cannot be reached.

    Examples:
        >>> hlcli.push("runs/shapes", "shapes")
        Traceback (most recent call last):
            ...
        hlcli.errors.InputError: 'shapes' is no name on the hub. Give OWNER/NAME, for example jane/birds.
        >>> hlcli.push("runs/shapes", "jane/shapes")  # doctest: +SKIP
        'https://huggingface.co/jane/shapes'
    """
    from huggingface_hub import HfApi

    from hlcli import __version__

    name = hub_name(repository) or parse_repository(repository)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        _put(model, folder)
        description = _make_public(folder)
        (folder / _CARD).write_text(write_card(description, name.repository), encoding="utf-8")
        hub = HfApi(library_name="hlcli", library_version=__version__)
        try:
            hub.create_repo(name.repository, private=private, exist_ok=True)
            hub.upload_folder(
                repo_id=name.repository,
                folder_path=folder,
                revision=name.revision,
                commit_message=message or f"A model of hlcli {__version__}",
            )
        except hub_errors() as error:
            raise HlcliError(f"{name.repository} cannot be pushed: {first_line(error)}.", hub_hint(error)) from error
    return f"{hub.endpoint}/{name.repository}"


def _put(model: GivenModel, folder: Path) -> None:
    """Write a model as a model folder.

    Raises:
        CheckpointError: when there is no model.
    """
    if isinstance(model, LoadedModel):
        save_model(
            folder,
            model.model.state_dict(),
            model.recipe,
            model.labels,
            thresholds=model.thresholds,
            facts=model.facts,
            vocabulary=model.vocabulary,
            calibration=model.calibration,
        )
        return
    source = local_model(model, MODEL_FILES)
    if not source.is_dir():
        hint = "An upstream checkpoint is made a model folder by `hlcli convert`."
        raise CheckpointError(f"{model} is no run folder and no model folder.", hint)
    model_facts(source)  # refuses a folder without a model
    copy_model(source, folder)


def _make_public(folder: Path) -> dict[str, Any]:
    """Take paths out of the recipe in a model's description, where there are any; the description."""
    description = read_document(folder)
    public = without_places(Recipe.from_dict(description["recipe"])).model_dump(mode="json")
    if public != description["recipe"]:
        description["recipe"] = public
        write_json(folder / DESCRIPTION_FILE, description)
    return description
