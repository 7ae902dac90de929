"""Pairs of small networks, and items that they can learn."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zoo.training import NetworkStack


def drawn(module, seed):
    """Weights of a network from its own stream; nothing sets a global seed."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) / parameter.shape[-1] ** 0.5)
    return module


def perceptron(*between, width=8):
    return nn.Sequential(nn.Linear(4, width), *between, nn.ReLU(), nn.Linear(width, 3))


class Residual(nn.Module):
    """No plain sequence, so that stacks of it run under vmap."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.drop, self.second, self.head = nn.Dropout(0.2), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.head(x + self.second(self.drop(x)))


KINDS = {
    "perceptron": perceptron,
    "normalised": lambda: perceptron(nn.BatchNorm1d(8), nn.Dropout(0.2)),
    "residual": Residual,
}


def networks(kind, seeds):
    return [drawn(KINDS[kind](), seed) for seed in seeds]


def stacked(nets):
    stacks = [NetworkStack.of(net) for net in nets]
    return NetworkStack(stacks[0].module, stacks[0].layout, torch.cat([stack.weights for stack in stacks]))


def items(count=90, seed=3):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=draw)
    return x, (x[:, :3] + x[:, 1:]).argmax(dim=1)


@pytest.fixture
def toys():
    """Makers of networks, stacks and items."""
    return SimpleNamespace(kinds=KINDS, networks=networks, stacked=stacked, items=items, drawn=drawn)
