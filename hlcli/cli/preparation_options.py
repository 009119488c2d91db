"""From a data set's section to its `hlcli preprocess` command: its own options are the fields of `prepare_options`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

import hlcli
from hlcli import InputError
from hlcli.cli.commands import Command

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from hlcli.sections import DataSection


def find_data_set(name: str) -> type[DataSection]:
    """The section of a data set.

    Raises:
        InputError: for an unknown name.
    """
    known = hlcli.data_set_classes()
    own = hlcli.data_set_name(name)
    if own is None:
        near = hlcli.near_data_set(name)
        hint = f"Did you mean {near}?" if near else None
        raise InputError(f"There is no data set {name!r} to prepare; known: {', '.join(known)}.", hint)
    return known[own]


def make_command(name: str, section: type[DataSection], preprocess: Callable[..., None]) -> Any:
    """The command of a data set: the common options of `preprocess`, then its own.

    Args:
        name: the data set.
        section: its section.
        preprocess: takes name, own options and the common ones, whose annotations say how they look.
    """
    own = [_parameter(key, field) for key, field in section.prepare_options.model_fields.items()]

    def run(**given: Any) -> None:
        values = {parameter.name: given.pop(parameter.name) for parameter in own}
        preprocess(name, {key: value for key, value in values.items() if value is not None}, **given)

    common = list(inspect.signature(preprocess, eval_str=True).parameters.values())[2:]
    run.__signature__ = inspect.Signature([*common, *own])  # type: ignore[attr-defined]
    text = inspect.cleandoc(section.__doc__ or "").partition("\n\n")[0]
    required = [f"--set {key}={key.upper()}" for key, field in section.model_fields.items() if field.is_required()]
    example = " ".join([f"Example: hlcli preprocess {name}", *required])
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=_SetCommand, help=f"{example}\n{text}", short_help=text)(run)
    return typer.main.get_command(app)


class _SetCommand(Command):
    """The command of one data set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Say whose an option is that belongs to other data sets."""
        known = {word for parameter in self.params for word in (*parameter.opts, *parameter.secondary_opts)}
        for word in (argument.partition("=")[0] for argument in args if argument.startswith("--")):
            owners = (
                []
                if word in known
                else [name for name, section in hlcli.data_set_classes().items() if word in _words(section)]
            )
            if owners:
                raise InputError(
                    f"{word} is an option of {' and '.join(owners)}, not of {self.name}.",
                    f"`hlcli preprocess {self.name} --help` lists its options.",
                )
        return super().parse_args(ctx, args)


def name_first(args: list[str]) -> list[str]:
    """A command line with the name of the data set moved before the options that stand before it."""
    fields = [
        field for section in hlcli.data_set_classes().values() for field in section.prepare_options.model_fields.items()
    ]
    flags = {f"--{key.replace('_', '-')}" for key, field in fields if field.annotation is bool}
    flags |= {"--overwrite", "--json", "--help", "-h"}
    place = 0
    while place < len(args) and args[place].startswith("-"):
        place += 1 if args[place] in flags or "=" in args[place] else 2
    return [*args[place : place + 1], *args[:place], *args[place + 1 :]]


def _words(section: type[DataSection]) -> set[str]:
    """A data set's own options as they are typed."""
    keys = [key.replace("_", "-") for key in section.prepare_options.model_fields]
    return {f"--{key}" for key in keys} | {f"--no-{key}" for key in keys}


def _parameter(key: str, field: FieldInfo) -> inspect.Parameter:
    """A field as an option of the command line; the section has the last word on its value."""
    word = f"--{key.replace('_', '-')}"
    kind: Any = field.annotation
    look: dict[str, Any] = {"help": field.description}
    if get_origin(kind) is Literal:
        kind, look["metavar"] = str, "|".join(map(str, get_args(kind)))
    elif kind is bool and field.default:
        word += f"/--no-{key.replace('_', '-')}"
    for limit in field.metadata:
        look |= {"min": limit.ge} if hasattr(limit, "ge") else {}
        look |= {"max": limit.le} if hasattr(limit, "le") else {}
    annotation = Annotated[kind, typer.Option(word, **look)]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=field.default)
