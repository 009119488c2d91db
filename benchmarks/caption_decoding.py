"""HIN: captions of a batch of images by beam search, ours against the un-cached decoder in `plain_hin.py`.

    python benchmarks/caption_decoding.py --threads 1 --out caption_decoding.json
    python benchmarks/caption_decoding.py --device cuda --images 50 --precision fp16
    python benchmarks/caption_decoding.py --small --repeats 1      # a look at whether it works

Both sides search with the same random weights of the published sizes (512 wide, 3 + 3 layers, 10,201 words, 256 grid
tokens, 50 regions of which some images lack some), on the same images, in turn, each first in every other round, so
that a busy machine slows both. A ratio above 1 means that ours is faster. The plain side gets our encoder, which is
timed alone; "search" is everything behind it, on our side with the projection of the memories. Random weights end no
caption, so both run all words, and nothing is gained by stopping early; "ending" shows what is gained when captions
end after about as many words as those of COCO: the end mark becomes likelier word by word, on both sides alike.

Before anything is timed, words and log-probabilities of both are compared; when they differ by more than the precision
explains, nothing is measured. Memory is the largest that the process (CPU, under Linux, each side in a process of its
own) or the GPU has held, beyond what it held before.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plain_hin import encode, make_model, plain_search
from torch import Tensor

import hlcli
from hlcli.captioning.search import beam_search
from hlcli.methods.hin.model import Hin

Works = dict[str, Callable[[], Any]]
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = {"fp32": 1e-3, "fp16": 0.3, "bf16": 2.0}
"""How far the summed log-probability of the best caption may differ."""


def draw_images(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """Grid features, region features and padding of random images."""
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(options.images, options.grid, 1024, generator=generator)
    regions = torch.randn(options.images, options.regions, 2048, generator=generator)
    valid = torch.randint(options.regions // 2, options.regions + 1, (options.images, 1), generator=generator)
    padding = torch.arange(options.regions) >= valid
    regions = regions.masked_fill(padding[..., None], 0)
    return grid.to(options.device), regions.to(options.device), padding.to(options.device)


def searches(model: Hin, images: tuple[Tensor, Tensor, Tensor], options: argparse.Namespace) -> Works:
    """Both ways from the encoder's levels to captions."""
    begun = encode(model, *images)
    levels, padding = (begun.grid, begun.regions), images[2]

    def plain() -> tuple[Tensor, Tensor]:
        return plain_search(encode_again(), options.beam, options.length)

    def encode_again() -> Any:
        return type(begun)(model, list(levels[0]), list(levels[1]), begun.hidden)

    def ours() -> tuple[Tensor, Tensor]:
        memory = model.decoder.remember(*levels, padding)
        found = beam_search(model, memory, beam_size=options.beam, max_length=options.length, num_results=options.beam)
        return found.token_ids, found.log_probs

    return {"plain": plain, "ours": ours}


def whole(model: Hin, images: tuple[Tensor, Tensor, Tensor], options: argparse.Namespace) -> Works:
    """Both ways from features to captions."""
    count = {"beam_size": options.beam, "max_length": options.length, "num_results": options.beam}
    return {
        "plain": lambda: plain_search(encode(model, *images), options.beam, options.length),
        "ours": lambda: beam_search(model, model.encode(*images), **count),
    }


class Ending(torch.nn.Module):
    """Word scores whose end mark grows with every word that is asked for."""

    def __init__(self, word_scores: torch.nn.Module, end: int, length: int) -> None:
        super().__init__()
        self.word_scores, self.end, self.length, self.calls = word_scores, end, length, 0

    def forward(self, words: Tensor) -> Tensor:
        """Logits [..., V]."""
        scores = self.word_scores(words)
        scores[..., self.end] += 4.0 * (self.calls - 0.4 * self.length)
        self.calls += 1
        return scores


def paired(functions: Works, repeats: int, device: str) -> dict[str, Any]:
    """Median seconds of each function, run in turn, and its ratio to the first."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name in list(functions)[:: 1 if repeat % 2 else -1]:  # who begins also begins on a colder machine
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            functions[name]()
            if device == "cuda":
                torch.cuda.synchronize()
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
        }
    return found


def compare(functions: Works, precision: str) -> float:
    """Largest difference of the best captions' log-probabilities.

    Raises:
        SystemExit: when both sides do not find the same.
    """
    (plain_words, plain), (words, ours) = (function() for function in functions.values())
    difference = (plain.float().sum(-1) - ours.float().sum(-1))[:, 0].abs().max().item()
    same = bool((plain_words[:, 0] == words[:, 0]).all()) or precision != "fp32"
    if not (same and difference <= TOLERANCE[precision]):  # NaN too
        raise SystemExit(f"Both sides differ: {same=}, log-probabilities of the best captions by {difference:.1e}.")
    return difference


def peak_bytes(function: Callable[[], Any], device: str) -> int:
    """Memory that a function needs beyond what is there before, at its largest."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        return torch.cuda.max_memory_allocated() - before
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the largest so far
    function()
    return resident("VmHWM") - before


def resident(entry: str) -> int:
    """Bytes of memory that the process holds (VmRSS) or has held at most (VmHWM), on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{entry}:"))


def peaks_of(options: argparse.Namespace) -> dict[str, int]:
    """Memory of both searches, each in a process of its own."""
    found = {}
    for side in ("plain", "ours"):
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", side]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
        found[side] = int(done.stdout.split()[-1])
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rows of the table."""
    model = make_model(small=options.small, device=options.device)
    images = draw_images(options)
    with (
        torch.inference_mode(),
        torch.autocast(options.device, PRECISIONS[options.precision], enabled=options.precision != "fp32"),
    ):
        works = searches(model, images, options)
        found: dict[str, Any] = {"log_prob_difference": compare(works, options.precision)}
        found["search"] = paired(works, options.repeats, options.device)
        for values in found["search"].values():
            values["seconds_per_step"] = values["seconds"] / options.length
        found["encoder"] = paired({"both": lambda: model.encoder(*images)}, options.repeats, options.device)
        found["encoder and search"] = paired(whole(model, images, options), options.repeats, options.device)
        found["ending"], found["ending_words"] = ending(model, images, options)
    found["peak_bytes"] = peaks_of(options)
    return found


def ending(model: Hin, images: tuple[Tensor, Tensor, Tensor], options: argparse.Namespace) -> tuple[Any, float]:
    """The search when captions end, and how many words the best ones have."""
    plain_scores: Any = model.decoder.word_scores
    model.decoder.word_scores = tail = Ending(plain_scores, model.end, options.length)  # type: ignore[assignment]

    def again(function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            tail.calls = 0
            return function()

        return run

    works = {name: again(function) for name, function in searches(model, images, options).items()}
    compare(works, options.precision)
    times = paired(works, options.repeats, options.device)
    words = works["ours"]()[0][:, 0]
    model.decoder.word_scores = plain_scores
    return times, (words != 0).sum(-1).float().mean().item()


def show(found: dict[str, Any], options: argparse.Namespace) -> None:
    """The table."""
    print(
        f"{options.images} images, beam {options.beam}, {options.length} words, {options.precision} on "
        f"{options.device}, {torch.get_num_threads()} threads; same words, log-probabilities within "
        f"{found['log_prob_difference']:.0e}"
    )
    for work in ("search", "encoder and search", "ending", "encoder"):
        for side, values in found[work].items():
            low, high = values["ratio_range"]
            figures = f"{values['seconds']:9.4f} s  {values['ratio']:6.2f}  {low:.2f}–{high:.2f}"
            step = f"  {1000 * values['seconds_per_step']:.1f} ms per word" if "seconds_per_step" in values else ""
            print(f"  {work:20} {side:6} {figures}{step}")
    print(f"  (ending: captions of {found['ending_words']:.1f} words on average)")
    print("  memory  " + ", ".join(f"{side} {size / 2**20:.0f} MiB" for side, size in found["peak_bytes"].items()))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--grid", type=int, default=256, help="grid tokens of an image")
    parser.add_argument("--regions", type=int, default=50, help="region slots of an image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--small", action="store_true", help="a tiny network")
    parser.add_argument("--memory-of", choices=["plain", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    options = parser.parse_args()
    for name in ("images", "beam", "length", "grid", "regions", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    return options


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.memory_of:
        model, images = make_model(small=options.small, device=options.device), draw_images(options)
        with (
            torch.inference_mode(),
            torch.autocast(options.device, PRECISIONS[options.precision], enabled=options.precision != "fp32"),
        ):
            print(peak_bytes(searches(model, images, options)[options.memory_of], options.device))
        return
    found = measure(options)
    show(found, options)
    if options.out:
        report = {
            **{key: value for key, value in vars(options).items() if key not in ("out", "memory_of")},
            "hlcli": hlcli.__version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "machine": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
            "log_prob_difference": found["log_prob_difference"],
            "ending_words": found["ending_words"],
            "rows": [
                {
                    "work": work,
                    "who": who,
                    **values,
                    "peak_bytes": found["peak_bytes"].get(who) if work == "search" else None,
                }
                for work in ("search", "encoder", "encoder and search", "ending")
                for who, values in found[work].items()
            ],
        }
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
