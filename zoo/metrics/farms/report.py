"""From a user's own model to a table of its layers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from torch import Tensor, nn

from zoo.metrics.farms.layers import as_frame, layer_row
from zoo.metrics.farms.weights import weights_of
from zoo.spectra import WINDOW, WINDOWS_PER_DIM, Windows


def report(
    model: nn.Module | Mapping[str, Tensor],
    *,
    window: int | None = None,
    aspect_ratio: float = 1.0,
    windows_per_dim: int = WINDOWS_PER_DIM,
) -> pd.DataFrame:
    """Measure the spectrum of each layer of a model: a row for each weight of at least two dimensions.

    Of a module the parameters, not its buffers; of a mapping all floating tensors. A tensor that two layers
    share comes once. A layer is a matrix or a kernel; what three and five dimensions are is told in
    `zoo.metrics.farms.weights.weight_of`. Weights are read layer by layer and in pieces, in float16,
    bfloat16, float32 or float64: no second copy of a large one is made.

    Args:
        model: A module, or tensors by name, such as a state dict.
        window: Rows of a window, at least 1; see `zoo.metrics.farms.alpha`.
        aspect_ratio: Columns of a window over its rows, above 0.
        windows_per_dim: Windows along either side of a matrix, at least 1.

    Returns:
        `layer` (its name in the state dict) and `shape` (such as 64x10); `farms_alpha` and the exponents of
        the other two fits, each with `_sem` and `_distance`; `farms_eigenvalues`, how many there are; the
        same for the whole matrix, from `alpha` on; `alpha_hat`, `log_alpha_norm`, `effective_rank`,
        `bulk_edge`, `spikes`, `spectral_norm`, `frobenius_norm`, `stable_rank`; mean and standard deviation
        of most on random matrices of the same shape and mean square, `_null` and `_null_sd`; `reason`, why
        an exponent is missing. Names and meanings are those of the layers of a stored zoo. Undefined is NaN.

    Raises:
        SpecificationError: A number is out of its range, or the model is neither module nor mapping.
        UndefinedMetricError: No tensor has a spectrum, or one is quantised, complex, sparse or empty.

    Example:
        >>> import torch
        >>> weights = {"0.weight": torch.randn(60, 40), "0.bias": torch.zeros(60)}
        >>> report(weights)[["layer", "shape", "farms_eigenvalues"]].values.tolist()
        [['0.weight', '60x40', 360]]
    """
    windows = Windows(WINDOW if window is None else window, aspect_ratio, windows_per_dim).checked()
    return as_frame(layer_row(weight, windows) for weight in weights_of(model))
