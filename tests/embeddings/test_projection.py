"""Vectors as points: families stay together, the same vectors give the same points, few vectors are no trouble."""

from __future__ import annotations

import numpy as np
import pytest

from hlcli.embeddings.projection import check_projection, project
from hlcli.errors import InputError, MissingDependencyError


def families(size: int = 90, dim: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around three directions, and which of them each is near."""
    rng = np.random.default_rng(0)
    family = np.arange(size) % 3
    return 3 * rng.normal(size=(3, dim))[family] + rng.normal(size=(size, dim)), family


@pytest.mark.parametrize("method", ["tsne", "pca", "umap"])
def test_families_stay_together_and_points_are_the_same_every_time(method: str):
    if method == "umap":
        pytest.importorskip("umap", reason="the extra `umap`, 200 MB with its compiler, is in no other extra")
    vectors, family = families()
    found, again = project(vectors, method), project(vectors, method)
    np.testing.assert_array_equal(found.points, again.points)
    distances = np.linalg.norm(found.points[:, None] - found.points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (family[distances.argmin(axis=1)] == family).mean() > 0.95
    assert len(found.axes) == (2 if method == "pca" else 0)


def test_lengths_do_not_matter():
    vectors, _ = families(12)
    scaled = vectors * np.linspace(0.1, 9, 12)[:, None]
    np.testing.assert_allclose(project(vectors, "pca").points, project(scaled, "pca").points, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_few_vectors_are_shown_by_their_components(size: int):
    found = project(families(size)[0], "tsne")
    assert found.name == "PCA"
    assert found.points.shape == (size, 2)
    assert np.isfinite(found.points).all()


@pytest.mark.parametrize(
    "vectors", [np.ones((9, 4)), np.zeros((9, 4)), np.vstack([np.zeros((7, 4)), np.eye(4)]), np.ones((6, 1))]
)
def test_equal_vectors_give_numbers_too(vectors: np.ndarray):
    for method in ("tsne", "pca"):
        points = project(vectors, method).points
        assert points.shape == (len(vectors), 2)
        assert np.isfinite(points).all()


def test_five_vectors_are_enough_for_tsne():
    found = project(families(5)[0], "tsne")
    assert found.name == "t-SNE (perplexity 1.33)"
    assert np.isfinite(found.points).all()


def test_unknown_projections_are_named():
    with pytest.raises(InputError, match=r"tsne, umap, pca were expected \(got 't-sne'\)") as caught:
        check_projection("t-sne")
    assert caught.value.hint == "Did you mean tsne?"


def test_missing_umap_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hlcli.embeddings.projection.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs umap-learn") as caught:
        project(families(9)[0], "umap")
    assert "hlcli[umap]" in (caught.value.hint or "")
