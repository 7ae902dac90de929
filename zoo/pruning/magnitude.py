"""Which weights of a layer go: those of the smallest magnitude."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoo.errors import SpecificationError, unknown_name


def prune_by_magnitude(weights: Mapping[str, Tensor], sparsities: Mapping[str, float]) -> dict[str, Tensor]:
    """Set the smallest entries of layers to zero.

    Of n entries exactly `round(sparsity * n)` are set, those that are zero already first. Of equal magnitudes
    the first go, in the order of rows; NaN is larger than all.

    Args:
        weights: Tensors by name.
        sparsities: Share of the entries to set to zero, in [0, 1], by name; others stay as they are.

    Returns:
        All tensors by name, new ones where they were pruned.

    Raises:
        UnknownNameError: There is no tensor of a name in `sparsities`.
        SpecificationError: A sparsity is out of its range.

    Example:
        >>> import torch
        >>> prune_by_magnitude({"w": torch.tensor([[3.0, -1.0], [1.0, 2.0]])}, {"w": 0.25})
        {'w': tensor([[3., 0.],
                [1., 2.]])}
    """
    for name, sparsity in sparsities.items():
        if name not in weights:
            raise unknown_name("tensor", name, weights)
        if not 0 <= sparsity <= 1:
            raise SpecificationError(
                f"{name!r}: expected the share of entries to prune, from 0 to 1, got {sparsity}"
            )
    return {
        name: _pruned(weight, sparsities[name]) if name in sparsities else weight
        for name, weight in weights.items()
    }


def _pruned(weight: Tensor, sparsity: float) -> Tensor:
    flat = weight.detach().flatten()
    smallest = flat.abs().argsort(stable=True)[: round(sparsity * flat.numel())]
    return flat.index_fill(0, smallest, 0.0).reshape(weight.shape)
