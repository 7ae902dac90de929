"""The weights of a user's own model, one a layer, each seen as a matrix or as a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn, strided
from torch.nn.parameter import is_lazy

from zoo.errors import SpecificationError, UndefinedMetricError

_MEASURED = ("float16", "bfloat16", "float32", "float64")
_INDICES = ("int64", "bool")
"""Types of token positions, index tables and masks, which models store beside their weights."""
_ONE_DIMENSIONAL = (nn.Conv1d, nn.ConvTranspose1d)
_SHOWN = 3


class Weight(NamedTuple):
    """The weight of one layer.

    Attributes:
        layer: Its name in the state dict.
        shape: Its shape there.
        matrix: A view of it, `(out, in)` or `(out, in, k, k)`.
    """

    layer: str
    shape: tuple[int, ...]
    matrix: Float[Tensor, "*shape"]


def weights_of(model: nn.Module | Mapping[str, Tensor]) -> list[Weight]:
    """List the weights of a model that have a spectrum, without copying them.

    Of a module its parameters, of a mapping all tensors; those of at least two dimensions. A tensor that two
    layers share comes once, by its first name. Index tables and masks (int64, bool) are left out.

    Args:
        model: A module, or tensors by name, such as a state dict.

    Returns:
        Them, in the order of the model, at least one.

    Raises:
        SpecificationError: It is neither, or a value of the mapping is no tensor.
        UndefinedMetricError: No tensor has a spectrum, or one is quantised, complex, sparse or empty.

    Example:
        >>> model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.Linear(8, 2))
        >>> [(weight.layer, tuple(weight.matrix.shape)) for weight in weights_of(model)]
        [('0.weight', (8, 4, 3, 1)), ('2.weight', (2, 8))]
    """
    tensors = _tensors(model)
    kernels = _kernels(model) if isinstance(model, nn.Module) else set()
    found, seen = [], set()
    for name, tensor in tensors.items():
        if not _is_usable(name, tensor):
            continue
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in seen:
            seen.add(place)
            found.append(weight_of(name, tensor, kernel=name in kernels))
    if not found:
        raise no_weights([(name, tensor.shape, dtype_of(tensor)) for name, tensor in tensors.items()])
    return found


def weight_of(layer: str, tensor: Float[Tensor, "*shape"], *, kernel: bool = False) -> Weight:
    """See a tensor of at least two dimensions as the weight of one layer.

    Two dimensions are a matrix. From four on they are a kernel `(out, in, *places)`, of any number of
    dimensions: its matrices are those of its places. Three dimensions are either the kernel of a
    one-dimensional convolution `(out, in, places)` or a stack of matrices `(n, out, in)`, as of experts or
    positions: there are fewer of the matrices than of anything else, so the shorter of first and last side
    counts them. `(1, 1, ...)` is what follows: a mask, not a kernel of one by one.

    Args:
        layer: Its name.
        tensor: The tensor.
        kernel: Whether three dimensions are known to be a convolution.

    Returns:
        The weight; no copy.

    Example:
        >>> import torch
        >>> shapes = [(8, 4, 3), (3, 4, 8), (1, 5, 8), (8, 4, 3, 3, 3), (1, 1, 9, 9)]
        >>> [tuple(weight_of("w", torch.zeros(shape)).matrix.shape) for shape in shapes]
        [(8, 4, 3, 1), (4, 8, 3, 1), (5, 8), (8, 4, 27, 1), (9, 9)]
    """
    part = tensor.detach()
    while part.ndim > 3 and part.shape[:2] == (1, 1):
        part = part[0, 0]
    if part.ndim == 3 and not kernel and part.shape[0] < part.shape[2]:
        part = part[0] if len(part) == 1 else part.movedim(0, 2)
    return Weight(layer, tuple(tensor.shape), part if part.ndim == 2 else part.flatten(2).unsqueeze(-1))


def is_weight(layer: str, shape: Sequence[int], dtype: str) -> bool:
    """Say whether a tensor has a spectrum, by its shape and type alone.

    Args:
        layer: Its name.
        shape: Its shape.
        dtype: Its type, such as `float32`.

    Returns:
        Whether it is a weight; not for vectors, empty tensors, index tables and masks.

    Raises:
        UndefinedMetricError: It has the shape of a weight, but a quantised, complex or unknown type.

    Example:
        >>> is_weight("0.weight", (3, 2), "bfloat16"), is_weight("0.bias", (3,), "bfloat16")
        (True, False)
    """
    if len(shape) < 2 or 0 in shape or dtype in _INDICES:
        return False
    if dtype not in _MEASURED:
        raise UndefinedMetricError(
            f"{layer!r}: expected weights of {', '.join(_MEASURED[:-1])} or {_MEASURED[-1]}, got {dtype}; "
            "its numbers are not the weights: turn quantised weights back into floats, or leave this one out"
        )
    return True


def dtype_of(tensor: Tensor) -> str:
    """Name the type of a tensor.

    Args:
        tensor: The tensor.

    Returns:
        The name.

    Example:
        >>> import torch
        >>> dtype_of(torch.zeros(2, dtype=torch.bfloat16))
        'bfloat16'
    """
    return str(tensor.dtype).removeprefix("torch.")


def no_weights(tensors: Sequence[tuple[str, Sequence[int], str]]) -> UndefinedMetricError:
    """Build the error for a model in which nothing has a spectrum.

    Args:
        tensors: Name, shape and type of all that it has.

    Returns:
        The error to raise.

    Example:
        >>> str(no_weights([("bias", (8,), "float32")]))[:73]
        "expected at least one weight matrix, got 1 tensors: 'bias' float32 (8,); "
    """
    told = ", ".join(f"{name!r} {dtype} {tuple(shape)}" for name, shape, dtype in tensors[:_SHOWN])
    more = ", ..." if len(tensors) > _SHOWN else ""
    return UndefinedMetricError(
        f"expected at least one weight matrix, got {len(tensors)} tensors{': ' if told else ''}{told}{more}; "
        "vectors, scalars, masks and index tables have no spectrum"
    )


def _tensors(model: object) -> dict[str, Tensor]:
    if isinstance(model, nn.Module):
        return dict(model.named_parameters())
    if not isinstance(model, Mapping):
        raise SpecificationError(
            f"expected a torch.nn.Module or tensors by name, got {type(model).__name__}; load a file first, "
            "such as with safetensors.torch.load_file(path)"
        )
    for name, value in model.items():
        if not isinstance(value, Tensor):
            raise SpecificationError(
                f"expected tensors by name, got {type(value).__name__} under {name!r}; pass the state dict "
                "alone, such as checkpoint['state_dict']"
            )
    return {str(name): tensor for name, tensor in model.items()}


def _kernels(module: nn.Module) -> set[str]:
    parts = module.named_modules()
    return {f"{name}.weight".lstrip(".") for name, part in parts if isinstance(part, _ONE_DIMENSIONAL)}


def _is_usable(name: str, tensor: Tensor) -> bool:
    if is_lazy(tensor) or tensor.is_meta:
        raise UndefinedMetricError(
            f"{name!r}: expected weights, got a tensor without values (lazy, or on the device 'meta'); give "
            "the model an input once, or load its weights"
        )
    if not is_weight(name, tensor.shape, dtype_of(tensor)):
        return False
    if tensor.layout != strided:
        raise UndefinedMetricError(
            f"{name!r}: expected a dense tensor, got {tensor.layout}; take tensor.to_dense()"
        )
    return True
