import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.spec import DatasetSpecification


@pytest.fixture(scope="module")
def mnist1d():
    return datasets.load("mnist1d")


def test_the_data_never_change(mnist1d):
    assert mnist1d.sha256 == "60e49e129b93393625aa53cb67aa5efe678a449349720abab414f924325ef8fb"


def test_sizes_and_shape_are_known_without_making_it(mnist1d):
    assert mnist1d.shape == datasets.shape("mnist1d")
    sizes = datasets.sizes("mnist1d")
    assert sizes.train == len(mnist1d.train) == 3600
    assert sizes.smallest_class == torch.bincount(mnist1d.train.y, minlength=10).min()
    assert (len(mnist1d.val), len(mnist1d.test)) == (400, 1000)
    assert mnist1d.train.x.dtype == torch.float32


def test_the_sides_are_those_of_the_package(mnist1d):
    from mnist1d.data import get_dataset_args, make_dataset

    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    made = make_dataset(get_dataset_args())
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    given = torch.cat([mnist1d.train.x, mnist1d.val.x]).numpy()
    assert np.abs(given - made["x"]).max() < 1e-6
    assert np.abs(mnist1d.test.x.numpy() - made["x_test"]).max() < 1e-6
    assert torch.cat([mnist1d.train.y, mnist1d.val.y]).tolist() == made["y"].tolist()
    assert mnist1d.test.y.tolist() == made["y_test"].tolist()


def test_no_item_is_on_two_sides(mnist1d):
    rows = torch.cat([side.x for side in (mnist1d.train, mnist1d.val, mnist1d.test)])
    assert len(rows.unique(dim=0)) == 5000


def test_the_numbers_have_mean_0_and_variance_1(mnist1d):
    rows = torch.cat([side.x for side in (mnist1d.train, mnist1d.val, mnist1d.test)]).double()
    assert abs(rows.mean()) < 1e-6
    assert abs(rows.var(correction=0) - 1) < 1e-6


ALONE = """
import random, sys
import numpy, torch
from zoo import datasets
assert "mnist1d" not in sys.modules
state = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
datasets.load("mnist1d")
assert "mnist1d" in sys.modules
assert state[0] == random.getstate()
assert state[1] == numpy.random.get_state()[1].tolist()
assert state[2] == torch.get_rng_state().tolist()
"""


def test_the_package_is_loaded_when_needed_and_silently_and_leaves_global_generators_alone():
    """In a process of its own: the shape checks of the tests draw from Python's global generator."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_classes_may_be_chosen(mnist1d):
    spec = DatasetSpecification(name="mnist1d", classes="3-8")
    assert datasets.used(spec) == len(mnist1d.training_items(spec)) == 2 * 353
