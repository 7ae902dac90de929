"""A stack of networks in training mode: parameters, buffers and dropout streams kept apart, one row each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.func import functional_call, vmap

from zoo.spec import Layout
from zoo.training.attention import batched_attention
from zoo.training.dropout import SeededDropout, seed_dropout
from zoo.training.layers import has_tangents, run_layers, run_tangents, stackable
from zoo.training.streams import stream_key, substreams

Buffers = dict[str, Tensor]
"""State that no gradient reaches, `(n_models, *shape)` by name; training mode updates it in place."""


class StackNetwork:
    """What trains a network of one architecture, whatever number of rows it is given.

    Args:
        module: Skeleton of the network; its own weights are not used.
        layout: Layout of the weights.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        self.layout = layout
        self._module, self._dropouts = seed_dropout(module)
        self._module.train()
        self._parameters = [entry for entry in layout.entries if entry.kind != "buffer"]
        self._buffers = [entry for entry in layout.entries if entry.kind == "buffer"]
        self._layers = stackable(self._module)

    # weights <-> parameters and buffers

    def split(
        self, weights: Float[Tensor, "models params"]
    ) -> tuple[Float[Tensor, "models trained"], Buffers]:
        """Part full weight vectors into what is trained and what is not.

        Args:
            weights: `(n_models, n_params)`.

        Returns:
            Flat parameters `(n_models, n_trained)` and buffers, all copies.
        """
        pieces = dict(zip([e.name for e in self.layout.entries], self._pieces(weights), strict=True))
        rows = len(weights)
        trained = torch.cat([pieces[e.name] for e in self._parameters], dim=1)
        buffers = {e.name: pieces[e.name].reshape(rows, *e.shape).clone() for e in self._buffers}
        return trained, buffers

    def join(
        self, parameters: Float[Tensor, "models trained"], buffers: Buffers
    ) -> Float[Tensor, "models params"]:
        """Put full weight vectors together, as `split` took them apart.

        Args:
            parameters: `(n_models, n_trained)`.
            buffers: By name.

        Returns:
            `(n_models, n_params)`, a copy.
        """
        trained = dict(
            zip(
                [e.name for e in self._parameters],
                torch.split(parameters, [e.size for e in self._parameters], dim=1),
                strict=True,
            )
        )
        flat = {
            name: tensor.reshape(len(parameters), -1).to(parameters.dtype) for name, tensor in buffers.items()
        }
        return torch.cat([{**trained, **flat}[e.name] for e in self.layout.entries], dim=1)

    def _pieces(self, weights: Float[Tensor, "models params"]) -> Sequence[Tensor]:
        return torch.split(weights, [entry.size for entry in self.layout.entries], dim=1)

    # run

    def tensors(
        self,
        parameters: Float[Tensor, "models trained"],
        buffers: Buffers,
        keys: Int[Tensor, "layers models"],
    ) -> dict[str, Tensor]:
        """Cut parameters into tensors, and join buffers and keys to them.

        Args:
            parameters: `(n_models, n_trained)`.
            buffers: By name.
            keys: Key of each dropout layer of each network for this step.

        Returns:
            Tensor `(n_models, *shape)` by name; views, so that gradients reach the parameters.
        """
        rows = len(parameters)
        pieces = torch.split(parameters, [e.size for e in self._parameters], dim=1)
        found = {e.name: p.view(rows, *e.shape) for e, p in zip(self._parameters, pieces, strict=True)}
        return found | buffers | {f"{name}.key": key for name, key in zip(self._dropouts, keys, strict=True)}

    def outputs(
        self, tensors: dict[str, Tensor], inputs: Num[Tensor, "models batch ..."]
    ) -> Float[Tensor, "models batch ..."]:
        """Run every network on its own batch in training mode.

        Args:
            tensors: What `tensors` gave; a layer that keeps statistics updates its buffers.
            inputs: `(n_models, batch, ...)`.

        Returns:
            What the networks return, the models first.
        """
        if self._layers:
            return run_layers(self._layers, tensors, inputs)
        for layer in self._module.modules():
            if isinstance(layer, SeededDropout):
                layer.calls = 0
        with batched_attention():
            if len(inputs) == 1:  # one network needs no vmap, and is faster without
                alone = {name: tensor[0] for name, tensor in tensors.items()}
                return self._one(alone, inputs[0]).unsqueeze(0)
            return vmap(self._one)(tensors, inputs)

    def along(
        self,
        tensors: dict[str, Tensor],
        inputs: Float[Tensor, "models items features"],
        directions: Float[Tensor, "models some features"],
    ) -> tuple[Float[Tensor, "models items outputs"], Float[Tensor, "models some outputs"]]:
        """Run every network, and differentiate it along a direction of its inputs.

        Args:
            tensors: What `tensors` gave.
            inputs: `(n_models, items, n_features)`.
            directions: For the first items, which alone are differentiated.

        Returns:
            Outputs of all items, derivatives of the first ones; differentiable again.
        """
        if has_tangents(self._layers):
            return run_tangents(self._layers, tensors, inputs, directions)
        points = inputs.detach().requires_grad_()
        outputs = self.outputs(tensors, points)
        columns = [
            torch.autograd.grad(outputs[..., column].sum(), points, create_graph=True)[0]
            for column in range(outputs.shape[-1])
        ]
        slopes = torch.stack(columns, dim=-1)[:, : directions.shape[1]]
        return outputs, (slopes * directions.unsqueeze(-1)).sum(dim=-2)

    def _one(self, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(self._module, tensors, (x,))
        return output

    def dropout_keys(
        self, order_seeds: Sequence[int], epoch: int, *, steps: int, device: torch.device
    ) -> Int[Tensor, "steps layers models"]:
        """Derive the key of each dropout layer of each network for each step of an epoch.

        Args:
            order_seeds: Seed of each network's streams.
            epoch: The epoch, from 1.
            steps: Optimiser steps in it.
            device: Where the keys are needed.

        Returns:
            int64; without dropout layers it holds nothing.
        """
        count = len(self._dropouts)
        if not count:
            return torch.empty(steps, 0, len(order_seeds), dtype=torch.int64, device=device)
        first = torch.tensor([stream_key(seed, "dropout", epoch) for seed in order_seeds])
        places = torch.arange(steps * count).view(steps, count, 1)
        return substreams(first, places).to(device)
