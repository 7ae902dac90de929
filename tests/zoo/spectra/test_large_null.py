"""Random matrices of large shapes: drawn from the law of their eigenvalues instead of entry by entry."""

import numpy as np
import pytest
import torch
from scipy import stats

from zoo.spectra import null as nulls
from zoo.spectra.null import DRAWS, NULL_MEASURES, gaussian_eigenvalues, null
from zoo.spectra.windows import Windows, windowed_eigenvalues

ONE = torch.ones(1)
OF_LIGHT_TAILS = ("alpha", "farms_alpha", "spectral_norm", "stable_rank", "effective_rank")


@pytest.mark.parametrize(("rows", "columns"), [(30, 20), (20, 30), (25, 25), (40, 1)])
def test_eigenvalues_have_the_law_of_those_of_drawn_entries(rows, columns):
    """Smallest, median and largest eigenvalue and their sum, against numpy's dense SVD of 400 matrices."""
    rng = np.random.default_rng(0)
    drawn = np.stack([gaussian_eigenvalues(1, rows, columns, rng).numpy() for _ in range(400)])
    dense = np.linalg.svd(rng.standard_normal((400, rows, columns)), compute_uv=False) ** 2
    dense = np.sort(dense, axis=1)
    assert drawn.shape == dense.shape
    assert (np.diff(drawn, axis=1) >= 0).all()
    for of in (
        lambda x: x[:, 0],
        lambda x: np.median(x, axis=1),
        lambda x: x[:, -1],
        lambda x: x.sum(axis=1),
    ):
        assert stats.ks_2samp(of(drawn), of(dense)).pvalue > 0.001


def test_the_sum_of_the_eigenvalues_has_the_moments_of_squared_entries():
    rng = np.random.default_rng(1)
    sums = np.array([gaussian_eigenvalues(3, 7, 5, rng).sum().item() for _ in range(2000)])
    # 3 x 7 x 5 squares of mean 1 and variance 2
    assert sums.mean() == pytest.approx(105, abs=5 * (210 / 2000) ** 0.5)
    assert sums.var() == pytest.approx(210, rel=0.15)


def test_several_matrices_are_independent_and_come_together():
    together = gaussian_eigenvalues(50, 40, 10, np.random.default_rng(2))
    assert together.shape == (500,)
    assert together.dtype == torch.float64
    assert (together.diff() >= 0).all()
    apart = torch.cat([gaussian_eigenvalues(1, 40, 10, np.random.default_rng(seed)) for seed in range(50)])
    assert stats.ks_2samp(together.numpy(), apart.numpy()).pvalue > 0.001


SHAPES = [
    ((64, 40), Windows()),
    ((40, 64), Windows(10, 2.0, 3)),
    ((700, 30), Windows(20, 1.0, 2)),
    ((30, 700), Windows(7, 0.5, 4)),
    ((90, 30), Windows(20, 0.55, 2)),
    ((300, 70), Windows(9, 2.7, 1)),
    ((30, 30), Windows(3, 0.1, 2)),
    ((24, 50, 3, 3), Windows()),
    ((50, 24, 3, 3), Windows(aspect_ratio=2.0)),
    ((24, 60, 2, 2), Windows(aspect_ratio=0.3)),
]


@pytest.fixture
def all_large(monkeypatch):
    """Every shape is large."""
    monkeypatch.setattr(nulls, "_LARGE", 0)
    nulls._unit.cache_clear()
    yield
    nulls._unit.cache_clear()


@pytest.mark.parametrize(("shape", "windows"), SHAPES)
def test_both_ways_of_drawing_give_as_many_eigenvalues(shape, windows, all_large):
    drawn = nulls._of_law(shape, windows, 0)
    weight = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    assert drawn.cut.shape == windowed_eigenvalues(weight, windows).shape
    assert drawn.whole.shape == nulls.full_eigenvalues(weight).shape


@pytest.mark.parametrize(("shape", "windows"), [SHAPES[0], SHAPES[2], SHAPES[3], SHAPES[7], SHAPES[8]])
def test_both_ways_of_drawing_give_the_same_null(shape, windows, monkeypatch):
    nulls._unit.cache_clear()
    entries = null(shape, ONE, windows)
    monkeypatch.setattr(nulls, "_LARGE", 0)
    nulls._unit.cache_clear()
    law = null(shape, ONE, windows)
    nulls._unit.cache_clear()
    for name in NULL_MEASURES:
        (mean, deviation), (other, spread) = (
            [part.item() for part in found[name]] for found in (entries, law)
        )
        assert np.isnan(mean) == np.isnan(other), name
        if not np.isnan(mean):
            assert abs(mean - other) < 4 * ((deviation**2 + spread**2) / DRAWS) ** 0.5 + 1e-9, name
        if name in OF_LIGHT_TAILS and not np.isnan(mean):
            assert spread == pytest.approx(deviation, rel=0.7), name


def test_a_large_shape_is_never_drawn_entry_by_entry(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(nulls, "_of_matrix", refuse)
    with pytest.raises(AssertionError):
        null((32, 31), ONE, Windows())
    found = null((40_000, 30), torch.tensor([0.04]), Windows())
    edge = 0.2 * (40_000**0.5 + 30**0.5)
    assert found["spectral_norm"][0].item() == pytest.approx(edge, rel=0.01)
    nulls._unit.cache_clear()
    again = null((40_000, 30), torch.tensor([0.04]), Windows())
    assert all(torch.equal(found[name][0], again[name][0]) for name in NULL_MEASURES)
