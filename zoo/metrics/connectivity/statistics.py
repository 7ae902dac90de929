"""Running statistics of normalisations, estimated anew for weights that were never trained as they are."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from jaxtyping import Num
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.datasets import as_inputs
from zoo.errors import SpecificationError
from zoo.spec import Layout
from zoo.training import NetworkStack, StackNetwork

BATCH = 128
"""Items in a batch, at most."""


class Statistics:
    """Estimates running means and variances anew, cumulated as `BatchNorm` of torch does with momentum None.

    What it stores of each layer is the mean over batches of the batch's mean and unbiased variance, each
    batch weighted by its items; batches are as equal as can be. Of inputs that do not depend on earlier
    statistics the mean is exactly that of all items. Dropout does nothing meanwhile.

    Args:
        module: The kind of networks that it is for; a kind without running statistics is left as it is.
        layout: Layout of their weights.
        x: The items `(n_items, ...)`; bytes are pixels.

    Attributes:
        needed: Whether the networks have running statistics at all.

    Raises:
        SpecificationError: There is one item alone: its variance over the batch is undefined.
    """

    def __init__(self, module: nn.Module, layout: Layout, x: Num[Tensor, "items ..."]) -> None:
        module = copy.deepcopy(module)
        self._names = []
        for name, layer in module.named_modules(remove_duplicate=False):
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
            if isinstance(layer, _NormBase) and layer.running_mean is not None:
                layer.momentum = 1.0  # what is then stored after a pass is the batch's own
                self._names += [f"{name}.{kind}" for kind in ("running_mean", "running_var")]
        self.needed = bool(self._names)
        if self.needed and len(x) < 2:
            raise SpecificationError(
                f"running statistics are estimated on at least 2 items, got {len(x)}; give more items"
            )
        self._network = StackNetwork(module, layout)
        self._x = x

    @torch.no_grad()
    def refitted(self, stack: NetworkStack) -> NetworkStack:
        """Estimate the statistics of some networks.

        Args:
            stack: The networks.

        Returns:
            The same parameters with statistics of their own.
        """
        if not self.needed:
            return stack
        parameters, buffers = self._network.split(stack.weights)
        keys = self._network.dropout_keys([0] * len(stack), 0, steps=1, device=parameters.device)[0]
        sums = {name: torch.zeros_like(buffers[name], dtype=torch.float64) for name in self._names}
        for batch in self._x.tensor_split(-(-len(self._x) // BATCH)):
            seen = {name: tensor.clone() for name, tensor in buffers.items()}
            inputs = as_inputs(batch)
            self._network.outputs(
                self._network.tensors(parameters, seen, keys), inputs.expand(len(stack), *inputs.shape)
            )
            for name, total in sums.items():
                total.add_(seen[name], alpha=len(batch) / len(self._x))
        return replace(stack, weights=self._network.join(parameters, buffers | sums))


def refit_statistics(stack: NetworkStack, x: Num[Tensor, "items ..."]) -> NetworkStack:
    """Estimate the running statistics of networks anew, on given items.

    Args:
        stack: The networks.
        x: The items `(n_items, ...)`, at least 2; bytes are pixels.

    Returns:
        The same parameters with the statistics of these items; the same networks where they have none.

    Raises:
        SpecificationError: There is one item alone.
    """
    return Statistics(stack.module, stack.layout, x).refitted(stack)
