import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian import curvature, top_eigenvalue, trace
from zoo.metrics.hessian.product import Landscape
from zoo.training import NetworkStack


def test_the_trace_lies_within_its_error(network, matrix):
    for sketch in (0, 8):
        found = trace(*network, probes=16, sketch=sketch)
        assert abs(found.value - matrix.trace()) < 4.5 * found.standard_error + 1e-9


EXACT = {"relu", "one layer", "dropout", "piecewise linear images", "flattened images"}


def test_the_trace_is_exact_just_where_all_layers_are_piecewise_linear(name, network, matrix):
    found = trace(*network, probes=4)
    assert (found.standard_error == 0) == (name in EXACT)
    if name in EXACT:
        torch.testing.assert_close(found.value, matrix.trace(), rtol=1e-9, atol=0)


def test_exact_traces_of_a_stack_are_those_of_its_members(chain_network, stacked, draw):
    module, x, y = chain_network
    modules = [module, *(draw(Landscape.of(module, x, y).stack.module, seed) for seed in (3, 4))]
    with torch.no_grad():
        found = Landscape.of(stacked(*modules), x, y).product().trace()
        alone = [Landscape.of(one, x, y).product().trace() for one in modules]
    assert (found is None) == (None in alone)
    if found is not None:
        torch.testing.assert_close(found, torch.cat(alone), rtol=1e-9, atol=0)


def test_many_classes_are_estimated():
    x, y = torch.ones(2, 3), torch.tensor([0, 31])
    assert trace(nn.Sequential(nn.Linear(3, 33)), x, y).standard_error > 0
    assert trace(nn.Sequential(nn.Linear(3, 32)), x, y).standard_error == 0


def test_the_exact_trace_leaves_products_as_they_are(chain_network):
    landscape = Landscape.of(*chain_network)
    with torch.no_grad():
        product, v = landscape.product(), torch.ones(1, landscape.size).double()
        before = product(v).clone()
        product.trace()
        assert torch.equal(product(v), before)


def test_all_basis_vectors_give_the_trace_exactly(network, matrix):
    found = trace(*network, probes=500, sketch=3)
    torch.testing.assert_close(found.value, matrix.trace(), rtol=1e-9, atol=1e-11)
    assert found.standard_error == 0


def test_the_error_is_that_of_random_signs(three, dense):
    modules, _, x, y = three
    for module in modules:
        matrix = dense(module, x, y)
        spread = (2 * (matrix.square().sum() - matrix.diagonal().square().sum())).sqrt()  # Hutchinson 1990
        found = trace(module, x, y, probes=60)
        assert len(matrix) > 60
        assert found.standard_error.item() == pytest.approx(spread.item() / 60**0.5, rel=0.4)


def test_errors_over_many_networks_are_as_large_as_stated(draw, dense, stacked):
    modules = [
        draw(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double(), s) for s in range(40)
    ]
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(12) % 3
    truth = torch.stack([dense(module, x, y).trace() for module in modules])
    for sketch in (0, 6):
        found = trace(stacked(*modules), x, y, probes=20, sketch=sketch)
        away = (found.value - truth) / found.standard_error
        assert 0.5 < away.square().mean().sqrt() < 1.6  # 1, but all networks share the probes


def test_a_piecewise_linear_network_has_the_trace_of_its_fisher_matrix(draw):
    # each layer enters linearly, so only the Gauss-Newton part has a diagonal: mean_i E_c ||grad log p_ic||^2
    module = draw(
        nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3)), 0
    )
    x = torch.randn(10, 8, generator=torch.Generator().manual_seed(1))
    total = 0.0
    for item in x:
        logs = torch.log_softmax(module(item), dim=0)
        for log in logs:
            slopes = torch.autograd.grad(log, list(module.parameters()), retain_graph=True)
            total += log.exp().item() * sum(slope.square().sum().item() for slope in slopes)
    found = trace(module, x, torch.arange(10) % 3)
    assert found.value.item() == pytest.approx(total / 10, rel=1e-5)
    assert found.standard_error == 0


def fitted(module, x, y, steps=200):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module


def test_a_sketch_takes_most_of_the_error_of_a_trained_network(draw):
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    module = fitted(draw(nn.Sequential(nn.Linear(6, 40), nn.GELU(), nn.Linear(40, 3)), 0), x, y)
    plain, sketched = trace(module, x, y), trace(module, x, y, sketch=12)
    assert sketched.standard_error < plain.standard_error / 3
    exact = trace(module, x, y, probes=1000).value
    assert abs(sketched.value - exact) < 4 * sketched.standard_error
    assert abs(plain.value - exact) < 4 * plain.standard_error


def test_a_stack_gives_what_its_members_give_however_it_is_cut(three, monkeypatch):
    modules, stack, x, y = three
    alone = [trace(module, x, y, probes=7, sketch=5) for module in modules]
    for rows in (1, 2, 3, 7, 100):
        monkeypatch.setattr(Landscape, "rows", lambda self, rows=rows: rows)
        found = trace(stack, x, y, probes=7, sketch=5)
        torch.testing.assert_close(found.value, torch.stack([one.value for one in alone]), rtol=1e-9, atol=0)
        errors = torch.stack([one.standard_error for one in alone])
        torch.testing.assert_close(found.standard_error, errors, rtol=1e-9, atol=0)


def test_curvature_is_the_top_eigenvalue_and_the_sketched_trace(three, monkeypatch):
    modules, stack, x, y = three
    for rows in (1, 3, 100):
        monkeypatch.setattr(Landscape, "rows", lambda self, rows=rows: rows)
        found, expected = curvature(stack, x, y, probes=9), trace(stack, x, y, probes=9, sketch=12)
        torch.testing.assert_close(found.top_eigenvalue, top_eigenvalue(stack, x, y), rtol=1e-9, atol=0)
        torch.testing.assert_close(found.trace.value, expected.value, rtol=1e-9, atol=0)
        torch.testing.assert_close(found.trace.standard_error, expected.standard_error, rtol=1e-9, atol=0)
    one = curvature(modules[1], x, y, probes=9)
    assert one.top_eigenvalue.item() == pytest.approx(found.top_eigenvalue[1].item(), rel=1e-9)
    assert one.trace.value.item() == pytest.approx(found.trace.value[1].item(), rel=1e-9)


def test_a_network_smaller_than_the_sketch_is_known_exactly(dense):
    module, x, y = nn.Linear(2, 2).double(), torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([0, 1])
    matrix = dense(module, x.double(), y)
    for found in (curvature(module, x, y), curvature(module, x, y, probes=3)):
        assert found.trace.value.item() == pytest.approx(matrix.trace().item(), rel=1e-9)
        assert found.trace.standard_error.item() < 1e-9
        assert found.top_eigenvalue.item() == pytest.approx(
            torch.linalg.eigvalsh(matrix)[-1].item(), rel=1e-9
        )


def test_a_zero_hessian_has_trace_zero():
    found = curvature(nn.Linear(40, 1), torch.ones(2, 40), torch.tensor([0, 0]))
    assert (found.top_eigenvalue, found.trace.value, found.trace.standard_error) == (0, 0, 0)


def test_what_is_not_finite_is_nan_and_spoils_only_itself(three):
    _, stack, x, y = three
    clean = trace(stack, x, y)
    weights = stack.weights.clone()
    weights[1, 3] = torch.inf
    found = trace(NetworkStack(stack.module, stack.layout, weights), x, y)
    assert found.value.isnan().tolist() == found.standard_error.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(found.value[[0, 2]], clean.value[[0, 2]], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": 1}, "probes: expected at least 2, got 1"),
        ({"sketch": -1}, "sketch: expected at least 0 dimensions, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(SpecificationError, match=message):
        trace(nn.Linear(3, 2), torch.zeros(1, 3), torch.tensor([0]), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"probes": 1}, "probes: expected at least 2"), ({"tolerance": 2.0}, "tolerance is relative")],
)
def test_curvature_refuses_the_same(options, message):
    with pytest.raises(SpecificationError, match=message):
        curvature(nn.Linear(3, 2), torch.zeros(1, 3), torch.tensor([0]), **options)
