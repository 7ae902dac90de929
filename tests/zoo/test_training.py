import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from zoo import architectures, datasets
from zoo.errors import SpecificationError, UnknownNameError
from zoo.spec import ArchitectureSpecification, TrainingSpecification
from zoo.training import StackData, epoch_order, evaluate_logits, stack_logits, stream, train_stack
from zoo.training.schedules import factor
from zoo.weights import flatten, unflatten

ARCHITECTURE = ArchitectureSpecification.model_validate({"name": "mlp", "width": 6})
SHAPE = datasets.shape("digits")
LAYOUT = architectures.layout(ARCHITECTURE, SHAPE)
ITEMS, EPOCHS = 150, 3


def training(rate=0.1, **changes):
    fields = {
        "learning_rate": rate,
        "batch_size": 32,
        "epochs": EPOCHS,
        "momentum": 0.9,
        "weight_decay": 1e-3,
    }
    return TrainingSpecification.model_validate({**fields, **changes})


def start(seeds):
    module = architectures.build(ARCHITECTURE, SHAPE)
    rows = []
    for seed in seeds:
        architectures.initialise(ARCHITECTURE, module, stream(seed, "init"))
        rows.append(flatten(module.state_dict(), LAYOUT))
    return torch.stack(rows)


def data(models, dtype=torch.float32):
    items = datasets.load("digits").train
    return StackData(items.x[:ITEMS].to(dtype), items.y[:ITEMS].repeat(models, 1))


def run(weights, specs, seeds, given=None, **changes):
    module = architectures.build(ARCHITECTURE, SHAPE).to(weights.dtype)
    given = given or data(len(weights), weights.dtype)
    return train_stack(module, LAYOUT, weights, given, training=specs, order_seeds=seeds, **changes)


def plain_loop(vector, spec, seed, given, place):
    """The same training as anyone would write it: one module, torch.optim.SGD, LambdaLR."""
    module = architectures.build(ARCHITECTURE, SHAPE).to(vector.dtype)
    module.load_state_dict(unflatten(vector, LAYOUT))
    rates = {"lr": spec.learning_rate, "momentum": spec.momentum, "weight_decay": spec.weight_decay}
    optimizer = torch.optim.SGD(module.parameters(), **rates)
    total = spec.epochs * math.ceil(ITEMS / spec.batch_size)
    shapes = {"constant": lambda _: 1.0, "cosine": lambda t: (1 + math.cos(math.pi * t / total)) / 2}
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shapes[spec.schedule])
    for epoch in range(1, spec.epochs + 1):
        order = torch.randperm(ITEMS, generator=stream(seed, "order", epoch))
        for picked in order.split(spec.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(given.x[picked]), given.y[place][picked]).backward()
            optimizer.step()
            schedule.step()
    state = module.state_dict()
    return torch.cat([state[entry.name].reshape(-1) for entry in LAYOUT.entries])


# training


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_stack_trains_as_torch_optim_does(dtype, tolerance, schedule):
    specs = [
        training(0.01, schedule=schedule),
        training(0.1, schedule=schedule, momentum=0.0),
        training(0.3, schedule="cosine", weight_decay=0.0),
    ]
    weights, given = start([0, 1, 2]).to(dtype), data(3, dtype)
    trained = run(weights, specs, [5, 6, 7], given)
    assert trained.dtype == dtype
    for place, spec in enumerate(specs):
        alone = plain_loop(weights[place], spec, 5 + place, given, place)
        torch.testing.assert_close(trained[place], alone, atol=tolerance, rtol=0)
        assert (trained[place] - weights[place]).norm() > 0.02


def test_a_model_alone_ends_where_it_ends_in_a_stack():
    specs = [training(rate) for rate in (0.01, 0.1, 0.3)]
    weights = start([0, 1, 2])
    together = run(weights, specs, [0, 1, 2])
    for place in range(3):
        alone = run(weights[place : place + 1], specs[place : place + 1], [place])
        torch.testing.assert_close(alone[0], together[place], atol=1e-4, rtol=0)


def test_a_model_that_leaves_the_numbers_never_touches_its_neighbours():
    specs, weights = [training()] * 3, start([0, 1, 2])
    sick = weights.clone()
    sick[1, 0] = float("nan")
    well, ill = run(weights, specs, [0, 1, 2]), run(sick, specs, [0, 1, 2])
    assert torch.isnan(ill[1]).any()
    torch.testing.assert_close(ill[[0, 2]], well[[0, 2]], atol=1e-6, rtol=0)


def test_the_given_weights_are_left_as_they_were():
    weights = start([0])
    before = weights.clone()
    run(weights, [training()], [0])
    assert torch.equal(weights, before)


def test_each_epoch_reports_the_mean_loss_of_its_items():
    seen = []
    weights, given = start([0, 1]), data(2)
    specs = [training(1e-12, momentum=0.0)] * 2
    run(
        weights,
        specs,
        [0, 1],
        given,
        on_epoch=lambda epoch, _weights, losses: seen.append((epoch, losses.clone())),
    )
    module = architectures.build(ARCHITECTURE, SHAPE)
    logits = evaluate_logits(module, LAYOUT, weights, given.x)
    expected = torch.stack(
        [nn.functional.cross_entropy(row, y) for row, y in zip(logits, given.y, strict=True)]
    )
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    torch.testing.assert_close(seen[-1][1], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"epochs": 4}])
def test_unequal_batch_sizes_or_epochs_are_refused(change):
    with pytest.raises(
        SpecificationError, match=r"one stack has one batch size and one number of epochs, got"
    ):
        run(start([0, 1]), [training(), training(**change)], [0, 1])


def test_own_labels_are_learnt_by_each_model():
    given = data(2)
    shifted = StackData(given.x, torch.stack([given.y[0], (given.y[0] + 1) % 10]))
    trained = run(start([1, 1]), [training(0.05, epochs=60)] * 2, [0, 0], shifted)
    logits = evaluate_logits(architectures.build(ARCHITECTURE, SHAPE), LAYOUT, trained, given.x)
    hits = (logits.argmax(-1) == shifted.y).double().mean(1)
    assert hits.min() > 0.5


# forward


def test_logits_of_a_stack_are_those_of_each_module():
    weights, given = start([0, 1]), data(2)
    module = architectures.build(ARCHITECTURE, SHAPE)
    shared = evaluate_logits(module, LAYOUT, weights, given.x)
    own = stack_logits(module, LAYOUT, weights, given.x.expand(2, *given.x.shape))
    for place in range(2):
        module.load_state_dict(unflatten(weights[place], LAYOUT))
        with torch.no_grad():
            expected = module(given.x)
        torch.testing.assert_close(shared[place], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own[place], expected, atol=1e-5, rtol=1e-5)
    assert not module.training


# schedules


def test_cosine_is_that_of_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for step in range(100):
        assert factor("cosine", step, 100) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()


def test_schedules_begin_at_the_peak():
    assert factor("constant", 7, 9) == factor("cosine", 0, 9) == 1.0
    assert factor("cosine", 1, 3) == pytest.approx(float(Fraction(3, 4)), abs=1e-15)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(UnknownNameError, match=r"unknown schedule 'cosin'; did you mean 'cosine'"):
        factor("cosin", 0, 1)


# streams


def test_streams_are_deterministic_and_differ_in_each_argument():
    draws = [
        torch.rand(1000, generator=stream(*key)).numpy()
        for key in (
            (0, "order", 1),
            (1, "order", 1),
            (0, "init", 1),
            (0, "order", 2),
            (0, "order", 11),
            (11, "order", 0),
        )
    ]
    assert np.array_equal(draws[0], torch.rand(1000, generator=stream(0, "order", 1)).numpy())
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.15  # five standard errors of 1,000 draws


def test_streams_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    torch.rand(3, generator=stream(0, "order"))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_order_is_a_permutation_that_does_not_depend_on_the_neighbours():
    order = epoch_order([3, 4], 2, 50)
    assert torch.equal(order.sort(dim=1).values, torch.arange(50).repeat(2, 1))
    assert torch.equal(epoch_order([4], 2, 50)[0], order[1])
    assert not torch.equal(epoch_order([4], 3, 50)[0], order[1])
