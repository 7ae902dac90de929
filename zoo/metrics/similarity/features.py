"""What the last linear layer of a network sees."""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from zoo.architectures.gpt import GPTNetwork
from zoo.errors import SpecificationError
from zoo.spec import Layout
from zoo.training import NetworkStack


def feature_networks(networks: NetworkStack) -> NetworkStack:
    """Cut off the last linear layer, so that networks give what it sees.

    Of `nn.Sequential` all layers but the last are left; of other networks the last linear layer gives its
    inputs back. A GPT ends in no layer but in the product with its token embedding: what it gives instead are
    the hidden states before this product, after the last normalisation.

    Args:
        networks: Networks that end in a linear layer, which has the layout's last weight; or GPTs.

    Returns:
        The same networks without it: `evaluate` gives features `(n_models, n_items, ..., p)`.

    Raises:
        SpecificationError: The networks end otherwise.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 10))
        >>> feature_networks(NetworkStack.of(model)).evaluate(torch.zeros(5, 2)).shape
        torch.Size([1, 5, 3])
    """
    if isinstance(networks.module, GPTNetwork):
        return NetworkStack(_hidden_states(networks.module), networks.layout, networks.weights)
    head = _head(networks)
    entries = networks.layout.entries
    kept = [not entry.name.startswith(f"{head}.") for entry in entries]
    columns = torch.tensor(kept).repeat_interleave(torch.tensor([entry.size for entry in entries]))
    layout = Layout(
        architecture=networks.layout.architecture, entries=tuple(itertools.compress(entries, kept))
    )
    return NetworkStack(_beheaded(networks.module, head), layout, networks.weights[:, columns])


def _head(networks: NetworkStack) -> str:
    names = [entry.name for entry in networks.layout.entries if entry.kind == "weight"]
    name = names[-1].rpartition(".")[0] if names else ""
    module, layers = networks.module, dict(networks.module.named_modules())
    follows = type(module) is nn.Sequential and name != list(module._modules)[-1]
    if follows or not isinstance(layers.get(name), nn.Linear):
        got = f"{names[-1] if names else 'none'}{' and more' if follows else ''}"
        raise SpecificationError(
            "features are what the last linear layer sees: expected networks that end in one, which has "
            f"the last weight, got {got}; cut such networks yourself, and give linear_cka what is left"
        )
    return name


def _beheaded(module: nn.Module, head: str) -> nn.Module:
    if type(module) is nn.Sequential:
        layers = list(module._modules.items())[:-1]  # plain layers again, so that stacks stay fast
        return nn.Sequential(OrderedDict((name, layer) for name, layer in layers if layer is not None))
    cut = copy.deepcopy(module)
    parent, _, name = head.rpartition(".")
    setattr(cut.get_submodule(parent), name, nn.Identity())
    return cut


class _HiddenStates(GPTNetwork):
    """A GPT up to the product with its token embedding."""

    def forward(self, x: Integer[Tensor, "batch places"]) -> Float[Tensor, "batch places dim"]:
        stream = self.dropout(self.wte(x.long()) + self.wpe.weight[: x.shape[1]])
        for block in self.h:
            stream = block(stream)
        hidden: Tensor = self.ln_f(stream)
        return hidden


def _hidden_states(network: GPTNetwork) -> nn.Module:
    cut = copy.copy(network)  # shares its layers; only what is done with them differs
    cut.__class__ = _HiddenStates
    return cut
