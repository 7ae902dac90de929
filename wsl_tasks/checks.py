"""What a method hands back is checked before it is scored: expected, got, way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import MethodError


def check_has(method: Any, functions: tuple[str, ...], *, task: str) -> None:
    """Refuse a method that lacks what the task calls.

    Args:
        method: The method.
        functions: Names of the functions that the task calls.
        task: Id of the task.

    Raises:
        MethodError: A function is missing, or a class was given where an object is needed.
    """
    name = type(method).__name__
    if isinstance(method, type):
        raise MethodError(
            f"expected a method object, got the class {method.__name__}; pass {method.__name__}()"
        )
    missing = [function for function in functions if not callable(getattr(method, function, None))]
    if missing:
        raise MethodError(
            f"{task} calls {' and '.join(functions)} of a method, {name} has no {' and no '.join(missing)}; "
            "docs/tasks.md shows a method of ten lines"
        )


def check_array(value: Any, shape: tuple[int | None, ...], *, source: str) -> Float[np.ndarray, ...]:
    """Turn what a method gave into an array of finite floats of the right shape.

    Args:
        value: A tensor, an array, or a list of numbers.
        shape: Expected shape; None is any length but zero.
        source: What gave it, such as `predict(test)`.

    Returns:
        float32 where float32 was given, else float64.

    Raises:
        MethodError: It is not numeric, has another shape, or a value is NaN or infinite.

    Example:
        >>> check_array([1, 2], (2,), source="predict(test)")
        array([1., 2.])
    """
    array = _numbers(value, source)
    fits = array.ndim == len(shape) and all(
        got > 0 if expected is None else got == expected
        for expected, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if length is None else length for length in shape)
        raise MethodError(
            f"{source}: expected shape {_text(wanted)}, got {_text(array.shape)}; return one row an item"
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise MethodError(
            f"{source}: expected finite numbers, got {array[place]} at {_text(place)} ({len(bad)} in all); "
            "replace or leave out what your method cannot answer before it returns"
        )
    return array


def check_weights(
    value: Any, shape: tuple[int | None, ...], *, source: str
) -> Float[Tensor, "models params"]:
    """Turn what a method gave into weight vectors as a network takes them.

    Args:
        value: A tensor, an array, or a list of lists.
        shape: Expected shape `(n_models, n_params)`; None is any length but zero.
        source: What gave it, such as `sample(64, generator)`.

    Returns:
        float32, sharing no memory with what was given.

    Raises:
        MethodError: As `check_array`, or a number is too large for float32.
    """
    array = check_array(value, shape, source=source)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    return torch.from_numpy(check_array(single, shape, source=f"{source} in float32"))


def _text(shape: tuple[Any, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _numbers(value: Any, source: str) -> Float[np.ndarray, ...]:
    try:
        if isinstance(value, torch.Tensor):
            # numpy has no bfloat16; sparse and meta tensors have no numbers to give, and raise
            plain = value.detach().cpu()
            value = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        raise MethodError(
            f"{source}: expected an array or tensor of real numbers, got {type(value).__name__} "
            f"of dtype {array.dtype}; return for instance numpy.asarray(values, float)"
        )
    return array if array.dtype == np.float32 else array.astype(np.float64)
