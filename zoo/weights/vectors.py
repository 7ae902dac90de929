"""Between flat weight vectors and state dicts, by a layout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import FormatError
from zoo.spec import Layout, LayoutEntry


def unflatten(vectors: Float[Tensor, "... params"], layout: Layout) -> dict[str, Tensor]:
    """Cut flat vectors into the tensors of a layout, without copying.

    Args:
        vectors: `(..., n_params)`, any leading dimensions: one network, or a stack of them.
        layout: The layout.

    Returns:
        Tensor `(..., *shape)` by name, in the layout's order; views of the input.

    Raises:
        FormatError: The vectors have another length than the layout.

    Example:
        >>> from zoo.spec import Layout, LayoutEntry
        >>> layout = Layout(architecture="mlp", entries=[
        ...     LayoutEntry(name="w", shape=(2, 2), kind="weight"),
        ...     LayoutEntry(name="b", shape=(2,), kind="bias")])
        >>> unflatten(torch.arange(6.0), layout)["b"]
        tensor([4., 5.])
    """
    if vectors.shape[-1] != layout.size:
        raise FormatError(f"layout {layout.id} has {layout.size} numbers, got vectors of {vectors.shape[-1]}")
    pieces = torch.split(vectors, [entry.size for entry in layout.entries], dim=-1)
    lead = vectors.shape[:-1]
    return {e.name: piece.reshape(lead + e.shape) for e, piece in zip(layout.entries, pieces, strict=True)}


def flatten(tensors: Mapping[str, Tensor], layout: Layout) -> Float[Tensor, " params"]:
    """Join the tensors of a state dict into one flat float32 vector.

    Args:
        tensors: Tensor by name, exactly the names and shapes of the layout.
        layout: The layout.

    Returns:
        `(n_params,)`, a copy.

    Raises:
        FormatError: A name is missing or more than the layout has, or a shape differs.

    Example:
        >>> from zoo.spec import Layout, LayoutEntry
        >>> layout = Layout(architecture="mlp", entries=[LayoutEntry(name="w", shape=(2,), kind="weight")])
        >>> flatten({"w": torch.tensor([1.0, 2.0])}, layout)
        tensor([1., 2.])
    """
    expected = {entry.name: entry.shape for entry in layout.entries}
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != got:
        differing = sorted(k for k in expected.keys() | got.keys() if expected.get(k) != got.get(k))
        faults = (f"{k}: expected {expected.get(k, 'none')}, got {got.get(k, 'none')}" for k in differing)
        raise FormatError(f"layout {layout.id} does not fit this state dict; {'; '.join(faults)}")
    return torch.cat([tensors[e.name].detach().to(torch.float32).reshape(-1) for e in layout.entries])


def layout_of(module: nn.Module, architecture: str) -> Layout:
    """Read the layout off a module.

    Args:
        module: Any network; its state dict's order becomes the layout's.
        architecture: Name of its architecture.

    Returns:
        The layout; members of normalisation layers are of kind `norm`, vectors elsewhere `bias`.
    """
    norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    in_norm = {prefix for prefix, child in module.named_modules() if isinstance(child, norms)}
    buffers = {name for name, _ in module.named_buffers()}
    entries = []
    for name, tensor in module.state_dict().items():
        kind = "bias" if tensor.ndim < 2 else "weight"
        if name in buffers:
            kind = "buffer"
        elif name.rpartition(".")[0] in in_norm:
            kind = "norm"
        entries.append(LayoutEntry.model_validate({"name": name, "shape": tuple(tensor.shape), "kind": kind}))
    return Layout(architecture=architecture, entries=tuple(entries))
