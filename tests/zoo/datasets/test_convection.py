import math

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.errors import SpecificationError
from zoo.spec import DatasetSpecification
from zoo.training.convection import PERIOD, convection


def spec(**changes):
    return DatasetSpecification(name="convection", **changes)


def test_a_training_item_is_four_coordinates_and_the_coefficient():
    data = datasets.load(spec(coefficient=30, points=50))
    assert data.train.x.shape == (50, 4)
    assert data.train.x.dtype == data.train.y.dtype == torch.float32
    assert torch.equal(data.train.y, torch.full((50,), 30.0))
    assert data.kind == datasets.family("convection").kind == "convection"


def test_shape_and_sizes_are_known_without_making_it():
    data = datasets.load(spec(points=50))
    assert data.shape == datasets.shape(spec(points=50)) == datasets.shape("convection")
    assert (data.input_shape, data.classes) == ((2,), 1)
    assert datasets.sizes(spec(points=50)) == (50, None)


@pytest.mark.parametrize("coefficient", [0.5, 30.0, 1000.0])
def test_the_test_side_is_the_solution_on_the_regular_grid(coefficient):
    data = datasets.load(spec(coefficient=coefficient, points=10))
    x = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    t = np.linspace(0, 1, 100)
    grid = np.stack(np.meshgrid(x, t, indexing="ij"), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(data.test.x.numpy(), grid, rtol=1e-7, atol=0)
    at = data.test.x.numpy().astype(np.float64)
    expected = np.sin(at[:, 0] - coefficient * at[:, 1])
    np.testing.assert_allclose(data.test.y.numpy(), expected, rtol=0, atol=6e-8)


def test_val_is_the_solution_at_random_points():
    data = datasets.load(spec(coefficient=7.0, points=10))
    x, t = data.val.x.double().unbind(dim=1)
    assert data.val.x.shape == (1000, 2)
    expected = x.sin() * (7 * t).cos() - x.cos() * (7 * t).sin()  # the sine of a difference
    torch.testing.assert_close(data.val.y.double(), expected, rtol=0, atol=1e-7)


def test_points_fill_the_plane_evenly():
    x = datasets.load(spec(points=100_000)).train.x.double() / torch.tensor([2 * math.pi, 1, 2 * math.pi, 1])
    assert x.min() >= 0
    assert x.max() <= 1
    assert (x.mean(dim=0) - 0.5).abs().max() < 5 * math.sqrt(1 / 12 / 100_000)
    assert (torch.corrcoef(x.T) - torch.eye(4)).abs().max() < 5 / math.sqrt(100_000)


def test_networks_of_different_coefficients_share_one_tensor_of_inputs():
    slow, fast = spec(coefficient=1.0), spec(coefficient=30.0)
    assert datasets.load(slow).train.x is datasets.load(fast).train.x
    assert datasets.residence(slow) == datasets.residence(fast)
    other = spec(coefficient=1.0, points_seed=1)
    assert not torch.equal(datasets.load(slow).train.x, datasets.load(other).train.x)
    assert datasets.residence(slow) != datasets.residence(other)
    assert torch.equal(datasets.load(slow).test.x, datasets.load(other).test.x)


def test_no_seed_gives_the_points_of_val_for_training():
    """Equal streams begin with equal numbers; torch sees 32 bits of a seed, so that 2**32 is 0."""
    val = datasets.load("convection").val.x
    for seed in (0, 1, 2**31 - 1):
        assert not torch.equal(datasets.load(spec(points_seed=seed)).train.x[0, :2], val[0])
    same = torch.rand(2, generator=torch.Generator().manual_seed(2**32 - 1))
    assert torch.equal(same * torch.tensor([2 * math.pi, 1]), val[0])


class Wave:
    """u = sin(x - b t), as a network of one model."""

    def __init__(self, coefficient):
        self.coefficient = coefficient

    def __call__(self, x):
        return self.along(x, x)[0]

    def along(self, x, directions):
        phase = x[..., :1] - self.coefficient * x[..., 1:]
        slope = directions[..., :1] - self.coefficient * directions[..., 1:]
        return phase.sin(), phase[:, : slope.shape[1]].cos() * slope


def test_the_solution_has_no_loss_on_the_training_items():
    data = datasets.load(spec(coefficient=3.0, points=100))
    x, y = data.train.x.double()[None], data.train.y.double()[None]
    assert convection(Wave(3.0), x, y).item() < 1e-12
    assert convection(Wave(2.0), x, y).item() > 0.1
    assert data.train.x[:, 0].max() < PERIOD


def test_the_default_never_changes():
    sha256 = "8a96332548615230107b6763c03658a09a76d4c9b4e0d91c15d716b014e69119"
    assert datasets.load("convection").sha256 == sha256


@pytest.mark.parametrize(
    "changes", [{"coefficient": 0.0}, {"coefficient": float("inf")}, {"points": 0}, {"points_seed": -1}]
)
def test_options_out_of_range_are_refused(changes):
    with pytest.raises(SpecificationError, match=next(iter(changes))):
        datasets.resolve(spec(**changes))


def test_labels_and_classes_mean_nothing_here():
    with pytest.raises(SpecificationError, match=r"'convection' gives no class to an item"):
        datasets.resolve(spec(label_noise=0.1))
