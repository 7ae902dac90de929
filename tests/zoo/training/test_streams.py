import numpy as np
import pytest
import torch

from zoo.training import epoch_order, stream
from zoo.training.streams import stream_key, substreams, uniform

WORD = 2**64


def splitmix(key, place):
    """Steele, Lea and Flood 2014 on Python's integers."""
    z = (key + place * 0x9E3779B97F4A7C15) % WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


# generators


def test_streams_are_deterministic_and_differ_in_each_argument():
    draws = [
        torch.rand(1000, generator=stream(*key)).numpy()
        for key in (
            (0, "order", 1),
            (1, "order", 1),
            (0, "init", 1),
            (0, "order", 2),
            (0, "order", 11),
            (11, "order", 0),
        )
    ]
    assert np.array_equal(draws[0], torch.rand(1000, generator=stream(0, "order", 1)).numpy())
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.16  # five standard errors of 1,000 draws


def test_streams_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    torch.rand(3, generator=stream(0, "order"))
    uniform(torch.tensor([3]), torch.arange(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_order_is_a_permutation_that_does_not_depend_on_the_neighbours(plain):
    order = epoch_order([3, 4], 2, 50)
    assert torch.equal(order.sort(dim=1).values, torch.arange(50).repeat(2, 1))
    assert torch.equal(epoch_order([4], 2, 50)[0], order[1])
    assert not torch.equal(epoch_order([4], 3, 50)[0], order[1])
    assert torch.equal(order[0], plain.order(3, 2, 50))


def test_keys_stay_as_they_were_first_published(plain):
    assert stream_key(0, "order", 1) == plain.hashed(0, "order", 1) == 7199999769151184259
    assert 0 <= stream_key(7, "dropout", 9) < 2**63


# SplitMix64


def test_the_mixer_is_the_published_one():
    # the first three outputs for seed 1234567, as https://prng.di.unimi.it/splitmix64.c gives them
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [splitmix(1234567, place) for place in (1, 2, 3)] == known
    got = substreams(torch.tensor(1234567), torch.tensor([1, 2, 3]))
    assert [number % WORD for number in got.tolist()] == known


def test_substreams_are_those_of_pythons_integers():
    generator = np.random.default_rng(0)
    keys = [0, 1, -1, 2**63 - 1, -(2**63), *generator.integers(-(2**63), 2**63 - 1, 200).tolist()]
    places = [0, 1, 2, 1000, 2**31, 2**40]
    got = substreams(torch.tensor(keys).view(-1, 1), torch.tensor(places))
    expected = [[splitmix(key % WORD, place) for place in places] for key in keys]
    assert [[number % WORD for number in row] for row in got.tolist()] == expected


def test_uniform_numbers_are_the_highest_bits():
    keys, places = [5, -7], list(range(100))
    got = uniform(torch.tensor(keys).view(-1, 1), torch.tensor(places))
    expected = [[(splitmix(key % WORD, place) >> 40) / 2**24 for place in places] for key in keys]
    assert got.dtype == torch.float32
    assert got.tolist() == expected


@pytest.mark.parametrize("key", [0, 1, -1, 987654321987654321])
def test_uniform_numbers_are_uniform(key):
    count, cells = 100_000, 100
    drawn = uniform(torch.tensor(key), torch.arange(count)).double().numpy()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / count)
    assert abs(drawn.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / count)
    counts = np.histogram(drawn, cells, (0, 1))[0]
    chi_square = ((counts - count / cells) ** 2 / (count / cells)).sum()
    assert abs(chi_square - (cells - 1)) < 5 * np.sqrt(2 * (cells - 1))
    distance = np.abs(np.sort(drawn) - (np.arange(count) + 0.5) / count).max()
    assert distance < 2.5 / np.sqrt(count)  # Kolmogorov and Smirnov: 2 exp(-12.5), one in 100,000


@pytest.mark.parametrize("along", ["keys", "places"])
def test_neighbouring_numbers_have_nothing_in_common(along):
    count = 100_000
    counted, still = torch.arange(count), torch.zeros(1, dtype=torch.int64)
    drawn = uniform(counted, still) if along == "keys" else uniform(still, counted)
    for lag in (1, 2, 7):
        correlation = np.corrcoef(drawn[:-lag].numpy(), drawn[lag:].numpy())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(count)


def test_numbers_do_not_depend_on_who_is_drawn_beside_them():
    keys = torch.tensor([3, 4, 5])
    together = uniform(keys.view(-1, 1), torch.arange(10))
    for key, row in zip(keys, together, strict=True):
        assert torch.equal(uniform(key, torch.arange(10)), row)
        assert uniform(key, torch.tensor(9)) == row[9]
