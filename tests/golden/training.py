"""How a golden case is trained: its optimiser and its schedule, as sections of ours."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from hlcli import sections


def optim_of(config: dict[str, Any]) -> Any:
    """Both programs have Adam, AdamW and SGD without momentum, by default with decay of all weights."""
    rates = {"lr": config["lr"], "weight_decay": config["weight_decay"]}
    rates["decay_vectors"] = not config.get("true_weight_decay", False)
    if config["optimizer"] == "SGD":
        return sections.Sgd(momentum=0.0, **rates)
    return {"AdamW": sections.AdamW, "Adam": sections.Adam}[config["optimizer"]](**rates)


def schedule_of(config: dict[str, Any]) -> sections.OneCycle | sections.Constant:
    match config.get("lr_scheduler", "OneCycleLR"):  # the default of both programs
        case "OneCycleLR":
            return sections.OneCycle(warmup_fraction=config["pct_start"])
        case None | "none" | "constant":
            return sections.Constant()
        case unknown:
            raise ValueError(f"no schedule for lr_scheduler {unknown!r}")


def momentum_of(optimizer: Optimizer) -> float:
    """What the schedule cycles: the first beta of Adam, the momentum of SGD."""
    group = optimizer.param_groups[0]
    return float(group["betas"][0] if "betas" in group else group["momentum"])
