import copy

import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError
from zoo.metrics.connectivity import refit_statistics
from zoo.training import NetworkStack
from zoo.weights import unflatten


def randomised(module, seed=0):
    draw = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.1)
    return module


def perceptron():
    return randomised(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double())


class Residual(nn.Module):
    """No plain sequence, so that stacks of it run under vmap."""

    def __init__(self):
        super().__init__()
        self.first, self.one = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.second, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3, momentum=0.3)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.one(self.first(x)).relu()
        return self.head((x + self.two(self.second(x))).mean(dim=(2, 3)))


def items(count, *shape, seed=1):
    return torch.randn(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tensors(stack):
    return unflatten(stack.weights, stack.layout)


@pytest.mark.parametrize("count", [2, 100, 128, 130, 257])
def test_statistics_are_those_of_the_items(count):
    """By hand in float64: batches of 257 items have 86, 86 and 85."""
    net, x = perceptron(), items(count, 5)
    found = tensors(refit_statistics(NetworkStack.of(net), x))
    hidden = (x @ net[0].weight.T + net[0].bias).detach()
    batches = hidden.tensor_split(-(-count // 128))
    variance = sum(len(b) / count * ((b - b.mean(0)) ** 2).sum(0) / (len(b) - 1) for b in batches)
    torch.testing.assert_close(found["1.running_mean"][0], hidden.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found["1.running_var"][0], variance, rtol=1e-12, atol=1e-12)


def plain(net, x):
    """The same by torch alone: momentum None, over batches of equal size."""
    reference = copy.deepcopy(net).train()
    for layer in reference.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    for batch in x.split(128):
        reference(batch)
    return reference.state_dict()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_deep_network_gets_what_torch_cumulates(rows):
    nets = [randomised(Residual().double(), seed) for seed in range(rows)]
    stacks = [NetworkStack.of(net) for net in nets]
    stack = NetworkStack(stacks[0].module, stacks[0].layout, torch.cat([s.weights for s in stacks]))
    x = items(256, 2, 6, 6)
    found = tensors(refit_statistics(stack, x))
    for number, net in enumerate(nets):
        for name, tensor in plain(net, x).items():
            if "num_batches" not in name:
                torch.testing.assert_close(found[name][number], tensor, rtol=1e-9, atol=1e-9)


def test_dropout_does_not_touch_statistics():
    net = perceptron()
    dropping = nn.Sequential(net[0], nn.Dropout(0.5), *net[1:])
    plain_one, other = (refit_statistics(NetworkStack.of(n), items(50, 5)) for n in (net, dropping))
    assert torch.equal(plain_one.weights, other.weights)


def test_networks_without_statistics_stay_as_they_are():
    stack = NetworkStack.of(nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)))
    assert refit_statistics(stack, items(1, 5)) is stack


def test_the_given_networks_are_not_changed():
    stack = NetworkStack.of(perceptron())
    before = stack.weights.clone()
    refit_statistics(stack, items(20, 5))
    assert torch.equal(stack.weights, before)
    assert stack.module[1].momentum == 0.1


def test_one_item_has_no_variance():
    with pytest.raises(SpecificationError, match="at least 2 items, got 1; give more"):
        refit_statistics(NetworkStack.of(perceptron()), items(1, 5))
