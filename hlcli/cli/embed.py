"""`hlcli embed`: vectors of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.commands import Command

app = typer.Typer(
    help="Make the label vectors that SALGL and SGRE start from.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def embed() -> None:
    """Make the label vectors that SALGL and SGRE start from."""


@app.command("labels", cls=Command)
def labels(
    dataset: Annotated[str, typer.Argument(help="Data set; its labels are the store's if it is prepared.")],
    root: Annotated[Path | None, typer.Option(help="Data root; default $HLCLI_DATA, else ./data.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of the recipe's data section, e.g. labels=labels.csv."),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="A text model of the Hugging Face hub or its folder; a sentence-transformers/… model or folder "
            "(sentence:NAME for others); clip:MODEL[/WEIGHTS or FILE]; glove:FILE; spacy:MODEL."
        ),
    ] = "bert-base-uncased",
    out: Annotated[
        Path | None, typer.Option(help="File to write; default label_embeddings.safetensors beside the data.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    pooling: Annotated[
        str | None,
        typer.Option(help="Text models: paper (SALGL's and SGRE's token rule), cls or mean; default what fits."),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="With pooling paper: salgl (tokens marked as second sentence) or sgre (unmarked)."),
    ] = None,
    average: Annotated[bool, typer.Option("--average", help="GloVe: mean of the words instead of their sum.")] = False,
    names: Annotated[
        Path | None, typer.Option(help="Texts for labels: YAML `label: text`, or .txt with one line per label.")
    ] = None,
    template: Annotated[str, typer.Option(help="Around every text, e.g. 'a photo of a {}'.")] = "{}",
    verbatim: Annotated[
        bool, typer.Option("--verbatim", help="Keep VOC's diningtable, pottedplant and tvmonitor unparted.")
    ] = False,
    normalize: Annotated[bool, typer.Option("--normalize", help="Give all vectors length 1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Embed labels that are bare numbers.")] = False,
    neighbours: Annotated[int, typer.Option(min=1, help="Nearest labels shown per label.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make the vectors of label names that SALGL and SGRE start from, and show which labels lie close.

    Example: hlcli embed labels voc2007
    Example: hlcli embed labels coco --encoder clip:RN50 --template 'a photo of a {}'
    """
    from hlcli.cli.embedding_report import show
    from hlcli.cli.preparation_report import data_section
    from hlcli.embeddings import EncoderOptions, TextRules, embed_labels

    path, made = embed_labels(
        data_section(dataset, root, overrides or [], source="hlcli embed labels"),
        encoder,
        out=out,
        overwrite=overwrite,
        normalize=normalize,
        texts=TextRules(names, template, verbatim=verbatim, numbers=force),
        options=EncoderOptions(pooling, variant, average),
    )
    show(path, made, neighbours, as_json=as_json)
