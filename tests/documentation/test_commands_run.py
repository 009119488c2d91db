"""Every command line of the README and of docs/, run in the order of its page; the tutorials: `test_tutorials.py`.

A reader's folder holds what the page takes for granted (`GIVEN`), and a server of this machine what is published.
Lines are run as they stand; what is added makes them quick (`smaller_lines.py`). A yaml block that begins with a file's
name is that file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doc_pages import ROOT, Block, blocks, pages, program_words, shell_lines
from faulty_server import without_proxies  # noqa: F401
from hub_cache import put_into_cache, use_cache
from hub_server import TOKEN, running_hub
from page_commands import run_block
from published_places import place_by_hand, small_published_files
from reader_folder import furnish
from smaller_lines import ADDED, smaller
from text_models import write_bert

GIVEN = {
    "README.md": ("clone", "photos", "labels.csv", "new_photos", "my_photos"),
    "docs/calibration.md": ("runs/quickstart",),
    "docs/datasets.md": ("coco", "voc2007", "voc2012", "nuswide", "nuswide-asl", "cub", "karpathy", "lists", "captions",
                         "photos", "downloads"),
    "docs/debug_data.md": ("coco-store", "photos", "labels.csv", "tree.yaml"),
    "docs/export.md": ("runs/quickstart", "runs/quickstart-caption", "photos"),
    "docs/features.md": ("karpathy-store", "photos", "vinvl"),
    "docs/figures.md": ("runs/coco-sgre", "runs/coco-salgl", "runs/quickstart", "runs/quickstart-caption", "runs/birds",
                        "new_photos", "new_labels.csv"),
    "docs/label_embeddings.md": ("photos", "labels.csv", "glove", "clip"),
    "docs/label_graphs.md": ("photos", "labels.csv", "tree.yaml", "relation", "clip"),
    "docs/launching.md": ("intentonomy-store",),
    "docs/methods/hin.md": ("features", "photos"),
    "docs/methods/hleg.md": ("clone", "masks"),
    "docs/methods/hspnet.md": ("clone", "lists", "clip"),
    "docs/methods/linear.md": ("clone",),
    "docs/methods/query2label.md": ("clone",),
    "docs/methods/salgl.md": ("clone",),
    "docs/methods/sgre.md": ("clone",),
    "docs/methods/zero_shot.md": ("coco-store", "voc2012-store", "photos", "clip"),
    "docs/models.md": ("runs/birds", "model_best.pth.tar"),
    "docs/own_photos.md": ("photos", "foreign labels.csv", "new_photos", "captions"),
    "docs/troubleshooting.md": ("clone", "runs/birds", "new_photos", "table.csv", "results", "coco-store", "voc2007",
                                "weights", "model_best.pth.tar", "checkpoint.pth"),
}  # fmt: skip
"""What a reader of a page has, by the names of `reader_folder.py`."""

LEFT_OUT = {
    "accelerate launch --multi_gpu --num_machines 2 ": "two machines",
    "torchrun --nnodes 2 ": "two machines; read in tests/test_launching.py",
    "hlcli export runs/quickstart-caption ": "20 seconds; tests/exporting/test_captions.py writes captioners",
    "hlcli train --recipe quickstart --run runs/tracked ": "slow; tests/training/test_trackers.py starts all trackers",
    "sbatch docs/examples/slurm.sh ": "a scheduler; run with a stand-in in test_launch_examples.py",
    "docker run ": "containers",
    "HLCLI_LONG=1 python -m pytest ": "takes hours",
    "python benchmarks/growth.py --only ": "takes an hour",
    "python benchmarks/growth.py --from ": "reads what the line above it measures",
    "python benchmarks/start_up.py ": "a benchmark",
    "python benchmarks/missing_labels_table.py ": "trains a dozen networks",
    'pip install ".[test]" && pytest': "these tests",
    ". ~/venvs/hlcli/bin/activate": "an environment of the reader's",
    "python3 -m venv ": "makes an environment",
    "~/venvs/hlcli/bin/pip install ": "fetches packages",
    "java -version": "there may be none",
    "hf download ": "fetches a model",
    "hf auth login": "needs an account",
}
"""Beginnings of lines that are not run, and why."""

COMMANDS = re.compile(
    r"(?:\w+=\S+ )*(?:hlcli|accelerate|torchrun|pip|python3?|cp|sed|iconv|df|ls|java|hf|docker|sbatch|export|\.|~/\S+) "
)
"""How a block of commands begins; other blocks without a language are drawings and output."""


def commands_of(page: Path) -> Iterator[Block]:
    for block in blocks(page):
        if block.language == "" and COMMANDS.match(block.code):
            yield block


PAGES = [page for page in pages() if page.parent.name != "tutorials" and any(commands_of(page))]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where things are that several pages need."""
    return tmp_path_factory.mktemp("things")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@contextmanager
def published(page: Path, bert: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the network would give: data sets and a text model; or a hub, where a page puts a model onto it."""
    put_into_cache(use_cache(Path("hub").resolve(), monkeypatch), "bert-base-uncased", bert)
    with small_published_files(Path("published"), monkeypatch) as server, running_hub() as hub:
        place_by_hand(server, Path("Downloads"))
        if "hlcli push " in page.read_text(encoding="utf-8"):
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
            files = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield


def words_of(line: str) -> list[str]:
    """The words of a line, made quick; what it would refuse to write over is gone, as pages name alternatives."""
    words = smaller(line)
    if words[0] == "init":
        shutil.rmtree(words[1], ignore_errors=True)
    if "--run" in words and "--resume" not in words:
        shutil.rmtree(words[words.index("--run") + 1], ignore_errors=True)
    return words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_work(
    page: Path, work_folder: Path, kept: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(work_folder))
    with published(page, bert, monkeypatch):
        furnish(work_folder, GIVEN.get(str(page.relative_to(ROOT)), ()), kept)
        for block in blocks(page):
            if block.language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", block.code)):
                Path(named[1]).write_text(block.code, encoding="utf-8")
            elif block.language == "" and COMMANDS.match(block.code):
                run_block(block, words_of, LEFT_OUT)


def test_the_tables_name_lines_that_are_there_and_hardly_any_of_ours_is_left_out():
    lines = [line for page in PAGES for block in commands_of(page) for _, line in shell_lines(block)]
    assert [begin for begin in LEFT_OUT if not any(line.startswith(begin) for line in lines)] == []
    ours = [line for line in lines if program_words(line)]
    left_out = [line for line in ours if line.startswith(tuple(LEFT_OUT))]
    assert [begin for begin in ADDED if not any(begin in line for line in ours)] == []
    assert len(ours) > 180
    assert len(left_out) == 4
