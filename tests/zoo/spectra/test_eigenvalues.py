import numpy as np
import pytest
import torch

from zoo.errors import UndefinedMetricError
from zoo.spectra import as_matrices, eigenvalues, slices
from zoo.spectra.measures import full_eigenvalues


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 7), (7, 1), (4, 6, 9), (2, 3, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_are_the_squared_singular_values_of_a_dense_svd(shape, dtype):
    weight = draw(*shape, dtype=dtype)
    expected = np.square(np.linalg.svd(weight.double().numpy(), compute_uv=False))[..., ::-1]
    np.testing.assert_allclose(eigenvalues(weight), expected, rtol=1e-10, atol=1e-13)


def test_small_eigenvalues_of_float32_weights_are_those_of_a_dense_svd():
    left, right = (torch.linalg.qr(draw(60, 60, seed=seed)).Q for seed in (1, 2))
    weight = (left * torch.logspace(0, -5, 60, dtype=torch.float64) @ right).float()
    expected = np.square(np.linalg.svd(weight.double().numpy(), compute_uv=False))[::-1]
    np.testing.assert_allclose(eigenvalues(weight), expected, rtol=1e-4)


def test_what_rounding_makes_of_a_zero_is_zero():
    weight = draw(80, 3, seed=3).float() @ draw(3, 50, seed=4).float()
    values = eigenvalues(weight)
    assert (values[:47] == 0).all()
    assert (values[47:] > 0).all()
    assert (eigenvalues(weight.bfloat16())[-3:] > 0).all()


def test_long_matrices_are_read_in_pieces(monkeypatch):
    weight = draw(1000, 7)
    whole = eigenvalues(weight)
    monkeypatch.setattr("zoo.spectra.gram._BLOCK", 70)
    torch.testing.assert_close(eigenvalues(weight), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_one_bad_entry_costs_its_own_matrix_alone(bad):
    weight = draw(3, 5, 4)
    weight[1, 2, 2] = bad
    values = eigenvalues(weight)
    assert values[1].isnan().all()
    assert values[[0, 2]].isfinite().all()


def test_half_precision_weights_are_brought_to_float64_first():
    weight = draw(30, 20).bfloat16()
    torch.testing.assert_close(eigenvalues(weight), eigenvalues(weight.double()), rtol=1e-10, atol=1e-12)


def test_a_kernel_is_its_slices():
    kernel = draw(6, 4, 3, 3)
    parts = slices(kernel)
    assert parts.shape == (9, 6, 4)
    torch.testing.assert_close(parts[5], kernel[:, :, 1, 2])
    expected = torch.cat(
        [torch.linalg.svdvals(kernel[:, :, i, j]).square() for i in range(3) for j in range(3)]
    )
    torch.testing.assert_close(full_eigenvalues(kernel), expected.sort().values)
    assert slices(draw(2, 6, 4)).shape == (2, 1, 6, 4)


@pytest.mark.parametrize("shape", [(3,), (), (0, 4)])
def test_what_is_no_matrix_is_refused(shape):
    for call in (as_matrices, slices, full_eigenvalues):
        with pytest.raises(UndefinedMetricError, match="expected a matrix"):
            call(torch.zeros(shape))
