"""Exponents of windows of one aspect ratio, as functions of a weight."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.spectra import WINDOW, WINDOWS_PER_DIM, Fit, PowerLaw, Windows, fit_power_law, windowed_eigenvalues
from zoo.spectra.measures import averaged
from zoo.spectra.modes import Mode, chosen_mode
from zoo.spectra.paper import paper_eigenvalues, paper_fit


def eigenvalues(
    weight: Float[Tensor, "*shape"],
    *,
    window: int | None = None,
    aspect_ratio: float = 1.0,
    windows_per_dim: int = WINDOWS_PER_DIM,
    mode: Mode = "clamped",
) -> Float[Tensor, "*batch fits numbers"]:
    """Compute the eigenvalues of all windows of a weight.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; of any floating type.
        window: Rows of a window; see `alpha`.
        aspect_ratio: Columns of a window over its rows.
        windows_per_dim: Windows along either side of a matrix.
        mode: `clamped` or `paper`; see `alpha`.

    Returns:
        `(..., fits, numbers)`, ascending within a fit: one fit for a matrix, one a block for a kernel.
        In float64, or float32 as the released code has them.

    Raises:
        SpecificationError: A number is out of its range.
        UndefinedMetricError: The weight is no matrix.
        UnknownNameError: There is no such mode.

    Example:
        >>> import torch
        >>> eigenvalues(torch.ones(64, 10)).shape  # nine windows of 10 x 10
        torch.Size([1, 90])
    """
    windows = Windows(WINDOW if window is None else window, aspect_ratio, windows_per_dim)
    if chosen_mode(mode) == "paper":
        return paper_eigenvalues(weight, windows)
    return windowed_eigenvalues(weight, windows)


def power_law(
    weight: Float[Tensor, "*shape"],
    *,
    window: int | None = None,
    aspect_ratio: float = 1.0,
    windows_per_dim: int = WINDOWS_PER_DIM,
    fit: Fit = "median",
    mode: Mode = "clamped",
) -> PowerLaw:
    """Fit a power law to the tail of the eigenvalues of all windows; see `alpha`.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; of any floating type.
        window: Rows of a window.
        aspect_ratio: Columns of a window over its rows.
        windows_per_dim: Windows along either side of a matrix.
        fit: Where the tail begins.
        mode: `clamped` or `paper`.

    Returns:
        Exponent, standard error, Kolmogorov-Smirnov distance, start and size of the tail, each `(...)`
        float64, NaN where undefined; of several fits their mean, of tails the sum.

    Raises:
        SpecificationError: A number is out of its range.
        UndefinedMetricError: The weight is no matrix.
        UnknownNameError: There is no such fit or mode.

    Example:
        >>> import torch
        >>> power_law(torch.randn(64, 10, generator=torch.Generator().manual_seed(0))).tail.item()
        45.0
    """
    values = eigenvalues(
        weight, window=window, aspect_ratio=aspect_ratio, windows_per_dim=windows_per_dim, mode=mode
    )
    return averaged(paper_fit(values, fit) if mode == "paper" else fit_power_law(values, fit))


def alpha(
    weight: Float[Tensor, "*shape"],
    *,
    window: int | None = None,
    aspect_ratio: float = 1.0,
    windows_per_dim: int = WINDOWS_PER_DIM,
    fit: Fit = "median",
    mode: Mode = "clamped",
) -> Float[Tensor, "*batch"]:
    """Measure the exponent of the tail of a spectrum without the bias of the aspect ratio.

    Hu et al. 2025 (FARMS), section 3. A matrix is covered by a regular grid of overlapping windows of
    `window` rows and `window * aspect_ratio` columns; a kernel by its k x k slices, cut in blocks as wide as
    they are high. The eigenvalues of all windows together are fitted once; those of a kernel once for each
    block, and the exponents averaged. The smaller the exponent, the heavier the tail, the more a layer is
    trained. The windows follow the order of the units: unlike a whole spectrum, the number changes, within
    about its standard error, when units are renumbered.

    `clamped` takes the largest window of the same aspect ratio where one of `window` rows does not fit.
    `paper` gives the number of the released code, which there takes windows of other shapes; where all
    windows fit and no eigenvalue is zero both agree, but for `xmin_peak`, where the released code compares a
    logarithm with an eigenvalue.

    Undefined for fewer than 20 eigenvalues, for eigenvalues more than half of which are zero, for a tail of
    equal values, and where an entry of a window is not finite.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`; of any floating type.
        window: Rows of a window, at least 1; by default 100. Blocks of kernels do not depend on it.
        aspect_ratio: Columns of a window over its rows, above 0.
        windows_per_dim: Windows along either side of a matrix, at least 1.
        fit: Where the tail begins: `median` (Hill's estimator on the upper half), `xmin_peak` or
            `goodness_of_fit`; see `zoo.spectra.fit_power_law`.
        mode: `clamped` or `paper`.

    Returns:
        `(...)` float64, above 1; NaN where undefined.

    Raises:
        SpecificationError: A number is out of its range.
        UndefinedMetricError: The weight is no matrix.
        UnknownNameError: There is no such fit or mode.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> square = torch.randn(200, 200, generator=generator)
        >>> long = torch.randn(200, 1600, generator=generator)
        >>> abs(alpha(square) - alpha(long)).item() < 0.1  # both about 2.1; of whole matrices 2.1 and 5
        True
    """
    return power_law(
        weight,
        window=window,
        aspect_ratio=aspect_ratio,
        windows_per_dim=windows_per_dim,
        fit=fit,
        mode=mode,
    ).alpha
