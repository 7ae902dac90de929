"""What each layer of a plain chain knows of its own derivatives, at fixed weights and inputs.

Values stand with the models first and the items last: `(models, features, items)`, images as `(models,
channels, height, width, items)`. Then a layer is one product of matrices for the whole stack, whatever is
cut out of an image lies in one piece, and to flatten an image moves nothing. What enters the first layer has
no models: they share it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

Own = Mapping[str, Tensor]
"""Tensors of a layer `(models, ...)` by their last name: its weights, or a direction in them."""


class Rule(ABC):
    """A layer at fixed weights and inputs.

    `push` and `bend` follow Pearlmutter (1994): tangents go forward, then the tangents of slopes go back.

    Attributes:
        output: What it gives.
    """

    output: Tensor

    @abstractmethod
    def pull(self, slope: Tensor, /) -> Tensor:
        """Take the slope of the loss from output to input, once and before the other two.

        Args:
            slope: Of the output.

        Returns:
            Of the input; nothing of use where models share it.
        """

    @abstractmethod
    def push(self, own: Own, tangent: Tensor | None, /) -> Tensor:
        """Take a tangent forward.

        Args:
            own: Direction in the layer's weights.
            tangent: Of the input; nothing where models share it.

        Returns:
            Tangent of the output.
        """

    @abstractmethod
    def bend(self, own: Own, turn: Tensor, /) -> tuple[dict[str, Tensor], Tensor]:
        """Take the tangent of the slope back, after `push` along the same direction.

        Args:
            own: Direction in the layer's weights.
            turn: Tangent of the slope of the output.

        Returns:
            Tangent of the slope of each of its weights `(models, size)`, and of the input.
        """


class Linear(Rule):
    """`z = W a + b`.

    Args:
        own: Weight `(models, out, in)` and, if any, bias `(models, out)`.
        value: `(models, in, columns)`, or `(in, columns)` shared: place after place, in each all items.
        places: How many places.
    """

    def __init__(self, own: Own, value: Float[Tensor, "... features columns"], places: int = 1) -> None:
        self._weight, self._value, self._shared = own["weight"], value, value.ndim == 2
        self._biased, self._places = "bias" in own, places
        self._slope = self._tangent = value
        # kept, since to ask for so much memory at each product costs more than to fill it
        self._turn = torch.empty_like(value)
        self.output = self._times(own)

    def _times(self, own: Own) -> Tensor:
        weight, bias = own["weight"], own.get("bias")
        if self._shared:  # one product for all models
            product = (weight.flatten(0, 1) @ self._value).view(*weight.shape[:2], -1)
        else:
            product = torch.bmm(weight, self._value)
        if bias is not None:
            product += bias.unsqueeze(-1)
        return product

    def pull(self, slope: Tensor, /) -> Tensor:
        """Multiply with the transposed weight."""
        self._slope = slope
        return slope if self._shared else torch.bmm(self._weight.mT, slope)

    def push(self, own: Own, tangent: Tensor | None, /) -> Tensor:
        """Differentiate the product."""
        found = self._times(own)
        if tangent is None:
            return found
        self._tangent = tangent
        return found.baddbmm_(self._weight, tangent)

    def bend(self, own: Own, turn: Tensor, /) -> tuple[dict[str, Tensor], Tensor]:
        """Differentiate both of the gradient's products."""
        found = {"bias": turn.sum(dim=-1)} if "bias" in own else {}
        if self._shared:
            found["weight"] = (turn.flatten(0, 1) @ self._value.mT).view(len(turn), -1)
            return found, turn
        outer = torch.bmm(turn, self._value.mT).baddbmm_(self._slope, self._tangent.mT)
        found["weight"] = outer.flatten(1)
        torch.bmm(self._weight.mT, turn, out=self._turn)
        return found, self._turn.baddbmm_(own["weight"].mT, self._slope)

    def weigh(self, slope: Float[Tensor, "models out columns"]) -> Float[Tensor, " models"]:
        """Sum the squares of each item's gradient in weight and bias.

        Args:
            slope: Of the output.

        Returns:
            `(n_models,)` float64.
        """
        if self._places == 1:  # each gradient is one column times one row
            return (slope.square().sum(dim=1) * self._sizes).sum(dim=1, dtype=torch.float64)
        slopes = torch.unflatten(slope, -1, (self._places, -1)).permute(0, 3, 1, 2).contiguous()
        gradients = torch.matmul(slopes, self._rows).flatten(1)
        squares: Tensor = torch.linalg.vector_norm(gradients, dim=1).double().square()
        if self._biased:
            squares = squares + slopes.sum(dim=3).square().sum(dim=(1, 2), dtype=torch.float64)
        return squares

    @cached_property
    def _sizes(self) -> Tensor:
        """Squared length of each column, with the 1 that a bias sees."""
        return self._value.square().sum(dim=-2) + float(self._biased)

    @cached_property
    def _rows(self) -> Tensor:
        """Columns of each item one below the other, `(models or 1, items, places, in)`."""
        columns = torch.unflatten(self._value, -1, (self._places, -1))
        return columns.view(-1, *columns.shape[-3:]).permute(0, 3, 2, 1).contiguous()


class Elementwise(Rule):
    """A non-linearity, whose two derivatives autograd finds once.

    Args:
        layer: It.
        value: What it is applied to.

    Attributes:
        curved: Whether its second derivative is anywhere else than 0.
    """

    def __init__(self, layer: nn.Module, value: Tensor) -> None:
        with torch.enable_grad():
            point = value.detach().requires_grad_()
            output = layer(point.clone())  # it may work in place
            (first,) = torch.autograd.grad(output.sum(), point, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), point)
        self.output, self._first, self._second = output.detach(), first.detach(), second
        self.curved = bool(second.any())  # not where it is piecewise linear: that spares two passes
        self._curve = self._tangent = value

    def pull(self, slope: Tensor, /) -> Tensor:
        """Multiply with the first derivative."""
        if self.curved:
            self._curve = self._second * slope
        return self._first * slope

    def push(self, _own: Own, tangent: Tensor | None, /) -> Tensor:
        """Multiply with the first derivative, in place."""
        assert tangent is not None
        if not self.curved:
            return tangent.mul_(self._first)
        self._tangent = tangent
        return self._first * tangent

    def bend(self, _own: Own, turn: Tensor, /) -> tuple[dict[str, Tensor], Tensor]:
        """Multiply with the first derivative, in place, and add what the second one bends."""
        found = turn.mul_(self._first)
        return {}, found.addcmul_(self._curve, self._tangent) if self.curved else found


class Fixed(Rule):
    """A linear map without weights; `_there` maps forward, `_back` is its transpose."""

    @abstractmethod
    def _there(self, value: Tensor) -> Tensor: ...

    @abstractmethod
    def _back(self, slope: Tensor) -> Tensor: ...

    def pull(self, slope: Tensor, /) -> Tensor:
        """Apply the transpose."""
        return self._back(slope)

    def push(self, _own: Own, tangent: Tensor | None, /) -> Tensor:
        """Apply the map."""
        assert tangent is not None
        return self._there(tangent)

    def bend(self, _own: Own, turn: Tensor, /) -> tuple[dict[str, Tensor], Tensor]:
        """Apply the transpose."""
        return {}, self._back(turn)


class Reshape(Fixed):
    """Another shape for the same numbers, in the same order.

    Args:
        value: `(models, *before)`.
        shape: What follows the models.
    """

    def __init__(self, value: Tensor, shape: tuple[int, ...]) -> None:
        self._before, self._after = value.shape[1:], shape
        self.output = self._there(value)

    def _there(self, value: Tensor) -> Tensor:
        return value.reshape(len(value), *self._after)

    def _back(self, slope: Tensor) -> Tensor:
        return slope.reshape(len(slope), *self._before)
