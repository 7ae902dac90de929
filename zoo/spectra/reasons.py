"""Why an exponent is missing, in words."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.spectra.fits import FEWEST, is_defined


def why_no_fit(eigenvalues: Float[Tensor, "weights fits numbers"]) -> list[str | None]:
    """Say why the tail of eigenvalues has no exponent.

    Args:
        eigenvalues: Ascending, at least 0; the exponent of a weight is the mean over its fits.

    Returns:
        A reason for each weight; nothing where there is an exponent.

    Example:
        >>> import torch
        >>> why_no_fit(torch.zeros(1, 1, 30).double())
        ['the matrix is zero']
        >>> why_no_fit(torch.ones(1, 1, 8).double())
        ['8 eigenvalues, a fit takes 20']
    """
    weights, _, count = eigenvalues.shape
    if count == 0:
        return ["no window of this aspect ratio fits"] * weights
    bad = (~eigenvalues.isfinite()).flatten(1).any(dim=1).tolist()
    zero = (eigenvalues == 0).flatten(1).all(dim=1).tolist()
    half = (eigenvalues[..., count // 2] <= 0).any(dim=1).tolist()
    defined = is_defined(eigenvalues).all(dim=1).tolist()
    found: list[str | None] = []
    for row in range(weights):
        if bad[row]:
            found.append("weights are not finite")
        elif zero[row]:
            found.append("the matrix is zero")
        elif count < FEWEST:
            found.append(f"{count} eigenvalues, a fit takes {FEWEST}")
        elif half[row]:
            found.append("more than half of the eigenvalues are zero")
        else:
            found.append(None if defined[row] else "all eigenvalues of the tail are equal")
    return found
