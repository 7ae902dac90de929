"""Exponents of whole matrices, as functions, against WeightWatcher and closed forms; and bad input."""

import inspect

import pytest
import torch
import weightwatcher
from weightwatcher.WW_powerlaw import WWFit

import zoo.spectra.gram
from zoo.errors import SpecificationError, UndefinedMetricError, UnknownNameError
from zoo.metrics import farms, spectrum
from zoo.spectra import slices
from zoo.spectra.measures import of_full
from zoo.spectra.modes import chosen_mode
from zoo.spectra.paper import paper_fit
from zoo.spectra.reasons import with_missing_fits

FITS = ["median", "xmin_peak", "goodness_of_fit"]
CALLS = [spectrum.alpha, farms.alpha]


def draw(*shape, seed=0, power=0.5):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    return weight / torch.rand(shape, generator=generator).add(0.02).pow(power)


@pytest.mark.filterwarnings("ignore")  # of the package and of what it imports
def test_weightwatcher_gives_the_same_numbers_for_linear_layers():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(80, 60), torch.nn.Linear(60, 50))
    for seed, layer in enumerate(network):
        layer.weight.data = draw(*layer.weight.shape, seed=seed)
    theirs = weightwatcher.WeightWatcher(model=network).analyze(min_evals=20)
    assert len(theirs) == 2
    for layer, row in zip(network, theirs.itertuples(), strict=True):
        weight = layer.weight.detach()
        law = spectrum.power_law(weight, fit="goodness_of_fit")
        assert law.alpha.item() == pytest.approx(row.alpha, rel=1e-4)
        assert law.distance.item() == pytest.approx(row.D, rel=1e-3)
        assert law.standard_error.item() == pytest.approx(row.sigma, rel=1e-3)
        assert spectrum.alpha_hat(weight).item() == pytest.approx(row.alpha_weighted, rel=1e-4)
        assert spectrum.log_alpha_norm(weight).item() == pytest.approx(row.log_alpha_norm, rel=1e-4)
        assert spectrum.stable_rank(weight).item() == pytest.approx(row.stable_rank, rel=1e-4)
        assert spectrum.spectral_norm(weight).item() ** 2 == pytest.approx(row.spectral_norm, rel=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
def test_the_fit_of_weightwatcher_is_goodness_of_fit(seed):
    weight = draw(50, 40, seed=seed)
    theirs = WWFit(spectrum.eigenvalues(weight).numpy())
    ours = spectrum.power_law(weight, fit="goodness_of_fit")
    assert ours.alpha.item() == pytest.approx(theirs.alpha, rel=1e-9)
    assert ours.distance.item() == pytest.approx(theirs.D, rel=1e-9)


def test_the_weighted_exponent_and_the_norm_are_what_their_formulas_say():
    weight = draw(60, 40)
    values, exponent = spectrum.eigenvalues(weight), spectrum.alpha(weight, fit="goodness_of_fit")
    torch.testing.assert_close(spectrum.alpha_hat(weight), exponent * values.max().log10())
    torch.testing.assert_close(spectrum.log_alpha_norm(weight), values.pow(exponent).sum().log10())


def test_scaled_spectral_norms_are_constant_where_the_scaling_holds():
    for rate, decay, width in [(0.1, 0.01, 16), (0.4, 0.01, 16), (0.1, 0.01, 256)]:
        weight = torch.eye(8) * (rate / decay) ** 0.5 * width**0.75
        found = spectrum.scaled_spectral_norm(weight, learning_rate=rate, weight_decay=decay, width=width)
        assert found.item() == pytest.approx(1)
    assert (
        spectrum.scaled_spectral_norm(torch.eye(3), learning_rate=1.0, weight_decay=0.0, width=9).item() == 0
    )


def test_without_an_exponent_there_is_no_norm_by_it():
    assert spectrum.log_alpha_norm(torch.eye(30)).isnan()  # 1 to any power is 1
    assert of_full(torch.ones(1, 30).double(), 30, 30)["log_alpha_norm"].isnan().all()


def test_a_fit_that_alone_has_no_tail_says_so():
    """Near the peak there is one value, the largest, many times."""
    values = torch.cat([torch.logspace(-3, -1, 25), torch.full((30,), 5.0)]).double().sort().values[None]
    found = of_full(values, 60, 60)
    assert found["alpha_xmin_peak"].isnan()
    assert with_missing_fits([None], found, "alpha")[0].startswith("alpha")
    assert with_missing_fits(["known"], found, "alpha") == ["known"]


# bad input


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(50, 60),
        torch.ones(50, 60),
        torch.eye(50),
        torch.full((50, 60), torch.nan),
        torch.full((50, 60), torch.inf),
        torch.randn(1, 60, generator=torch.Generator().manual_seed(0)),
        torch.zeros(8, 8, 3, 3),
    ],
    ids=["zero", "rank-one", "equal", "nan", "infinite", "one-row", "zero-kernel"],
)
def test_what_has_no_tail_has_no_exponent(call, fit, weight):
    if call is farms.alpha and torch.equal(weight, torch.eye(50)):
        weight = torch.eye(50) * 1e-3  # its windows are not of equal values, so it is one window
    found = call(weight, fit=fit)
    assert found.shape == ()
    assert found.isnan()


@pytest.mark.parametrize("call", CALLS)
def test_one_bad_network_of_a_stack_costs_no_other(call):
    stack = torch.stack([draw(40, 50, seed=0), torch.full((40, 50), torch.nan), draw(40, 50, seed=1)])
    found = call(stack)
    assert found.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(found[2], call(stack[2]))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(5,), (), (0, 5)])
def test_vectors_are_refused(call, shape):
    with pytest.raises(UndefinedMetricError, match="vectors, scalars and empty tensors have no spectrum"):
        call(torch.zeros(shape))


def test_entries_whose_squares_leave_float64_have_no_norm():
    weight = draw(30, 30).double() * 1e200
    assert spectrum.spectral_norm(weight).isnan()
    assert spectrum.stable_rank(weight).isnan()
    assert farms.alpha(weight).isnan()
    assert spectrum.log_alpha_norm(draw(30, 30).double() * 1e150).isfinite()


def test_an_aspect_ratio_with_no_column_has_no_exponent():
    assert farms.alpha(draw(64, 48), aspect_ratio=0.001).isnan()
    assert farms.alpha(draw(64, 48), aspect_ratio=0.001, mode="paper").isnan()


@pytest.mark.parametrize(
    ("weight", "got"),
    [
        (torch.ones(30, 30).numpy(), "ndarray"),
        (torch.ones(30, 30, dtype=torch.int64), "torch.int64"),
        (torch.ones(30, 30, dtype=torch.complex64), "torch.complex64"),
    ],
    ids=["array", "whole", "complex"],
)
def test_what_is_no_floating_tensor_is_refused(weight, got):
    unchecked = inspect.unwrap(slices)  # without the checks of types that only the tests switch on
    with pytest.raises(UndefinedMetricError, match=f"expected a torch tensor of floating numbers, got {got}"):
        unchecked(weight)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_measured(call, dtype):
    weight = draw(128, 128)
    assert call(weight.to(dtype)).item() == pytest.approx(call(weight).item(), rel=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "a window has at least 1 row"),
        ({"windows_per_dim": 0}, "at least 1 window a side"),
        ({"aspect_ratio": -1.0}, "columns over rows, above 0, got -1"),
        ({"aspect_ratio": float("nan")}, "columns over rows, above 0, got nan"),
    ],
)
@pytest.mark.parametrize("mode", ["clamped", "paper"])
def test_windows_that_cannot_be_cut_are_refused(options, message, mode):
    with pytest.raises(SpecificationError, match=message):
        farms.alpha(torch.ones(9, 9), mode=mode, **options)


def test_an_unknown_fit_of_the_paper_is_refused():
    unchecked = inspect.unwrap(paper_fit)  # without the checks of types that only the tests switch on
    with pytest.raises(UnknownNameError, match="unknown fit 'hill'"):
        unchecked(torch.ones(1, 30), "hill")


def test_an_unknown_mode_is_refused():
    with pytest.raises(UnknownNameError, match="unknown mode 'papper'; did you mean 'paper'"):
        chosen_mode("papper")


def test_order_of_units_moves_an_exponent_of_windows_within_its_error():
    weight = draw(200, 300)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    law, other = farms.power_law(weight), farms.power_law(weight[order])
    assert law.alpha != other.alpha
    assert abs(law.alpha - other.alpha) < 10 * law.standard_error
    torch.testing.assert_close(spectrum.alpha(weight), spectrum.alpha(weight[order]))


@pytest.mark.parametrize("call", CALLS)
def test_small_matrices_are_measured_with_one_thread_and_leave_the_number_as_it_was(call, monkeypatch):
    seen = []
    gram = zoo.spectra.gram.gram_of
    monkeypatch.setattr(
        zoo.spectra.gram, "gram_of", lambda tall: (seen.append(torch.get_num_threads()), gram(tall))[1]
    )
    torch.set_num_threads(2)  # a fixture puts it back
    call(draw(30, 40))
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    with pytest.raises(UndefinedMetricError):
        call(torch.zeros(3))
    assert torch.get_num_threads() == 2
    spectrum.alpha(draw(512, 512))
    assert seen[-1] == 2
