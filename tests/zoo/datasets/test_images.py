import dataclasses

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.datasets import cifar, fashion_mnist, svhn, tiny_imagenet
from zoo.datasets.base import Items, Sizes
from zoo.datasets.images import ImageSet, cut, shares
from zoo.errors import FormatError, IntegrityError
from zoo.spec import DataShape

SETS = [
    made.images
    for made in (
        fashion_mnist.OFFICIAL,
        cifar.OFFICIAL_10,
        cifar.OFFICIAL_100,
        svhn.OFFICIAL,
        tiny_imagenet.OFFICIAL,
    )
]
SMALL = ImageSet(
    name="small", inputs=(1, 2, 2), counts=(6, 3), val=3, test=2, licence="none", source="nowhere"
)


def items(labels):
    y = torch.tensor(labels)
    return Items(torch.arange(len(y)).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2), y)


def test_sizes_and_shapes_are_known_without_files(data_home):
    expected = {
        "fashion-mnist": (Sizes(54_000, 5_400), DataShape((1, 28, 28), 10)),
        "cifar10": (Sizes(45_000, 4_500), DataShape((3, 32, 32), 10)),
        "cifar100": (Sizes(45_000, 450), DataShape((3, 32, 32), 100)),
        "svhn": (Sizes(66_000, 4_198), DataShape((3, 32, 32), 10)),
        "tiny-imagenet": (Sizes(90_000, 450), DataShape((3, 64, 64), 200)),
    }
    assert {name: (datasets.sizes(name), datasets.shape(name)) for name in expected} == expected
    assert not data_home.exists()


@pytest.mark.parametrize("images", SETS, ids=lambda images: images.name)
def test_each_class_gives_its_share_to_val(images):
    found = np.array(shares(images.counts, images.val))
    assert found.sum() == images.val
    assert (np.abs(found - np.array(images.counts) * images.val / sum(images.counts)) < 1).all()


@pytest.mark.parametrize("images", SETS, ids=lambda images: images.name)
def test_licence_and_citation_are_told(images):
    assert images.licence
    assert any(year in images.source for year in ("2009", "2011", "2015", "2017"))
    assert "http" in images.source


def test_the_largest_remainders_get_one_more():
    assert shares((1, 1, 1), 2) == (1, 1, 0)
    assert shares((10, 20, 31), 6) == (1, 2, 3)
    assert shares((7,), 0) == (0,)


def test_the_cut_has_every_item_once_and_as_many_of_each_class_as_asked():
    labels = torch.arange(1000) % 3
    train, val = cut(labels, (5, 0, 20))
    assert torch.cat([train, val]).sort().values.tolist() == list(range(1000))
    assert torch.bincount(labels[val], minlength=3).tolist() == [5, 0, 20]


def test_the_cut_never_changes_and_knows_no_order():
    labels = torch.arange(20) % 2
    train, val = cut(labels, (2, 2))
    assert val.tolist() == [4, 5, 13, 14]
    assert train.tolist() != sorted(train.tolist())


def test_images_keep_their_labels():
    official = items([0, 1, 0, 0, 1, 0, 0, 1, 0])
    made = SMALL.assemble(official, items([1, 0]))
    for side in (made.train, made.val):
        assert torch.equal(side.y, official.y[side.x[:, 0, 0, 0].long()])
    assert SMALL.sizes == Sizes(len(made.train), int(torch.bincount(made.train.y).min())) == Sizes(6, 2)
    assert (len(made.val), len(made.test)) == (3, 2)
    assert made.shape == SMALL.shape == DataShape((1, 2, 2), 2)


@pytest.mark.parametrize(
    ("official", "test", "error", "message"),
    [
        ([0] * 6 + [1] * 2, [1, 0], IntegrityError, "class 1 of small has 2 training items instead of 3"),
        ([0] * 5 + [1] * 4, [1, 0], IntegrityError, "class 0 of small has 5 training items instead of 6"),
        ([0] * 6 + [1] * 3, [1], IntegrityError, "small has 1 test items instead of 2; .*delete them"),
        ([0] * 6 + [1, 1, 2], [1, 0], FormatError, "a training item of small has the label 2; .* 0 to 1"),
        ([0] * 6 + [1] * 3, [-1, 0], FormatError, "a test item of small has the label -1"),
    ],
)
def test_items_that_are_not_the_official_ones_are_refused(official, test, error, message):
    with pytest.raises(error, match=message):
        SMALL.assemble(items(official), items(test))


def test_an_entry_of_the_registry_knows_and_loads_its_dataset():
    family = SMALL.family(lambda: SMALL.assemble(items([0] * 6 + [1] * 3), items([1, 0])))
    loaded = family.load(family.options())
    assert family.sizes(family.options()).train == len(loaded.train)
    assert family.shape(family.options()) == loaded.shape
    assert family.name == loaded.name
    assert dataclasses.replace(SMALL, val=0).sizes == Sizes(9, 3)
