import torch
from torch import nn

from zoo.training import StackNetwork
from zoo.weights import layout_of


class Twice(nn.Module):
    """Calls one dropout layer at two places, and tells what came out of each."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)
        self.drop = nn.Dropout(0.5)
        nn.init.eye_(self.first.weight)

    def forward(self, x):
        x = self.first(x)
        return torch.stack([self.drop(x), self.drop(x)], dim=1)


def masks(rows):
    network = StackNetwork(Twice(), layout_of(Twice(), "twice"))
    weights = torch.eye(64).reshape(1, -1).repeat(rows, 1)
    parameters, buffers = network.split(weights)
    keys = network.dropout_keys(range(rows), 1, steps=1, device=torch.device("cpu"))[0]
    tensors = network.tensors(parameters, buffers, keys)
    return [network.outputs(tensors, torch.ones(rows, 8, 64)) > 0 for _ in range(2)]


def test_each_call_of_a_layer_drops_others_and_each_pass_the_same():
    (first, again), (alone, _) = masks(2), masks(1)
    assert torch.equal(first, again)
    assert torch.equal(first[:1], alone)
    agreement = (first[:, :, 0] == first[:, :, 1]).double().mean()
    assert abs(agreement - 0.5) < 5 * 0.5 / (2 * 8 * 64) ** 0.5
