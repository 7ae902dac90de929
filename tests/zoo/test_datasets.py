import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from zoo import datasets
from zoo.datasets import Dataset, Items, PlainDataset, Sizes
from zoo.errors import FormatError, UnknownNameError
from zoo.spec import DatasetSpecification


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def labels(data, share, seed=0):
    return data.training_labels(DatasetSpecification(name="digits", label_noise=share, noise_seed=seed))


def test_the_digits_never_change(digits):
    assert digits.sha256 == "3b2ed77ed1102405c221dabab0858dabf985a1d3f50775bc71d60545234681bc"


def test_every_digit_is_on_one_side(digits):
    rows = np.concatenate(
        [np.c_[i.x.numpy() * 16, i.y.numpy()] for i in (digits.train, digits.val, digits.test)]
    )
    bunch = load_digits()
    original = np.c_[bunch.data, bunch.target]
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, original.tolist()))
    assert [len(digits.train), len(digits.val), len(digits.test)] == [1000, 297, 500]


def test_shape_is_known_without_loading(digits):
    assert datasets.shape("digits") == datasets.shape("digits").__class__(digits.input_shape, digits.classes)
    assert digits.train.x.min() == 0
    assert digits.train.x.max() == 1


def test_a_dataset_is_loaded_once():
    assert datasets.load("digits") is datasets.load("digits")
    assert {"digits", "digits-images"} <= set(datasets.names())


def test_images_are_the_same_digits_in_another_shape(digits):
    images = datasets.load("digits-images")
    assert images.train.x.shape == (1000, 1, 8, 8)
    for ours, theirs in ((images.train, digits.train), (images.val, digits.val), (images.test, digits.test)):
        assert torch.equal(ours.x.flatten(1), theirs.x)
        assert torch.equal(ours.y, theirs.y)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.333, 1.0])
def test_label_noise_replaces_its_share_by_wrong_classes(digits, share):
    changed = labels(digits, share) != digits.train.y
    assert int(changed.sum()) == round(share * 1000)
    assert labels(digits, share).min() >= 0
    assert labels(digits, share).max() <= 9


def test_a_lower_share_replaces_a_subset_by_the_same_classes(digits):
    low, high = labels(digits, 0.1), labels(digits, 0.4)
    changed = low != digits.train.y
    assert torch.equal(low[changed], high[changed])


def test_label_noise_is_deterministic_and_follows_its_seed(digits):
    assert torch.equal(labels(digits, 0.2), labels(digits, 0.2))
    assert not torch.equal(labels(digits, 0.2), labels(digits, 0.2, seed=1))


def test_wrong_classes_are_spread_evenly(digits):
    shift = (labels(digits, 1.0) - digits.train.y) % 10
    counts = torch.bincount(shift, minlength=10)[1:].double()
    assert counts.min() > 1000 / 9 - 5 * 10  # five standard deviations of a count
    assert counts.max() < 1000 / 9 + 5 * 10


def items(data, share, seed=0):
    return data.training_items(DatasetSpecification(name="digits", fraction=share, subset_seed=seed))


@pytest.mark.parametrize(("share", "used"), [(1.0, 1000), (0.25, 250), (0.0125, 12), (1e-9, 1)])
def test_a_share_of_the_items_is_distinct_and_sorted(digits, share, used):
    picked = items(digits, share).tolist()
    assert picked == sorted(set(picked))
    assert len(picked) == used == datasets.used(DatasetSpecification(name="digits", fraction=share))
    assert set(picked) <= set(range(1000))


def test_a_lower_share_is_a_subset_and_follows_its_seed(digits):
    assert set(items(digits, 0.1).tolist()) < set(items(digits, 0.4).tolist())
    assert torch.equal(items(digits, 0.1), items(digits, 0.1))
    assert not torch.equal(items(digits, 0.1), items(digits, 0.1, seed=1))


@pytest.mark.parametrize("look", [datasets.load, datasets.shape])
def test_an_unknown_dataset_is_refused(look):
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'digit'; did you mean 'digits'"):
        look("digit")


@pytest.mark.parametrize(("bad", "place"), [(float("nan"), 2), (float("inf"), 0)])
@pytest.mark.parametrize("side", ["train", "val", "test"])
def test_data_that_are_no_numbers_are_refused(bad, place, side, monkeypatch):
    from zoo.datasets import registry

    sides = {name: Items(torch.zeros(3, 1, 2, 2), torch.zeros(3).long()) for name in ("train", "val", "test")}
    sides[side].x[place, 0, 1, 1] = bad
    data = Dataset("broken", **sides, classes=2, licence="CC0-1.0", source="toy")
    family = PlainDataset("broken", data.shape, Sizes(3, 1), lambda: data)
    monkeypatch.setitem(registry._REGISTRY, "broken", family)
    registry._load.cache_clear()
    with pytest.raises(FormatError, match=f"'broken': inputs of {side} item {place} are not finite numbers"):
        datasets.load("broken")
