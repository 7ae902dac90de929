import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from zoo.architectures import DataShape, build, layout
from zoo.errors import SpecificationError
from zoo.training.layers import stackable

MNIST = DataShape((1, 28, 28), 10)
ACTIVATIONS = {
    "tanh": lambda x: 1 - 2 / (torch.exp(2 * x) + 1),
    "relu": lambda x: torch.where(x > 0, x, 0),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


def images():
    return torch.randn(3, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_published_network_has_2464_parameters_under_its_names(family):
    entries = layout(family.name("model-zoo-cnn"), MNIST).entries
    assert sum(entry.size for entry in entries) == 2464
    # those of a ModuleList in which layers without parameters count too
    assert {entry.name: entry.shape for entry in entries if entry.kind == "weight"} == {
        "0.weight": (8, 1, 5, 5),
        "3.weight": (6, 8, 5, 5),
        "6.weight": (4, 6, 2, 2),
        "9.weight": (20, 36),
        "11.weight": (10, 20),
    }
    dropped = layout(family.name("model-zoo-cnn", dropout=0.5), MNIST).entries
    assert [entry.name for entry in dropped if entry.kind == "weight"] == [
        "0.weight",
        "4.weight",
        "8.weight",
        "11.weight",
        "14.weight",
    ]


@pytest.mark.parametrize(
    ("width", "inputs", "classes"),
    [(1, (1, 28, 28), 10), (1, (3, 32, 32), 10), (2, (2, 20, 23), 3), (3, (1, 35, 24), 7)],
)
def test_the_cnn_has_as_many_parameters_as_its_closed_form(family, width, inputs, classes):
    architecture, shape = family.name("model-zoo-cnn", width=width), DataShape(inputs, classes)
    w, (k, *sides) = width, inputs
    places = math.prod(((side - 4) // 2 - 4) // 2 - 1 for side in sides)
    expected = 8 * w * (25 * k + 1) + 6 * w * (200 * w + 1) + 4 * w * (24 * w + 1)
    expected += 20 * w * (4 * w * places + 1) + classes * (20 * w + 1)
    assert layout(architecture, shape).size == expected
    assert family.start(architecture, shape)(torch.zeros(2, *inputs).double()).shape == (2, classes)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_are_those_of_the_formulas(family, activation):
    module = family.start(family.name("model-zoo-cnn", activation=activation, dropout=0.3), MNIST).eval()
    act, out = ACTIVATIONS[activation], images()
    one, two, three, hidden, last = (layer for layer in module if hasattr(layer, "weight"))
    for layer in (one, two):
        out = functional.conv2d(out, layer.weight, layer.bias)
        out = act(out.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
    out = act(functional.conv2d(out, three.weight, three.bias)).reshape(3, -1)
    out = act(out @ hidden.weight.T + hidden.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(module(images()), out, atol=1e-12, rtol=0)


def test_the_cnn_drops_where_the_published_one_does(family):
    kinds = [type(layer) for layer in build(family.name("model-zoo-cnn", dropout=0.5), MNIST)]
    block = [nn.Conv2d, nn.MaxPool2d, nn.Tanh, nn.Dropout]
    head = [nn.Flatten, nn.Linear, nn.Tanh, nn.Dropout, nn.Linear]
    assert kinds == [*block, *block, nn.Conv2d, nn.Tanh, *head]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_a_stack_trains_as_each_alone_and_as_a_plain_loop(family, activation):
    architecture, shape = family.name("model-zoo-cnn", activation=activation), DataShape((2, 20, 20), 3)
    assert stackable(build(architecture, shape))  # by batched kernels, not by vmap
    family.check_stack(architecture, shape)


@pytest.mark.parametrize(
    ("law", "mean", "square", "fourth"),
    [
        # moments, fan_in taken as 1: U[0, 1), N(0, 1), U(-sqrt(6), sqrt(6)), N(0, 2)
        ("uniform", 1 / 2, 1 / 3, 1 / 5),
        ("normal", 0, 1, 3),
        ("kaiming_uniform", 0, 2, 36 / 5),
        ("kaiming_normal", 0, 2, 12),
    ],
)
def test_initial_weights_follow_their_law(family, law, mean, square, fourth):
    module = family.start(family.name("model-zoo-cnn", width=8, initialisation=law), MNIST)
    for layer in module:
        if not hasattr(layer, "weight"):
            continue
        values, fan_in = layer.weight.detach(), layer.weight[0].numel() if "kaiming" in law else 1
        values, count = values * fan_in**0.5, values.numel()
        assert abs(values.mean() - mean) < 5 * ((square - mean**2) / count) ** 0.5
        assert abs(values.square().mean() - square) < 5 * ((fourth - square**2) / count) ** 0.5
        largest = {"uniform": 1, "kaiming_uniform": 6**0.5}.get(law)
        assert (values.abs().max() <= largest * (1 + 1e-6)) if largest else (values.abs().max() > 2)
        assert torch.equal(layer.bias.float(), torch.full(layer.bias.shape, 0.01))


def test_initial_weights_depend_on_their_seed_alone(family):
    family.check_seeds(family.name("model-zoo-cnn"), MNIST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width: Input should be greater than or equal to 1, got 0"),
        ({"activation": "silu"}, "activation: Input should be 'tanh', 'relu', 'gelu' or 'sigmoid'"),
        ({"initialisation": "xavier"}, "initialisation: Input should be 'uniform', 'normal', 'kaiming_uni"),
        ({"dropout": 1}, "dropout: Input should be less than 1"),
        ({"depth": 3}, "depth: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(family, options, message):
    with pytest.raises(SpecificationError, match=rf"architecture 'model-zoo-cnn':\n  {message}"):
        build(family.name("model-zoo-cnn", **options), MNIST)


def test_the_cnn_takes_images_that_are_large_enough(family):
    with pytest.raises(SpecificationError, match=r"images .*, this dataset has inputs of shape \(64,\)"):
        build(family.name("model-zoo-cnn"), DataShape((64,), 10))
    with pytest.raises(SpecificationError, match=r"images of at least 20 x 20 pixels, got 28 x 19; choose"):
        build(family.name("model-zoo-cnn"), DataShape((1, 28, 19), 10))
    build(family.name("model-zoo-cnn"), DataShape((1, 20, 20), 10))
