import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from zoo.errors import SpecificationError, UndefinedMetricError, UnknownNameError
from zoo.metrics import farms
from zoo.pruning import EPSILON, MOST, alpha_sparsities, farms_sparsities, prune_by_magnitude


def reference(alphas, sizes, sparsity, epsilon):
    """The factor by root finding, in numpy, one network at a time."""
    known = np.isfinite(alphas)
    found = np.full(len(alphas), float(sparsity))
    if not known.any() or sparsity == 0:
        return found
    values, weights = alphas[known], sizes[known]
    span = values.max() - values.min()
    ratios = (
        1 - epsilon + 2 * epsilon * ((values - values.min()) / span if span else np.full(len(values), 0.5))
    )

    def excess(factor):
        return (np.minimum(factor * ratios, MOST) * weights).sum() - sparsity * weights.sum()

    found[known] = np.minimum(brentq(excess, 0, 2 / ratios.min(), xtol=1e-14) * ratios, MOST)
    return found


def mean(sparsities, sizes):
    return (sparsities * sizes).sum(dim=-1) / sizes.sum()


@pytest.mark.parametrize("sparsity", [0.0, 0.01, 0.5, 0.8, 0.95, 0.997])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 0.6, 0.99])
def test_sparsities_agree_with_root_finding(sparsity, epsilon):
    rng = np.random.default_rng(0)
    alphas = rng.uniform(1.5, 8, size=(40, 7))
    alphas[rng.uniform(size=alphas.shape) < 0.1] = np.nan
    alphas[0] = np.nan
    alphas[1] = 3.0
    alphas[2, 1:] = np.nan
    sizes = rng.integers(1, 10_000, size=7)
    found = alpha_sparsities(torch.tensor(alphas), torch.tensor(sizes), sparsity, epsilon=epsilon)
    expected = np.stack([reference(row, sizes, sparsity, epsilon) for row in alphas])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(mean(found, torch.tensor(sizes)), sparsity, rtol=1e-12, atol=1e-15)
    assert ((found >= 0) & (found <= MOST)).all()


def test_without_a_cap_the_ratios_are_those_of_the_formula():
    alphas, sizes = torch.tensor([2.0, 5.0, 3.0]), torch.tensor([1000, 10, 100])
    found = alpha_sparsities(alphas, sizes, 0.4)
    low, high = 1 - EPSILON, 1 + EPSILON
    expected = torch.tensor([low, high, low + (high - low) / 3], dtype=torch.float64)
    torch.testing.assert_close(found / found[0], expected / low)
    assert mean(found, sizes).item() == pytest.approx(0.4, abs=1e-15)


def test_what_is_above_the_cap_is_shared_in_proportion():
    """Ratios 0.5, 1, 1.5 at 0.9: the last is capped, the others meet 2.7 - 0.998 at 1 to 2."""
    found = alpha_sparsities(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([9, 9, 9]), 0.8, epsilon=0.5)
    rest = 3 * 0.8 - MOST
    torch.testing.assert_close(found, torch.tensor([rest / 3, rest * 2 / 3, MOST], dtype=torch.float64))


def test_a_larger_exponent_is_never_pruned_less():
    alphas = torch.rand(50, 9, generator=torch.Generator().manual_seed(0)).double()
    found = alpha_sparsities(alphas, torch.arange(1, 10), 0.9, epsilon=0.6)
    assert (found.gather(1, alphas.argsort(dim=1)).diff(dim=1) >= 0).all()


def test_missing_exponents_get_the_target_and_leave_the_others_alone():
    alphas, sizes = torch.tensor([torch.nan, 2.0, 4.0, torch.inf]), torch.tensor([50, 20, 10, 7])
    found = alpha_sparsities(alphas, sizes, 0.6)
    assert found[[0, 3]].tolist() == [0.6, 0.6]
    torch.testing.assert_close(found[1:3], alpha_sparsities(alphas[1:3], sizes[1:3], 0.6))


@pytest.mark.parametrize("alphas", [[3.0, 3.0, 3.0], [torch.nan] * 3, [torch.nan, 2.0, torch.nan], [5.0]])
def test_without_a_difference_all_layers_get_the_target(alphas):
    found = alpha_sparsities(torch.tensor(alphas), torch.arange(1, len(alphas) + 1), 0.7)
    torch.testing.assert_close(found, torch.full_like(found, 0.7))


def test_many_networks_are_as_each_alone():
    alphas, sizes = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(1)) + 2, torch.arange(1, 6)
    found = alpha_sparsities(alphas, sizes, 0.9, epsilon=0.5)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(found[i, j], alpha_sparsities(alphas[i, j], sizes, 0.9, epsilon=0.5))


def test_the_highest_target_is_met_by_all_layers_at_the_cap():
    sizes = torch.tensor([1_000_000_007, 1, 3])
    found = alpha_sparsities(torch.tensor([2.0, 3.0, 4.0]), sizes, MOST)
    assert mean(found, sizes).item() == pytest.approx(MOST, rel=1e-12)
    assert (found <= MOST).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sparsity": 0.999},
            r"sparsity: expected the share of weights to prune, from 0 to 0.998, got 0.999",
        ),
        ({"sparsity": -0.1}, r"sparsity: .* got -0.1"),
        ({"sparsity": float("nan")}, r"sparsity: .* got nan"),
        ({"epsilon": 1.0}, r"epsilon: expected half the spread .* below 1, got 1.0; 0.3 is usual"),
        ({"epsilon": -0.1}, r"epsilon: .* got -0.1"),
        (
            {"sizes": torch.tensor([3, 0])},
            r"sizes: .* at least 1, for exponents of shape \(2,\), got \[3, 0\]",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    given = {"alphas": torch.tensor([2.0, 3.0]), "sizes": torch.tensor([4, 4]), "sparsity": 0.5, **options}
    with pytest.raises(SpecificationError, match=message):
        alpha_sparsities(**given)


def test_sizes_of_other_layers_are_refused():
    unchecked = alpha_sparsities.__wrapped__  # without the checks of types that only the tests switch on
    with pytest.raises(SpecificationError, match=r"sizes: .* for exponents of shape \(2,\), got \[4, 4, 4\]"):
        unchecked(torch.tensor([2.0, 3.0]), torch.tensor([4, 4, 4]), 0.5)


def network():
    generator = torch.Generator().manual_seed(0)
    heavy = torch.arange(1, 61).pow(-1.0)
    return {
        "conv.weight": torch.randn(24, 8, 3, 3, generator=generator),
        "conv.bias": torch.zeros(24),
        "steps": torch.zeros(30, 30, dtype=torch.int64),
        "hidden.weight": torch.randn(60, 60, generator=generator) * heavy,
        "head.weight": torch.randn(10, 60, generator=generator).bfloat16(),
        "small.weight": torch.randn(3, 3, generator=generator),
    }


@pytest.mark.parametrize("fit", ["median", "goodness_of_fit"])
def test_farms_exponents_decide_the_sparsities(fit):
    weights = network()
    names = ["conv.weight", "hidden.weight", "head.weight", "small.weight"]
    found = farms_sparsities(weights, 0.6, epsilon=0.2, fit=fit)
    assert list(found) == names
    alphas = torch.stack([farms.alpha(weights[name], fit=fit) for name in names])
    sizes = torch.tensor([weights[name].numel() for name in names])
    torch.testing.assert_close(
        torch.tensor(list(found.values()), dtype=torch.float64),
        alpha_sparsities(alphas, sizes, 0.6, epsilon=0.2),
    )
    assert found["small.weight"] == 0.6  # too few eigenvalues
    assert found["hidden.weight"] < 0.6 < found["conv.weight"]


def test_a_network_without_matrices_is_refused():
    weights = {"bias": torch.zeros(3), "index": torch.zeros(3, 3, dtype=torch.int64)}
    with pytest.raises(UndefinedMetricError, match=r"expected matrices or kernels .* got none in 2 tensors"):
        farms_sparsities(weights, 0.5)


@pytest.mark.parametrize("sparsity", [0.0, 0.333, 0.5, 0.9, 0.998, 1.0])
def test_pruning_removes_the_exact_number_of_the_smallest_entries(sparsity):
    weight = torch.randn(24, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    pruned = prune_by_magnitude({"w": weight}, {"w": sparsity})["w"]
    gone = round(sparsity * weight.numel())
    assert (pruned == 0).sum() == gone
    magnitudes = np.sort(np.abs(weight.numpy()).ravel())
    kept = pruned != 0
    assert torch.equal(pruned[kept], weight[kept])
    assert np.array_equal(np.sort(np.abs(pruned.numpy()).ravel())[gone:], magnitudes[gone:])


def test_of_equal_magnitudes_the_first_go():
    weight = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 0.5, 1.0]])
    pruned = prune_by_magnitude({"w": weight}, {"w": 0.5})["w"]
    assert pruned.tolist() == [[0, 0, 1], [-1, 0, 1]]


def test_zeros_count_and_nan_stays():
    weight = torch.tensor([3.0, 0.0, torch.nan, 0.0])
    assert prune_by_magnitude({"w": weight}, {"w": 0.5})["w"].nan_to_num(9).tolist() == [3, 0, 9, 0]
    assert prune_by_magnitude({"w": weight}, {"w": 0.75})["w"].nan_to_num(9).tolist() == [0, 0, 9, 0]


def test_other_tensors_and_the_originals_stay_as_they_are():
    weights = network()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    pruned = prune_by_magnitude(weights, farms_sparsities(weights, 0.8))
    assert list(pruned) == list(weights)
    assert pruned["conv.bias"] is weights["conv.bias"]
    assert pruned["head.weight"].dtype == torch.bfloat16
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())


def test_a_column_major_tensor_is_pruned_by_its_rows():
    weight = torch.ones(3, 2).T
    assert prune_by_magnitude({"w": weight}, {"w": 0.5})["w"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_unknown_tensors_are_refused():
    with pytest.raises(UnknownNameError, match=r"unknown tensor 'wieght'; did you mean 'weight'\?"):
        prune_by_magnitude({"weight": torch.ones(3)}, {"wieght": 0.5})


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan")])
def test_shares_out_of_range_are_refused(sparsity):
    with pytest.raises(
        SpecificationError, match=r"'w': expected the share of entries to prune, from 0 to 1, got"
    ):
        prune_by_magnitude({"w": torch.ones(3)}, {"w": sparsity})
