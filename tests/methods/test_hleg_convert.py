"""Weights of the published code ⇄ ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hlcli.errors import CheckpointError
from hlcli.methods.hleg.convert import from_reference, to_reference
from hlcli.methods.reference_names import complete
from hlcli.upstream import read_upstream

from .hleg_parts import TinyBackbone, batch_of, make


def exported(**fields: object) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    section, model = make(**fields)  # type: ignore[arg-type]
    return model, section.to_upstream(model.state_dict(), model)


@pytest.mark.parametrize("fields", [{}, {"pre_norm": True, "encoder_layers": 2}, {"keep_other_self_attention": True}])
def test_weights_survive_the_way_there_and_back(tmp_path: Path, fields: dict[str, object]) -> None:
    model, published = exported(**fields, backbone=TinyBackbone(num_features=10))
    path = tmp_path / "model_best.pth.tar"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in published.items()}}, path)
    state, info = read_upstream(path)
    assert info == {"epoch": 3}
    _, other = make(**fields, backbone=TinyBackbone(num_features=10))  # type: ignore[arg-type]
    torch.nn.init.normal_(other.head.fine_queries)
    other.load_state_dict(from_reference(state))
    images = batch_of().images
    torch.testing.assert_close(other(images).level_logits, model(images).level_logits, rtol=0, atol=0)


def test_strict_loaders_find_the_unused_layer() -> None:
    model, published = exported()
    template = {name for name in published if name.startswith("transformer.decoder.decoder_layer.")}
    assert len(template) == 18
    assert published["transformer.decoder.decoder_layer.self_attn.in_proj_weight"].shape == (48, 16)
    lean = to_reference(model.state_dict(), (2, 4, 7), (2, 3))
    assert set(published) - set(lean) == template


def test_levels_are_stacked_fine_first() -> None:
    model, published = exported()
    torch.testing.assert_close(published["fc_num_class.W"][0], model.head.classifier.weight[:7])
    torch.testing.assert_close(published["fc_coarse.b"], model.head.classifier.offset[:, -2:])
    torch.testing.assert_close(
        published["transformer.decoder.proj_m_t1.weight"], model.head.token_projection.weight[7:11]
    )
    assert published["backbone.1.pe"].shape == (1, 16, 2, 3)
    torch.testing.assert_close(published["backbone.1.pe"][0, :, 1, 2], model.head.position[5])


def test_only_what_is_never_used_is_left_out() -> None:
    _, published = exported(encoder_layers=0)
    expected = from_reference(published)
    extra = {
        "transformer.encoder.norm.weight": torch.ones(16),  # no encoder layer: nothing to normalise
        "transformer.decoder.layers.3.norm2.weight": torch.ones(16),
    }
    assert set(from_reference({**published, **extra})) == set(expected)
    _, with_encoder = exported()
    ours = from_reference({**with_encoder, "transformer.encoder.norm.weight": torch.ones(16)})
    assert "head.encoder.norm.weight" in ours


def test_missing_positions_are_computed() -> None:
    model, published = exported()
    del published["backbone.1.pe"]
    state = complete(from_reference(published), model, computed=("head.position",))
    torch.testing.assert_close(state["head.position"], model.head.position)
    assert set(state) == set(model.state_dict())


def test_only_one_prefix_is_taken_off() -> None:
    _, published = exported()
    twice = {f"module.module.{name}": value for name, value in published.items()}
    with pytest.raises(CheckpointError, match=r"lacks fc_coarse\.W|do not belong"):
        from_reference(twice)


def test_unknown_names_are_listed() -> None:
    _, published = exported()
    strange = {"transformer.decoder.layers.0.gate.weight": torch.ones(1), "other": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"2 names .*: other, transformer\.decoder\.layers\.0\.gate\.weight"):
        from_reference({**published, **strange})


def test_missing_groups_and_doubled_names_are_refused() -> None:
    _, published = exported()
    with pytest.raises(CheckpointError, match=r"with and without the prefix"):
        from_reference({**published, "module.query_embed.weight": torch.ones(7, 16)})
    del published["fc_middle.b"]
    with pytest.raises(CheckpointError, match=r"lacks fc_middle\.b"):
        from_reference(published)


def test_only_three_levels_can_be_exported() -> None:
    section, model = make(depth=2)
    with pytest.raises(CheckpointError, match="exactly three levels; this model has 2"):
        section.to_upstream(model.state_dict(), model)
