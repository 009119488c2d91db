"""HSPNet's network and objective: against a plain second implementation, and what every model must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.errors import RecipeError
from hlcli.losses.bce import BceLoss
from hlcli.losses.splc import SplcLoss
from hlcli.methods.hspnet.config import Hspnet
from hlcli.methods.hspnet.convert import to_reference
from hlcli.methods.hspnet.prompts import text_cosines
from hlcli.methods.hspnet.relation import label_adjacency
from hlcli.recipe import Recipe

from .hspnet_parts import NO_FILES, TEXT_HEADS, batch_of, make, make_clip, tree
from .plain_hspnet import plain_logits, plain_splc

PARENTS = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(
    lambda rows: tuple(sorted(set(rows)).index(row) for row in rows)
)


@given(
    parent_index=PARENTS,
    n_ctx=st.integers(1, 5),
    sizes=st.tuples(st.integers(5, 14), st.integers(3, 12), st.sampled_from([4, 8])),
    layers=st.sampled_from([(1, 1, 1, 1), (2, 1, 2, 1)]),
    text_layers=st.integers(1, 2),
    training=st.booleans(),
    epoch=st.integers(0, 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=10, deadline=None)
def test_equals_the_plain_implementation(
    parent_index: tuple[int, ...],
    n_ctx: int,
    sizes: tuple[int, int, int],
    layers: tuple[int, ...],
    text_layers: int,
    training: bool,
    epoch: int,
    seed: int,
) -> None:
    embed_dim, hidden, text_width = sizes
    towers = make_clip(
        embed_dim=embed_dim, text_width=text_width, text_layers=text_layers, vision={"layers": layers}, seed=seed
    )
    labels = tree(parent_index)
    names = [name.replace("_", " ") for name in (*labels.label_names, *labels.levels[0].label_names)]
    relation = text_cosines(towers, names)
    section, model = make(labels, towers, n_ctx=n_ctx, gcn_hidden=hidden, logit_factor=7.0, reweight_p=0.3)
    model.train(training)
    state = to_reference({name: value.clone() for name, value in model.state_dict().items()}, model)
    weights = {name: value.requires_grad_(value.is_floating_point()) for name, value in state.items()}
    for name, value in weights.items():
        if "running" in name:
            value.requires_grad_(False)
    batch = batch_of(3, len(parent_index), seed)
    ends = model.child_ends.tolist(), model.parent_ends.tolist()
    logits = plain_logits(
        weights, batch.images, relation, parent_index, ends,
        heads=(2, TEXT_HEADS), training=training, factor=7.0, p=0.3,
    )  # fmt: skip
    loss = plain_splc(logits, batch.targets, epoch)
    loss.backward()
    ours = section.training_losses(model, batch, SplcLoss(), epoch=epoch)["classification"]
    torch.testing.assert_close(ours, loss, rtol=1e-9, atol=0)
    ours.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    largest = max(float(value.abs().max()) for value in gradients.values())
    for name, gradient in to_reference(gradients, model).items():
        torch.testing.assert_close(
            gradient, weights[name].grad, rtol=1e-6, atol=1e-9 * largest, msg=f"gradient of {name}"
        )
    for name, value in to_reference(model.state_dict(), model).items():
        if "running" in name:
            torch.testing.assert_close(value, weights[name], rtol=1e-9, atol=1e-12)


@given(st.integers(1, 9), st.floats(0.01, 0.99), st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_adjacency_rows_sum_to_one_and_keep_the_nearest(count: int, p: float, share: float, seed: int) -> None:
    torch.manual_seed(seed)
    features = torch.rand(count, 5, dtype=torch.float64)
    relation = nn.functional.normalize(features, dim=1) @ nn.functional.normalize(features, dim=1).T
    adjacency = label_adjacency(relation, reweight_p=p, keep_share=share)
    torch.testing.assert_close(adjacency.sum(dim=1), torch.ones(count, dtype=torch.float64))
    assert (adjacency >= 0).all()
    neighbours = (adjacency.clone().fill_diagonal_(0) > 0).sum(dim=1)
    assert (neighbours <= max(int(share * count) - 1, 0)).all()
    for row in range(count):
        kept, left = (relation[row][flags] for flags in (adjacency[row] > 0, adjacency[row] == 0))
        assert not len(left) or kept.min() >= left.max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_without_neighbours_keep_to_themselves(dtype: torch.dtype) -> None:
    assert torch.equal(label_adjacency(torch.ones(1, 1, dtype=dtype)), torch.ones(1, 1, dtype=dtype))
    pair = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=dtype)  # three quarters of two labels are one: itself
    assert torch.equal(label_adjacency(pair), torch.eye(2, dtype=dtype))
    with pytest.raises(ValueError, match=r"square relation, but got shape \[2, 3\]"):
        label_adjacency(torch.ones(2, 3))


def test_order_of_labels_does_not_matter() -> None:
    labels, order = tree(), [3, 5, 0, 4, 1, 2]
    names, parents = labels.label_names, labels.levels[1].parent_index or ()
    moved = LabelSpace.from_parents(
        [labels.levels[0].label_names, [names[i] for i in order]], [[parents[i] for i in order]]
    )
    images = batch_of().images
    models = []
    for space in (labels, moved):
        torch.manual_seed(5)
        models.append(make(space, make_clip())[1].eval())
    torch.testing.assert_close(models[1](images).logits, models[0](images).logits[:, order], rtol=1e-9, atol=1e-10)


def test_what_follows_the_end_of_a_text_is_never_read() -> None:
    _, model = make()
    images = batch_of().images
    expected = model.eval()(images).logits
    for rows, ends, first in (
        (model.parent_prompts, model.parent_ends, 0),
        (model.child_suffix, model.child_ends, 1 + model.n_ctx),
    ):
        for row, end in zip(rows, ends, strict=True):
            row.data[end + 1 - first :] = 1e3
    torch.testing.assert_close(model.train().eval()(images).logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "vision", [{}, {"layers": 1, "width": 8, "head_width": 4, "patch_size": 16}], ids=["RN", "ViT"]
)
def test_every_trainable_parameter_gets_a_gradient_and_no_other(vision: dict[str, Any]) -> None:
    section, model = make(towers=make_clip(vision=vision))
    model.train()
    section.start_epoch(model, 0)
    section.training_losses(model, batch_of(), SplcLoss(), epoch=0)["classification"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"backbone", "gcn", "meta_net"}
    assert not list(dict(model.named_buffers()).keys() & {"logit_scale", "parent_context"})


def test_images_do_not_meet_in_eval_mode_and_logits_stay_below_the_factor() -> None:
    _, model = make(logit_factor=3.0)
    images = batch_of(5).images
    whole = model.eval()(images).logits
    assert whole.abs().max() <= 3
    for index in range(5):
        torch.testing.assert_close(model(images[index : index + 1]).logits[0], whole[index], rtol=1e-10, atol=1e-12)


def test_training_drives_the_loss_down() -> None:
    section, model = make(gcn_hidden=None)
    batch, model = batch_of(4), model.float().train()
    batch = batch._replace(images=batch.images.float(), targets=batch.targets.float())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(20):
        loss = section.training_losses(model, batch, BceLoss(), epoch=0)["classification"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_sum_over_a_step_does_not_depend_on_how_it_is_cut() -> None:
    section, model = make()
    model.eval()
    batch = batch_of(4)
    ignore = torch.zeros(4, 6, dtype=torch.bool)
    ignore[1, 2] = ignore[3] = True
    batch = batch._replace(ignore=ignore)
    whole = section.training_losses(model, batch, SplcLoss(), epoch=0)["classification"]
    parts = [
        batch._replace(images=batch.images[rows], targets=batch.targets[rows], ignore=ignore[rows], parts=2)
        for rows in (slice(0, 2), slice(2, 4))
    ]
    halves = [section.training_losses(model, part, SplcLoss(), epoch=0)["classification"] for part in parts]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)  # gradients of parts are averaged
    mean = section.model_copy(update={"reduction": "mean"})
    torch.testing.assert_close(mean.training_losses(model, batch, SplcLoss(), epoch=0)["classification"], whole / 24)
    kept = SplcLoss()(model(batch.images).logits, batch.targets).masked_fill(ignore, 0)
    torch.testing.assert_close(whole, kept.sum())


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_batch_norms_of_the_image_tower_rest_in_the_first_epochs(epochs: int) -> None:
    section, model = make(batch_norm_eval_epochs=epochs)
    norms: list[Any] = [part for part in model.backbone.modules() if isinstance(part, nn.BatchNorm2d)]
    for epoch in range(3):
        model.train()
        section.start_epoch(model, epoch)
        assert all(part.training == (epoch >= epochs) for part in norms)
        assert model.training
        before = norms[0].running_mean.clone()
        model(batch_of().images)
        assert torch.equal(before, norms[0].running_mean) == (epoch < epochs)


def test_labels_without_a_tree_have_one_parent() -> None:
    labels = LabelSpace.flat(["cat", "dog", "bird"])
    section, model = make(labels)
    assert model.parent_index.tolist() == [0, 0, 0]
    assert model.parent_adjacency.tolist() == [[1]]
    assert model(batch_of(2, 3).images).logits.shape == (2, 3)
    assert (
        section.build(make_clip(), LabelSpace.flat(["cat"]), data_folder=NO_FILES)
        .double()(batch_of(2, 1).images)
        .logits.isfinite()
        .all()
    )


def test_texts_of_labels_can_be_given() -> None:
    labels = LabelSpace.from_parents([["pets"], ["tvmonitor", "black_cat"]], [[0, 0]])
    towers = make_clip()
    texts: list[str] = []
    read = towers._tokenizer

    def listen(rows: list[str]) -> Tensor:
        texts.extend(rows)
        return read(rows)

    towers._tokenizer = listen
    section = Hspnet(graph="clip", n_ctx=2, label_texts={"tvmonitor": "tv monitor", "pets": "house animals"})
    section.build(towers, labels)
    assert texts == ["a photo of a house animals.", "X X tv monitor.", "X X black cat."]
    with pytest.raises(RecipeError, match="'tvmonitr' is neither a label nor a parent") as caught:
        Hspnet(label_texts={"tvmonitr": "tv"}).build(make_clip(), labels)
    assert "tvmonitor" in str(caught.value.hint)


def test_a_text_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"longer: '.* kind1 of thing\.'"):
        make(towers=make_clip(context=9), n_ctx=5)


def test_where_all_weights_follow_no_graph_is_read() -> None:
    model: Any = Hspnet(graph="prepared").build(make_clip(), tree())
    assert torch.equal(model.child_adjacency, torch.eye(6))


def test_a_graph_must_be_a_file_of_vectors() -> None:
    with pytest.raises(ValueError, match=r"graph must be prepared, clip, or a file.*'graph\.txt'"):
        Hspnet(graph="graph.txt")


def test_parts_learn_at_rates_of_their_own() -> None:
    section, model = make(gcn_lr_factor=7.0, meta_lr_factor=2.0)
    factors = section.lr_factors()
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    rate = {name: next((f for prefix, f in factors.items() if name.startswith(prefix)), 1.0) for name in names}
    assert {name for name, value in rate.items() if value == 7} == {
        "gcn.gamma",
        *(f"gcn.weights.{i}" for i in range(3)),
    }
    assert {name.split(".")[0] for name, value in rate.items() if value == 2} == {"meta_net"}


def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    """The published loss is a sum, and gradients of parts are averaged."""

    def train(steps: int, folder: Path) -> dict[str, Tensor]:
        recipe = Recipe.from_yaml(
            "hspnet/shapes",
            ["data.image_size=32", "data.num_train=16", "data.num_val=4", "data.horizontal_flip=false",
             "data.workers=0", "model.reduction=sum", "model.batch_norm_eval_epochs=1", "model.gcn_hidden=8",
             "optim.optimizer=sgd", "optim.lr=1e-3", "schedule.schedule=constant", "objective.loss=an",
             "train.epochs=1", "train.batch_size=8", "train.ema_decay=null", "train.cpu=true", "eval.every_epochs=1",
             f"train.accumulation_steps={steps}"],
        )  # fmt: skip
        run = hlcli.train(recipe, folder)
        return torch.load(run.checkpoint_file, weights_only=True)["model"]

    whole, parts = train(1, tmp_path / "whole"), train(4, tmp_path / "parts")
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5, msg=name)
