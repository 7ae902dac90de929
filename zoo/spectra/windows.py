"""Submatrices of one aspect ratio: how FARMS keeps the shape of a weight out of its spectrum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import SpecificationError
from zoo.spectra.gram import eigenvalues
from zoo.spectra.matrices import slices

WINDOW = 100
"""Rows of a window, where no one says (Hu et al. 2025, image classification)."""
WINDOWS_PER_DIM = 9
"""Windows along either side, where no one says."""
_ROUNDING = 1e-12
_AT_ONCE = 1 << 18
"""Numbers in the windows whose eigenvalues are computed at once."""


class Windows(NamedTuple):
    """How to cut.

    Attributes:
        rows: Rows of a window; a matrix with fewer gets smaller windows.
        aspect_ratio: Columns of a window over its rows.
        per_dim: Windows along either side of a matrix.
    """

    rows: int = WINDOW
    aspect_ratio: float = 1.0
    per_dim: int = WINDOWS_PER_DIM

    def checked(self) -> Windows:
        """Refuse what cannot be cut.

        Returns:
            The same.

        Raises:
            SpecificationError: A number is out of its range.
        """
        whole = isinstance(self.rows, int) and isinstance(self.per_dim, int)
        if not whole or self.rows < 1 or self.per_dim < 1:
            raise SpecificationError(
                f"a window has at least 1 row and a matrix at least 1 window a side, got {self.rows!r} and "
                f"{self.per_dim!r}; {WINDOW} and {WINDOWS_PER_DIM} are usual"
            )
        if not 0 < self.aspect_ratio < float("inf"):
            raise SpecificationError(
                f"aspect_ratio: expected columns over rows, above 0, got {self.aspect_ratio}; 1 is usual"
            )
        return self

    def fitting(self, rows: int, columns: int) -> tuple[int, int]:
        """Give the size of the windows of a matrix: as asked for, or the largest of the same aspect ratio.

        Args:
            rows: Rows of the matrix.
            columns: Its columns.

        Returns:
            Rows and columns of a window; 0 where not even one row or column fits.

        Example:
            >>> Windows(100, 2.0).fitting(64, 36), Windows(100, 2.0).fitting(300, 300)
            ((18, 36), (100, 200))
        """
        # a little more, since 110 / 1.1 is 99.99999999999999
        high = int(min(self.rows, rows, columns / self.aspect_ratio * (1 + _ROUNDING)))
        return high, min(columns, int(high * self.aspect_ratio * (1 + _ROUNDING)))


def windowed_eigenvalues(
    weight: Float[Tensor, "*shape"], windows: Windows
) -> Float[Tensor, "*batch fits numbers"]:
    """Compute the eigenvalues of all windows of a weight.

    Of a matrix: a regular grid of overlapping windows, all of them for one fit. Of a kernel: each of its
    k x k slices, the longer side down, is cut into blocks of the shorter side that do not overlap; the blocks
    at one place of all slices are for one fit, and there are as many fits as blocks.

    Args:
        weight: As for `as_matrices`.
        windows: How to cut matrices. Of kernels, its aspect ratio alone counts.

    Returns:
        `(..., fits, numbers)` float64, ascending within a fit; no numbers where no window fits; NaN for a
        weight with an entry that is not finite in a window.

    Raises:
        SpecificationError: A number in `windows` is out of its range.
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> windowed_eigenvalues(torch.ones(8, 4), Windows(4)).shape  # one window across, 5 down
        torch.Size([1, 20])
    """
    windows = windows.checked()
    parts = slices(weight)
    if weight.ndim >= 4:
        return _of_kernel(parts, windows.aspect_ratio)
    matrices = parts.squeeze(-3)
    rows, columns = matrices.shape[-2:]
    high, wide = windows.fitting(rows, columns)
    if not high or not wide:
        return weight.new_empty((*matrices.shape[:-2], 1, 0), dtype=torch.float64)
    down, across = starts(rows, high, windows.per_dim), starts(columns, wide, windows.per_dim)
    found = [_of_row(matrices[..., top : top + high, :], across, wide) for top in down]
    return torch.cat(found, dim=-1).sort(dim=-1).values.unsqueeze(-2)


def starts(length: int, window: int, count: int) -> list[int]:
    """Place windows along a side, as FARMS does.

    Args:
        length: Length of the side.
        window: Length of a window, at most that.
        count: How many are wanted.

    Returns:
        Where each begins; fewer where there are not that many places.

    Example:
        >>> starts(120, 100, 9), starts(100, 100, 9)
        ([0, 2, 4, 6, 8, 10, 12, 14, 16], [0])
    """
    step = max(1, (length - window) // max(1, count - 1))
    return [i * step for i in range(min(count, (length - window) // step + 1))]


def _of_row(strip: Tensor, across: list[int], wide: int) -> Tensor:
    """Give the eigenvalues of the windows of one strip of rows, as many windows at once as there is room."""
    room = max(1, _AT_ONCE // max(1, strip.numel() // strip.shape[-1] * wide))
    parts = []
    for first in range(0, len(across), room):
        some = torch.stack([strip[..., left : left + wide] for left in across[first : first + room]], dim=-3)
        parts.append(eigenvalues(some).flatten(-2))
    return torch.cat(parts, dim=-1)


def _of_kernel(parts: Tensor, aspect_ratio: float) -> Tensor:
    tall = parts.mT if parts.shape[-2] < parts.shape[-1] else parts
    rows, columns = tall.shape[-2:]
    high = max(1, int(columns // aspect_ratio)) if aspect_ratio > 1 else columns
    wide = columns if aspect_ratio > 1 else max(1, int(columns * aspect_ratio))
    blocks = tall[..., : rows // columns * high, :wide]
    blocks = blocks.reshape(*blocks.shape[:-2], rows // columns, high, wide)
    found = eigenvalues(blocks.transpose(-3, -4))  # blocks, slices, numbers
    return found.flatten(-2).sort(dim=-1).values
