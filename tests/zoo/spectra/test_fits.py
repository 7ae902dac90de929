import inspect
import math

import numpy as np
import powerlaw
import pytest
import torch

from zoo.errors import SpecificationError, UnknownNameError
from zoo.spectra import FEWEST, fit_power_law
from zoo.spectra import scan as scans
from zoo.spectra.fits import FITS, peak_edge
from zoo.spectra.reasons import why_no_fit
from zoo.spectra.scan import best_start


def pareto(count, exponent, seed=0):
    """Draw from a density x^-exponent on x >= 1, ascending."""
    ranks = np.random.default_rng(seed).uniform(size=count)
    return torch.tensor(np.sort(ranks ** (-1 / (exponent - 1))))


def by_trying_all(values, allowed=None):
    """Clauset et al. 2009, written out: the tail of the smallest distance."""
    x, best = np.asarray(values), (math.inf, -1, math.nan)
    for i in range(len(x) - 1):
        if x[i] <= 0 or (allowed is not None and not allowed[i]):
            continue
        tail = x[i:]
        alpha = 1 + len(tail) / np.log(tail / x[i]).sum()
        distance = np.abs(1 - (tail / x[i]) ** (1 - alpha) - np.arange(len(tail)) / len(tail)).max()
        best = min(best, (distance, i, alpha))
    return best


@pytest.mark.parametrize("fit", ["median", "goodness_of_fit"])
@pytest.mark.parametrize("exponent", [1.5, 2.0, 4.0])
def test_the_exponent_of_a_power_law_is_found_within_its_error(fit, exponent):
    rows = torch.stack([pareto(1000, exponent, seed) for seed in range(40)])
    law = fit_power_law(rows, fit)
    pulls = (law.alpha - exponent) / law.standard_error
    assert abs(pulls.mean().item()) < 0.5
    assert 0.7 < pulls.std().item() < (1.3 if fit == "median" else 1.8)  # chosen tails vary more


def test_the_median_fit_is_hills_estimator_on_the_upper_half():
    values = pareto(101, 2.5)
    law = fit_power_law(values)
    upper = values[50:]
    assert law.alpha.item() == pytest.approx(1 + 51 / (upper / upper[0]).log().sum().item(), rel=1e-12)
    assert law.standard_error.item() == pytest.approx((law.alpha.item() - 1) / math.sqrt(51), rel=1e-12)
    assert (law.xmin.item(), law.tail.item()) == (values[50].item(), 51)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [20, 137, 1500])
def test_the_best_fit_is_that_of_trying_all_tails(seed, count):
    draw = np.random.default_rng(seed)
    values = torch.tensor(np.sort(draw.pareto(1.5, count) + draw.uniform(size=count)))
    law = fit_power_law(values, "goodness_of_fit")
    distance, start, alpha = by_trying_all(values)
    assert law.alpha.item() == pytest.approx(alpha, rel=1e-9)
    assert law.distance.item() == pytest.approx(distance, rel=1e-9)
    assert law.tail.item() == count - start


def test_the_search_is_exact_however_few_places_it_looks_at(monkeypatch):
    rows = torch.stack([pareto(300, 2.0, seed) for seed in range(20)]).log()
    allowed = torch.ones_like(rows, dtype=torch.bool)
    expected = best_start(rows, allowed)
    monkeypatch.setattr(scans, "_LOOKS", 2)
    monkeypatch.setattr(scans, "_ROUND", 3)
    monkeypatch.setattr(scans, "_NUMBERS", 1000)
    assert torch.equal(best_start(rows, allowed), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package, about its own attributes
def test_the_package_powerlaw_finds_the_same_law():
    values = pareto(400, 2.3).numpy()
    theirs = powerlaw.Fit(values, verbose=False, parameter_ranges={"alpha": [1, 50]})
    ours = fit_power_law(torch.tensor(values), "goodness_of_fit")
    assert ours.alpha.item() == pytest.approx(theirs.power_law.alpha, rel=2e-2)
    at_theirs = values[values >= theirs.xmin]
    assert 1 + len(at_theirs) / np.log(at_theirs / theirs.xmin).sum() == pytest.approx(
        theirs.power_law.alpha, rel=1e-4
    )


def test_near_the_peak_only_tails_that_begin_there_are_tried():
    values = torch.cat([torch.logspace(-3, 0, 50), torch.full((30,), 2.0) + torch.arange(30) * 0.01]).double()
    values = torch.cat([values, torch.logspace(0.5, 2, 40).double()]).sort().values
    edge = peak_edge(values.log()[None], torch.ones(1, 120, dtype=torch.bool)).exp().item()
    allowed = ((values >= 0.95 * edge) & (values <= 1.5 * edge)).numpy()
    assert 0 < allowed.sum() < 60
    _, _, alpha = by_trying_all(values, allowed)
    assert fit_power_law(values, "xmin_peak").alpha.item() == pytest.approx(alpha, rel=1e-9)


@pytest.mark.parametrize("fit", FITS)
def test_a_factor_on_all_values_changes_nothing(fit):
    values = pareto(200, 3.0)
    plain, scaled = fit_power_law(values, fit), fit_power_law(values * 1e-6, fit)
    torch.testing.assert_close(scaled.alpha, plain.alpha, rtol=1e-9, atol=0)
    torch.testing.assert_close(scaled.xmin, plain.xmin * 1e-6, rtol=1e-9, atol=0)


@pytest.mark.parametrize("fit", FITS)
def test_rows_of_a_stack_do_not_see_each_other(fit):
    rows = torch.stack([pareto(90, 2.0, seed) for seed in range(6)])
    rows[3, :60] = 0
    rows[4, 7] = torch.nan
    together = fit_power_law(rows, fit)
    for place, row in enumerate(rows):
        for ours, alone in zip(together, fit_power_law(row, fit), strict=True):
            torch.testing.assert_close(ours[place], alone, equal_nan=True)
    assert together.alpha.isnan().tolist() == [False, False, False, True, True, False]


UNDEFINED = {
    "19 eigenvalues, a fit takes 20": pareto(19, 2.0),
    "the matrix is zero": torch.zeros(30).double(),
    "more than half of the eigenvalues are zero": torch.cat([torch.zeros(31).double(), pareto(30, 2.0)]),
    "all eigenvalues of the tail are equal": torch.full((30,), 2.0).double(),
    "weights are not finite": torch.full((30,), torch.nan).double(),
    "no window of this aspect ratio fits": torch.zeros(0).double(),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("reason", "values"), UNDEFINED.items(), ids=UNDEFINED)
def test_an_undefined_fit_is_missing_with_its_reason(fit, reason, values):
    for number in fit_power_law(values, fit):
        assert number.isnan().item()
    assert why_no_fit(values[None, None]) == [reason]


def test_half_of_the_values_may_be_zero():
    values = torch.cat([torch.zeros(30).double(), pareto(30, 2.0)])
    assert why_no_fit(values[None, None]) == [None]
    expected = 1 + 30 / (values[30:] / values[30]).log().sum()
    torch.testing.assert_close(fit_power_law(values).alpha, expected)


def test_no_rows_give_no_laws():
    assert fit_power_law(torch.zeros(0, 30).double()).alpha.shape == (0,)


def test_an_unknown_fit_is_refused():
    with pytest.raises(UnknownNameError, match="unknown fit 'medain'; did you mean 'median'"):
        inspect.unwrap(fit_power_law)(pareto(30, 2.0), "medain")


def test_a_tail_of_one_value_is_refused():
    with pytest.raises(SpecificationError, match="a tail has at least 2 values, got 1"):
        fit_power_law(pareto(30, 2.0), fewest=1)


def test_the_fewest_is_what_a_fit_takes():
    assert fit_power_law(pareto(FEWEST, 2.0)).alpha.isfinite().item()
