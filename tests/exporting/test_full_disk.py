"""A disk that is full while a torch file is written: an error that names the place asked for, and no crash."""

from __future__ import annotations

from pathlib import Path

from warm_programs import run_warm

PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from hlcli.errors import HlcliError
from hlcli.exporting.formats import find_format
from hlcli.exporting.graphs import Graph, trace
from hlcli.exporting.models import written
from hlcli.files import whole_folder

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(200, 200)
    def forward(self, inputs):
        return {"scores": self.layer(inputs["images"])}

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
graph = Graph("encoder", Network(), {"images": torch.rand(2, 200)}, {})
try:
    with whole_folder(Path(sys.argv[1])) as folder:
        with written(folder / "encoder.pt2", find_format("torch"), graph, trace(graph), {}):
            pass
except HlcliError as error:
    print(error)
sys.exit()
"""


def test_a_full_disk_is_an_error_and_no_crash(tmp_path: Path):
    out = tmp_path / "out"
    done = run_warm(out, before=PROGRAM)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'encoder.pt2'} cannot be written: File too large.\n"
    assert list(tmp_path.iterdir()) == []
