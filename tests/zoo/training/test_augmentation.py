import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from zoo.training.augmentation import Augmentation, augment
from zoo.training.streams import stream_key

KEYS = torch.tensor([stream_key(seed, "augmentation", 1) for seed in range(5)])


def pixels(models, batch, size=(6, 9), channels=2, dtype=torch.uint8):
    """Images without black: what is 0 afterwards came in from outside."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(1, 256, (models, batch, channels, *size), generator=generator)
    return drawn.to(dtype)


def disc(size):
    """Distinct pixels, none black."""
    return (torch.arange(size * size) + 1).view(1, 1, 1, size, size)


def drawn(keys, places, number):
    """Number of the stream of a place of the stream of a key, on numpy's unsigned integers."""

    def derive(key, place):
        z = key + np.uint64(place) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    with np.errstate(over="ignore"):
        found = [[derive(derive(np.uint64(key), place), number) for place in places] for key in keys.tolist()]
    return np.array([[(int(one) >> 40) / 2**24 for one in row] for row in found])


# each change


def test_nothing_asked_for_is_nothing_done():
    x = pixels(2, 3)
    assert augment(x, KEYS[:2], torch.arange(3), **Augmentation()._asdict()) is x


def test_a_certain_flip_is_that_of_torch():
    x = pixels(2, 3)
    assert torch.equal(augment(x, KEYS[:2], torch.arange(3), flip=1.0), x.flip(-1))


def test_a_flip_of_a_half_takes_the_image_or_its_mirror():
    x = pixels(5, 40)
    got = augment(x, KEYS, torch.arange(40), flip=0.5)
    mirrored = torch.from_numpy(drawn(KEYS, range(40), 2) < 0.5)
    assert torch.equal(got, torch.where(mirrored[..., None, None, None], x.flip(-1), x))
    assert 0 < mirrored.sum() < 200


@pytest.mark.parametrize("crop", [1, 2, 11])
def test_a_crop_pads_with_black_and_cuts_out_the_old_size(crop):
    x = pixels(5, 20)
    got = augment(x, KEYS, torch.arange(20), crop=crop)
    down, right = (np.floor(drawn(KEYS, range(20), n) * (2 * crop + 1)).astype(int) - crop for n in (0, 1))
    padded = torch.nn.functional.pad(x, (crop, crop, crop, crop))
    for model in range(5):
        for item in range(20):
            top, left = crop - down[model, item], crop - right[model, item]
            assert torch.equal(got[model, item], padded[model, item, :, top : top + 6, left : left + 9])


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (7, 12)])
def test_a_rotation_is_that_of_scipy(size):
    x = pixels(5, 20, size, channels=1)
    got = augment(x, KEYS, torch.arange(20), rotation=35.0)[:, :, 0].numpy()
    angles = 35 * (2 * drawn(KEYS, range(20), 3) - 1)
    differ = 0
    for image, ours, angle in zip(
        x[:, :, 0].flatten(0, 1).numpy(), got.reshape(-1, *size), angles.flat, strict=True
    ):
        theirs = ndimage.rotate(image, angle, order=0, reshape=False, mode="grid-constant")
        differ += int((theirs != ours).sum())
    assert differ <= 5  # of thousands: a place between two pixels, in float32
    assert (got != x[:, :, 0].numpy()).mean() > 0.3


@pytest.mark.parametrize(("turns", "angle"), [(1, 90.0), (2, 180.0), (3, -90.0)])
@pytest.mark.parametrize("size", [7, 8])
def test_quarter_turns_are_exact(size, turns, angle, monkeypatch):
    """Let the stream give 5/8 for `360 (2 u - 1) = 90`, 3/4 for 180, 3/8 for -90."""
    share = (angle / 360 + 1) / 2
    monkeypatch.setattr(
        "zoo.training.augmentation.uniform",
        lambda keys, places: torch.full((len(places), *keys.shape), share),
    )
    x = disc(size)
    got = augment(x, KEYS[:1], torch.arange(1), rotation=360.0)
    assert torch.equal(got, torch.rot90(x, turns, (-2, -1)))


def test_all_at_once_is_turned_then_mirrored_then_shifted():
    x = pixels(5, 20, (8, 8))
    places = torch.arange(20)
    turned = augment(x, KEYS, places, rotation=20.0)
    mirrored = torch.from_numpy(drawn(KEYS, range(20), 2) < 0.5)[..., None, None, None]
    turned = torch.where(mirrored, turned.flip(-1), turned)
    got = augment(x, KEYS, places, crop=2, flip=0.5, rotation=20.0)
    down, right = (np.floor(drawn(KEYS, range(20), n) * 5).astype(int) - 2 for n in (0, 1))
    for model in range(5):
        for item in range(20):
            d, r = down[model, item], right[model, item]
            inner = got[model, item, :, max(d, 0) : 8 + min(d, 0), max(r, 0) : 8 + min(r, 0)]
            source = turned[model, item, :, max(-d, 0) : 8 - max(d, 0), max(-r, 0) : 8 - max(r, 0)]
            assert torch.equal(inner, source)


# draws


def changes_of(count, **how):
    """Shift down, shift right and whether mirrored of `count` items, read off one bright pixel pair."""
    x = torch.zeros(1, count, 1, 21, 21, dtype=torch.uint8)
    x[..., 10, 9], x[..., 10, 11] = 1, 2
    got = augment(x, KEYS[:1], torch.arange(count), **how)[0, :, 0]
    row, left = (got == 1).flatten(1).int().argmax(1) // 21, (got == 1).flatten(1).int().argmax(1) % 21
    right = (got == 2).flatten(1).int().argmax(1) % 21
    return (row - 10).numpy(), ((left + right) // 2 - 10).numpy(), (left > right).numpy()


@pytest.mark.parametrize("flip", [0.1, 0.5, 0.9])
def test_the_share_of_mirrored_images_is_the_probability(flip):
    _, _, mirrored = changes_of(4000, flip=flip)
    assert abs(mirrored.mean() - flip) < 5 * math.sqrt(flip * (1 - flip) / 4000)


def test_shifts_are_uniform_and_independent():
    down, right, mirrored = changes_of(4000, crop=3, flip=0.5)
    for shifts in (down, right):
        values, counts = np.unique(shifts, return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert np.abs(counts - 4000 / 7).max() < 5 * math.sqrt(4000 * 6 / 49)
    correlations = np.corrcoef([down, right, mirrored]) - np.eye(3)
    assert np.abs(correlations).max() < 5 / math.sqrt(4000)


def test_angles_are_uniform():
    """Read off where a dot on the right goes: its middle is known to a fraction of a degree."""
    x = torch.zeros(1, 1000, 1, 61, 61, dtype=torch.uint8)
    x[..., 27:34, 54:] = 1
    got = augment(x, KEYS[:1], torch.arange(1000), rotation=30.0)[0, :, 0].double()
    rows, columns, away = got.sum(2), got.sum(1), torch.arange(61) - 30
    down, right = ((along * away).sum(1) / along.sum(1) for along in (rows, columns))
    angles = np.degrees(np.arctan2(-down.numpy(), right.numpy()))
    assert np.abs(angles).max() < 32
    counts = np.histogram(angles, 6, (-32, 32))[0]
    assert np.abs(counts[1:-1] - 1000 * 64 / 6 / 60).max() < 5 * math.sqrt(1000 / 6 * 5 / 6)


# streams


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_network_gets_the_same_alone_and_in_a_stack(dtype):
    x, places, how = pixels(5, 33, dtype=dtype), torch.arange(33), {"crop": 2, "flip": 0.5, "rotation": 15.0}
    together = augment(x, KEYS, places, **how)
    assert together.dtype == dtype
    for model in range(5):
        alone = augment(x[model : model + 1], KEYS[model : model + 1], places, **how)
        assert torch.equal(alone[0], together[model])
    halves = [augment(x[:, part], KEYS, places[part], **how) for part in (slice(0, 7), slice(7, 33))]
    assert torch.equal(torch.cat(halves, dim=1), together)


def test_networks_epochs_and_items_get_different_changes():
    x = pixels(1, 1, (12, 12)).expand(5, 30, -1, -1, -1)
    got = augment(x, KEYS, torch.arange(30), crop=3, rotation=90.0).flatten(2)
    assert len(got.flatten(0, 1).unique(dim=0)) > 140  # two angles and shifts may be as good as equal
    again = torch.tensor([stream_key(seed, "augmentation", 2) for seed in range(5)])
    assert not torch.equal(
        augment(x, again, torch.arange(30), crop=3), augment(x, KEYS, torch.arange(30), crop=3)
    )


def test_no_global_generator_is_asked():
    state = torch.get_rng_state()
    augment(pixels(2, 3), KEYS[:2], torch.arange(3), crop=1, flip=0.5, rotation=5.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_comes_in_is_black_and_nothing_else():
    x = pixels(5, 30)
    got = augment(x, KEYS, torch.arange(30), crop=2, rotation=30.0)
    black = (got == 0).float().mean()
    assert 0.05 < black < 0.6
    for model in range(5):
        for before, after in zip(x[model], got[model], strict=True):
            assert torch.isin(after[after > 0], before).all()


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    x, places, how = pixels(5, 500, (32, 32)), torch.arange(500), {"crop": 4, "flip": 0.5, "rotation": 20.0}
    there = augment(x.cuda(), KEYS.cuda(), places.cuda(), **how)
    assert torch.equal(there.cpu(), augment(x, KEYS, places, **how))
