"""HSPNet: a training step (forward, loss, backward, optimiser) and an evaluation, ours against a plain variant.

    python benchmarks/hspnet_step.py --sets coco cub --batch-size 32 --out hspnet_step.json
    python benchmarks/hspnet_step.py --small --repeats 3      # a look at whether it works

The plain variant is what the paper's program does: prompts of all 77 tokens, all 50 queries of the attention pool, the
parents' texts read anew in every step, and the labels' texts for every batch of an evaluation. Both start from the same
random weights of CLIP RN50, and see the same batch, in turn, so that a busy machine slows both. A ratio above 1 means
that ours is faster. First, both losses are compared.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from open_clip import get_model_config
from open_clip.model import CLIP
from torch import Tensor, nn

from hlcli.clip import towers_of
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.losses.splc import SplcLoss
from hlcli.methods.hspnet.config import Hspnet

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Labels(NamedTuple):
    """Sizes of a data set: labels, their parents, and how long their prompts are in tokens."""

    children: int
    parents: int
    shortest: int
    longest: int


SETS = {"coco": Labels(80, 12, 8, 10), "nuswide": Labels(81, 6, 8, 9), "voc": Labels(20, 4, 8, 10)}
SETS["cub"] = Labels(312, 20, 9, 16)
PARENT_LENGTH = 8
SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


class Plain(nn.Module):
    """The same network without a shortcut; shares its numbers with ours, but no computation of text or images."""

    clip: Any
    parent_prompts: Tensor
    parent_ends: Tensor
    parent_index: Tensor
    parent_adjacency: Tensor
    child_prefix: Tensor
    child_suffix: Tensor
    child_ends: Tensor
    child_adjacency: Tensor

    def __init__(self, clip: nn.Module, ours: Any) -> None:
        super().__init__()
        self.clip, self.factor = clip, ours.logit_factor
        self.gcn, self.meta_net = copy.deepcopy(ours.gcn), copy.deepcopy(ours.meta_net)
        for name in ("parent_prompts", "child_prefix", "child_suffix", "child_adjacency", "parent_adjacency"):
            self.register_buffer(name, getattr(ours, name).detach().clone())
        for name in ("parent_ends", "child_ends", "parent_index"):
            self.register_buffer(name, getattr(ours, name).clone())
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(name.startswith("visual."))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, L]."""
        image_features = self.clip.visual(images)
        parents = self.gcn(self.read(self.parent_prompts, self.parent_ends), self.parent_adjacency)
        words = self.meta_net(parents)[self.parent_index].unflatten(-1, (-1, self.child_prefix.shape[-1]))
        prompts = torch.cat((self.child_prefix, words.to(self.child_prefix.dtype), self.child_suffix), dim=1)
        labels = self.gcn(self.read(prompts, self.child_ends), self.child_adjacency)
        image_features = image_features / image_features.norm(dim=-1, keepdim=True)
        return (self.factor * image_features @ (labels / labels.norm(dim=-1, keepdim=True)).T).float()

    def read(self, prompts: Tensor, ends: Tensor) -> Tensor:
        """Features of prompts of the whole context length."""
        clip = self.clip
        features = clip.transformer(prompts + clip.positional_embedding, attn_mask=clip.attn_mask)
        rows = torch.arange(len(features), device=features.device)
        return clip.ln_final(features)[rows, ends] @ clip.text_projection


def tokenizer_of(sizes: Labels, vocab: int, context: int) -> Callable[[list[str]], Tensor]:
    """Random tokens; children's prompts have evenly spread lengths, parents' all the same."""

    def tokenize(texts: list[str]) -> Tensor:
        tokens = torch.zeros(len(texts), context, dtype=torch.long)
        spread = sizes.longest - sizes.shortest + 1
        for index, text in enumerate(texts):
            length = sizes.shortest + index % spread if text.startswith("X ") else PARENT_LENGTH
            tokens[index, 1 : length - 1] = torch.randint(1, vocab - 2, (length - 2,))
            tokens[index, 0], tokens[index, length - 1] = vocab - 2, vocab - 1
        return tokens

    return tokenize


def make_pair(sizes: Labels, *, small: bool, device: str) -> tuple[Plain, Any, Hspnet, int]:
    """Both networks with the same weights, our section, and the side of the images."""
    config = copy.deepcopy(SMALL) if small else get_model_config("RN50")
    clip: Any = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"], quick_gelu=True)
    side = config["vision_cfg"]["image_size"]
    vocab, context = config["text_cfg"]["vocab_size"], config["text_cfg"]["context_length"]
    towers = towers_of(copy.deepcopy(clip), tokenizer=tokenizer_of(sizes, vocab, context))
    names = [[f"p{i}" for i in range(sizes.parents)], [f"c{i}" for i in range(sizes.children)]]
    labels = LabelSpace.from_parents(names, [[i % sizes.parents for i in range(sizes.children)]])
    section = Hspnet(graph="clip")
    ours = section.build(towers, labels, data_folder=Path("unused"))
    return Plain(clip, ours).to(device), ours.to(device), section, side


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """The same for both: what is measured is the network."""
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-7, fused=True)


def training_steps(
    plain: Plain, ours: nn.Module, section: Hspnet, batch: LabelBatch, precision: str
) -> dict[str, Callable[[], Tensor]]:
    """Functions that make one step and return the loss."""
    criterion = SplcLoss()

    def plain_loss() -> Tensor:
        return criterion(plain(batch.images), batch.targets).sum()

    def our_loss() -> Tensor:
        return section.training_losses(ours, batch, criterion, epoch=0)["classification"]

    def step_of(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
        optimizer = optimizer_of(model)

        def step() -> Tensor:
            model.train()
            with autocast(batch.images, precision):
                loss = loss_of()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return step

    return {"plain": step_of(plain, plain_loss), "ours": step_of(ours, our_loss)}


def evaluations(
    plain: Plain, ours: Any, images: Tensor, batches: int, precision: str
) -> dict[str, Callable[[], Tensor]]:
    """Functions that score a number of batches."""

    def run(model: nn.Module, before: Callable[[], object]) -> Tensor:
        model.eval()
        with torch.inference_mode(), autocast(images, precision):
            for _ in range(batches):
                before()
                output = model(images)
        return output if isinstance(output, Tensor) else output.logits

    return {
        "plain": lambda: run(plain, lambda: None),
        "ours, nothing remembered": lambda: run(ours, ours._label_memory.forget),
        "ours": lambda: run(ours, lambda: None),
    }


def autocast(images: Tensor, precision: str) -> Any:
    """Mixed precision, or none."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(images.device.type, dtype=dtype)


def paired(functions: dict[str, Callable[[], Tensor]], repeats: int, device: str) -> dict[str, Any]:
    """Median seconds of each function, run in turn, its ratio to the first, and its peak memory on a GPU."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    peaks = dict.fromkeys(functions, 0)
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            if device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
                peaks[name] = torch.cuda.max_memory_allocated()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(seconds.values()))
    found = {}
    for name, values in seconds.items():
        ratios = [slow / fast for slow, fast in zip(first, values, strict=True)]
        found[name] = {
            "seconds": statistics.median(values),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
            "peak_bytes": peaks[name] or None,
        }
    return found


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Training and evaluation of one data set's sizes."""
    torch.manual_seed(0)
    sizes = SETS[name]
    plain, ours, section, side = make_pair(sizes, small=options.small, device=options.device)
    images = torch.randn(options.batch_size, 3, side, side, device=options.device)
    targets = torch.zeros(options.batch_size, sizes.children, device=options.device)
    targets[torch.arange(options.batch_size), torch.randint(sizes.children, (options.batch_size,))] = 1
    batch = LabelBatch(images, targets, None, torch.arange(options.batch_size), None)
    scoring = evaluations(plain, ours, images, options.eval_batches, options.precision)
    scores = [function() for function in scoring.values()]
    steps = training_steps(plain, ours, section, batch, options.precision)
    losses = {key: step().item() for key, step in steps.items()}
    return {
        "set": name,
        "sizes": sizes._asdict(),
        "loss_difference": abs(losses["ours"] / losses["plain"] - 1),
        "score_difference": (scores[0] - scores[-1]).abs().max().item(),
        "training step": paired(steps, options.repeats, options.device),
        f"evaluation of {options.eval_batches} batches": paired(scoring, options.repeats, options.device),
    }


def show(row: dict[str, Any]) -> None:
    """One data set as a table."""
    print(
        f"{row['set']}: {row['sizes']['children']} labels, {row['sizes']['parents']} parents; same loss within "
        f"{row['loss_difference']:.0e}, same logits within {row['score_difference']:.0e}"
    )
    for work, found in row.items():
        if work.startswith(("training", "evaluation")):
            for name, values in found.items():
                low, high = values["ratio_range"]
                figures = f"{values['seconds']:8.3f}s {values['ratio']:6.2f}  {low:.2f}–{high:.2f}"
                peak = "" if values["peak_bytes"] is None else f"  {values['peak_bytes'] / 2**30:.2f} GiB"
                print(f"  {work:26} {name:26} {figures}{peak}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["coco", "cub"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--eval-batches", type=int, default=4)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--small", action="store_true", help="a tiny CLIP model instead of RN50")
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        rows.append(measure(name, options))
        show(rows[-1])
    if options.out:
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        report = {"torch": torch.__version__, "threads": torch.get_num_threads(), **settings, "rows": rows}
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
