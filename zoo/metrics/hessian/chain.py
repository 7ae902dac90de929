"""Products with the Hessian of a plain chain of layers, by the rules of its layers."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from zoo.metrics.hessian.images import Columns, Largest, Mean
from zoo.metrics.hessian.rules import Elementwise, Linear, Reshape, Rule
from zoo.training import NetworkStack
from zoo.training.layers import Layer, Tensors, stackable
from zoo.weights import unflatten

_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)
_CLASSES = 32
"""Most classes of which the exact trace costs less than its estimate."""


def chain_layers(stack: NetworkStack, x: Num[Tensor, "items ..."]) -> list[Layer]:
    """List the layers of networks, if they are a chain of layers that have a rule here.

    Args:
        stack: The networks.
        x: Items.

    Returns:
        The layers without dropout, which does nothing in eval mode; none where some layer has no rule, such
        as a normalisation or an attention.
    """
    layers = [layer for layer in stackable(stack.module.eval()) if not isinstance(layer.module, nn.Dropout)]
    images = x.ndim == 4
    if not x.is_floating_point() or x.ndim not in {2, 4} or not any(layer.tensors for layer in layers):
        return []
    for layer in layers:
        if not _has_rule(layer.module, images=images):
            return []
        images = images and not isinstance(layer.module, nn.Flatten)
    return [] if images else layers


def _has_rule(layer: nn.Module, *, images: bool) -> bool:
    if isinstance(layer, nn.Linear):
        return not images
    if isinstance(layer, nn.Conv2d):
        return images and not isinstance(layer.padding, str)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return images and layer.output_size in (1, (1, 1))
    if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
        plain = (layer.kernel_size, 0, False, 1, None)
        found = (layer.stride, layer.padding, layer.ceil_mode)
        return images and plain == (
            *found,
            getattr(layer, "dilation", 1),
            getattr(layer, "divisor_override", None),
        )
    return isinstance(layer, (nn.Flatten, *_ELEMENTWISE))


class _Link(NamedTuple):
    """One rule of a chain.

    Attributes:
        rule: It.
        layer: The layer whose weights it has; nothing where it has none.
    """

    rule: Rule
    layer: Layer | None = None

    def own(self, tensors: Tensors) -> Tensors:
        return {} if self.layer is None else _flat_kernels(self.layer.own(tensors))


class ChainProduct:
    """Multiplies the Hessian of the mean cross-entropy of each network with a vector.

    Args:
        layers: What `chain_layers` found.
        stack: The networks.
        x: Items `(n_items, ...)`, of the type of the weights.
        y: Classes `(n_items,)`.
    """

    def __init__(
        self,
        layers: list[Layer],
        stack: NetworkStack,
        x: Float[Tensor, "items ..."],
        y: Int[Tensor, " items"],
    ) -> None:
        self._layout = stack.layout
        self._links = _links(layers, unflatten(stack.weights, stack.layout), x)
        self._shares = torch.softmax(self._links[-1].rule.output, dim=1)
        self._slope = (self._shares - nn.functional.one_hot(y, self._shares.shape[1]).mT) / len(y)
        self._pull()

    def _pull(self) -> None:
        """Take the slope of the loss back through all layers, as products need it."""
        slope = self._slope
        for link in reversed(self._links):
            slope = link.rule.pull(slope)

    def __call__(self, vectors: Float[Tensor, "models trained"]) -> Float[Tensor, "models trained"]:
        """Multiply.

        Args:
            vectors: `(n_models, n_trained)`, one for each network.

        Returns:
            `(n_models, n_trained)`.
        """
        directions = unflatten(vectors, self._layout)
        owns = [link.own(directions) for link in self._links]
        tangent: Tensor | None = None
        for link, own in zip(self._links, owns, strict=True):
            tangent = link.rule.push(own, tangent)
        turn = self._turn(cast(Tensor, tangent))
        found: dict[str, Tensor] = {}
        for link, own in zip(reversed(self._links), reversed(owns), strict=True):
            pieces, turn = link.rule.bend(own, turn)
            if link.layer is not None:
                found |= {f"{link.layer.name}.{name}": piece for name, piece in pieces.items()}
        return torch.cat([found[entry.name] for entry in self._layout.entries], dim=1)

    def trace(self) -> Float[Tensor, " models"] | None:
        """Compute the trace, where that is cheaper than to estimate it.

        If all layers are piecewise linear, then the logits are so in the weights of each layer, and only the
        Gauss-Newton part of the Hessian has a diagonal: `mean_i sum_c p_ic ||gradient of log p_ic||^2`.

        Returns:
            `(n_models,)` float64; nothing where a layer is curved, or the classes are many.
        """
        classes = self._shares.shape[1]
        if classes > _CLASSES or any(
            isinstance(link.rule, Elementwise) and link.rule.curved for link in self._links
        ):
            return None
        total = sum(self._weigh(self._towards(one)) for one in range(classes))
        self._pull()
        return cast(Tensor, total)

    def _towards(self, one: int) -> Tensor:
        """Give the slope of the logarithm of a class's share, weighed by the root of the share."""
        slope = -self._shares
        slope[:, one] += 1
        return slope * (self._shares[:, [one]] / slope.shape[-1]).sqrt()

    def _weigh(self, slope: Tensor) -> Float[Tensor, " models"]:
        """Take a slope of the logits back, and sum the squares of all items' gradients."""
        total = torch.zeros(len(slope), dtype=torch.float64, device=slope.device)
        for link in reversed(self._links):
            if isinstance(link.rule, Linear):
                total += link.rule.weigh(slope)
            slope = link.rule.pull(slope)
        return total

    def _turn(self, tangent: Tensor) -> Tensor:
        """Multiply with the Hessian of the loss in the logits: `(diag p - p p') / n_items`."""
        weighed = self._shares * tangent
        mean = weighed.sum(dim=1, keepdim=True)
        return weighed.addcmul_(self._shares, mean, value=-1).div_(tangent.shape[-1])


def _links(layers: list[Layer], tensors: Tensors, x: Tensor) -> list[_Link]:
    """Run the networks and keep the rule of each layer at its input."""
    first = next(place for place, layer in enumerate(layers) if layer.tensors)
    for layer in layers[:first]:  # without weights: the same for all networks
        x = layer.module(x.clone())
    links = _first_links(layers[first], tensors, x.movedim(0, -1).contiguous())
    for layer in layers[first + 1 :]:
        links += _next_links(layer, tensors, links[-1].rule.output)
    return links


def _first_links(layer: Layer, tensors: Tensors, value: Tensor) -> list[_Link]:
    """Begin with what all networks share, `(..., items)`."""
    if not isinstance(layer.module, nn.Conv2d):
        return [_Link(Linear(layer.own(tensors), value), layer)]
    columns = Columns(layer.module, value[None])
    return _convolution(layer, tensors, columns, columns.output[0])


def _next_links(layer: Layer, tensors: Tensors, value: Tensor) -> list[_Link]:
    module = layer.module
    if isinstance(module, nn.Linear):
        return [_Link(Linear(layer.own(tensors), value), layer)]
    if isinstance(module, nn.Conv2d):
        columns = Columns(module, value)
        return [_Link(columns), *_convolution(layer, tensors, columns, columns.output)]
    if isinstance(module, nn.Flatten):
        return [_Link(Reshape(value, (-1, value.shape[-1])))]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return [_Link(Mean((value.shape[2], value.shape[3]), value))]
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
        size = module.kernel_size
        tile = (size, size) if isinstance(size, int) else (size[0], size[1])
        return [_Link(Largest(tile, value) if isinstance(module, nn.MaxPool2d) else Mean(tile, value))]
    return [_Link(Elementwise(module, value))]


def _convolution(layer: Layer, tensors: Tensors, columns: Columns, value: Tensor) -> list[_Link]:
    product = Linear(_flat_kernels(layer.own(tensors)), value, math.prod(columns.places))
    shape = (product.output.shape[1], *columns.places, columns.items)
    return [_Link(product, layer), _Link(Reshape(product.output, shape))]


def _flat_kernels(own: Tensors) -> Tensors:
    """See kernels as the matrices that they are to columns."""
    return {name: tensor.flatten(2) if tensor.ndim > 3 else tensor for name, tensor in own.items()}
