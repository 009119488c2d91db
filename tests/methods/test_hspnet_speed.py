"""HSPNet's text encoder runs only when something has changed, and never longer than the longest text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hlcli import sections
from hlcli.ema import Ema
from hlcli.losses.splc import SplcLoss
from hlcli.optim import build_optimizer

from .hspnet_parts import batch_of, make, make_clip

LABELS, PARENTS = 6, 3


def count_texts(model: Any) -> list[tuple[int, int]]:
    """Number and length of the prompts of every run of the text encoder, as it happens."""
    runs: list[tuple[int, int]] = []
    model.text_encoder.register_forward_pre_hook(lambda _, inputs: runs.append(tuple(inputs[0].shape[:2])))
    return runs


@torch.inference_mode()
def evaluate(model: Any, batches: int = 4) -> torch.Tensor:
    model.eval()
    return torch.cat([model(batch_of(2, seed=seed).images.to(model.gcn.gamma.dtype)).logits for seed in range(batches)])


def train_step(section: Any, model: Any, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    section.training_losses(model, batch_of(), SplcLoss(), epoch=0)["classification"].backward()
    optimizer.step()
    optimizer.zero_grad()


def optimizer_of(section: Any, model: Any) -> torch.optim.Optimizer:
    return build_optimizer(sections.Adam(lr=0.01), model, section.lr_factors())


def test_an_evaluation_reads_all_texts_once_and_cut_to_the_longest() -> None:
    _, model = make()
    runs = count_texts(model)
    evaluate(model)
    longest = int(model.parent_ends.max()) + 1, int(model.child_ends.max()) + 1
    assert runs == [(PARENTS, longest[0]), (LABELS, longest[1])]
    assert max(longest) < model.parent_prompts.shape[1]


def test_parents_are_read_once_in_a_training_and_labels_in_every_step() -> None:
    section, model = make()
    optimizer, runs = optimizer_of(section, model), count_texts(model)
    for _ in range(2):
        for _ in range(3):
            train_step(section, model, optimizer)
        evaluate(model)
    assert [count for count, _ in runs].count(PARENTS) == 1
    assert [count for count, _ in runs].count(LABELS) == 2 * (3 + 1)


def test_an_evaluation_before_training_leaves_nothing_that_training_cannot_use() -> None:
    section, model = make()
    evaluate(model)
    train_step(section, model, optimizer_of(section, model))


def by_optimizer(section: Any, model: Any) -> None:
    train_step(section, model, optimizer_of(section, model))


def by_optimizer_in_eval_mode(section: Any, model: Any) -> None:
    """Fused optimisers leave no trace in the weights' versions, and here the mode stays as it was."""
    optimizer = optimizer_of(section, model)
    section.training_losses(model, batch_of(), SplcLoss(), epoch=0)["classification"].backward()
    optimizer.step()


def by_average(_: Any, model: Any) -> None:
    other = make()[1]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    average = Ema(model, 0.5)
    average.model = model
    average.update(other)


def by_loading(_: Any, model: Any) -> None:
    state = {name: value + 0.05 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    model.load_state_dict(state)


def by_hand(_: Any, model: Any) -> None:
    with torch.no_grad():
        model.gcn.gamma.mul_(0.5)


@pytest.mark.parametrize("change", [by_optimizer, by_optimizer_in_eval_mode, by_average, by_loading, by_hand])
def test_a_changed_weight_is_noticed(change: Callable[[Any, Any], None]) -> None:
    section, model = make()
    before = evaluate(model)
    change(section, model)
    with torch.inference_mode():  # the mode is not switched in between
        after = torch.cat([model(batch_of(2, seed=seed).images).logits for seed in range(4)])
    fresh = make()[1]
    fresh.load_state_dict(model.state_dict())
    fresh.train(model.training)
    with torch.inference_mode():
        expected = torch.cat([fresh(batch_of(2, seed=seed).images).logits for seed in range(4)])
    torch.testing.assert_close(after, expected, rtol=0, atol=0)
    assert not torch.equal(before, after)


def test_loaded_parents_and_texts_are_read_anew() -> None:
    _, model = make()
    evaluate(model)
    runs = count_texts(model)
    with torch.no_grad():
        model.parent_prompts.add_(0.1)
    evaluate(model)
    assert [count for count, _ in runs] == [PARENTS, LABELS]


def test_another_precision_is_another_result() -> None:
    _, model = make()
    evaluate(model)
    runs = count_texts(model)
    evaluate(model.float())
    assert [count for count, _ in runs] == [PARENTS, LABELS]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        half = model(batch_of(2).images.float()).logits
        model(batch_of(2).images.float())
    assert half.dtype == torch.float32
    assert [count for count, _ in runs] == [PARENTS, LABELS, LABELS]  # parents are read in full precision


def test_a_copy_remembers_nothing_of_its_model() -> None:
    _, model = make()
    evaluate(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.gcn.gamma.zero_()
    assert not torch.equal(evaluate(other), evaluate(model))


def test_averages_and_other_processes_are_spared_what_never_changes() -> None:
    section, model = make()
    average = Ema(model, 0.9, section.copied_by_average())
    evaluate(average.model)
    runs = count_texts(average.model)
    train_step(section, model, optimizer_of(section, model))
    average.update(model)
    evaluate(average.model)
    assert [count for count, _ in runs] == [LABELS]
    names = {name for name, _ in model.named_buffers() if not name.startswith("backbone.")}
    assert names <= {"child_ends", "parent_ends", "parent_index", "text_encoder.attn_mask"}


def test_nothing_stale_survives_a_fused_step_without_a_change_of_mode() -> None:
    """Fused optimisers raise no version: what was computed between a pass with gradients and a step must not stay."""
    section, model = make()
    model.eval()
    optimizer = optimizer_of(section, model)
    images = batch_of().images
    model(images).logits.sum().backward()
    with torch.no_grad():
        before = model(images).logits
    optimizer.step()
    with torch.no_grad():
        after = model(images).logits
        fresh = copy.deepcopy(model)(images).logits
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh)


def test_copies_hold_no_results_and_work_where_no_changes_are_counted() -> None:
    _, model = make()
    model.eval()
    images = batch_of().images
    with torch.inference_mode():
        expected = model(images).logits
        copied = copy.deepcopy(model)  # of inference tensors
        assert copied._label_memory._last is None
        assert torch.equal(copied(images).logits, expected)
    assert model._label_memory._last is not None


def test_a_part_of_one_image_and_one_cell_is_refused() -> None:
    """Batch norms would see one value per channel."""
    assert make(towers=make_clip(vision={"image_size": 32}))[1].needs_several_images
    assert not make()[1].needs_several_images
