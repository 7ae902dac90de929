import math

import pytest
import torch
from torch import nn

from zoo.spec import TrainingSpecification
from zoo.training import Row, StackData, StackNetwork, StackTrainer, epoch_order
from zoo.training.convection import PERIOD, convection
from zoo.training.tangents import TanhTangent
from zoo.weights import layout_of


def perceptron(activation=nn.Tanh):
    return nn.Sequential(nn.Linear(2, 7), activation(), nn.Linear(7, 5), activation(), nn.Linear(5, 1))


def points(models, items, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(models, items, 4, dtype=dtype, generator=generator)
    return drawn * torch.tensor([PERIOD, 1, PERIOD, 1], dtype=dtype)


def plain_loss(module, given, coefficient):
    """As anyone would write it: autograd for both derivatives."""
    x, t = given[:, 0].clone().requires_grad_(), given[:, 1].clone().requires_grad_()
    u = module(torch.stack([x, t], 1))
    u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
    edge = given[: math.ceil(len(given) / 4)]
    nothing = torch.zeros(len(edge), dtype=given.dtype)
    start = module(torch.stack([edge[:, 2], nothing], 1))[:, 0]
    left = module(torch.stack([nothing, edge[:, 3]], 1))[:, 0]
    right = module(torch.stack([nothing + 2 * math.pi, edge[:, 3]], 1))[:, 0]
    residual = (u_t + coefficient * u_x).square().mean()
    return residual + (start - edge[:, 2].sin()).square().mean() + (left - right).square().mean()


class Exact:
    """The solution u = sin(x - b t), as a network."""

    def __init__(self, coefficient):
        self.coefficient = coefficient

    def __call__(self, x):
        return self.along(x, x)[0]

    def along(self, x, directions):
        phase = x[..., 0] - self.coefficient * x[..., 1]
        slope = directions[..., 0] - self.coefficient * directions[..., 1]
        return phase.sin().unsqueeze(-1), (phase[:, : slope.shape[1]].cos() * slope).unsqueeze(-1)


def test_the_solution_has_no_loss_and_another_coefficient_has():
    given, coefficients = points(2, 50), torch.full((2, 50), 3.0, dtype=torch.float64)
    assert convection(Exact(3.0), given, coefficients).abs().max() < 1e-24
    # u_t + b u_x = (b - 2) cos(x - 2 t), whose square has the mean 1/2 over a period
    expected = (given[..., 0] - 2 * given[..., 1]).cos().square().mean(dim=1)
    torch.testing.assert_close(convection(Exact(2.0), given, coefficients), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_a_stack_trains_as_autograd_of_autograd_does(activation):
    """tanh by forward tangents, any other activation by two backward passes."""
    modules = [perceptron(activation).double() for _ in range(3)]
    layout = layout_of(modules[0], "mlp")
    start = torch.stack([torch.cat([p.detach().reshape(-1) for p in m.parameters()]) for m in modules])
    given, beta = points(1, 20)[0], torch.tensor([1.0, 5.0, 30.0], dtype=torch.float64)
    training = TrainingSpecification(learning_rate=1e-3, batch_size=8, epochs=2, momentum=0.9)
    rows = [Row(training, seed) for seed in range(3)]
    data = StackData(given, beta[:, None].expand(3, 20))
    trainer = StackTrainer(StackNetwork(modules[0], layout), start, data, rows, objective=convection)
    for _ in range(2):
        trainer.run_epoch()
    for place, module in enumerate(modules):
        alone = train_alone(module, given, float(beta[place]), place)
        torch.testing.assert_close(trainer.weights[place], alone, atol=1e-9, rtol=0)


def train_alone(module, given, coefficient, seed):
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    for epoch in (1, 2):
        for picked in epoch_order([seed], epoch, len(given))[0].split(8):
            optimizer.zero_grad()
            plain_loss(module, given[picked], coefficient).backward()
            optimizer.step()
    return flatten_double(module)


def flatten_double(module):
    return torch.cat([tensor.detach().reshape(-1) for tensor in module.state_dict().values()])


def test_tanh_and_its_tangent_are_differentiated_rightly():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    dz = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    h, d = TanhTangent.apply(z, dz)
    torch.testing.assert_close(h, z.tanh(), atol=1e-15, rtol=0)
    torch.testing.assert_close(d, dz * (1 - z[:, :4].tanh().square()), atol=1e-15, rtol=0)
    assert torch.autograd.gradcheck(TanhTangent.apply, (z, dz))


def test_the_fast_tanh_is_near_enough_in_float32():
    z = torch.linspace(-10, 10, 10001).view(1, -1, 1)
    h, _ = TanhTangent.apply(z, z[:, :1])
    assert (h.double() - z.double().tanh()).abs().max() < 3e-7


def test_one_network_learns_to_solve_a_slow_convection():
    module = perceptron()
    layout = layout_of(module, "mlp")
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(1, layout.size, generator=generator) * 0.5
    training = TrainingSpecification(optimizer="adam", learning_rate=0.01, batch_size=50, epochs=150)
    data = StackData(points(1, 100, torch.float32)[0], torch.full((1, 100), 0.5))
    trainer = StackTrainer(
        StackNetwork(module, layout), start, data, [Row(training, 0)], objective=convection
    )
    losses = [float(trainer.run_epoch()) for _ in range(150)]
    assert losses[-1] < 0.1 * losses[0]
