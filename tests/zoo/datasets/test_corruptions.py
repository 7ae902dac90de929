import numpy as np
import pytest
import torch
from scipy import ndimage

from zoo import datasets
from zoo.datasets.corruptions import BLUR, CONTRAST, CORRUPTIONS, NOISE, SHIFT, corrupt, corrupted
from zoo.errors import SpecificationError, UnknownNameError

STRENGTHS = range(1, 6)


@pytest.fixture
def images():
    """Images with structure: random ones, smoothed, so that blur does not take all away at once."""
    drawn = np.random.default_rng(0).random((40, 3, 12, 10))
    smooth = ndimage.gaussian_filter(drawn, (0, 0, 0.7, 0.7))
    return torch.tensor((smooth - smooth.min()) / (smooth.max() - smooth.min()), dtype=torch.float32)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_noise_is_gaussian_of_its_strength(strength):
    grey = torch.full((100, 1, 20, 20), 0.5)
    noise = (corrupt(grey, "noise", strength) - 0.5).double()
    assert abs(noise.mean()) < 5 * NOISE[strength - 1] / 200
    low, high = np.quantile(noise.numpy(), [0.1587, 0.8413])  # one standard deviation to each side
    assert (high - low) / 2 == pytest.approx(NOISE[strength - 1], rel=0.03)
    assert (high + low) / 2 == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_blur_is_that_of_scipy(images, strength):
    sigma = (0, 0, BLUR[strength - 1], BLUR[strength - 1])
    expected = ndimage.gaussian_filter(images.numpy().astype(np.float64), sigma, mode="nearest", truncate=4)
    np.testing.assert_allclose(corrupt(images, "blur", strength).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_contrast_scales_the_deviation_and_keeps_the_mean(images, strength):
    got, given = corrupt(images, "contrast", strength).double(), images.double()
    dims = (1, 2, 3)
    torch.testing.assert_close(got.mean(dims), given.mean(dims), rtol=0, atol=1e-6)
    torch.testing.assert_close(got.std(dims), CONTRAST[strength - 1] * given.std(dims), rtol=0, atol=1e-6)
    assert (np.corrcoef(got[0].flatten(), given[0].flatten())[0, 1]) > 1 - 1e-9


@pytest.mark.parametrize("strength", STRENGTHS)
def test_shift_moves_to_one_of_four_sides_and_fills_with_black(images, strength):
    given, by, seen = images.numpy() + 0.0, SHIFT[strength - 1], set()
    for image, got in zip(given, corrupt(images, "shift", strength).numpy(), strict=True):
        fits = [
            (down, right)
            for down in (-by, by)
            for right in (-by, by)
            if np.array_equal(ndimage.shift(image, (0, down, right), order=0), got)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 4


def test_shift_takes_a_whole_small_image_away():
    assert corrupt(torch.ones(6, 1, 4, 4), "shift", 5).sum() == 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_is_further_from_the_image(images, name):
    distances = [(corrupt(images, name, strength) - images).square().mean().item() for strength in STRENGTHS]
    assert distances == sorted(set(distances))
    assert distances[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_bytes_stay_bytes_and_numbers_stay_in_range(images, name):
    whole = (images * 255).round().to(torch.uint8)
    got, numbers = corrupt(whole, name, 5), corrupt(whole / 255, name, 5)
    assert (got.dtype, numbers.dtype) == (torch.uint8, torch.float32)
    assert got.shape == numbers.shape == whole.shape
    assert torch.equal(got, (numbers * 255).round().to(torch.uint8))
    assert numbers.min() >= 0
    assert numbers.max() <= 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_deterministic_and_leave_the_input_alone(images, name):
    before = images.clone()
    state = torch.get_rng_state()
    assert torch.equal(corrupt(images, name, 3), corrupt(images, name, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    same = torch.equal(corrupt(images, name, 3), corrupt(images, name, 3, seed=1))
    assert same == (name in {"blur", "contrast"})


def test_an_image_of_one_grey_stays_under_blur_and_contrast():
    grey = torch.full((2, 3, 7, 7), 0.25)
    for name in ("blur", "contrast"):
        torch.testing.assert_close(corrupt(grey, name, 5), grey, rtol=0, atol=1e-7)


def test_corrupted_replaces_the_test_inputs_alone():
    clean = datasets.load("digits-images")
    got = corrupted(clean, "noise", 2)
    assert torch.equal(got.test.x, corrupt(clean.test.x, "noise", 2))
    assert not torch.equal(got.test.x, clean.test.x)
    assert got.test.y is clean.test.y
    assert got.train is clean.train
    assert got.val is clean.val


def test_vectors_of_pixels_take_noise_and_contrast():
    clean = datasets.load("digits")
    for name in ("noise", "contrast"):
        assert corrupted(clean, name, 1).test.x.shape == clean.test.x.shape
    with pytest.raises(SpecificationError, match=r"blur is for images .* not for items of shape \(500, 64\)"):
        corrupted(clean, "blur", 1)


def test_an_unknown_corruption_is_refused(images):
    with pytest.raises(
        UnknownNameError, match="unknown corruption 'fog'; known: blur, contrast, noise, shift"
    ):
        corrupt(images, "fog", 1)


@pytest.mark.parametrize("strength", [0, 6])
def test_an_unknown_strength_is_refused(images, strength):
    with pytest.raises(SpecificationError, match=f"a strength of 1, 2, 3, 4 or 5, not {strength}"):
        corrupt(images, "noise", strength)


def test_tokens_are_refused():
    with pytest.raises(
        SpecificationError, match=r"for pixels: uint8, or float32 from 0 to 1; not for torch\.int64"
    ):
        corrupt(torch.zeros(2, 3, dtype=torch.int64), "noise", 1)


@pytest.mark.parametrize("bad", [-0.5, 1.5, float("nan")])
def test_numbers_that_are_no_pixels_are_refused(bad):
    with pytest.raises(SpecificationError, match=r"for pixels from 0 to 1, these are from .*; scale them"):
        corrupt(torch.tensor([[0.5, bad]]), "noise", 1)
