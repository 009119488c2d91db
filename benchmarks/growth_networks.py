"""What `growth.py` measures of networks and losses: training steps, and the search for captions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from hlcli.captioning.captioner import CaptionNetwork
from hlcli.captioning.search import beam_search
from hlcli.clip import build_clip
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.losses.config import LabelObjective
from hlcli.methods.base import MethodSection
from hlcli.methods.hin.layers import Widths
from hlcli.methods.hin.model import Hin
from hlcli.recipe import section_classes

LABELS = (20, 80, 260, 500, 1000, 2000)
PIXELS = (112, 224, 448, 672, 896)
WORDS = (5, 10, 20, 40, 60)
BEAMS = (1, 2, 5, 10)
_BATCH, _WIDTH, _CELL = 4, 512, 32
_VOCABULARY = 10_201
_NARROW = {"hidden_dim": 256, "feedforward_dim": 1024, "label_embedding_dim": 300, "attention_dim": 512}


class Work(NamedTuple):
    """A piece of work: `prepare` makes, for a size, the call that is measured."""

    group: str
    name: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Callable[[], object]]


class Tokens(nn.Module):
    """A backbone that has done its work: images are the tokens that it gives."""

    name, num_features, class_tokens = "tokens", _WIDTH, 0

    def __init__(self, side: int) -> None:
        super().__init__()
        self.grid = (side, side)
        self.tokens = nn.Parameter(torch.randn(_BATCH, side * side, _WIDTH).relu())

    def forward(self, images: Tensor) -> Tensor:
        """Tokens [B, N, D], whatever the images."""
        return self.tokens


def tree(num_labels: int) -> LabelSpace:
    """Three levels, as many parents as leave each ten labels or so."""
    middle, coarse = max(2, num_labels // 10), max(1, num_labels // 100)
    names = [[f"{level}{i}" for i in range(n)] for level, n in zip("abc", (coarse, middle, num_labels), strict=True)]
    return LabelSpace.from_parents(
        names, [[i % coarse for i in range(middle)], [i % middle for i in range(num_labels)]]
    )


def _flat(num_labels: int) -> LabelSpace:
    return LabelSpace.flat([f"c{i}" for i in range(num_labels)])


def training_step(method: str, num_labels: int, side: int) -> Callable[[], object]:
    """Forward and backward of everything behind the backbone, with the asymmetric loss."""
    torch.manual_seed(0)
    section_class = section_classes("model")[method]
    assert issubclass(section_class, MethodSection)
    settings = {key: value for key, value in _NARROW.items() if key in section_class.model_fields}
    section = section_class(**settings)
    criterion = section_classes("objective")["asymmetric"]().build()
    model = section.build(Tokens(side), tree(num_labels) if method == "hleg" else _flat(num_labels), data_folder=None)
    return _step_of(section, model.train(), criterion, num_labels, torch.zeros(_BATCH, 3, 8, 8))


def hspnet_step(num_labels: int) -> Callable[[], object]:
    """A whole training step of HSPNet on a tiny CLIP model: its texts are what labels cost."""
    torch.manual_seed(0)
    section = section_classes("model")["hspnet"](graph="clip")
    towers = build_clip("clip:tiny", (64, 64), pretrained=False)
    labels = LabelSpace.from_parents(tree(num_labels).levels[1:] and _names(num_labels), [_parents(num_labels)])
    model = section.build(towers, labels, data_folder=None).train()
    criterion = section_classes("objective")["splc"]().build()
    return _step_of(section, model, criterion, num_labels, torch.randn(_BATCH, 3, 64, 64))


def _names(num_labels: int) -> list[list[str]]:
    return [list(level.label_names) for level in tree(num_labels).levels[1:]]


def _parents(num_labels: int) -> list[int]:
    return list(tree(num_labels).levels[-1].parent_index or ())


def _step_of(section: Any, model: nn.Module, criterion: Any, num_labels: int, images: Tensor) -> Callable[[], object]:
    targets = (torch.rand(_BATCH, num_labels) < 3 / num_labels).float()
    batch = LabelBatch(images, targets, None, torch.arange(_BATCH), None)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        sum(section.training_losses(model, batch, criterion, epoch=1).values()).backward()

    return step


def loss_step(name: str, num_labels: int) -> Callable[[], object]:
    """Forward and backward of a loss of 64 images."""
    torch.manual_seed(0)
    section_class = section_classes("objective")[name]
    needs = {"expected_positives": 3.0} if "expected_positives" in section_class.model_fields else {}
    loss = section_class(**needs).build(num_images=1000, num_labels=num_labels)
    logits = torch.randn(64, num_labels, requires_grad=True)
    targets = (torch.rand(64, num_labels) < 3 / num_labels).float()
    rows = torch.arange(64)

    def step() -> None:
        logits.grad = None
        loss(logits, targets, epoch=1, rows=rows).sum().backward()

    return step


def _captioner() -> tuple[CaptionNetwork, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = Hin(
        vocabulary_size=_VOCABULARY,
        grid_width=256,
        region_width=256,
        widths=Widths(256, 8, 32, 32, 1024),
        max_length=64,
    )
    return model, (torch.randn(_BATCH, 49, 256), torch.randn(_BATCH, 20, 256))


def search_captions(max_words: int, beam_size: int) -> Callable[[], object]:
    """Beam search of four images, encoded already; random weights end no caption."""
    model, features = _captioner()
    model.eval().requires_grad_(False)
    with torch.inference_mode():
        memory = model.encode(*features)

    def search() -> object:
        with torch.inference_mode():
            return beam_search(model, memory, beam_size=beam_size, max_length=max_words, early_stop=False)

    return search


def caption_step(num_words: int) -> Callable[[], object]:
    """Forward and backward of five captions each of four images, encoder included."""
    model, features = _captioner()
    token_ids = torch.randint(4, _VOCABULARY, (_BATCH, 5, num_words))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        logits = model.logits(*features, None, token_ids)  # [B, K, T, V]
        nn.functional.cross_entropy(logits[..., :-1, :].flatten(0, 2), token_ids[..., 1:].flatten()).backward()

    return step


def _step_by_labels(method: str, num_labels: int) -> Callable[[], object]:
    return training_step(method, num_labels, 7)


def _step_by_pixels(method: str, pixels: int) -> Callable[[], object]:
    return training_step(method, 80, -(-pixels // _CELL))


_LOSSES = tuple(section.model_fields["loss"].default for section in get_args(LabelObjective))

WORKS = (
    *(
        Work("labels", f"{method}, training step", LABELS, partial(_step_by_labels, method))
        for method in ("linear", "query2label", "hleg", "salgl", "sgre")
    ),
    Work("labels", "hspnet, training step", LABELS, hspnet_step),
    *(Work("losses", f"loss {name}", LABELS, partial(loss_step, name)) for name in _LOSSES),
    *(
        Work("pixels", f"{method}, training step", PIXELS, partial(_step_by_pixels, method))
        for method in ("linear", "query2label", "hleg", "salgl", "sgre")
    ),
    Work("words", "hin, training step", WORDS, caption_step),
    Work("words", "hin, search with 5 beams", WORDS, partial(search_captions, beam_size=5)),
    Work("beams", "hin, search of 20 words", BEAMS, lambda beams: search_captions(20, beams)),
)
