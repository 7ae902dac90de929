import copy

import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian import top_eigenvalue, top_eigenvalues
from zoo.metrics.hessian.lanczos import Krylov, Ritz
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.hessian.search import leading
from zoo.training import NetworkStack


def by_size(matrix):
    values = torch.linalg.eigvalsh(matrix)
    return values[values.abs().argsort(descending=True)]


def test_eigenvalues_are_those_of_the_hessian_written_out(network, matrix):
    expected = by_size(matrix)
    assert top_eigenvalue(*network).item() == pytest.approx(expected[0].item(), rel=1e-4)
    found = top_eigenvalues(*network, count=4, tolerance=1e-5)
    torch.testing.assert_close(found, expected[:4], rtol=1e-4, atol=0)


def test_a_saddle_keeps_its_sign(draw, dense, three):
    modules, _, x, y = three
    saddle = draw(modules[0], 38)
    expected = by_size(dense(saddle, x, y))[0]
    assert expected < 0
    assert top_eigenvalue(saddle, x, y).item() == pytest.approx(expected.item(), rel=1e-4)


def test_an_eigenvalue_of_many_eigenvectors_is_listed_as_often():
    module = nn.Linear(2, 5).double()
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    # equal shares: (diag p - p p') has 1/5 four times, (x, 1)(x, 1)' has 1 + 4 + 1
    found = top_eigenvalues(module, torch.tensor([[1.0, 2.0]]), torch.tensor([0]), count=6)
    torch.testing.assert_close(found, torch.tensor([1.2, 1.2, 1.2, 1.2, 0, 0]).double(), rtol=1e-6, atol=1e-9)


def test_all_eigenvalues_of_a_small_network(dense):
    module, x = nn.Linear(2, 2).double(), torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 2.0]]).double()
    y = torch.tensor([0, 1, 1])
    found = top_eigenvalues(module, x, y, count=6, tolerance=1e-9)
    torch.testing.assert_close(found, by_size(dense(module, x, y)), rtol=1e-6, atol=1e-12)


def test_a_zero_hessian_has_eigenvalue_zero():
    # one class: the loss is 0 whatever the weights
    found = top_eigenvalues(nn.Linear(3, 1), torch.ones(2, 3), torch.tensor([0, 0]), count=2)
    assert found.tolist() == [0, 0]


def test_a_stack_gives_what_its_members_give(three, monkeypatch):
    modules, stack, x, y = three
    alone = torch.stack([top_eigenvalues(module, x, y, count=2) for module in modules])
    for rows in (1, 2, 3):
        monkeypatch.setattr(Landscape, "rows", lambda self, rows=rows: rows)
        torch.testing.assert_close(top_eigenvalues(stack, x, y, count=2), alone, rtol=1e-9, atol=0)
    assert top_eigenvalue(stack, x, y).shape == (3,)
    assert top_eigenvalue(modules[0], x, y).shape == ()


@pytest.mark.parametrize(
    ("drawn", "left"),
    [([(0, 1.0), (4, 1.5), (1, 0.1), (2, 0.2)], 2), ([(0, 1.0), (1, 0.1), (2, 0.2)], 3)],
    ids=["half of them are soon done", "one of them is"],
)
def test_networks_that_are_done_keep_what_they_had_and_the_others_go_on(
    drawn, left, draw, stacked, monkeypatch
):
    layers = (nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 10))
    modules = [draw(copy.deepcopy(nn.Sequential(*layers)).double(), *one) for one in drawn]
    x = torch.randn(40, 20, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(40) % 10
    alone = torch.stack([top_eigenvalue(module, x, y, tolerance=0.02) for module in modules])
    whole, sizes = Landscape.product, []
    monkeypatch.setattr(Landscape, "product", lambda self: (sizes.append(len(self.stack)), whole(self))[1])
    found = top_eigenvalue(stacked(*modules), x, y, tolerance=0.02)
    torch.testing.assert_close(found, alone, rtol=1e-10, atol=0)
    assert (sizes[0], min(sizes)) == (len(drawn), left)


def test_what_is_not_finite_spoils_only_itself(three):
    _, stack, x, y = three
    clean = top_eigenvalue(stack, x, y)
    weights = stack.weights.clone()
    weights[1, 3] = torch.nan
    for bad in (torch.nan, torch.inf, 1e200):
        weights[1] = bad
        found = top_eigenvalues(NetworkStack(stack.module, stack.layout, weights), x, y, count=2)
        assert found.isnan().any(dim=1).tolist() == [
            False,
            bad != 1e200 or bool(found[1].isnan().any()),
            False,
        ]
        torch.testing.assert_close(found[[0, 2], 0], clean[[0, 2]], rtol=1e-9, atol=0)


def test_derivatives_that_overflow_give_nan():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1e30)
    assert top_eigenvalue(module, torch.ones(2, 2), torch.tensor([0, 1])).isnan()


def test_too_few_products_give_nan(three):
    modules, _, x, y = three
    assert top_eigenvalue(modules[0], x, y, tolerance=1e-12, products=12).isnan()
    assert top_eigenvalue(modules[0], x, y, tolerance=1e-12).isfinite()


def test_a_krylov_space_is_orthonormal_and_holds_the_hessian_restricted_to_it(three, dense):
    modules, _, x, y = three
    landscape = Landscape.of(modules[1].float(), x, y)
    krylov = Krylov(landscape, torch.ones(1, landscape.size))
    krylov.grow(40)
    basis = krylov.basis[0, :40].double()
    torch.testing.assert_close(basis @ basis.T, torch.eye(40).double(), rtol=0, atol=1e-5)
    restricted = basis @ dense(modules[1].double(), x, y) @ basis.T
    ritz = krylov.ritz()
    torch.testing.assert_close(ritz.values[0], torch.linalg.eigvalsh(restricted), rtol=1e-4, atol=1e-5)
    assert krylov.trace().item() == pytest.approx(restricted.trace().item(), rel=1e-4)


def test_a_residual_says_how_near_an_eigenvalue_is(three, dense):
    modules, _, x, y = three
    landscape = Landscape.of(modules[0], x, y)
    krylov = Krylov(landscape, torch.ones(1, landscape.size).double())
    krylov.grow(10)
    ritz, values = krylov.ritz(), torch.linalg.eigvalsh(dense(modules[0], x, y))
    nearest = (ritz.values[0, :, None] - values).abs().min(dim=1).values
    assert (nearest <= ritz.residuals[0] + 1e-12).all()
    u = ritz.vectors[0].mT @ krylov.basis[0, :10]
    left = u @ dense(modules[0], x, y) - ritz.values[0, :, None] * u
    torch.testing.assert_close(left.norm(dim=1), ritz.residuals[0], rtol=1e-6, atol=1e-9)


def test_an_exhausted_space_ends_in_zeros():
    module = nn.Linear(2, 2).double()
    krylov = Krylov(Landscape.of(module, torch.ones(1, 2), torch.tensor([0])), torch.ones(1, 6).double())
    krylov.grow(6)
    assert krylov.basis[0].norm(dim=1).round().sum() <= 2  # the Hessian has rank 1
    assert krylov.ritz().residuals.max() == 0


@pytest.mark.parametrize(
    ("values", "residuals", "place", "known"),
    [
        ([-1.0, 0.0, 3.0], [0.1, 0.5, 0.001], 2, True),  # the other end cannot reach
        ([-1.0, 0.0, 3.0], [2.5, 0.5, 0.001], 2, False),  # it can
        ([-4.0, 0.0, 3.0], [0.001, 0.5, 0.5], 0, True),
        ([-4.0, 0.0, 3.0], [0.1, 0.5, 0.5], 0, False),  # not near enough
        ([-3.0, 0.0, 3.0], [0.001, 0.5, 0.001], 2, True),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 2, True),
    ],
)
def test_the_largest_is_known_when_the_other_end_is_beaten(values, residuals, place, known):
    row = torch.tensor([values]).double()
    found = leading(Ritz(row, torch.eye(3).double()[None], torch.tensor([residuals]).double()), 1e-3)
    assert (found[0].item(), found[1].item()) == (place, known)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count: expected from 1 to the 8 trainable entries, got 0"),
        ({"count": 9}, "count: expected from 1 to the 8 trainable entries, got 9"),
        ({"count": 1, "tolerance": 0.0}, "expected a number between 0 and 1, got 0.0"),
        ({"count": 1, "tolerance": 1.5}, "expected a number between 0 and 1, got 1.5"),
        ({"count": 1, "products": 11}, "products: expected at least 12, got 11"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(SpecificationError, match=message):
        top_eigenvalues(nn.Linear(3, 2), torch.zeros(1, 3), torch.tensor([0]), **options)
