"""SALGL's network and objective: against a plain second implementation, and what every model must do."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hlcli import sections
from hlcli.data.loader import LabelBatch
from hlcli.ema import Ema
from hlcli.errors import RecipeError
from hlcli.losses.config import Asymmetric, Bce
from hlcli.methods.salgl.config import Salgl
from hlcli.methods.salgl.convert import from_reference
from hlcli.methods.salgl.model import scene_entropies
from hlcli.models.folder import load_weights
from hlcli.optim import apply_schedule, build_optimizer, schedule_point

from .plain_salgl import PlainSalgl, plain_asymmetric
from .salgl_parts import SMALL, Tokens, batch_of, flat, make

OPTIONS: list[dict[str, Any]] = [
    {},
    {"soft": True},
    {"soft": True, "detach": True},
    {"soft": True, "ignore_self": True, "normalize": True, "two_way": True},
    {"steps": 0, "soft": True},
    {"steps": 4, "two_way": True, "normalize": True},
    {"num_scenes": 1},
    {"num_scenes": 6, "ignore_self": True, "embedding_dim": 12},
    {"soft": True, "grid": (2, 3), "embedding_dim": 10, "num_labels": 3},
]


def pair(options: dict[str, Any]) -> tuple[PlainSalgl, Salgl, torch.nn.Module]:
    """The plain network, and our section and network with its weights, in double precision."""
    options = {name: value for name, value in options.items() if name != "detach"}
    plain = PlainSalgl(**options).double()
    num_labels = len(plain.embeddings)
    plain.comatrix.add_(torch.eye(num_labels))
    section = Salgl(
        **{**SMALL, "num_scenes": options.get("num_scenes", 3), "graph_steps": options.get("steps", 2)},
        scene_assignment="soft" if options.get("soft") else "hard",
        two_way_messages=options.get("two_way", False),
        ignore_self=options.get("ignore_self", False),
        normalize_graph=options.get("normalize", False),
        label_embeddings="prepared" if "embedding_dim" in options else "random",
        label_embedding_dim=options.get("embedding_dim"),
        positions="grid" in options,
        detach_cooccurrence=False,
    )
    model = section.build(Tokens(), flat(num_labels)).double()  # type: ignore[arg-type]
    load_weights(model, section.from_upstream(plain.state_dict(), model), "plain")
    return plain, section, model


def random_batch(num_labels: int, size: int = 4) -> LabelBatch:
    tokens = torch.randn(size, 6, 16, dtype=torch.float64)
    return LabelBatch(tokens, (torch.rand(size, num_labels) < 0.5).double(), None, torch.arange(size), None)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_equals_the_plain_implementation(options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    plain, section, model = pair(options)
    detach = options.get("detach", False)
    model.head.cooccurrence.is_detached = detach
    batch = random_batch(len(plain.embeddings))
    expected = plain(batch.images, batch.targets, detach)
    loss = plain_asymmetric(expected["logits"], batch.targets)
    (loss + expected["sample_entropy"] + expected["batch_entropy"]).backward()
    terms = section.training_losses(model, batch, Asymmetric().build(), epoch=0)
    torch.testing.assert_close(terms["classification"], loss, rtol=1e-10, atol=0)
    sum(terms.values()).backward()
    torch.testing.assert_close(section.cooccurrence(model), plain.comatrix, rtol=1e-12, atol=1e-14)
    grads = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(from_reference(grads, model)) == set(ours)
    for name, gradient in from_reference(grads, model).items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_evaluation_equals_the_plain_implementation(options: dict[str, Any]) -> None:
    torch.manual_seed(2)
    plain, _, model = pair(options)
    batch = random_batch(len(plain.embeddings))
    expected = plain(batch.images)
    model.eval()
    for name, value in model(batch.images)._asdict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("objective", "scale", "plain_loss"),
    [
        (Asymmetric(gamma_pos=1, gamma_neg=4, clip=0.05), None, lambda x, y: plain_asymmetric(x, y, 1, 4, 0.05)),
        (Asymmetric(gamma_neg=0), 1000, lambda x, y: plain_asymmetric(x, y, 0, 0)),
        (Bce(), None, F.binary_cross_entropy_with_logits),
        (Bce(), 7, lambda x, y: 7 * F.binary_cross_entropy_with_logits(x, y)),
    ],
)
def test_classification_term_is_the_scaled_mean_over_images_and_labels(
    objective: Any, scale: float | None, plain_loss: Any
) -> None:
    torch.manual_seed(3)
    plain, section, model = pair({})
    section = section.model_copy(
        update={"loss_scale": scale, "sample_entropy_weight": 0.5, "batch_entropy_weight": 0.25}
    )
    batch = random_batch(7)
    expected = plain(batch.images, batch.targets)
    terms = section.training_losses(model, batch, objective.build(), epoch=0)
    torch.testing.assert_close(terms["classification"], plain_loss(expected["logits"], batch.targets))
    torch.testing.assert_close(terms["sample_entropy"], 0.5 * expected["sample_entropy"])
    torch.testing.assert_close(terms["batch_entropy"], 0.25 * expected["batch_entropy"])


@pytest.mark.parametrize("kind", ["AdamW", "Adam", "SGD"])
@pytest.mark.parametrize("average_cooccurrence", [True, False])
def test_steps_equal_those_of_torch_optimisers_on_the_plain_implementation(
    kind: str, average_cooccurrence: bool
) -> None:
    torch.manual_seed(4)
    plain, section, model = pair({"soft": True})
    section = section.model_copy(update={"average_cooccurrence": average_cooccurrence})
    theirs = getattr(torch.optim, kind)(plain.parameters(), lr=1e-3, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=1e-3, steps_per_epoch=4, epochs=2, pct_start=0.2)
    kinds = {"AdamW": sections.AdamW, "Adam": sections.Adam, "SGD": partial(sections.Sgd, momentum=0.0)}
    ours = build_optimizer(kinds[kind](lr=1e-3, weight_decay=0.01), model)
    ema = Ema(model, 0.9, section.copied_by_average())
    average = {name: value.clone() for name, value in plain.state_dict().items()}
    for step in range(4):
        batch = random_batch(7)
        output = plain(batch.images, batch.targets)
        loss = plain_asymmetric(output["logits"], batch.targets) + output["sample_entropy"] + output["batch_entropy"]
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        cycle.step()
        for name, value in plain.state_dict().items():
            keep = 0.9 if average_cooccurrence or name != "comatrix" else 0.0
            average[name] = keep * average[name] + (1 - keep) * value
        apply_schedule(ours, schedule_point(sections.OneCycle(), step, 8))
        sum(section.training_losses(model, batch, Asymmetric().build(), epoch=0).values()).backward()
        ours.step()
        ours.zero_grad()
        ema.update(model)
    for trained, state in ((model, plain.state_dict()), (ema.model, average)):
        expected = section.from_upstream(state, trained)
        for name, value in trained.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    ("steps", "soft", "layers", "detach"), itertools.product([0, 2], ["soft", "hard"], [0, 2], [True, False])
)
def test_every_trainable_parameter_gets_a_gradient(steps: int, soft: str, layers: int, detach: bool) -> None:
    section, model = make(
        graph_steps=steps,
        scene_assignment=soft,
        encoder_layers=layers,
        detach_cooccurrence=detach,
        sample_entropy_weight=0,
        batch_entropy_weight=0,
        two_way_messages=layers > 0,
        count_before_reading=not detach,
    )
    model.train()
    sum(section.training_losses(model, batch_of(), Asymmetric().build(), epoch=0).values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad or name.startswith("head.graph."), name


def test_without_messages_the_graph_is_idle_and_nothing_is_joined() -> None:
    _, model = make(graph_steps=0)
    assert model.head.fusion.weight.shape == (16, 16)
    assert not any(parameter.requires_grad for parameter in model.head.graph.parameters())
    assert make(graph_steps=1)[1].head.fusion.weight.shape == (16, 32)


@pytest.mark.parametrize("soft", ["soft", "hard"])
def test_images_do_not_meet_in_eval_mode(soft: str) -> None:
    _, model = make(scene_assignment=soft)
    model.head.cooccurrence.counts.add_(torch.rand(3, 7, 7))
    model.double().eval()
    images = batch_of(5).images.double()
    whole = model(images)
    torch.testing.assert_close(model(images), whole, rtol=0, atol=0)
    for image in range(5):
        alone = model(images[image : image + 1])
        for single, together in zip(alone[:4], whole[:4], strict=True):
            torch.testing.assert_close(single[0], together[image], rtol=1e-11, atol=1e-12)


def test_twenty_steps_on_one_batch_drive_the_loss_down() -> None:
    section, model = make(scene_assignment="soft", detach_cooccurrence=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        terms = section.training_losses(model, batch_of(), Asymmetric().build(), epoch=0)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        losses.append(terms["classification"].item())
    assert losses[-1] < 0.5 * losses[0]


def test_ignored_labels_cost_nothing_and_are_not_counted() -> None:
    section, model = make()
    batch = batch_of()
    ignore = torch.zeros(4, 7, dtype=torch.bool)
    ignore[:, 0] = True
    terms = section.training_losses(model, batch._replace(ignore=ignore), Asymmetric().build(), epoch=0)
    counts = section.cooccurrence(model)
    assert not counts[:, 0].any()
    assert not counts[:, :, 0].any()
    kept = batch.targets[:, 1:]
    torch.testing.assert_close(counts.sum(dim=0)[1:, 1:], kept.T @ kept)
    model.zero_grad()
    terms["classification"].backward()
    assert not model.head.classifier.offset.grad[0]
    assert model.head.classifier.offset.grad[1:].all()


@pytest.mark.parametrize("class_tokens", [0, 1])
def test_maps_show_the_grid_without_the_class_token(class_tokens: int) -> None:
    section, model = make(Tokens(class_tokens=class_tokens), positions=True)
    tokens = torch.randn(2, 6 + class_tokens, 16)
    found = section.level_maps(model.eval(), tokens)
    output = model(tokens)
    assert found.attention_maps[0].shape == (2, 7, 2, 3)
    torch.testing.assert_close(found.attention_maps[0][:, :, 1, 2], output.attention_maps[:, :, -1])
    torch.testing.assert_close(found.level_logits[0], output.logits)
    assert output.attention_maps.shape == (2, 7, 6 + class_tokens)
    if class_tokens:
        assert not model.head.position[0].any()


def test_tokens_of_another_image_size_are_refused() -> None:
    _, model = make(Tokens())
    with pytest.raises(ValueError, match=r"Expected 6 tokens \(0 \+ 2 x 3\), but got 5"):
        model(torch.randn(1, 5, 16))


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"num_heads": 3}, "3 heads cannot share"), ({"positions": True, "num_heads": 2}, "multiple of 4")],
)
def test_widths_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(Tokens(num_features=10), **fields)


def test_given_embeddings_are_not_trained_and_random_ones_are() -> None:
    _, random = make(label_embedding_dim=None)
    assert random.head.label_embeddings.shape == (7, 16)
    assert dict(random.named_parameters())["head.label_embeddings"].requires_grad
    _, given = make(label_embeddings="prepared")
    assert "head.label_embeddings" in dict(given.named_buffers())
    assert "head.label_embeddings" in given.state_dict()
    assert given.head.label_embeddings.shape == (7, 768)


@pytest.mark.parametrize("num_scenes", [1, 2, 5])
def test_entropies_are_least_for_sure_images_and_even_scenes(num_scenes: int) -> None:
    sure = torch.eye(num_scenes, dtype=torch.float64).repeat(2, 1)
    sample, batch = scene_entropies(sure)
    assert abs(float(sample)) < 1e-6
    assert float(batch) == pytest.approx(0, abs=1e-10)
    even = torch.full((4, num_scenes), 1 / num_scenes, dtype=torch.float64)
    assert float(scene_entropies(even)[0]) == pytest.approx(math.log(num_scenes), abs=1e-5)
    if num_scenes > 1:
        assert float(scene_entropies(sure[:1])[1]) == pytest.approx(100 * math.log(num_scenes), rel=1e-5)


def test_scenes_and_counts_stay_in_full_precision_under_autocast() -> None:
    section, model = make(scene_assignment="soft", detach_cooccurrence=False)
    with torch.no_grad():
        section.cooccurrence(model).fill_(1001.0)  # which bfloat16 cannot hold
    batch = batch_of(64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch.images, batch.targets)
        terms = section.training_losses(model, batch, Asymmetric().build(), epoch=0)
    for value in (output.scene_probs, output.sample_entropy, output.batch_entropy, output.adjacency):
        assert value.dtype == torch.float32
    counts = section.cooccurrence(model)
    assert counts.dtype == torch.float32
    torch.testing.assert_close(counts.sum(dim=0), 3003.0 + 2 * batch.targets.T @ batch.targets, rtol=1e-5, atol=0)
    loss: Tensor = sum(terms.values())  # type: ignore[assignment]
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
