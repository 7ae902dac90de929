import dataclasses
import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.datasets import fashion_mnist
from zoo.datasets.files import find
from zoo.errors import DataMissingError, FormatError, IntegrityError

FILES = (*fashion_mnist.OFFICIAL.train, *fashion_mnist.OFFICIAL.test)

needs_fashion = pytest.mark.skipif(
    any(find(file) is None for file in FILES),
    reason="needs the files of Fashion-MNIST; on Debian and Ubuntu `make data` as root installs them",
)


@pytest.fixture(scope="module")
def loaded():
    return datasets.load("fashion-mnist")


@needs_fashion
def test_fashion_mnist_never_changes(loaded):
    assert loaded.sha256 == "bcf8e2e8b99e8c63c56446a38d1e2d329a8d238d1482db7ee37ab253a61369e8"


@needs_fashion
def test_every_official_item_is_on_one_side(loaded):
    """Read the official files by another way, and compare all items, as often as each occurs."""

    def official(images, labels):
        x, y = (gzip.decompress(find(file).read_bytes()) for file in (images, labels))
        pixels = np.frombuffer(x, dtype=np.uint8, offset=16).reshape(-1, 784)
        return digests(pixels, np.frombuffer(y, dtype=np.uint8, offset=8))

    def digests(pixels, labels):
        pairs = zip(pixels.reshape(len(pixels), -1), labels, strict=True)
        return sorted(hashlib.md5(bytes(image)).hexdigest() + str(int(label)) for image, label in pairs)

    sides = [digests(side.x.numpy(), side.y.numpy()) for side in (loaded.train, loaded.val, loaded.test)]
    assert sorted(sides[0] + sides[1]) == official(*fashion_mnist.OFFICIAL.train)
    assert sides[2] == official(*fashion_mnist.OFFICIAL.test)
    assert [len(side) for side in sides] == [54_000, 6_000, 10_000]


@needs_fashion
def test_sizes_and_shape_agree_with_what_loads(loaded):
    counts = torch.bincount(loaded.train.y)
    assert datasets.sizes("fashion-mnist") == (len(loaded.train), int(counts.min())) == (54_000, 5_400)
    assert torch.bincount(loaded.val.y).tolist() == [600] * 10
    assert loaded.shape == datasets.shape("fashion-mnist")
    assert (loaded.train.x.dtype, loaded.train.y.dtype) == (torch.uint8, torch.int64)
    assert datasets.as_inputs(loaded.val.x).aminmax() == (0, 1)


@needs_fashion
def test_no_image_is_on_two_sides(loaded):
    train, val, test = (
        {bytes(image) for image in side.x.numpy()} for side in (loaded.train, loaded.val, loaded.test)
    )
    assert [len(train & val), len(train & test), len(val & test)] == [0, 0, 0]


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small(shrink, draw, place):
    images = shrink(fashion_mnist.OFFICIAL.images, each=3, val=1, test=7)
    items = {"train": draw(images, 30), "test": draw(images, 7)}

    def packed(file, array):
        content = idx(array)
        return place(file, gzip.compress(content), holds=content)

    sides = {
        side: tuple(map(packed, getattr(fashion_mnist.OFFICIAL, side), (x[:, 0], y)))
        for side, (x, y) in items.items()
    }
    return dataclasses.replace(fashion_mnist.OFFICIAL, images=images, **sides), items


def test_items_come_back(small, same_items):
    made, items = small
    loaded = made.load()
    official = torch.cat([loaded.train.x, loaded.val.x]), torch.cat([loaded.train.y, loaded.val.y])
    assert same_items(official, items["train"])
    assert np.array_equal(loaded.test.x, items["test"][0])
    assert made.images.sizes == (len(loaded.train), int(torch.bincount(loaded.train.y).min())) == (20, 2)


def test_labels_in_place_of_images_are_refused(small):
    made = dataclasses.replace(small[0], train=(small[0].train[1], small[0].train[0]))
    with pytest.raises(FormatError, match=r"train-labels-idx1-ubyte.gz begins with 00000801"):
        made.load()


def test_another_file_is_refused(small, data_home):
    path = data_home / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"other"))
    with pytest.raises(IntegrityError, match=r"train-images-idx3-ubyte.gz is not the official file"):
        small[0].load()


def test_missing_files_are_named_with_the_package_that_has_them(data_home):
    made = dataclasses.replace(
        fashion_mnist.OFFICIAL,
        train=tuple(dataclasses.replace(file, elsewhere=None) for file in fashion_mnist.OFFICIAL.train),
    )
    with pytest.raises(
        DataMissingError, match=r"'fashion-mnist' needs train-images.*apt-get install dataset-fash"
    ):
        made.load()
