import math

import pytest
import torch
from torch import nn

from zoo.errors import UnknownNameError
from zoo.training import optimizers

NAMES = ["adam", "adamw", "nesterov", "sam", "sgd"]
EPOCHS = 25  # of four steps: 100 steps

DIFFERENT = [
    {"learning_rate": 0.02, "momentum": 0.9},
    {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.01},
    {
        "learning_rate": 0.01,
        "momentum": 0.8,
        "weight_decay": 0.1,
        "beta1": 0.8,
        "beta2": 0.95,
        "epsilon": 1e-4,
        "sam_radius": 0.2,
        "gradient_clip": 0.3,
    },
]


def specs_of(make, name, **changes):
    return [make.spec(optimizer=name, epochs=EPOCHS, **one, **changes) for one in DIFFERENT]


def worst(make, plain, modules, data, specs, chunk):
    trainer = make.trainer(modules, data, specs, chunk=chunk)
    make.epochs(trainer, EPOCHS)
    got = trainer.weights
    expected = [
        plain.loop(module, spec, seed, data.x, data.y[seed]).weights
        for seed, (module, spec) in enumerate(zip(modules, specs, strict=True))
    ]
    moved = (got - torch.stack([plain.flat(module) for module in modules])).norm(dim=1)
    assert moved.min() > 0.1
    return (got - torch.stack(expected)).abs().max().item()


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("name", NAMES)
def test_each_optimizer_is_that_of_torch_in_float64(make, plain, build, name, chunk):
    modules, data = make.modules(build.perceptron, 3), make.data(3)
    assert worst(make, plain, modules, data, specs_of(make, name), chunk) < 1e-12


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("name", NAMES)
def test_each_optimizer_is_that_of_torch_in_float32(make, plain, name, chunk):
    modules = make.modules(lambda: nn.Linear(5, 3), 3, torch.float32)  # convex: no chaos
    data = make.data(3, dtype=torch.float32)
    assert worst(make, plain, modules, data, specs_of(make, name), chunk) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_each_optimizer_follows_its_schedule_as_that_of_torch(make, plain, build, name, schedule):
    modules, data = make.modules(build.perceptron, 3), make.data(3)
    assert worst(make, plain, modules, data, specs_of(make, name, schedule=schedule), None) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_one_row_alone_ends_where_it_ends_in_the_stack(make, build, name):
    modules, data, specs = make.modules(build.perceptron, 3), make.data(3), specs_of(make, name)
    together = make.trainer(modules, data, specs)
    make.epochs(together, 5)
    for place in range(3):
        alone = make.trainer([modules[place]], data.select(torch.tensor([place])), [specs[place]], [place])
        make.epochs(alone, 5)
        torch.testing.assert_close(alone.weights[0], together.weights[place], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["sam", "sgd"])
def test_sam_and_sgd_part_ways(make, plain, build, name):
    modules, data = make.modules(build.perceptron, 3), make.data(3)
    trainer = make.trainer(modules, data, specs_of(make, name))
    make.epochs(trainer, 10)
    other = plain.loop(
        modules[2],
        make.spec(**DIFFERENT[2], epochs=EPOCHS, optimizer="sgd" if name == "sam" else "sam"),
        2,
        data.x,
        data.y[2],
        epochs=10,
    )
    assert (trainer.weights[2] - other.weights).norm() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_slots_are_those_of_torch(make, plain, build, name):
    modules, data, specs = make.modules(build.perceptron, 3), make.data(3), specs_of(make, name)
    trainer = make.trainer(modules, data, specs)
    make.epochs(trainer, 3)
    kept = {"velocity": "momentum_buffer", "mean": "exp_avg", "square": "exp_avg_sq"}
    assert set(trainer.slots) == set(optimizers.get(name).slots)
    for place, spec in enumerate(specs):
        state = plain.loop(modules[place], spec, place, data.x, data.y[place], epochs=3).optimizer.state
        for slot, values in trainer.slots.items():
            expected = torch.cat([entry[kept[slot]].reshape(-1) for entry in state.values()])
            torch.testing.assert_close(values[place], expected, atol=1e-12, rtol=0)


def test_sam_stays_a_number_where_the_gradient_is_zero(make):
    module = make.modules(lambda: nn.Linear(5, 3), 1)[0]
    data = make.data(1)
    data.x.zero_()
    with torch.no_grad():  # one class has all the probability: the gradient of the weights and biases is 0
        module.weight.zero_()
        module.bias.copy_(torch.tensor([0.0, -1e4, -1e4]))
    data.y.zero_()
    trainer = make.trainer([module], data, [make.spec(optimizer="sam")])
    trainer.run_epoch()
    assert torch.equal(trainer.weights[0], torch.cat([module.weight.flatten(), module.bias]).detach())


def test_how_often_each_asks_for_a_gradient():
    asked = {name: optimizers.get(name).gradients_per_step for name in NAMES}
    assert asked == {"sgd": 1, "nesterov": 1, "adam": 1, "adamw": 1, "sam": 2}
    assert optimizers.names() == NAMES


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(
        UnknownNameError, match=r"^unknown optimizer 'adamm'; did you mean 'adam' or 'adamw'\?$"
    ):
        optimizers.get("adamm")


# gradient clipping


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_each_row_is_clipped_by_its_own_bound_as_torch_does(make, plain, build, dtype, tolerance, chunk):
    modules, data = make.modules(build.perceptron, 3, dtype), make.data(3, dtype=dtype)
    specs = [make.spec(gradient_clip=clip) for clip in (0.1, None, 0.03)]
    trainer = make.trainer(modules, data, specs, chunk=chunk)
    make.epochs(trainer, 3)
    for place, spec in enumerate(specs):
        expected = plain.loop(modules[place], spec, place, data.x, data.y[place]).weights
        torch.testing.assert_close(trainer.weights[place], expected, atol=tolerance, rtol=0)
    free = plain.loop(modules[0], make.spec(), 0, data.x, data.y[0]).weights
    assert (trainer.weights[0] - free).norm() > 1e-2  # the bound was met


def test_a_row_without_a_bound_never_notices_that_others_have_one(make, build):
    modules, data = make.modules(build.perceptron, 2, torch.float32), make.data(2, dtype=torch.float32)
    ends = []
    for clip in (None, 0.01):
        trainer = make.trainer(modules, data, [make.spec(), make.spec(gradient_clip=clip)])
        make.epochs(trainer, 3)
        ends.append(trainer.weights[0])
    assert torch.equal(*ends)


def test_a_row_without_a_bound_keeps_a_gradient_whose_norm_is_beyond_the_numbers(make):
    data = make.data(2, dtype=torch.float32)
    data = type(data)(data.x * 1e25, data.y)
    modules = make.modules(lambda: nn.Linear(5, 3), 2, torch.float32)
    with torch.no_grad():
        for module in modules:
            module.weight.zero_()
    trainer = make.trainer(
        modules, data, [make.spec(batch_size=30), make.spec(batch_size=30, gradient_clip=1.0)]
    )
    trainer.run_epoch()
    assert math.isfinite(trainer.weights[0].abs().max().item())
