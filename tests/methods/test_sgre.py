"""SGRE's network: against a plain second implementation, and what every model must do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dropout_calls import watch_dropout
from torch import Tensor

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.errors import RecipeError
from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.losses.config import Asymmetric, Bce
from hlcli.methods.sgre.config import Sgre
from hlcli.methods.sgre.convert import from_reference
from hlcli.methods.sgre.model import SgreHead, likeness
from hlcli.optim import build_optimizer
from hlcli.sections import AdamTwd

from .plain_sgre import PlainHead, plain_loss
from .sgre_parts import SMALL, Identity, TinyBackbone, batch_of, make, total

VARIANTS: list[dict[str, Any]] = [
    {},
    {"pre_norm": True, "layers": 3, "tau": 0.3, "loss": {"kind": "asl", "plus": 1.0, "minus": 4.0, "clip": 0.05}},
    {"layers": 0, "tau": 5.0, "lamda": 0.05, "loss": {"kind": "bce", "plus": 0.0, "minus": 0.0, "clip": 0.0}},
    {"given": True, "labels": 11, "grid": (1, 5), "lamda": 0.0},  # more labels than tokens: the other order
    {"class_tokens": 1, "labels": 2, "grid": (3, 4), "heads": 4},
    {"class_tokens": 1, "positions": False, "grid": (2, 2), "labels": 5, "layers": 2},  # as many labels as tokens
    {"loss": {"kind": "asl", "plus": 0.0, "minus": 0.0, "clip": 0.0}, "labels": 1},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant)) or "plain")
def test_equals_the_plain_implementation(variant: dict[str, Any]) -> None:
    torch.manual_seed(0)
    labels, grid, dim = variant.get("labels", 4), variant.get("grid", (2, 3)), 16
    options = {key: variant[key] for key in ("layers", "heads", "pre_norm", "positions", "tau") if key in variant}
    given = torch.randn(labels, 10, dtype=torch.float64) if variant.get("given") else None
    theirs = PlainHead(labels=labels, dim=dim, grid=grid, given=given, **options).double()
    loss = variant.get("loss", {"kind": "asl", "plus": 0.0, "minus": 2.0, "clip": 0.0})
    lamda, extra = variant.get("lamda", 0.4), variant.get("class_tokens", 0)
    is_bce = loss["kind"] == "bce"
    section = Sgre(
        **{**SMALL, "num_heads": variant.get("heads", 2)},
        label_embeddings="given.npy" if variant.get("given") else "random",
        encoder_layers=variant.get("layers", 1),
        pre_norm=variant.get("pre_norm", False),
        positions=variant.get("positions", True),
        temperature=variant.get("tau", 1.0),
        branch_weight=lamda,
    )
    space = LabelSpace.flat([f"{i}" for i in range(labels)])
    model: Any = section.build(Identity(grid, dim, extra), space).double()  # type: ignore[arg-type]
    if given is not None:
        model.head.label_embeddings.copy_(given)
    model.load_state_dict(section.from_upstream(theirs.state_dict(), model))
    tokens = torch.randn(3, extra + grid[0] * grid[1], dim, dtype=torch.float64)
    targets = (torch.rand(3, labels) < 0.4).double()
    criterion = (Bce() if is_bce else Asymmetric(**gammas(loss))).build()

    logits, label_logits, maps = theirs(tokens)
    expected = plain_loss(logits, targets, **loss), lamda * plain_loss(label_logits, targets, **loss)
    sum(expected).backward()
    batch = LabelBatch(tokens, targets, None, torch.arange(3), None)
    terms = section.training_losses(model, batch, criterion, epoch=0)
    total(terms).backward()

    torch.testing.assert_close(terms["classification"], expected[0], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(terms["label_branch"], expected[1], rtol=1e-10, atol=1e-11)
    for name, value in section.from_upstream(theirs.state_dict(), model).items():  # running means and variances
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-10, atol=1e-12)
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    compare_gradients(model, from_reference(gradients, model))
    model.eval()
    theirs.eval()
    output = model(tokens)
    for ours, published in zip((output.logits, output.attention_maps), theirs(tokens)[::2], strict=True):
        torch.testing.assert_close(ours, published, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones_like(maps[..., 0]))


def gammas(loss: dict[str, Any]) -> dict[str, float]:
    return {"gamma_pos": loss["plus"], "gamma_neg": loss["minus"], "clip": loss["clip"]}


def compare_gradients(model: Any, expected: dict[str, Tensor]) -> None:
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=1e-8, atol=1e-12 * max(1.0, largest), msg=lambda m, n=name: f"{n}: {m}"
        )


def test_images_do_not_meet_in_eval_mode() -> None:
    _, model = make()
    model.double().eval()
    images = batch_of().images.double()
    whole = model(images)
    torch.testing.assert_close(model(images).logits, whole.logits, rtol=0, atol=0)
    for image in range(4):
        alone = model(images[image : image + 1])
        torch.testing.assert_close(alone.logits[0], whole.logits[image], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(alone.attention_maps[0], whole.attention_maps[image], rtol=1e-11, atol=1e-12)


def test_the_label_branch_is_only_worked_out_in_training() -> None:
    section, model = make()
    assert model(batch_of().images).label_logits.shape == (4, 5)
    assert model.eval()(batch_of().images).label_logits is None
    with pytest.raises(ValueError, match="training mode"):
        section.training_losses(model, batch_of(), AsymmetricLoss(), epoch=0)


@pytest.mark.parametrize("branch_weight", [0.0, 0.4])
def test_every_trainable_parameter_has_a_gradient(branch_weight: float) -> None:
    section, model = make(branch_weight=branch_weight, positions=True)
    total(section.training_losses(model, batch_of(), AsymmetricLoss(), epoch=0)).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    flat = {name for name, parameter in model.named_parameters() if not parameter.grad.any()}
    zero = {"head.attention.hidden_linear.bias", "head.attention.target_linear.bias"}
    branch = {"head.label_classifier.weight", "head.label_classifier.offset"}
    assert flat <= (zero | (branch if branch_weight == 0 else set()))


def test_given_embeddings_are_kept_as_they_are() -> None:
    _, trained = make()
    _, given = make(label_embeddings="file.npy")
    assert "head.label_embeddings" in dict(trained.named_parameters())
    assert "head.label_embeddings" not in dict(given.named_parameters())
    assert given.state_dict()["head.label_embeddings"].shape == (5, 10)


def test_ignored_labels_cost_nothing() -> None:
    section, model = make()
    batch = batch_of()
    ignore = torch.zeros(4, 5, dtype=torch.bool)
    ignore[:, 2] = True
    masked = batch._replace(ignore=ignore)
    flipped = masked._replace(targets=torch.where(ignore, 1 - batch.targets, batch.targets))
    first, second = (section.training_losses(model, b, AsymmetricLoss(), epoch=0) for b in (masked, flipped))
    torch.testing.assert_close(first, second)
    assert total(first) < total(section.training_losses(model, batch, AsymmetricLoss(), epoch=0))


def test_twenty_steps_drive_the_loss_down() -> None:
    section, model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = total(section.training_losses(model, batch_of(), AsymmetricLoss(), epoch=0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("class_tokens", [0, 1])
def test_maps_are_those_of_the_grid(class_tokens: int) -> None:
    section, model = make(backbone=TinyBackbone((3, 2), class_tokens=class_tokens), positions=True)
    images = batch_of(grid=(3, 2)).images
    found = section.level_maps(model.eval(), images)
    assert len(found.level_logits) == len(found.attention_maps) == 1
    output = model(images)
    torch.testing.assert_close(found.level_logits[0], output.logits)
    torch.testing.assert_close(found.attention_maps[0].flatten(2), output.attention_maps[..., class_tokens:])
    assert found.attention_maps[0].shape == (4, 5, 3, 2)


def test_a_higher_temperature_spreads_the_maps() -> None:
    images = batch_of().images
    _, sharp = make(temperature=0.1)
    _, even = make(temperature=100.0)
    even.load_state_dict(sharp.state_dict())
    peaks = [model.eval()(images).attention_maps.amax(dim=-1).mean() for model in (sharp, even)]
    assert peaks[0] > peaks[1]
    torch.testing.assert_close(peaks[1], torch.tensor(1 / 6), rtol=0.02, atol=0)


def test_first_weights_follow_the_published_rules() -> None:
    torch.manual_seed(0)
    labels = LabelSpace.flat([f"{i}" for i in range(40)])
    head = Sgre(attention_dim=32, feedforward_dim=48).build_head(labels, num_features=64, grid=(7, 7))
    assert head.label_embeddings.shape == (40, 768)
    for parameter, bound in (
        (head.label_embeddings, 768**-0.5),
        (head.label_classifier.weight, 64**-0.5),
        (head.token_query.linear.weight, 64**-0.5),
        (head.classifier.from_token.weight, 128**-0.5),
        (head.classifier.from_context.weight, 128**-0.5),
        (head.classifier.from_token.bias, 128**-0.5),
        (head.classifier.output.weight, 128**-0.5),
    ):
        assert 0.95 * bound < parameter.abs().max() <= bound


@pytest.mark.parametrize("pre_norm", [False, True])
def test_training_drops_a_tenth_in_the_encoder_and_half_in_the_classifier(
    monkeypatch: pytest.MonkeyPatch, pre_norm: bool
) -> None:
    seen = watch_dropout(monkeypatch)
    labels = LabelSpace.flat(["a", "b", "c"])
    head = Sgre(attention_dim=14, num_heads=2, feedforward_dim=12, pre_norm=pre_norm).build_head(
        labels, num_features=16, grid=(2, 3)
    )
    head(torch.randn(4, 6, 16))
    assert [probability for _, probability in seen] == [0.1, 0.1, 0.1, 0.1, 0.5]
    assert [shape for shape, _ in seen[1:]] == [(4, 6, 16), (4, 6, 12), (4, 6, 16), (4, 6, 32)]
    seen.clear()
    head.eval()(torch.randn(4, 6, 16))
    assert not seen


def test_without_decay_of_vectors_the_offsets_of_labels_are_spared() -> None:
    _, model = make()
    optimizer = build_optimizer(AdamTwd(weight_decay=0.1), model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[id(model.head.label_classifier.offset)] == 0
    assert decays[id(model.head.label_classifier.weight)] == decays[id(model.head.label_embeddings)] == 0.1


def test_likeness_keeps_large_products_apart_in_half_precision() -> None:
    queries, keys = torch.full((1, 1, 64), 3.0), torch.full((1, 2, 64), 3.0)
    keys[0, 1, 0] = 3.25  # products 576 and 576.75, one number in bfloat16
    expected = likeness(queries, keys)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = likeness(queries.bfloat16(), keys.bfloat16())
    torch.testing.assert_close(rough, expected)


def test_mixed_precision_scores_are_close() -> None:
    for size in (2, 9):
        _, model = make(size)
        images = batch_of(size).images
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model.eval()(images)
        torch.testing.assert_close(rough.logits.float(), model(images).logits, rtol=0.1, atol=0.1)
        assert rough.attention_maps.sum(dim=-1).float().sub(1).abs().max() < 0.02


@pytest.mark.parametrize(
    ("num_labels", "grid", "class_tokens", "expected"),
    [(1, (2, 3), 0, True), (5, (1, 1), 0, True), (2, (1, 1), 1, False), (2, (1, 2), 0, False)],
)
def test_one_image_is_too_little_where_norms_would_see_one_row(
    num_labels: int, grid: tuple[int, int], class_tokens: int, expected: bool
) -> None:
    _, model = make(num_labels, backbone=TinyBackbone(grid, class_tokens=class_tokens))
    assert model.head.needs_several_images == expected
    images = batch_of(num_labels, 2, grid).images
    model.train()(images)
    if expected:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(images[:1])
    else:
        model(images[:1])


def test_another_number_of_tokens_is_explained_where_places_are_coded() -> None:
    _, model = make(positions=True)
    with pytest.raises(ValueError, match=r"Expected 6 tokens .*but got 12"):
        model(torch.zeros(2, 3, 16, 48))
    _, free = make()
    assert free.eval()(torch.zeros(2, 3, 16, 48)).attention_maps.shape == (2, 5, 12)


@pytest.mark.parametrize(
    ("fields", "features", "message"),
    [({"num_heads": 3}, 16, "num_heads"), ({"positions": True}, 18, "multiple of 4")],
)
def test_widths_that_do_not_fit_are_refused(fields: dict[str, Any], features: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(backbone=TinyBackbone(num_features=features), **fields)


def test_the_published_size() -> None:
    labels = LabelSpace.flat([f"{i}" for i in range(80)])
    with torch.device("meta"):
        head = Sgre(label_embeddings="bert.npy").build_head(labels, num_features=2048, grid=(14, 14))
    assert isinstance(head, SgreHead)
    assert round(sum(parameter.numel() for parameter in head.parameters()) / 1e6, 1) == 63.2
