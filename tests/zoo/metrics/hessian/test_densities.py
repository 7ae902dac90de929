import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian import Density, spectral_density
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.hessian.vectors import gaussian, rademacher
from zoo.training import NetworkStack


def moment(density, power):
    return (density.weights * density.nodes**power).sum(dim=-1)


def test_moments_are_those_of_the_hessian_along_the_random_vectors(network, matrix):
    density = spectral_density(*network, probes=3, steps=6)
    signs = torch.stack([rademacher(len(matrix), "density", number) for number in range(3)]).double()
    assert density.weights.min() >= 0
    powers = torch.eye(len(matrix)).double()
    for power in range(12):  # exact below twice the steps
        expected = torch.einsum("pi,ij,pj->p", signs, powers, signs).mean() / len(matrix)
        assert moment(density, power).item() == pytest.approx(expected.item(), rel=1e-7, abs=1e-10)
        powers = powers @ matrix


def test_moments_are_those_of_the_spectrum_within_the_error_of_random_signs(three, dense):
    modules, _, x, y = three
    density, matrix = spectral_density(modules[2], x, y, probes=60, steps=8), dense(modules[2], x, y)
    powers = torch.eye(len(matrix)).double()
    for power in range(1, 5):
        powers = powers @ matrix
        off = powers.square().sum() - powers.diagonal().square().sum()
        spread = (2 * off / 60).sqrt() / len(matrix)
        assert abs(moment(density, power) - powers.diagonal().mean()) < 4 * spread


def test_with_as_many_steps_as_entries_every_node_is_an_eigenvalue(dense):
    module, x = nn.Linear(2, 2).double(), torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 2.0]]).double()
    y = torch.tensor([0, 1, 1])
    density = spectral_density(module, x, y, probes=2, steps=6)
    values = torch.linalg.eigvalsh(dense(module, x, y))
    heavy = density.nodes[density.weights > 1e-9]
    assert ((heavy[:, None] - values).abs().min(dim=1).values < 1e-8).all()
    assert (density.nodes.diff() >= 0).all()


def test_a_zero_hessian_has_all_its_mass_at_zero():
    density = spectral_density(nn.Linear(3, 1), torch.ones(2, 3), torch.tensor([0, 0]), probes=2, steps=4)
    assert density.nodes.tolist() == [0] * 8
    assert density.weights.sum().item() == pytest.approx(1)


def test_a_stack_gives_what_its_members_give_however_it_is_cut(three, monkeypatch):
    modules, stack, x, y = three
    alone = [spectral_density(module, x, y, probes=3, steps=5) for module in modules]
    for rows in (1, 2, 6, 100):
        monkeypatch.setattr(Landscape, "rows", lambda self, rows=rows: rows)
        found = spectral_density(stack, x, y, probes=3, steps=5)
        expected = torch.stack([one.nodes for one in alone])
        torch.testing.assert_close(found.nodes, expected, rtol=1e-7, atol=1e-10)
        torch.testing.assert_close(moment(found, 3), torch.stack([moment(one, 3) for one in alone]))


def test_what_is_not_finite_is_nan_and_spoils_only_itself(three):
    _, stack, x, y = three
    weights = stack.weights.clone()
    weights[0, 0], weights[2] = torch.nan, 1e300
    found = spectral_density(NetworkStack(stack.module, stack.layout, weights), x, y, probes=2, steps=3)
    assert found.nodes[0].isnan().all()
    assert found.weights[0].isnan().all()
    assert found.weights[1].sum().item() == pytest.approx(1)


def test_derivatives_that_overflow_give_nan():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    for parameter in module.parameters():
        parameter.data.fill_(1e30)
    density = spectral_density(module, torch.ones(2, 2), torch.tensor([0, 1]), probes=2, steps=3)
    assert density.nodes.isnan().all()
    assert density.weights.isnan().all()


def test_a_curve_is_a_density():
    density = Density(
        torch.tensor([[-1.0, 2.0], [0.0, 0.0]]).double(), torch.tensor([[0.25, 0.75]] * 2).double()
    )
    grid = torch.linspace(-4, 5, 2001)
    curve = density.curve(grid, width=0.2)
    assert curve.shape == (2, 2001)
    torch.testing.assert_close(
        torch.trapezoid(curve, grid.double()), torch.ones(2).double(), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(
        torch.trapezoid(curve * grid, grid.double()), moment(density, 1), rtol=1e-5, atol=1e-9
    )
    assert grid[curve[0].argmax()].item() == pytest.approx(2, abs=0.01)
    one = Density(density.nodes[0], density.weights[0]).curve(grid, width=0.2)
    assert torch.equal(one, curve[0])


@pytest.mark.parametrize("options", [{"probes": 0}, {"steps": 0}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(SpecificationError, match="at least 1 probe and 1 step"):
        spectral_density(nn.Linear(3, 2), torch.zeros(1, 3), torch.tensor([0]), **options)


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan")])
def test_a_kernel_without_width_is_refused(width):
    point = Density(torch.zeros(1).double(), torch.ones(1).double())
    with pytest.raises(SpecificationError, match="expected a standard deviation above 0"):
        point.curve(torch.zeros(1), width=width)


def test_random_vectors_are_functions_of_purpose_and_number():
    for draw in (gaussian, rademacher):
        first = draw(1000, "trace", 0)
        assert torch.equal(first, draw(1000, "trace", 0))
        assert torch.equal(first[:10], draw(10, "trace", 0)) or draw is gaussian
        for other in (draw(1000, "trace", 1), draw(1000, "density", 0)):
            assert abs(first @ other) / 1000 < 0.15
        assert abs(first.mean()) < 0.15
        assert first.square().mean().item() == pytest.approx(1, abs=0.15)
    assert set(rademacher(100, "trace", 0).tolist()) == {-1, 1}
