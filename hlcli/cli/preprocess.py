"""`hlcli preprocess NAME`: every data set is a command with the options that it alone has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hlcli.cli.commands import SOME_FAILED, Group
from hlcli.cli.options import AsJson, Root, data_keys


class DataSets(Group):
    """One command per data set, made from its section when it is asked for: `hlcli --help` needs none of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the data sets."""
        import hlcli

        return list(hlcli.data_set_classes())

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command of a data set."""
        import hlcli
        from hlcli.cli.preparation_options import make_command

        own = hlcli.data_set_name(name)
        return None if own is None else make_command(own, hlcli.data_set_classes()[own], preprocess)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or say which data sets there are."""
        from hlcli.cli.preparation_options import find_data_set

        if not ctx.resilient_parsing:  # as shell completion does
            find_data_set(args[0])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept options on both sides of the name."""
        from hlcli.cli.preparation_options import name_first

        return super().parse_args(ctx, name_first(args))


app = typer.Typer(
    cls=DataSets,
    help="Example: hlcli preprocess voc2007\n"
    "Example: hlcli preprocess coco --image-size 448\n"
    "Turn a data set's official layout into a store that training reads. "
    "`hlcli preprocess NAME --help` lists the options of each.",
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="NAME [OPTIONS]",
)


def preprocess(
    name: str,
    options: Mapping[str, Any],
    root: Root = None,
    source: Annotated[Path | None, typer.Option(help="Folder of the official layout; default ROOT/NAME.")] = None,
    overrides: Annotated[list[str] | None, data_keys("skip=[a.jpg]")] = None,
    image_size: Annotated[
        int, typer.Option(min=0, help="Shrink photos once so that the shorter side has this many pixels; 0 does not.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode and shrink.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="npy|lists|indices|captions|m2",
            help="Also write the papers' own files: label matrices, lists of images with label names, or with indices; "
            "captions as COCO's, or the id lists of M2, DFT and HIN.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prepare a data set; `name` and `options` come from its command, the others are common to all."""
    import hlcli
    from hlcli.cli.next_steps import in_root, suggest
    from hlcli.cli.preparation_report import show

    section = hlcli.data_section(name, root, overrides or [], source="hlcli preprocess")
    made = hlcli.preprocess(
        section, source=source, options=options,
        image_size=image_size, workers=workers, overwrite=overwrite, export=export,
    )  # fmt: skip
    show(made, as_json=as_json)
    if made.failures:
        raise typer.Exit(SOME_FAILED)
    if not as_json:
        suggest("debug", "data", name, *in_root(root))
