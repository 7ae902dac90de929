import math

import numpy as np
import pytest
import torch

from zoo.spectra.bulk import effective_rank, fit_bulk, marchenko_pastur
from zoo.spectra.measures import full_eigenvalues


def noise(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(rows, columns, sizes, seed=0):
    """Noise, and singular values in units of its edge, along random directions."""
    left = torch.linalg.qr(noise(rows, len(sizes), seed=seed + 1)).Q
    right = torch.linalg.qr(noise(columns, len(sizes), seed=seed + 2)).Q
    edge = math.sqrt(rows) + math.sqrt(columns)
    return noise(rows, columns, seed=seed) + left * torch.tensor(sizes).double() * edge @ right.T


@pytest.mark.parametrize("shape", [(300, 300), (400, 100), (100, 400)])
def test_random_matrices_end_at_the_edge(shape):
    bulks = [fit_bulk(full_eigenvalues(noise(*shape, seed=seed, scale=0.3)), *shape) for seed in range(20)]
    assert np.mean([bulk.variance.item() for bulk in bulks]) == pytest.approx(0.09, rel=0.01)
    assert sum(bulk.spikes.item() for bulk in bulks) <= 10  # one of six is above the edge, by chance
    expected = 0.09 * (math.sqrt(shape[0]) + math.sqrt(shape[1])) ** 2
    assert np.mean([bulk.edge.item() for bulk in bulks]) == pytest.approx(expected, rel=0.01)


def test_planted_directions_are_counted_and_do_not_count_as_noise():
    found = fit_bulk(full_eigenvalues(planted(300, 200, [8.0, 5.0, 3.0, 2.0, 1.5])), 300, 200)
    assert found.spikes.item() == 5
    assert found.variance.item() == pytest.approx(1, rel=0.02)
    # their share of all variance alone would have hidden the last ones
    assert planted(300, 200, [8.0, 5.0, 3.0, 2.0, 1.5]).square().mean().item() > 2


def test_slices_of_a_kernel_share_one_bulk():
    kernel = torch.stack([planted(60, 60, [4.0], seed=10 * place) for place in range(9)], dim=-1).unflatten(
        -1, (3, 3)
    )
    found = fit_bulk(full_eigenvalues(kernel), 60, 60)
    assert 9 <= found.spikes.item() <= 12
    assert found.variance.item() == pytest.approx(1, rel=0.05)


def test_without_noise_every_eigenvalue_is_a_spike():
    weight = noise(50, 4) @ noise(4, 40, seed=1)
    found = fit_bulk(full_eigenvalues(weight), 50, 40)
    assert (found.spikes.item(), found.edge.item()) == (4, 0)


def test_bad_rows_are_missing_and_zero_is_zero():
    rows = torch.stack([torch.full((5,), torch.nan), torch.zeros(5), torch.arange(5.0)]).double()
    found = fit_bulk(rows, 5, 7)
    assert found.edge.isnan().tolist() == [True, False, False]
    assert found.spikes.tolist()[1:] == [0, 0]


@pytest.mark.parametrize("shape", [(100, 100), (300, 100), (100, 300)])
def test_the_density_is_the_histogram_of_random_matrices(shape):
    values = torch.cat([full_eigenvalues(noise(*shape, seed=seed)) for seed in range(30)])
    edges = torch.linspace(30, values.max().item(), 12, dtype=torch.float64)
    counts, _ = torch.histogram(values, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    expected = marchenko_pastur(middle, *shape, 1.0) * (edges[1] - edges[0]) * len(values)
    error = (counts - expected) / expected.clamp(min=1).sqrt()
    assert error[expected > 50].abs().max() < 6


def test_the_density_has_mass_one_and_none_outside():
    at = torch.linspace(0, 1000, 200001, dtype=torch.float64)
    density = marchenko_pastur(at, 200, 50, 1.5)
    assert torch.trapezoid(density, at).item() == pytest.approx(1, abs=1e-4)
    low, high = (1.5 * (math.sqrt(200) - math.sqrt(50)) ** 2, 1.5 * (math.sqrt(200) + math.sqrt(50)) ** 2)
    assert (density[(at < low) | (at > high)] == 0).all()


def test_the_effective_rank_is_that_of_equal_singular_values_and_lies_between_one_and_the_rank():
    assert effective_rank(torch.tensor([9.0, 9.0, 9.0]).double()).item() == pytest.approx(3)
    assert effective_rank(torch.tensor([0.0, 0.0, 2.0]).double()).item() == pytest.approx(1)
    shares = np.array([1.0, 2.0, 3.0]) / 6
    expected = math.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(torch.tensor([1.0, 4.0, 9.0]).double()).item() == pytest.approx(expected)
    assert effective_rank(torch.zeros(3)).isnan()
