"""HSPNet's golden cases that need a network: what passes through it, its gradients, and its training."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from hlcli import sections
from hlcli.clip import ClipTowers, towers_of
from hlcli.data.loader import LabelBatch
from hlcli.ema import Ema
from hlcli.losses.splc import SplcLoss
from hlcli.methods.hspnet.config import Hspnet
from hlcli.methods.hspnet.convert import from_reference
from hlcli.methods.hspnet.model import unit_length
from hlcli.methods.hspnet.prompts import PARENT_TEMPLATE
from hlcli.models.folder import load_weights
from hlcli.optim import apply_schedule, build_optimizer, schedule_point

from .cases import Case, assert_near
from .training import momentum_of

RTOL = 1e-9
ZERO_GRADIENT = "attnpool.k_proj.bias"  # zero but for rounding, of which Adam makes steps
COUNTER = ".num_batches_tracked"


def make_towers(case: Case) -> ClipTowers:
    """A small CLIP model that reads the case's own tokens."""
    dims = case.about["dims"]
    vision = {
        "layers": tuple(dims["layers"]),
        "width": dims["vis_width"],
        "head_width": dims["vis_width"] * 32 // dims["vis_heads"],
        "image_size": dims["res"],
    }
    text = {
        "context_length": dims["context"],
        "vocab_size": dims["vocab"],
        "width": dims["text_width"],
        "heads": dims["text_heads"],
        "layers": dims["text_layers"],
    }
    model: Any = CLIP(dims["D"], vision, text, quick_gelu=True).double()
    with torch.no_grad():
        model.token_embedding.weight.copy_(case["in.token_embedding_weight"])
    tokens = {f"{' '.join(['X'] * dims['n_ctx'])} c{i}.": row for i, row in enumerate(case["in.child_tokens"])}
    tokens |= {PARENT_TEMPLATE.format(f"p{i}"): row for i, row in enumerate(case["in.parent_tokens"])}
    return towers_of(model, tokenizer=lambda texts: torch.stack([tokens[text] for text in texts]))


def build(case: Case) -> tuple[Hspnet, Any]:
    """Section and model with the case's weights."""
    dims = case.about["dims"]
    section = Hspnet(
        n_ctx=dims["n_ctx"],
        gcn_hidden=dims["gcn_hidden"],
        gamma=0.9 if dims.get("gamma") is None else dims["gamma"],
        reweight_p=dims["reweight_p"],
        logit_factor=case.about.get("logit_multiplier", 10),
        gcn_lr_factor=dims["gcn_lr"] / dims["lr"] if "gcn_lr" in dims else 5.0,
    )
    children, parents = [f"c{i}" for i in range(dims["children"])], [f"p{i}" for i in range(dims["parents"])]
    assert case["in.parent_index"].tolist() == dims["parent_index"]
    relation, count = case["in.relation"], dims["children"]
    relations = (relation[:count, :count], relation[count:, count:])
    model: Any = section.build_network(make_towers(case), children, parents, dims["parent_index"], relations).double()
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    load_weights(model, section.from_upstream(case.group("state"), model), "the case")
    for name in ("parent_prompts", "child_prefix", "child_suffix", "parent_context"):
        assert_near(f"{name} made anew", fresh[name], model.state_dict()[name], 0, 0)
    return section, model


def criterion_of(case: Case) -> SplcLoss:
    dims = case.about["dims"]
    return SplcLoss(
        tau=dims["tau"], change_epoch=dims["change_epoch"], margin=dims["margin"], gamma=dims["focal_gamma"]
    )


def batch_of(images: Tensor, targets: Tensor) -> LabelBatch:
    return LabelBatch(images, targets.double(), None, torch.arange(len(images)), None)


def near(case: Case, name: str, actual: Tensor) -> None:
    """The cases' own measure: the largest difference against the largest number."""
    if name in case.tensors:
        largest = float(case[name].double().abs().max()) if case[name].numel() else 0.0
        case.expect(name, actual, rtol=0, atol=RTOL * largest)


def check_forward(case: Case) -> None:
    section, model = build(case)
    model.train(not case.about["mode"].startswith("eval"))
    expected_statistics = case.group("after")
    seen = watch(model)
    batch, criterion = batch_of(case["in.image"], case["in.targets"]), criterion_of(case)
    after = criterion.change_epoch or 0
    terms = section.training_losses(model, batch, criterion, epoch=after)
    check_passed(case, model, seen)
    near(case, "loss.splc_after", terms["classification"])
    before = criterion(seen["logits"], batch.targets, epoch=after - 1).sum()
    near(case, "loss.splc_before", before)
    near(case, "out.corrected_targets", criterion.corrected(seen["logits"], batch.targets, after))
    terms["classification"].backward()
    check_gradients(case, model)
    own = model.state_dict()
    for name, value in from_reference(expected_statistics, model).items():
        assert_near(f"after {name}", own[name], value, RTOL, 1e-12)


def watch(model: Any) -> dict[str, Tensor]:
    """Record what passes between the parts of the network; of a part that runs twice, the first result too."""
    seen: dict[str, Tensor] = {}

    def record(name: str, result: Any) -> None:
        seen.setdefault(f"first {name}", result)
        seen[name] = result[0] if name == "logits" else result

    for name, part in {
        "feature_map": model.backbone.layer4,
        "image": model.backbone,
        "text": model.text_encoder,
        "gcn": model.gcn,
        "meta_net": model.meta_net,
        "logits": model,
    }.items():
        part.register_forward_hook(lambda _, __, result, name=name: record(name, result))
    return seen


def check_passed(case: Case, model: Any, seen: dict[str, Tensor]) -> None:
    near(case, "out.feature_map_layer4", seen["feature_map"])
    near(case, "out.image_features", seen["image"])
    near(case, "out.image_features_normed", unit_length(seen["image"]))
    near(case, "out.parent_prompts", model.parent_prompts)
    near(case, "out.parent_text_features", model.parent_features())
    near(case, "out.parent_text_features_gcn", seen["first gcn"])
    near(case, "out.meta_net_out", seen["meta_net"])
    prompts = model.child_prompts(seen["meta_net"])
    near(
        case, "out.child_prompts", torch.cat((prompts, model.child_suffix[:, prompts.shape[1] - 1 - model.n_ctx :]), 1)
    )
    near(case, "out.child_text_features", seen["text"])
    near(case, "out.child_text_features_gcn", seen["gcn"])
    near(case, "out.text_features_normed", model.label_features())
    near(case, "out.logits", seen["logits"])
    near(case, "out.child_adj", model.child_adjacency)
    near(case, "out.parent_adj", model.parent_adjacency)


def check_gradients(case: Case, model: Any) -> None:
    expected = from_reference(case.group("grad"), model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    idle = case.about.get("no_grad_params", [])
    assert set(expected) == set(trained), sorted(set(expected) ^ set(trained))[:5]
    for name in from_reference({name: torch.zeros(1) for name in idle if not name.endswith("*")}, model):
        assert name not in trained, name
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        gradient = trained[name].grad
        assert gradient is not None, name
        floor = 1e-12 * largest if name.endswith(ZERO_GRADIENT) else RTOL * float(value.abs().max())
        assert_near(f"gradient of {name}", gradient, value, 0, floor)


def check_training(case: Case) -> None:
    dims, modes = case.about["dims"], case.about["per_step_(epoch,bn_train_mode)"]
    section, model = build(case)
    total = dims["steps_per_epoch"] * dims["total_epochs"]
    section = section.model_copy(update={"batch_norm_eval_epochs": sum(not train for train in eval_epochs(modes))})
    optim = sections.AdamTwd(lr=dims["lr"], weight_decay=dims["weight_decay"])
    optimizer = build_optimizer(optim, model, section.lr_factors())
    check_decay(case, model, optimizer)
    schedule, criterion = sections.OneCycle(warmup_fraction=0.2), criterion_of(case)
    ema = Ema(model, dims["ema_decay"], section.copied_by_average())
    for step, (epoch, trains) in enumerate(modes):
        model.train()
        section.start_epoch(model, epoch)
        assert model.backbone.bn1.training == trains
        apply_schedule(optimizer, schedule_point(schedule, step, total))
        case.expect(f"step{step}.lr", published_rates(case, model, optimizer))
        case.expect(f"step{step}.beta1", momentum_of(optimizer))
        batch = batch_of(case["in.images_int8"][step].double() / 32, case["in.targets"][step])
        seen = watch(model)
        loss = section.training_losses(model, batch, criterion, epoch=epoch)["classification"]
        near(case, f"step{step}.loss", loss)
        near(case, f"step{step}.corrected_targets", criterion.corrected(seen["logits"], batch.targets, epoch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)
    for group, trained in (("final", model), ("ema", ema.model)):
        check_weights(group, from_reference(case.group(group), model), trained)


def eval_epochs(modes: list[tuple[int, bool]]) -> list[bool]:
    """Whether batch norms train, once per epoch; the epochs in which they do not come first."""
    found = [dict(modes)[epoch] for epoch in sorted(dict(modes))]
    assert found == sorted(found)
    return found


def published_rates(case: Case, model: Any, optimizer: torch.optim.Optimizer) -> Tensor:
    """Learning rates of our groups in the order of the published ones."""
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    parameters = dict(model.named_parameters())
    found = []
    for group in case.about["groups"]:
        ours = from_reference({name: torch.zeros(1) for name in group}, model)
        values = {rates[id(parameters[name])] for name in ours if parameters[name].requires_grad}
        assert len(values) == 1, group
        found.append(values.pop())
    return torch.tensor(found, dtype=torch.float64)


def check_decay(case: Case, model: Any, optimizer: torch.optim.Optimizer) -> None:
    """Every parameter is decayed as published; those that never have a gradient are not ours to train."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ours = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    published: dict[str, float] = {}
    for group, decay in zip(case.about["groups"], case.about["group_weight_decay"], strict=True):
        published |= dict.fromkeys(from_reference({name: torch.zeros(1) for name in group}, model), float(decay))
    assert ours == {name: decay for name, decay in published.items() if model.get_parameter(name).requires_grad}


def check_weights(group: str, expected: dict[str, Tensor], model: nn.Module) -> None:
    own = model.state_dict()
    moved = {name for name, p in model.named_parameters() if p.requires_grad}
    assert moved <= set(expected)
    for name, value in expected.items():
        if name.endswith(COUNTER):
            continue  # whole numbers that the reference averages as such; ours are copied
        largest = float(value.abs().max())
        tolerance = 1e-6 if name.endswith(ZERO_GRADIENT) else 1e-8 * largest
        assert_near(f"{group} {name}", own[name], value, 0, tolerance)
