"""HIN's golden cases that need a network: what passes through it, its gradients, its searches, and its training."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from hlcli.captioning.losses import cross_entropy_loss, self_critical_loss
from hlcli.captioning.search import Ensemble, beam_search, greedy, search_then_score
from hlcli.methods.hin.convert import from_upstream, to_upstream
from hlcli.methods.hin.encoder import Levels
from hlcli.methods.hin.layers import Widths
from hlcli.methods.hin.model import Hin, Marks

from .cases import Case, assert_near

ENCODER = {
    "global_grid": "grid_summary.norm",
    "global_region": "region_summary.norm",
    "golbal_cls_grid": "grid_exchange.norm",
    "golbal_cls_region": "region_exchange.norm",
    "gate_golbal_cls": "exchange_gate",
    "middle_LN": "middle_norm",
    "middle_fc": "middle_linear",
    "self_grid": "grid_attention",
    "self_region": "region_attention",
    "pwff_grid": "grid_feed_forward",
    "pwff_region": "region_feed_forward",
    "grid": "grid_feed_forward",
    "region": "region_feed_forward",
}
DECODER = {
    "self_att": "self_attention",
    "grid_att": "grid_attention",
    "region_att": "region_attention",
    "grid_cross_region": "grid_to_region",
    "region_cross_grid": "region_to_grid",
    "self_cross_enc": "direct_choice",
    "self_cross_enc_cross": "crossed_choice",
    "gate": "gate",
    "proj1": "direct_projection",
    "proj2": "crossed_projection",
    "lnorm2": "fusion_norm",
    "pwff": "feed_forward",
}
RELU, SIGMOID = ("middle_fc",), ("gate",)
WITHOUT_SUMMARIES = ("grid", "region")


def build(case: Case, prefix: str = "state") -> Hin:
    """The network of a case, whose weights come from the reference's names and would go back to the same."""
    config = case.about["config"]
    model = Hin(
        vocabulary_size=config["vocab"],
        grid_width=config["grid_dim"],
        region_width=config["region_dim"],
        widths=Widths(*(config[name] for name in ("d_model", "h", "d_k", "d_v", "d_ff", "dropout"))),
        encoder_layers=config["N_enc"],
        decoder_layers=config["N_dec"],
        max_length=config["max_len"],
        marks=Marks(*(config[name] for name in ("pad_idx", "bos_idx", "eos_idx"))),
    ).double()
    state = case.group(prefix)
    model.load_state_dict(from_upstream(state))
    back = to_upstream(model.state_dict())
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())
    return model.train("train" in case.about["mode"])


def features(case: Case, prefix: str = "in.") -> tuple[Tensor, Tensor, Tensor]:
    regions = case[f"{prefix}region_features"]
    return case[f"{prefix}grid_features"], regions, regions.abs().sum(dim=-1) == 0


def check_forward(case: Case) -> None:
    model = build(case)
    seen = watch(model)
    log_probs = model(*features(case), case["in.captions"])
    case.expect("out.log_probs", log_probs)
    check_passed(case, seen)
    mask = features(case)[2][:, None, None]
    case.expect("out.encoder.mask", mask, rtol=0, atol=0)
    padding = case.about["config"]["pad_idx"]
    case.expect("loss.xe", cross_entropy_loss(log_probs, case["in.captions"], padding).detach()[None])
    logits = model.logits(*features(case), case["in.captions"])
    loss = cross_entropy_loss(logits, case["in.captions"], padding)
    case.expect("loss.xe", loss.detach()[None])
    loss.backward()
    check_gradients(case, model)


def watch(model: Hin) -> dict[str, Any]:
    """Record the first result of every part of the network, by its name."""
    seen: dict[str, Any] = {}

    def record(name: str, result: Any) -> None:
        seen.setdefault(name, result)

    for name, part in model.named_modules():
        part.register_forward_hook(lambda _, __, result, name=name: record(name, result))
    return seen


def check_passed(case: Case, seen: dict[str, Any]) -> None:
    """Everything stored under `enc.`, `dec.` and `encoder.`; what is not in the tables stays open and fails."""
    levels: Levels = seen["encoder"]
    case.expect("out.encoder.grid", torch.cat(levels.grid, dim=1))
    case.expect("out.encoder.region", torch.cat(levels.regions, dim=1))
    case.expect("out.enc.grid_proj", seen["encoder.grid_projection"])
    case.expect("out.enc.region_proj", seen["encoder.region_projection"])
    for name in list(case.tensors):
        layer = re.fullmatch(r"out\.(enc|dec)\.(?:layer|hi)(\d+)\.(\w+)", name)
        if layer is None:
            continue
        side, number, part = layer.groups()
        if part in ("quer2att_grid", "quer2att_region"):
            ours = f"encoder.{'ask_grid' if part.endswith('grid') else 'ask_regions'}.{number}"
        else:
            table = ENCODER if side == "enc" else DECODER
            ours = f"{'encoder' if side == 'enc' else 'decoder'}.layers.{number}.{table[part]}"
        found = seen[ours]
        found = found.relu() if part in RELU else found.sigmoid() if part in SIGMOID else found
        found = found[:, 2:] if part in WITHOUT_SUMMARIES else found
        case.expect(name, found.reshape(case[name].shape))


def check_gradients(case: Case, model: nn.Module) -> None:
    """Every parameter's, zeros included; those that theirs lacks, ours must not train."""
    stored = case.group("grad")
    expected = from_upstream(stored)
    parameters = dict(model.named_parameters())
    idle = set(parameters) - set(expected)
    assert set(expected) <= set(parameters)
    assert idle >= set(from_upstream({name: torch.zeros(0) for name in case.about.get("no_grad_params", [])}))
    for name in idle:
        gradient = parameters[name].grad
        assert gradient is None or not gradient.any(), name
    for name, value in expected.items():
        gradient = parameters[name].grad
        assert gradient is not None, name
        assert_near(f"gradient of {name}", gradient, value, 1e-9, 1e-12)
    case.num_compared += len(expected)


class Recorder:
    """A decoder that remembers, for every step, the distributions as the reference lists them.

    Those of finished captions are zero; the first one is repeated for all beams; none moves when beams do.
    """

    def __init__(self, decoder: Any, beam_size: int) -> None:
        self.decoder, self.beam_size = decoder, beam_size
        self.begin, self.end, self.vocabulary_size = decoder.begin, decoder.end, decoder.vocabulary_size
        self.steps: list[Tensor] = []
        self.alive: Tensor | None = None

    def start(self, memory: Any) -> tuple[Tensor, Any]:
        first, state = self.decoder.start(memory)
        self.alive = torch.ones_like(first, dtype=torch.bool)
        return first, state

    def step(self, state: Any, token_ids: Tensor) -> tuple[Tensor, Any]:
        assert self.alive is not None
        self.alive = self.alive & (token_ids != self.end)
        log_probs, state = self.decoder.step(state, token_ids)
        self.steps.append((log_probs * self.alive[..., None]).expand(-1, self.beam_size, -1))
        return log_probs, state

    def reorder(self, state: Any, beams: Tensor) -> Any:
        assert self.alive is not None
        self.alive = self.alive.gather(1, beams)
        return self.decoder.reorder(state, beams)


def check_beams(case: Case) -> None:
    model = build(case)
    others = sorted({name.partition(".")[0] for name in case.tensors if re.match(r"state\d+\.", name)})
    ensemble = Ensemble([model, *(build(case, prefix) for prefix in others)])
    length = case.about["max_len_decode"]
    for name in list(case.tensors):
        search = re.fullmatch(r"out\.((ensemble_)?beam(\d+))\.sequences", name)
        if search is None:
            continue
        group, of_all, beams = search[1], search[2], int(search[3])
        decoder: Any = ensemble if of_all else model
        shape = case[name].shape
        num_results = shape[1] if len(shape) == 3 else 1
        for early_stop in (True, False):
            recorder = Recorder(decoder, beams)
            with torch.no_grad():
                found = beam_search(
                    recorder,
                    decoder.encode(*features(case)),
                    beam_size=beams,
                    max_length=length,
                    num_results=num_results,
                    early_stop=early_stop,
                )
            case.expect(name, found.token_ids.reshape(shape), rtol=0, atol=0)
            case.expect(f"out.{group}.log_probs", found.log_probs.reshape(shape))
            case.expect(f"out.{group}.scores", found.scores.reshape(shape[:-1]))
        case.expect(f"out.{group}.all_log_probs", torch.stack(recorder.steps, dim=2))
    if case.has("out.greedy."):
        check_greedy(case, model)


@torch.no_grad()
def check_greedy(case: Case, model: Hin) -> None:
    """Theirs goes on behind the end, with the likeliest words, and leaves out the end's own log-probability."""
    sequences = case["out.greedy.sequences"]
    memory = model.encode(*features(case))
    last, state = model.start(memory)
    alive, words, log_probs = torch.ones_like(last, dtype=torch.bool), [], []
    for _ in range(sequences.shape[-1]):
        step_log_probs, state = model.step(state, last)
        last = step_log_probs.argmax(dim=-1)
        alive = alive & (last != model.end)
        words.append(last)
        log_probs.append(step_log_probs * alive[..., None])
    case.expect("out.greedy.sequences", torch.cat(words, dim=1), rtol=0, atol=0)
    case.expect("out.greedy.log_probs", torch.cat(log_probs, dim=1))
    ours = greedy(model, memory, max_length=sequences.shape[-1]).token_ids[:, 0]
    is_end = (sequences == model.end).int()
    behind_end = is_end.cumsum(dim=-1) > is_end
    assert torch.equal(ours, sequences.masked_fill(behind_end, 0))


def check_scst(case: Case) -> None:
    """Both through the search and through one pass over what it found."""
    options = {"beam_size": case.about["beam"], "max_length": case.about["max_len_decode"]}
    for one_pass in (False, True):
        model = build(case)
        memory = model.encode(*features(case))
        if one_pass:
            found = search_then_score(model, memory, **options)
        else:
            found = beam_search(model, memory, num_results=case.about["beam"], **options)
        assert torch.equal(found.token_ids, case["in.sequences"])
        case.expect("out.log_probs", found.log_probs)
        loss = self_critical_loss(found.log_probs, case["in.reward"])
        case.expect("loss.scst", loss.detach()[None])
        loss.backward()
        check_gradients(case, model)


def check_training(case: Case) -> None:
    model = build(case)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-8)
    for step, lr in enumerate(case.about["learning_rates"]):
        optimizer.param_groups[0]["lr"] = lr
        token_ids = case[f"in.step{step}.captions"]
        logits = model.logits(*features(case, f"in.step{step}."), token_ids)
        loss = cross_entropy_loss(logits, token_ids, case.about["config"]["pad_idx"])
        case.expect(f"step{step}.loss", loss.detach()[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ours = to_upstream(model.state_dict())
    final = case.group("final")
    assert set(ours) == set(final)
    for name, value in final.items():
        assert_near(f"final {name}", ours[name], value, 1e-9, 1e-9)
    case.num_compared += len(final)
