import math

import pytest
import torch

from zoo.metrics import farms, spectrum
from zoo.spectra import Windows
from zoo.spectra.measures import full_eigenvalues, of_fits, of_full
from zoo.spectra.null import NULL_MEASURES, null
from zoo.spectra.windows import windowed_eigenvalues

OF_LIGHT_TAILS = {"alpha", "farms_alpha", "spectral_norm", "stable_rank", "effective_rank"}
"""Measures whose standard deviation can be told from 16 draws."""


@pytest.mark.parametrize("shape", [(64, 40), (24, 24, 3, 3)])
def test_the_null_is_what_other_random_matrices_give(shape):
    """Fresh draws, of another scale, fall where the null says."""
    generator = torch.Generator().manual_seed(1)
    weights = 0.2 * torch.randn(40, *shape, generator=generator)
    found = null(shape, torch.tensor([0.04]), Windows())
    rows, columns = shape[:2]
    fresh = of_full(full_eigenvalues(weights), rows, columns)
    fresh |= of_fits(windowed_eigenvalues(weights, Windows()))
    fresh |= {"spectral_norm": spectrum.spectral_norm(weights), "stable_rank": spectrum.stable_rank(weights)}
    for name in NULL_MEASURES:
        mean, deviation = (part.item() for part in found[name])
        error = math.sqrt(deviation**2 / 16 + fresh[name].var().item() / 40)
        assert abs(fresh[name].mean().item() - mean) < 4 * error + 1e-9, name
        if name in OF_LIGHT_TAILS:
            assert deviation == pytest.approx(fresh[name].std().item(), rel=0.6), name


def test_the_same_draws_are_scaled_for_every_layer_of_a_shape():
    found = null((30, 30), torch.tensor([1.0, 4.0]), Windows())
    mean, deviation = found["spectral_norm"]
    torch.testing.assert_close(mean[1], 2 * mean[0])
    torch.testing.assert_close(deviation[1], 2 * deviation[0])
    for name in ("alpha", "farms_alpha", "stable_rank", "effective_rank", "spikes"):
        assert found[name][0][0] == found[name][0][1]


@pytest.mark.parametrize("name", ["alpha_hat", "log_alpha_norm"])
def test_measures_with_a_logarithm_move_by_the_exponent(name):
    generator = torch.Generator().manual_seed(1967)  # the first draw
    weight = torch.randn(1, 30, 30, generator=generator)[0]
    function = getattr(spectrum, name)
    exponent = spectrum.alpha(weight, fit="goodness_of_fit")
    torch.testing.assert_close(
        function(3 * weight), function(weight) + exponent * math.log10(9), rtol=1e-5, atol=0
    )


def test_no_variance_has_no_null():
    found = null((30, 30), torch.tensor([0.0, torch.nan, torch.inf, 1.0]), Windows())
    for mean, deviation in found.values():
        assert mean.isnan().tolist() == [True, True, True, False]
        assert deviation.isnan().tolist() == [True, True, True, False]


def test_a_shape_with_few_eigenvalues_has_no_exponents():
    found = null((8, 8), torch.tensor([1.0]), Windows())
    assert found["alpha"][0].isnan()
    assert found["farms_alpha"][0].isnan()
    assert found["stable_rank"][0].isfinite()


def test_exponents_of_windows_of_random_matrices_do_not_depend_on_the_shape():
    square, long = (
        torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in ((96, 96), (96, 960))
    )
    assert abs(farms.alpha(square) - farms.alpha(long)).item() < 0.1
    assert abs(spectrum.alpha(square) - spectrum.alpha(long)).item() > 2


def test_large_exponents_of_noise_stay_numbers():
    mean, deviation = null((512, 512, 3, 3), torch.tensor([1e-3]), Windows())["log_alpha_norm"]
    assert mean.isfinite()
    assert deviation.isfinite()
