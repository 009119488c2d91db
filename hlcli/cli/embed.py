"""`hlcli embed`: vectors of labels, how alike labels are, and features of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.commands import Command, Group
from hlcli.cli.completion import data_set_names
from hlcli.cli.embed_images import images
from hlcli.cli.options import AsJson, ReplaceFile, Root, data_keys

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="Data set; its labels are the store's if it is prepared.", autocompletion=data_set_names
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Embed labels that are bare numbers.")]
Neighbours = Annotated[int, typer.Option(min=1, help="Nearest labels shown per label.")]
Encoder = Annotated[
    str,
    typer.Option(
        help="A text model of the Hugging Face hub or its folder; a sentence-transformers/… model or folder "
        "(sentence:NAME for others); clip:MODEL[/WEIGHTS or FILE]; glove:FILE; spacy:MODEL."
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        help="With pooling paper: salgl (tokens marked as second sentence) or sgre (unmarked); default salgl."
    ),
]


@app.callback()
def embed() -> None:
    """Make label vectors for SALGL and SGRE, HSPNet's graph, or image features for captions.

    Example: hlcli embed labels voc2007
    Example: hlcli embed graph coco --set hierarchy=true
    Example: hlcli embed images photos --backbone clip:ViT-B-32
    """


@app.command("labels", cls=Command, short_help="Vectors of label names, for SALGL and SGRE.")
def labels(
    dataset: Dataset,
    root: Root = None,
    overrides: Annotated[list[str] | None, data_keys("labels=labels.csv")] = None,
    encoder: Encoder = "bert-base-uncased",
    out: Annotated[
        Path | None, typer.Option(help="File to write; default label_embeddings.safetensors beside the data.")
    ] = None,
    overwrite: ReplaceFile = False,
    pooling: Annotated[
        str | None,
        typer.Option(help="Text models: paper (SALGL's and SGRE's token rule), cls or mean; default what fits."),
    ] = None,
    variant: Variant = None,
    average: Annotated[bool, typer.Option("--average", help="GloVe: mean of the words instead of their sum.")] = False,
    names: Annotated[
        Path | None,
        typer.Option(
            help="Texts for labels: YAML `label: text`, or .txt with one line per label; default the names themselves."
        ),
    ] = None,
    template: Annotated[str, typer.Option(help="Around every text, e.g. 'a photo of a {}'.")] = "{}",
    verbatim: Annotated[
        bool, typer.Option("--verbatim", help="Keep VOC's diningtable, pottedplant and tvmonitor unparted.")
    ] = False,
    normalize: Annotated[bool, typer.Option("--normalize", help="Give all vectors length 1.")] = False,
    force: Force = False,
    neighbours: Neighbours = 3,
    as_json: AsJson = False,
) -> None:
    """Make the vectors of label names that SALGL and SGRE start from, and show which labels lie close.

    Example: hlcli embed labels voc2007
    Example: hlcli embed labels coco --encoder clip:RN50 --template 'a photo of a {}'
    """
    import hlcli
    from hlcli.cli.embedding_report import show
    from hlcli.cli.next_steps import suggest_training
    from hlcli.progress import waiting

    section = hlcli.data_section(dataset, root, overrides or [], source="hlcli embed labels")
    with waiting("Loading"):
        path, made = hlcli.embed_labels(
            section,
            encoder,
            out=out,
            overwrite=overwrite,
            normalize=normalize,
            texts=hlcli.TextRules(names, template, verbatim=verbatim, numbers=force),
            options=hlcli.EncoderOptions(pooling, variant, average),
        )
    show(path, made, neighbours, as_json=as_json)
    if not as_json:
        suggest_training(section.name, "label_embeddings", out)


@app.command("graph", cls=Command, short_help="How alike labels and their parents are, for HSPNet.")
def graph(
    dataset: Dataset,
    root: Root = None,
    overrides: Annotated[list[str] | None, data_keys("hierarchy=true")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="As of `hlcli embed labels`: clip:MODEL, glove:FILE, …; default clip:RN50-quickgelu."),
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", help="Around every text; default 'a photo of a {}.'. Several: their mean counts."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE.npy", help="Take this published matrix; encode nothing.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default label_graph.safetensors beside the data.")
    ] = None,
    overwrite: ReplaceFile = False,
    pooling: Annotated[str | None, typer.Option(help="Text models: paper, cls or mean; default what fits.")] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="Texts for labels and parents: YAML `name: text`, or .txt, a line per label, then parent; default the "
            "names themselves."
        ),
    ] = None,
    verbatim: Annotated[bool, typer.Option("--verbatim", help="Keep underscores; else they become blanks.")] = False,
    force: Force = False,
    neighbours: Neighbours = 3,
    as_json: AsJson = False,
) -> None:
    """Find how alike labels and their parents are, for HSPNet: cosines of their texts by CLIP.

    Example: hlcli embed graph coco --set hierarchy=true
    Example: hlcli embed graph voc2012 --set hierarchy=true --from relation+voc+super.npy
    """
    import hlcli
    from hlcli.cli.graph_report import show
    from hlcli.cli.next_steps import suggest_training
    from hlcli.progress import waiting

    section = hlcli.data_section(dataset, root, overrides or [], source="hlcli embed graph")
    if source is not None:
        if encoder or templates or names or pooling or verbatim or force:
            raise hlcli.InputError(
                "--from takes a matrix as it is: no --encoder, --template, --names or others beside it."
            )
        path, made = hlcli.import_graph(section, source, out=out, overwrite=overwrite)
    else:
        with waiting("Loading"):
            path, made = hlcli.embed_graph(
                section,
                encoder,
                templates=templates or None,
                out=out,
                overwrite=overwrite,
                texts=hlcli.TextRules(names, verbatim=verbatim, numbers=force),
                options=hlcli.EncoderOptions(pooling),
            )
    show(path, made, neighbours, as_json=as_json)
    if not as_json:
        suggest_training(section.name, "graph", out)


app.command("images", cls=Command, short_help="Image features for captioning: grid, region or global.")(images)
