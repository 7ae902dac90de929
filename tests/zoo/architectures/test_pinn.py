import copy
import math

import pytest
import torch
from torch import nn

from zoo.architectures import DataShape, build, initialise, layout, names, resolve
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification, TrainingSpecification
from zoo.training import Row, StackData, StackNetwork, StackTrainer, epoch_order, evaluate_logits, stream
from zoo.training.convection import convection
from zoo.training.layers import has_tangents, stackable
from zoo.weights import layout_of

PLANE = DataShape((2,), 1)


def pinn(**chosen):
    return ArchitectureSpecification.model_validate({"name": "pinn", **chosen})


def make(seeds, **chosen):
    modules = [build(pinn(**chosen), PLANE).double() for _ in seeds]
    for module, seed in zip(modules, seeds, strict=True):
        initialise(pinn(**chosen), module, stream(seed, "init"))
    return modules


def flat(module):
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


def test_the_perceptron_of_krishnapriyan_has_7851_parameters():
    assert layout(pinn(), PLANE).size == 7851
    assert resolve(pinn()).options == {"width": 50, "depth": 4}


@pytest.mark.parametrize(("width", "depth", "inputs", "outputs"), [(50, 4, 2, 1), (7, 1, 3, 2), (5, 6, 1, 4)])
def test_the_pinn_has_as_many_parameters_as_its_closed_form(width, depth, inputs, outputs):
    spec, shape = pinn(width=width, depth=depth), DataShape((inputs,), outputs)
    expected = width * (inputs + 1) + (depth - 1) * width * (width + 1) + outputs * (width + 1)
    assert layout(spec, shape).size == expected
    assert build(spec, shape)(torch.zeros(5, inputs)).shape == (5, outputs)


def test_layers_are_those_of_a_tanh_mlp_so_that_tangents_go_forward():
    module = build(pinn(width=7, depth=3), PLANE)
    assert [type(layer) for layer in module] == [nn.Linear, nn.Tanh] * 3 + [nn.Linear]
    assert has_tangents(stackable(module))
    mlp = ArchitectureSpecification.model_validate({"name": "mlp", "width": 7, "depth": 3})
    assert layout(pinn(width=7, depth=3), PLANE).entries == layout(mlp, PLANE).entries


def test_initial_weights_are_xavier_normal_and_biases_nothing():
    (module,) = make([0], width=100)
    for layer in module[::2]:
        weight = layer.weight.detach()
        std = math.sqrt(2 / sum(weight.shape))
        assert float(weight.square().mean().sqrt()) == pytest.approx(std, rel=5 / (2 * weight.numel()) ** 0.5)
        assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
        if weight.numel() >= 10_000:  # a uniform of this deviation ends at sqrt(3) of it
            assert weight.abs().max() > 3 * std


def test_initial_weights_depend_on_their_seed_alone():
    one, two, other = make([0, 0, 1])
    assert torch.equal(flat(one), flat(two))
    assert not torch.equal(flat(one), flat(other))


def test_outputs_of_a_stack_are_those_of_each_module_in_eval_mode():
    modules = make([0, 1], width=6)
    x = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = torch.stack([flat(module) for module in modules])
    got = evaluate_logits(copy.deepcopy(modules[0]), layout_of(modules[0], "pinn"), weights, x)
    for place, module in enumerate(modules):
        torch.testing.assert_close(got[place], module.eval()(x), atol=1e-12, rtol=0)


# a stack


def plain_loss(module, points, coefficient):
    """The loss as anyone would write it: autograd for both derivatives."""
    x, t = points[:, 0].clone().requires_grad_(), points[:, 1].clone().requires_grad_()
    u_x, u_t = torch.autograd.grad(module(torch.stack([x, t], 1)).sum(), (x, t), create_graph=True)
    edge = points[: math.ceil(len(points) / 4)]
    zero = torch.zeros(len(edge), dtype=points.dtype)
    at_start, left, right = (
        module(torch.stack(place, 1))[:, 0]
        for place in ((edge[:, 2], zero), (zero, edge[:, 3]), (zero + 2 * math.pi, edge[:, 3]))
    )
    residual = (u_t + coefficient * u_x).square().mean()
    return residual + (at_start - edge[:, 2].sin()).square().mean() + (left - right).square().mean()


def plain_loop(module, points, coefficient, seed):
    module = copy.deepcopy(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.1)
    for epoch in (1, 2):
        for picked in epoch_order([seed], epoch, len(points))[0].split(8):
            optimizer.zero_grad()
            plain_loss(module, points[picked], coefficient).backward()
            optimizer.step()
    return flat(module)


def trained(modules, points, coefficients, seeds):
    spec = TrainingSpecification.model_validate(
        {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "batch_size": 8, "epochs": 2}
    )
    network = StackNetwork(copy.deepcopy(modules[0]), layout_of(modules[0], "pinn"))
    weights = torch.stack([flat(module) for module in modules])
    targets = coefficients.unsqueeze(1).expand(-1, len(points))
    rows = [Row(spec, seed) for seed in seeds]
    trainer = StackTrainer(network, weights, StackData(points, targets), rows, objective=convection)
    for _ in range(2):
        trainer.run_epoch()
    return trainer.weights


def test_a_stack_trains_as_each_network_alone_and_as_an_ordinary_loop():
    modules, seeds = make([0, 1, 2], width=6), [5, 6, 7]
    points = torch.rand(13, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coefficients = torch.tensor([1.0, 5.0, 30.0], dtype=torch.float64)
    together = trained(modules, points, coefficients, seeds)
    for place, module in enumerate(modules):
        alone = trained([module], points, coefficients[place : place + 1], seeds[place : place + 1])
        expected = plain_loop(module, points, coefficients[place], seeds[place])
        torch.testing.assert_close(together[place], expected, atol=1e-9, rtol=0)
        torch.testing.assert_close(alone[0], expected, atol=1e-9, rtol=0)
        assert (expected - flat(module)).abs().max() > 1e-2


# refusals


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"width": 0}, "width: Input should be greater than or equal to 1, got 0"),
        ({"depth": 65}, "depth: Input should be less than or equal to 64, got 65"),
        ({"activation": "relu"}, "activation: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(chosen, message):
    with pytest.raises(SpecificationError, match=rf"architecture 'pinn':\n  {message}"):
        build(pinn(**chosen), PLANE)


@pytest.mark.parametrize("shape", [DataShape((1, 8, 8), 10), DataShape((5,), 7, tokens=7)])
def test_the_pinn_takes_coordinates(shape):
    assert "pinn" in names()
    with pytest.raises(SpecificationError, match=r"the pinn takes coordinates, this dataset has .* of shape"):
        layout(pinn(), shape)
