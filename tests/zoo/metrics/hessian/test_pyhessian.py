"""Against PyHessian 0.1, the field's reference."""

import sys

import numpy as np
import pytest
import torch
from pyhessian import hessian
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zoo.architectures import build, initialise
from zoo.metrics.hessian import curvature
from zoo.metrics.hessian.papers import power_iteration, running_trace
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.hessian.vectors import gaussian, rademacher
from zoo.spec import ArchitectureSpecification, DataShape
from zoo.training import stream

pytestmark = pytest.mark.filterwarnings("ignore:Using backward:UserWarning")  # PyHessian takes gradients so


def reference(module, x, y):
    def criterion(logits, labels):
        return nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())

    return hessian(module, criterion, data=(x, y), cuda=False)


def made(name, shape, tokens=None, **options):
    spec = ArchitectureSpecification(name=name, **options)
    module = build(spec, DataShape(shape, 4, tokens))
    initialise(spec, module, stream(0, "init"))
    draw = torch.Generator().manual_seed(0)
    if tokens is None:
        return module, torch.randn(16, *shape, generator=draw), torch.arange(16) % 4
    x = torch.randint(tokens, (16, *shape), generator=draw)
    return module, x, torch.arange(16) % module(x).shape[-1]


def batch_norms():
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module, x, y = nn.Sequential(*layers, nn.Linear(4, 4)), *made("cnn", (1, 8, 8), width=1)[1:]
    draw = torch.Generator().manual_seed(2)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.2)
    return module, x, y


KINDS = {
    "mlp": lambda: made("mlp", (20,), width=16),
    "cnn": lambda: made("cnn", (1, 8, 8), width=4),
    "batch norm": batch_norms,
    "resnet": lambda: made("resnet", (3, 8, 8), width=2),
    "transformer": lambda: made("transformer", (6,), 5, model_dim=8, depth=1, heads=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_eigenvalue_and_trace_agree_within_their_errors(kind):
    module, x, y = KINDS[kind]()
    found = curvature(module, x, y)
    with sdpa_kernel(SDPBackend.MATH), torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = reference(module, x, y)
        (top,), _ = theirs.eigenvalues(maxIter=200, tol=1e-5)
        forms = theirs.trace(maxIter=40, tol=-np.inf)  # at 0 a negative trace would end it
    assert len(forms) == 40
    assert found.top_eigenvalue.item() == pytest.approx(top, rel=1e-2)
    error = np.hypot(np.std(forms, ddof=1) / 40**0.5, found.trace.standard_error.item())
    assert abs(found.trace.value.item() - np.mean(forms)) < 4 * error


class OurVectors:
    """torch, as PyHessian sees it, but for its random vectors: they are those of our streams."""

    def __init__(self, sizes):
        self.sizes, self.queue = sizes, []
        self.signs = 0

    def __getattr__(self, name):
        return getattr(torch, name)

    def randn(self, size):
        if not self.queue:
            self.queue = list(gaussian(sum(self.sizes), "power", 0).double().split(self.sizes))
        return self.queue.pop(0).view(size)

    def randint_like(self, tensor, high, device):
        if not self.queue:
            self.queue = list(rademacher(sum(self.sizes), "running", self.signs).double().split(self.sizes))
            self.signs += 1
        return (self.queue.pop(0).view_as(tensor) + 1) / 2


def test_the_procedures_of_the_papers_are_repeated_step_by_step(three, draw, monkeypatch):
    modules, _, x, y = three
    modules = [
        *modules,
        draw(modules[0], 38),
        *(draw(Landscape.of(m, x, y).stack.module, 9) for m in modules[:1]),
    ]
    for module in modules:
        ours = OurVectors([p.numel() for p in module.parameters()])
        monkeypatch.setattr(sys.modules["pyhessian.hessian"], "torch", ours)
        theirs = reference(module, x, y)
        (top,), forms = theirs.eigenvalues()[0], theirs.trace()
        landscape = Landscape.of(module, x, y)
        with torch.no_grad():
            assert power_iteration(landscape).item() == pytest.approx(top, rel=1e-9)
            assert running_trace(landscape).item() == pytest.approx(np.mean(forms), rel=1e-9)


def test_each_network_of_a_stack_stops_by_itself(three):
    modules, stack, x, y = three
    with torch.no_grad():
        for measure in (power_iteration, running_trace):
            alone = torch.cat([measure(Landscape.of(module, x, y)) for module in modules])
            assert len(set(alone.tolist())) == 3
            torch.testing.assert_close(measure(Landscape.of(stack, x, y)), alone, rtol=1e-9, atol=0)


def test_derivatives_that_overflow_end_at_once():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    for parameter in module.parameters():
        parameter.data.fill_(1e30)
    landscape = Landscape.of(module, torch.ones(2, 2), torch.tensor([0, 1]))
    with torch.no_grad():
        assert power_iteration(landscape).isnan().all()
        assert running_trace(landscape).isnan().all()
