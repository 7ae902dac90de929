import pytest
import torch
from torch import nn

from zoo.training import optimizers

SICK = 1
NAMES = optimizers.names()


def path(build, name):
    """Networks by the path that they take: layer by layer, vmap, vmap with statistics."""
    return {
        "perceptron": ((5,), build.perceptron),
        "convolution": (
            (2, 6, 6),
            lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
        ),
        "batch-norm": ((2, 6, 6), build.convolution),
    }[name]


def ends(make, build, name, *, sick, chunk=None, **changes):
    """Final state of a stack of four, one of which fell ill in the way asked for."""
    shape, construct = path(build, name)
    modules, data = make.modules(construct, 4, torch.float32), make.data(4, shape, dtype=torch.float32)
    rates = [0.01, 0.02, 0.03, 0.04]
    if sick == "rate":
        rates[SICK] = 1e30
    if sick == "weights":
        with torch.no_grad():
            next(iter(modules[SICK].parameters())).fill_(float("nan"))
    momentum = {} if changes.get("optimizer", "sgd").startswith("adam") else {"momentum": 0.9}
    specs = [make.spec(learning_rate=r, **momentum, **changes) for r in rates]
    trainer = make.trainer(modules, data, specs, chunk=chunk)
    losses = make.epochs(trainer, 3)
    return trainer.state(), losses


def neighbours_notice_nothing(make, build, name, sick, **options):
    well, losses = ends(make, build, name, sick=None, **options)
    ill, ill_losses = ends(make, build, name, sick=sick, **options)
    assert losses.isfinite().all()
    others = [0, 2, 3]
    for key, values in well.items():
        torch.testing.assert_close(ill[key][others], values[others], atol=0, rtol=0)
    torch.testing.assert_close(ill_losses[:, others], losses[:, others], atol=0, rtol=0)
    return ill, ill_losses[:, SICK]


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("name", ["perceptron", "convolution", "batch-norm"])
def test_neighbours_of_a_network_of_nan_keep_their_bits(make, build, name, chunk):
    ill, losses = neighbours_notice_nothing(make, build, name, "weights", chunk=chunk)
    assert ill["weights"][SICK].isnan().any()
    assert losses.isnan().all()


@pytest.mark.parametrize("name", ["perceptron", "convolution", "batch-norm"])
def test_neighbours_of_a_network_that_diverges_keep_their_bits(make, build, name):
    ill, _ = neighbours_notice_nothing(make, build, name, "rate")
    assert not (ill["weights"][SICK].abs() < 1e10).all()


@pytest.mark.parametrize("sick", ["weights", "rate"])
@pytest.mark.parametrize("optimizer", NAMES)
@pytest.mark.parametrize("name", ["perceptron", "batch-norm"])
def test_no_optimizer_carries_an_illness_over(make, build, name, optimizer, sick):
    neighbours_notice_nothing(make, build, name, sick, optimizer=optimizer, gradient_clip=1.0)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("sick", ["weights", "rate"])
@pytest.mark.parametrize("name", ["perceptron", "convolution", "batch-norm"])
def test_no_precision_carries_an_illness_over(make, build, name, sick, precision):
    ill, _ = neighbours_notice_nothing(make, build, name, sick, precision=precision)
    if precision == "float16":
        assert ill["loss_scale"][SICK] < ill["loss_scale"][0]
        assert (ill["loss_scale"][[0, 2, 3]] == 2.0**16).all()


def test_inputs_of_nan_are_a_matter_of_those_who_see_them(make, build):
    modules, data = make.modules(build.perceptron, 3), make.data(3)
    data.x[29] = float("nan")
    items = torch.arange(16).repeat(3, 1)
    items[SICK, 0] = 29
    trainer = make.trainer(modules, type(data)(data.x, data.y, items), [make.spec()] * 3)
    losses = make.epochs(trainer, 2)
    assert losses.isnan().any(dim=0).tolist() == [False, True, False]
    assert trainer.weights.isnan().any(dim=1).tolist() == [False, True, False]
