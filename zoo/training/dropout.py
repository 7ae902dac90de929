"""Dropout whose mask is a function of a key: each network of a stack has its own stream."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import SpecificationError
from zoo.training.streams import substreams, uniform


class SeededDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws from the key in its buffer `key`, never from a generator.

    Number i of an item's mask is number i of the key's stream, so a network alone and in a stack gets the
    same. A network that calls the layer again in one pass gets another stream for each call.

    Args:
        share: Share of activations set to zero; the others are scaled by `1 / (1 - share)`.
    """

    key: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.calls = 0
        self.register_buffer("key", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop, in training mode.

        Args:
            x: Activations of one network, any shape.

        Returns:
            The same shape; in eval mode the input itself.
        """
        if not self.training or self.share == 0:
            return x
        key = substreams(self.key, torch.tensor(self.calls, device=x.device)) if self.calls else self.key
        self.calls += 1
        places = torch.arange(x.numel(), device=x.device).view(x.shape)
        return _drop(x, uniform(key, places), self.share)

    def stacked(
        self, x: Float[Tensor, "models ..."], keys: Int[Tensor, " models"]
    ) -> Float[Tensor, "models ..."]:
        """Drop in the activations of a whole stack.

        Args:
            x: Activations, the networks first.
            keys: Key of each network.

        Returns:
            The same shape; in eval mode the input itself.
        """
        if not self.training or self.share == 0:
            return x
        places = torch.arange(x[0].numel(), device=x.device).view(x.shape[1:])
        return _drop(x, uniform(keys.view(-1, *[1] * (x.ndim - 1)), places), self.share)


def _drop(
    x: Float[Tensor, "*shape"], drawn: Float[Tensor, "*shape"], share: float
) -> Float[Tensor, "*shape"]:
    if share == 1:
        return x * 0  # not zeros: a gradient of zero is a gradient
    return x * (drawn >= share).to(x.dtype) / (1 - share)


def _unseeded(layer: nn.Module) -> bool:
    if isinstance(layer, nn.MultiheadAttention | nn.RNNBase):
        return layer.dropout > 0
    return isinstance(layer, nn.modules.dropout._DropoutNd) and type(layer) is not nn.Dropout and layer.p > 0


def seed_dropout(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """Copy a network with every dropout layer replaced by a seeded one.

    Args:
        module: The network; left as it is.

    Returns:
        The copy, and the names of its dropout layers in the order of `named_modules`.

    Raises:
        SpecificationError: Another layer draws at random, from the global generator.
    """
    copied = copy.deepcopy(module)
    foreign = [
        f"{name} ({type(layer).__name__})" for name, layer in copied.named_modules() if _unseeded(layer)
    ]
    if foreign:
        raise SpecificationError(
            f"a network draws from its own stream, which {', '.join(foreign)} cannot; use nn.Dropout"
        )
    found = {
        name: layer.p
        for name, layer in copied.named_modules(remove_duplicate=False)  # one layer at two places draws twice
        if type(layer) is nn.Dropout
    }
    for name, share in found.items():
        copied.set_submodule(name, SeededDropout(share))
    return copied, list(found)
