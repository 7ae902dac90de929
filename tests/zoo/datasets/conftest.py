"""Small datasets in the formats of the official ones; no test reaches the network or the user's files."""

import dataclasses
import hashlib

import numpy as np
import pytest


@pytest.fixture
def data_home(tmp_path, monkeypatch):
    """An empty folder for the files of datasets, and no downloads."""
    home = tmp_path / "data"
    monkeypatch.setenv("PHASEZOO_DATA", str(home))
    monkeypatch.setenv("PHASEZOO_OFFLINE", "1")
    return home


@pytest.fixture
def place(data_home):
    """Puts bytes where an official file belongs, and gives the file with their size and digest."""

    def put(file, content, *, holds=None):
        path = data_home / file.dataset / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = hashlib.sha256(content if holds is None else holds).hexdigest()
        unpacked = None if holds is None else len(holds)
        return dataclasses.replace(file, size=len(content), sha256=digest, unpacked=unpacked, elsewhere=None)

    return put


@pytest.fixture
def shrink():
    """Makes a description of a few items out of an official one: `each` of every class, `val` of them."""

    def small(images, *, each, val, test):
        classes = len(images.counts)
        return dataclasses.replace(images, counts=(each,) * classes, val=val * classes, test=test)

    return small


@pytest.fixture
def draw():
    """Draws images, and labels with as many of each class."""

    def items(images, count):
        generator = np.random.default_rng(count)
        x = generator.integers(0, 256, (count, *images.inputs), dtype=np.uint8)
        return x, generator.permutation(np.arange(count) % len(images.counts)).astype(np.uint8)

    return items


@pytest.fixture
def same_items():
    """Says whether two collections of images and labels hold the same items, in any order."""

    def rows(x, y):
        return sorted((bytes(np.asarray(image)), int(label)) for image, label in zip(x, y, strict=True))

    return lambda left, right: rows(*left) == rows(*right)
