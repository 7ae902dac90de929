"""Adversarial training, against an attack as anyone would write it in plain torch."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification, DatasetSpecification
from zoo.training import Row, StackData, convection, cross_entropy, train_stack
from zoo.training.adversarial import attack_keys, input_range
from zoo.weights import flatten, unflatten

SHAPES = {"perceptron": (5,), "convolution": (2, 6, 6)}
RADII = [0.3, 0.0, 0.05]


def plain_start(plain, x, seed, epoch, step):
    """The random start in [-1, 1), from the formulas of the streams."""
    with np.errstate(over="ignore"):
        key = plain.derive(plain.hashed(seed, "attack", epoch), [step])[0]
        drawn = plain.derive(key, np.arange(x.numel())) >> np.uint64(40)
    return torch.from_numpy(2 * (drawn.astype(np.float64) / 2**24) - 1).view(x.shape)


def plain_attack(module, x, y, *, start, radius, steps, bounds):
    """Projected gradient descent around x; the module that comes in keeps its statistics."""
    module, shift = copy.deepcopy(module).train(), radius * start
    for _ in range(steps):
        point = (x + shift).clamp(*bounds).requires_grad_()
        nn.functional.cross_entropy(module(point), y).backward()
        moved = point.detach() + 2.5 * radius / steps * point.grad.sign()
        shift = (moved - x).clamp(-radius, radius)
    return (x + shift).clamp(*bounds)


def plain_loop(plain, module, spec, seed, data, place):
    module, x, y = copy.deepcopy(module).train(), data.x, data.y[place]
    optimizer = plain.optimizer(module, spec)
    for epoch in range(1, spec.epochs + 1):
        for step, picked in enumerate(plain.order(seed, epoch, len(x)).split(spec.batch_size)):
            plain.set_keys(module, seed, epoch, step)
            moved = plain_attack(
                module,
                x[picked],
                y[picked],
                start=plain_start(plain, x[picked], seed, epoch, step),
                radius=spec.adversarial_epsilon,
                steps=spec.adversarial_steps,
                bounds=(x.min().item(), x.max().item()),
            )
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(moved), y[picked]).backward()
            optimizer.step()
    return plain.flat(module)


def specs_of(make, steps, radii=RADII, **changes):
    return [make.spec(adversarial_epsilon=r, adversarial_steps=steps, **changes) for r in radii]


def recorder(objective=cross_entropy):
    """An objective that notes which inputs it saw."""
    seen = []

    def recorded(network, x, y):
        seen.append(x.detach().clone())
        return objective(network, x, y)

    return recorded, seen


# the reference


@pytest.mark.parametrize("chunk", [None, 2, 1])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", SHAPES)
def test_each_network_ends_where_a_plain_loop_with_its_own_attack_does(
    make, plain, build, kind, steps, chunk
):
    """Biases, statistics of normalisation and masks of dropout too."""
    modules, data = make.modules(getattr(build, kind), 3), make.data(3, SHAPES[kind])
    specs, seeds = specs_of(make, steps, momentum=0.9), [3, 4, 5]
    trainer = make.trainer(modules, data, specs, seeds, chunk=chunk)
    make.epochs(trainer, 3)
    for place, (module, spec, seed) in enumerate(zip(modules, specs, seeds, strict=True)):
        own = copy.deepcopy(module)
        for name, layer in list(own.named_children()):
            if isinstance(layer, nn.Dropout):
                own.set_submodule(name, plain.Dropout(layer.p))
        expected = plain_loop(plain, own, spec, seed, data, place)
        torch.testing.assert_close(trainer.weights[place], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", SHAPES)
def test_one_row_alone_ends_where_it_ends_in_the_stack(make, build, kind):
    modules, data, specs = (
        make.modules(getattr(build, kind), 3),
        make.data(3, SHAPES[kind]),
        specs_of(make, 2),
    )
    together = make.trainer(modules, data, specs)
    make.epochs(together, 2)
    for place in range(3):
        alone = make.trainer([modules[place]], data.select(torch.tensor([place])), [specs[place]], [place])
        make.epochs(alone, 2)
        torch.testing.assert_close(alone.weights[0], together.weights[place], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_radius_of_zero_trains_as_without_an_attack(make, build, kind, dtype):
    modules, data = make.modules(getattr(build, kind), 3, dtype), make.data(3, SHAPES[kind], dtype=dtype)
    ends = []
    for specs in ([make.spec()] * 3, specs_of(make, 2)):
        trainer = make.trainer(modules, data, specs)
        make.epochs(trainer, 3)
        ends.append(trainer.weights)
    assert torch.equal(ends[1][1], ends[0][1])
    assert not torch.isclose(ends[1][[0, 2]], ends[0][[0, 2]], atol=1e-4).all(dim=1).any()


# what the networks see


@pytest.mark.parametrize("steps", [1, 4])
def test_inputs_stay_in_the_ball_and_in_the_range_of_the_data(make, plain, build, steps):
    objective, seen = recorder()
    modules, data = make.modules(build.perceptron, 3, torch.float32), make.data(3, dtype=torch.float32)
    specs = specs_of(make, steps, [0.3, 10.0, 0.0], batch_size=30)
    make.trainer(modules, data, specs, [7] * 3, objective=objective).run_epoch()
    lowest, highest = data.x.min(), data.x.max()
    for moved in seen:
        x = data.x[plain.order(7, 1, 30)]
        assert torch.equal(moved[2], x)
        assert 0 < (moved[0] - x).abs().max() <= 0.3 + 1e-6
        assert lowest <= moved.min()
        assert moved.max() <= highest
    edge = (seen[-1][1] == lowest) | (seen[-1][1] == highest)
    assert edge.double().mean() > 0.7  # in a ball that holds all of the data


@pytest.mark.parametrize(("optimizer", "gradients"), [("sgd", 1), ("sam", 2)])
def test_a_step_is_attacked_once_at_the_weights_before_it(make, plain, build, optimizer, gradients):
    objective, seen = recorder()
    module, data = make.modules(build.perceptron, 1)[0], make.data(1)
    spec = make.spec(optimizer=optimizer, batch_size=30, adversarial_epsilon=0.2, adversarial_steps=3)
    make.trainer([module], data, [spec], [7], objective=objective).run_epoch()
    assert len(seen) == 3 + gradients
    order = plain.order(7, 1, 30)
    x, start = data.x[order], plain_start(plain, data.x, 7, 1, 0)
    bounds = (data.x.min().item(), data.x.max().item())
    expected = plain_attack(module, x, data.y[0][order], start=start, radius=0.2, steps=3, bounds=bounds)
    for moved in seen[3:]:
        torch.testing.assert_close(moved[0], expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(seen[0][0], (x + 0.2 * start).clamp(*bounds), atol=1e-12, rtol=0)
    assert (seen[-1][0] - x).abs().max() <= 0.2 + 1e-12


def test_an_input_outside_of_the_range_is_not_pulled_into_it(make, plain, build):
    """Such as the black edge of a shifted image, where no image is black."""
    objective, seen = recorder()
    module, data = make.modules(build.perceptron, 1)[0], make.data(1)
    spec = make.spec(batch_size=30, adversarial_epsilon=0.1, adversarial_steps=1)
    trainer = make.trainer([module], data, [spec], objective=objective)
    assert trainer._rule.attack.highest == data.x.max()
    narrow = replace(trainer._rule.attack, lowest=torch.tensor(-0.5), highest=torch.tensor(0.5))
    trainer._rule = replace(trainer._rule, attack=narrow)
    trainer.run_epoch()
    x = data.x[plain.order(0, 1, 30)]
    for outside in (x > 0.5, x < -0.5):
        moved = (seen[-1][0] - x)[outside]
        assert ((moved * x[outside].sign()) <= 0).all()  # only inwards, by the radius at most
        assert moved.abs().max() <= 0.1 + 1e-12
        assert 0 < (moved == 0).double().mean() < 1


def test_bytes_are_attacked_as_the_numbers_that_networks_see(make, plain, build):
    objective, seen = recorder()
    pixels = torch.randint(0, 256, (30, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pixels[0, 0], pixels[0, 1] = 51, 255
    pixels = pixels.clamp(min=51)
    data = StackData(pixels, make.data(1).y)
    module = make.modules(build.perceptron, 1, torch.float32)[0]
    spec = make.spec(batch_size=30, adversarial_epsilon=0.1, adversarial_steps=2)
    trainer = make.trainer([module], data, [spec], objective=objective)
    trainer.run_epoch()
    x = pixels[plain.order(0, 1, 30)].float() / 255
    assert (seen[-1][0] - x).abs().max() <= 0.1 + 1e-6
    assert seen[-1].min() == torch.tensor(51.0) / 255
    assert seen[-1].max() == 1.0


# what an attack leaves alone


def test_statistics_are_of_what_the_networks_are_trained_on(make, build):
    modules, data = make.modules(build.convolution, 2), make.data(2, (2, 6, 6))
    objective, seen = recorder()
    specs = specs_of(make, 5, [0.3, 0.1], batch_size=30)
    trainer = make.trainer(modules, data, specs, objective=objective)
    trainer.run_epoch()
    assert trainer.buffers["1.num_batches_tracked"].tolist() == [1, 1]
    for place, module in enumerate(modules):
        mean = module[0](seen[-1][place]).mean(dim=(0, 2, 3)).detach()
        found = trainer.buffers["1.running_mean"][place]
        torch.testing.assert_close(found, 0.1 * mean, atol=1e-12, rtol=0)


def test_dropout_drops_the_same_in_the_attack_and_in_the_step(make):
    """Of a network of dropout and one layer, slopes are 0 where the mask is: nothing moves there."""
    objective, seen = recorder()
    modules = make.modules(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)), 1)
    spec = make.spec(batch_size=30, adversarial_epsilon=0.2, adversarial_steps=4)
    plain_spec = make.spec(batch_size=30)
    masks = []
    for one in (spec, plain_spec):
        trainer = make.trainer(modules, make.data(1), [one], objective=objective)
        masks.append(trainer._keys(1, 1)[0, :1])
        trainer.run_epoch()
    assert torch.equal(*masks)
    still = seen[4] == seen[0]  # where it began
    assert 0.3 < still.double().mean() < 0.7


def test_the_global_generator_is_left_alone(make, build):
    trainer = make.trainer(make.modules(build.perceptron, 3), make.data(3), specs_of(make, 2))
    before = torch.get_rng_state()
    trainer.run_epoch()
    assert torch.equal(torch.get_rng_state(), before)


def test_starts_of_other_networks_epochs_and_steps_have_nothing_in_common():
    cpu = torch.device("cpu")
    keys = torch.cat([attack_keys([0, 1, 2], epoch, steps=4, device=cpu) for epoch in (1, 2)])
    assert keys.shape == (8, 1, 3)
    assert len(keys.unique()) == 24
    assert torch.equal(attack_keys([1], 2, steps=4, device=cpu)[:, 0, 0], keys[4:, 0, 1])


@pytest.mark.parametrize("kind", SHAPES)
def test_neighbours_of_a_network_of_nan_keep_their_bits(make, build, kind):
    ends = []
    for sick in (False, True):
        modules = make.modules(getattr(build, kind), 3, torch.float32)
        data = make.data(3, SHAPES[kind], dtype=torch.float32)
        trainer = make.trainer(modules, data, specs_of(make, 2))
        if sick:
            trainer.parameters[1, 0] = float("nan")
        losses = make.epochs(trainer, 2)
        ends.append((trainer.weights, losses))
    assert ends[1][1][:, 1].isnan().all()
    assert torch.equal(ends[1][0][[0, 2]], ends[0][0][[0, 2]])


def test_after_a_selection_each_network_keeps_its_radius(make, build):
    modules, data, specs = make.modules(build.perceptron, 3), make.data(3), specs_of(make, 2)
    whole, picked = make.trainer(modules, data, specs), make.trainer(modules, data, specs)
    make.epochs(whole, 2)
    picked.run_epoch()
    picked.select([2, 0], [picked.rows[2], picked.rows[0]])
    picked.run_epoch()
    torch.testing.assert_close(picked.weights, whole.weights[[2, 0]], atol=1e-12, rtol=0)


def test_the_first_steps_alone_are_attacked_too(make, build):
    objective, seen = recorder()
    trainer = make.trainer(
        make.modules(build.perceptron, 3), make.data(3), specs_of(make, 2), objective=objective
    )
    trainer.run_steps(2)
    assert len(seen) == 2 * (2 + 1)


# half precision


def attacked(make, build, precision, factor=1.0):
    """What a network sees in its first step, which attacks a multiple of its loss."""
    objective, seen = recorder(lambda network, x, y: factor * cross_entropy(network, x, y))
    modules, data = make.modules(build.perceptron, 2, torch.float32), make.data(2, dtype=torch.float32)
    specs = specs_of(make, 2, [0.3, 0.1], batch_size=30, precision=precision)
    trainer = make.trainer(modules, data, specs, objective=objective)
    losses = trainer.run_epoch()
    assert losses.isfinite().all()
    assert trainer.weights.isfinite().all()
    return seen[-1]


@pytest.mark.parametrize(("precision", "factor"), [("bfloat16", 1), ("float16", 1), ("float16", 1e-7)])
def test_attacks_in_half_precision_go_where_those_in_float32_do(make, build, precision, factor):
    """Also where the slopes themselves are below the numbers of float16."""
    exact, half = attacked(make, build, "float32"), attacked(make, build, precision, factor)
    assert half.dtype == torch.float32
    assert torch.isclose(half, exact, atol=1e-5).double().mean() > 0.95


def test_an_attack_that_overflows_moves_nothing_out_of_the_numbers(make, build):
    objective, seen = recorder()
    modules, data = make.modules(build.perceptron, 2, torch.float32), make.data(2, dtype=torch.float32)
    specs = specs_of(make, 2, [0.3, 0.1], batch_size=30, precision="float16")
    trainer = make.trainer(modules, data, specs, objective=objective)
    trainer.slots["loss_scale"][1] = 2.0**40
    before = trainer.parameters.clone()
    losses = trainer.run_epoch()
    assert all(moved.isfinite().all() for moved in seen)
    assert losses.isfinite().all()
    assert (trainer.parameters != before).any(dim=1).tolist() == [True, False]


# what it is for


def robust_accuracy(module, x, y, radius):
    """Accuracy under 20 steps of projected gradient descent that know nothing of the training."""
    module, moved = module.eval(), x.clone()
    for _ in range(20):
        moved.requires_grad_()
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(module(moved), y), moved)
        moved = moved.detach() + radius / 5 * slope.sign()
        moved = torch.minimum(torch.maximum(moved, x - radius), x + radius).clamp(0, 1)
    return (module(moved).argmax(1) == y).double().mean().item()


def test_a_network_that_is_trained_so_is_more_robust(make):
    dataset, options = DatasetSpecification(name="digits"), {"name": "mlp", "width": 32, "depth": 1}
    architecture, radius = ArchitectureSpecification.model_validate(options), 0.1
    digits, shape = datasets.load(dataset), datasets.shape(dataset)
    module, layout = architectures.build(architecture, shape), architectures.layout(architecture, shape)
    architectures.initialise(architecture, module, torch.Generator().manual_seed(0))
    weights = flatten(module.state_dict(), layout).expand(2, -1)
    specs = specs_of(make, 3, [0.0, radius], batch_size=50, epochs=10, momentum=0.9)
    data = StackData(digits.train.x, digits.train.y.expand(2, -1))
    ends = train_stack(module, layout, weights, data, training=specs, order_seeds=[0, 0])
    found = []
    for end in ends:
        module.load_state_dict(unflatten(end, layout))
        found.append(robust_accuracy(module, digits.test.x, digits.test.y, radius))
    assert found[1] > found[0] + 0.1
    assert found[1] > 0.5


# errors


def test_tokens_are_no_numbers_that_an_attack_could_move(make, build):
    data = StackData(torch.zeros(30, 5, dtype=torch.int64), make.data(3).y)
    with pytest.raises(
        SpecificationError,
        match=r"adversarial training moves inputs that are numbers, such as pixels; the inputs of this "
        r"dataset are tokens \(torch.int64\); leave adversarial_epsilon and adversarial_steps out",
    ):
        make.trainer(make.modules(build.perceptron, 3), data, specs_of(make, 2))


def test_points_of_an_equation_are_not_attacked(make, build):
    with pytest.raises(SpecificationError, match="are points at which an equation is to hold; leave"):
        make.trainer(make.modules(build.perceptron, 3), make.data(3), specs_of(make, 2), objective=convection)
    assert input_range(torch.tensor([[2.0, -1.0]]), cross_entropy) == (-1, 2)


@pytest.mark.parametrize("other", [{}, {"adversarial_epsilon": 0.1, "adversarial_steps": 7}])
def test_unequal_steps_in_one_stack_are_refused(make, build, other):
    specs = [make.spec(adversarial_epsilon=0.1, adversarial_steps=2), make.spec(**other)]
    steps = sorted([2, other.get("adversarial_steps", 0)])
    expected = rf"as many steps in every attack, got adversarial_steps \[{steps[0]}, {steps[1]}\] \(0 for no"
    with pytest.raises(SpecificationError, match=expected):
        make.trainer(make.modules(build.perceptron, 2), make.data(2), specs)
    trainer = make.trainer(make.modules(build.perceptron, 2), make.data(2), [specs[0]] * 2)
    with pytest.raises(SpecificationError, match="put them into stacks of their own"):
        trainer.select([0, 1], [Row(spec, 0) for spec in specs])


# the specification


def test_a_specification_knows_what_an_attack_does_not_use(make):
    both = {"adversarial_epsilon", "adversarial_steps"}
    assert make.spec().unused >= both
    assert make.spec(adversarial_epsilon=0.1, adversarial_steps=1).unused.isdisjoint(both)
    assert make.spec(adversarial_epsilon=0, adversarial_steps=1).unused & both == {"adversarial_steps"}


def test_an_attack_stands_in_the_json_and_no_attack_does_not(make):
    assert not {"adversarial_epsilon", "adversarial_steps"} & make.spec().model_dump().keys()
    shown = make.spec(adversarial_epsilon=0, adversarial_steps=1).model_dump()
    assert (shown["adversarial_epsilon"], shown["adversarial_steps"]) == (0.0, 1)
