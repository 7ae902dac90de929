"""Small networks of every architecture, and copies of them whose units are permuted."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from zoo.architectures import DataShape, build, initialise, layout, permute, symmetry
from zoo.spec import ArchitectureSpecification
from zoo.training import NetworkStack, stream

VECTORS, IMAGES, TOKENS = DataShape((12,), 5), DataShape((2, 8, 8), 5), DataShape((6,), 7, tokens=7)
SMALL = {
    "mlp": (VECTORS, {"width": 6, "depth": 3}),
    "mlp batch": (VECTORS, {"width": 6, "normalisation": "batch", "activation": "tanh"}),
    "mlp layer": (VECTORS, {"width": 6, "normalisation": "layer", "activation": "gelu"}),
    "pinn": (DataShape((2,), 1), {"width": 6, "depth": 3}),
    "cnn": (IMAGES, {"width": 4}),
    "model-zoo-cnn": (DataShape((1, 20, 20), 4), {}),
    "twins full": (IMAGES, {"connection": "full", "width": 3}),
    "twins local": (IMAGES, {"connection": "local", "width": 4}),
    "twins convolutional": (IMAGES, {"connection": "convolutional", "width": 4}),
    "residual sequential": (VECTORS, {"form": "sequential", "width": 5}),
    "residual parallel": (IMAGES, {"form": "parallel", "width": 4}),
    "resnet 18": (IMAGES, {"layers": 18, "width": 3}),
    "resnet 50": (IMAGES, {"layers": 50, "width": 2}),
    "vit": (IMAGES, {"model_dim": 8, "head_dim": 2, "depth": 2}),
    "gpt": (TOKENS, {"model_dim": 8, "head_dim": 2, "depth": 2}),
    "transformer pre": (VECTORS, {"model_dim": 8, "norm": "pre"}),
    "transformer post": (TOKENS, {"model_dim": 8, "norm": "post"}),
    "transformer peri": (VECTORS, {"model_dim": 8, "norm": "peri"}),
}


def specification(name, **options):
    return ArchitectureSpecification.model_validate({"name": name, **options})


def started(architecture, shape, models=2, first=0):
    """Initial networks, float64; what begins at 0 or 1 and statistics are drawn a little beside."""
    found, rows = layout(architecture, shape), []
    for seed in range(first, first + models):
        module = build(architecture, shape)
        initialise(architecture, module, stream(seed, "init"))
        weights = NetworkStack.of(module.double()).weights[0]
        rows.append(weights * (1 + 0.1 * draw(found.size, seed)) + 0.1 * draw(found.size, seed + 100))
    return NetworkStack(build(architecture, shape).double().eval(), found, torch.stack(rows))


def draw(size, seed):
    """Uniform on (0, 1): what is positive stays so."""
    return torch.rand(size, generator=stream(seed, "noise"), dtype=torch.float64)


def random_orders(found, models, seed=0):
    generator = stream(seed, "orders")
    return {
        group: torch.stack([torch.randperm(size, generator=generator) for _ in range(models)])
        for group, size in found.groups.items()
    }


def shuffled(stack, found, seed=0):
    orders = random_orders(found, len(stack), seed)
    return replace(stack, weights=permute(stack.weights, stack.layout, found, orders))


def restored(stack, found, orders):
    return replace(stack, weights=permute(stack.weights, stack.layout, found, orders))


def items(shape, count=64):
    generator = stream(1, "items")
    if shape.tokens:
        return torch.randint(shape.tokens, (count, *shape.inputs), generator=generator)
    return torch.randn(count, *shape.inputs, generator=generator, dtype=torch.float64)


def distances(one, other):
    """L2 distance of what is trained."""
    trained = torch.cat([torch.full((entry.size,), entry.kind != "buffer") for entry in one.layout.entries])
    return (one.weights - other.weights)[:, trained].double().norm(dim=1)


@pytest.fixture(params=SMALL, scope="session")
def small(request):
    """One architecture after another: `architecture`, `shape`, `found` (its symmetry)."""
    shape, options = SMALL[request.param]
    architecture = specification(request.param.split()[0], **options)
    return SimpleNamespace(
        architecture=architecture, shape=shape, found=symmetry(architecture, shape), label=request.param
    )


@pytest.fixture(scope="session")
def make():
    """Builds networks and copies of them."""
    return SimpleNamespace(
        specification=specification,
        started=started,
        shuffled=shuffled,
        restored=restored,
        items=items,
        distances=distances,
        orders=random_orders,
    )
