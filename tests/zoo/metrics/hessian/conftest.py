"""Small networks of every kind, and their Hessians written out in float64."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from zoo.architectures import build
from zoo.spec import ArchitectureSpecification, DataShape
from zoo.training import NetworkStack

IMAGES, VECTORS, TOKENS = (2, 7, 6), (5,), (6,)
CLASSES, ITEMS = 3, 12


def chain(*layers):
    return nn.Sequential(*layers)


def family(name, shape, *, tokens=None, **options):
    classes = CLASSES if tokens is None else tokens
    return build(ArchitectureSpecification(name=name, **options), DataShape(shape, classes, tokens)).eval()


def perceptron(activation, *, bias=True):
    return chain(nn.Linear(5, 6, bias=bias), activation, nn.Linear(6, 4), activation, nn.Linear(4, CLASSES))


NETWORKS = {
    # by the rules of their layers
    "relu": lambda: (perceptron(nn.ReLU()), VECTORS),
    "tanh": lambda: (perceptron(nn.Tanh()), VECTORS),
    "gelu": lambda: (perceptron(nn.GELU()), VECTORS),
    "sigmoid without bias": lambda: (perceptron(nn.Sigmoid(), bias=False), VECTORS),
    "odd orders": lambda: (
        chain(
            nn.ReLU(),
            nn.Linear(5, 4),
            nn.Linear(4, 4),
            nn.ReLU(inplace=True),
            nn.Tanh(),
            nn.ReLU(),
            nn.Linear(4, 5, bias=False),
            nn.GELU(),
            nn.Tanh(),
            nn.Linear(5, CLASSES),
            nn.Sigmoid(),
        ),
        VECTORS,
    ),
    "one layer": lambda: (chain(nn.Linear(5, CLASSES)), VECTORS),
    "dropout": lambda: (family("mlp", VECTORS, width=6, dropout=0.5), VECTORS),
    "strided convolutions": lambda: (family("cnn", IMAGES, width=3, depth=2, activation="tanh"), IMAGES),
    "dilated convolution": lambda: (
        chain(
            nn.Conv2d(2, 3, (2, 3), stride=(1, 2), padding=(0, 1)),
            nn.GELU(),
            nn.Conv2d(3, 2, 2, dilation=(2, 1), bias=False),
            nn.Flatten(),
            nn.Linear(16, CLASSES),
        ),
        IMAGES,
    ),
    "largest of tiles": lambda: (
        chain(nn.Conv2d(2, 4, 2), nn.MaxPool2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(24, CLASSES)),
        IMAGES,
    ),
    "mean of tiles": lambda: (
        chain(nn.Conv2d(2, 4, 2), nn.Tanh(), nn.AvgPool2d((3, 2)), nn.Flatten(), nn.Linear(16, CLASSES)),
        IMAGES,
    ),
    "piecewise linear images": lambda: (
        chain(
            nn.Conv2d(2, 4, 2, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(4, 3, 2, bias=False),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(3, CLASSES),
        ),
        IMAGES,
    ),
    "flattened images": lambda: (chain(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, CLASSES)), IMAGES),
    # along the graph of the gradient
    "batch norm": lambda: (family("mlp", VECTORS, width=6, normalisation="batch"), VECTORS),
    "layer norm": lambda: (family("mlp", VECTORS, width=6, normalisation="layer"), VECTORS),
    "overlapping pools": lambda: (
        chain(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.Flatten(), nn.Linear(36, CLASSES)),
        IMAGES,
    ),
    "batch norm on images": lambda: (
        chain(
            nn.Conv2d(2, 3, 3, padding="same"),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(3, CLASSES),
        ),
        IMAGES,
    ),
    "residual": lambda: (family("residual", VECTORS, width=4, depth=2), VECTORS),
    "transformer": lambda: (family("transformer", TOKENS, tokens=4, model_dim=4, depth=1, heads=2), TOKENS),
}
RULES = 13
"""Networks above that are chains; the others are not."""


@cache
def whole(name):
    """A network in float64 with weights drawn for it, its items and classes, and its Hessian."""
    module, shape = NETWORKS[name]()
    x, y = items(shape, drawn(module.double().eval(), len(name)))
    return (module, x, y), written_out(module, x, y)


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def network(name):
    """A network, its items and classes."""
    return whole(name)[0]


@pytest.fixture
def matrix(name):
    """The Hessian of `network`."""
    return whole(name)[1]


@pytest.fixture(params=list(NETWORKS)[:RULES])
def chain_network(request):
    """One of those that are chains."""
    return whole(request.param)[0]


def drawn(module, seed, scale=0.6):
    """Give every tensor of a network numbers of its own; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                numbers = torch.randn(tensor.shape, generator=generator) * scale
                tensor.copy_(numbers.abs() + 0.5 if name.endswith("var") else numbers)
    return module


def items(shape, module):
    generator = torch.Generator().manual_seed(1)
    if shape == TOKENS:
        x = torch.randint(4, (ITEMS, *shape), generator=generator)
        return x, torch.randint(4, module(x).shape[:-1], generator=generator)
    x = torch.randn(ITEMS, *shape, generator=generator).double()
    return x, torch.randint(CLASSES, (ITEMS,), generator=generator)


def written_out(module, x, y):
    """The Hessian of the mean cross-entropy in all parameters, entry by entry."""
    names = {name: p.shape for name, p in module.named_parameters()}
    point = torch.cat([p.detach().flatten() for p in module.parameters()])

    def loss(flat):
        pieces = torch.split(flat, [shape.numel() for shape in names.values()])
        tensors = {name: piece.view(s) for (name, s), piece in zip(names.items(), pieces, strict=True)}
        logits = functional_call(module, tensors, (x,))
        return nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten())

    # row by row: torch.func.hessian and jacrev of torch 2.13 give layer norms another matrix, which is not
    # symmetric, and not what differences of gradients give
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.hessian(loss, point)


@pytest.fixture
def dense():
    return written_out


@pytest.fixture
def stacked():
    """From networks of one layout to their stack."""

    def stack(*modules):
        parts = [NetworkStack.of(module) for module in modules]
        return NetworkStack(parts[0].module, parts[0].layout, torch.cat([part.weights for part in parts]))

    return stack


@pytest.fixture
def draw():
    return drawn


@pytest.fixture
def three(stacked):
    """Three tanh perceptrons in float64, alone and as a stack, with items and classes."""
    modules = [drawn(perceptron(nn.Tanh()).double(), seed) for seed in range(3)]
    return modules, stacked(*modules), *items(VECTORS, modules[0])
