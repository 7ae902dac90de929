"""Why an exponent is missing, in words."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.spectra.fits import FEWEST, FITS, is_defined
from zoo.spectra.measures import Values, column_of

NO_TAIL = "no tail where this fit looks for one"


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
            found.append(f"{count} eigenvalue{'s' * (count > 1)}, a fit takes {FEWEST}")
        elif half[row]:
            found.append("more than half of the eigenvalues are zero")
        else:
            found.append(None if defined[row] else "all eigenvalues of the tail are equal")
    return found


def with_missing_fits(reasons: list[str | None], values: Values, prefix: str) -> list[str | None]:
    """Add the fits that alone have no exponent, such as near a peak that is the largest value.

    Args:
        reasons: As `why_no_fit` gives them.
        values: Exponents by column.
        prefix: What the columns begin with, `alpha` or `farms_alpha`.

    Returns:
        The reasons.

    Example:
        >>> import torch
        >>> one, none = torch.tensor([2.0]), torch.tensor([torch.nan])
        >>> values = {"alpha": one, "alpha_xmin_peak": none, "alpha_goodness_of_fit": one}
        >>> with_missing_fits([None], values, "alpha")
        ['alpha_xmin_peak: no tail where this fit looks for one']
    """
    names = [column_of(prefix, fit) for fit in FITS]
    missing = zip(*(values[name].isnan().tolist() for name in names), strict=True)
    told = ["; ".join(f"{n}: {NO_TAIL}" for n, m in zip(names, row, strict=True) if m) for row in missing]
    return [why or text or None for why, text in zip(reasons, told, strict=True)]
