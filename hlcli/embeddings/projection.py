"""Vectors as points of a plane: t-SNE, UMAP or principal components. The same vectors give the same points."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from hlcli.embeddings.neighbours import unit_vectors
from hlcli.errors import InputError, MissingDependencyError, nearest

_METHODS = ("tsne", "umap", "pca")
_FEWEST_POINTS = 5
"""Of fewer points t-SNE and UMAP make nothing that their principal components would not show."""
_SEED = 0
_PERPLEXITY = 30
_NEIGHBOURS = 15
_ROUNDING = 1e-9
"""Vectors that differ by less are the same."""
_TSNE_SPREAD = 1e-4
"""Standard deviation of the points from which t-SNE begins."""


class Projection(NamedTuple):
    """Points of vectors.

    Args:
        points: [n, 2].
        name: how they were found, in words.
        axes: what the two directions are; empty where they mean nothing.
    """

    points: np.ndarray
    name: str
    axes: tuple[str, ...] = ()


def check_projection(method: str) -> None:
    """Refuse a way to project that is unknown, or whose library is not installed.

    Raises:
        InputError: naming the known ones.
        MissingDependencyError: naming what to install.
    """
    if method not in _METHODS:
        near = nearest(method.lower(), _METHODS)
        raise InputError(
            f"--projection: {', '.join(_METHODS)} were expected (got {method!r}).",
            f"Did you mean {near[0]}?" if near else None,
        )
    if method == "umap" and find_spec("umap") is None:
        raise MissingDependencyError(
            "--projection umap needs umap-learn.", "Run: pip install 'hlcli[umap]', or take --projection tsne."
        )


def project(vectors: np.ndarray, method: str = "tsne") -> Projection:
    """Points in a plane such that vectors [n, D] with a large cosine lie near each other.

    Vectors are divided by their lengths first. Fewer than five, and vectors that are all the same, are shown by their
    principal components, whatever was asked for.

    Raises:
        InputError: for an unknown method.
        MissingDependencyError: when its library is not installed.
    """
    check_projection(method)
    unit = unit_vectors(vectors)
    components = _components(unit)
    if method == "pca" or len(unit) < _FEWEST_POINTS or not components.points.any():
        return components
    first_points = (components.points / components.points[:, 0].std()).astype(np.float32)
    search = _tsne if method == "tsne" else _umap
    return search(unit.astype(np.float32), first_points)


def _components(unit: np.ndarray) -> Projection:
    """The two directions in which unit vectors [n, D] differ most."""
    from sklearn.decomposition import PCA

    points, shares = np.zeros((len(unit), 2)), np.zeros(2)
    if np.ptp(unit, axis=0).max() > _ROUNDING:
        count = min(2, *unit.shape)
        found = PCA(n_components=count, random_state=_SEED)
        points[:, :count] = found.fit_transform(unit)
        shares[:count] = found.explained_variance_ratio_
    names = zip(("first", "second"), shares, strict=True)
    return Projection(points, "PCA", tuple(f"{name} component: {share:.0%} of the variance" for name, share in names))


def _tsne(unit: np.ndarray, first_points: np.ndarray) -> Projection:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(unit) - 1) / 3)
    search = TSNE(perplexity=perplexity, init=_TSNE_SPREAD * first_points, learning_rate="auto", random_state=_SEED)
    with threadpool_limits(1):  # sums of several threads come out a little different every time
        points = search.fit_transform(unit)
    return Projection(points, f"t-SNE (perplexity {perplexity:.3g})")


def _umap(unit: np.ndarray, first_points: np.ndarray) -> Projection:
    from umap import UMAP

    neighbours = min(_NEIGHBOURS, len(unit) - 1)
    search = UMAP(n_neighbors=neighbours, init=first_points, random_state=_SEED, n_jobs=1)
    return Projection(search.fit_transform(unit), f"UMAP ({neighbours} neighbours)")
