import numpy as np
import pytest
import torch
from torch import nn

from zoo.training.hyperparameters import EpochTable
from zoo.training.schedules import learning_rates, momenta

STEPS = 7  # to an epoch
SCHEDULES = [
    {"schedule": "constant"},
    {"schedule": "constant", "warmup_epochs": 3},
    {"schedule": "cosine"},
    {"schedule": "cosine", "warmup_epochs": 4},
    {"schedule": "step", "decay_epochs": 5, "decay_factor": 0.3},
    {"schedule": "step", "decay_epochs": 2, "warmup_epochs": 3},
    {"schedule": "one-cycle"},
]
NAMES = ["-".join(map(str, change.values())) for change in SCHEDULES]
EPOCHS = 16  # 112 steps
OPTIMIZERS = {"sgd": {"momentum": 0.8}, "nesterov": {"momentum": 0.7}, "adam": {"beta1": 0.6}, "adamw": {}}


def torch_says(plain, spec, steps_per_epoch):
    """Learning rate and momentum of every step, read off torch's optimiser."""
    optimizer = plain.optimizer(nn.Linear(1, 1), spec)
    schedule, seen = plain.schedule(optimizer, spec, steps_per_epoch), []
    for step in range(spec.epochs * steps_per_epoch):
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        optimizer.step()
        if step + 1 < spec.epochs * steps_per_epoch:
            schedule.step()
    return np.array(seen)


def ours(spec, steps_per_epoch):
    steps = np.arange(spec.epochs * steps_per_epoch, dtype=np.float64)
    pair = [of(spec, steps, steps_per_epoch=steps_per_epoch) for of in (learning_rates, momenta)]
    return np.stack(pair, axis=1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("change", SCHEDULES, ids=NAMES)
def test_rate_and_momentum_of_every_step_are_those_of_torch(make, plain, change, optimizer):
    fields = {"epochs": EPOCHS, "learning_rate": 0.7, "optimizer": optimizer, **OPTIMIZERS[optimizer]}
    spec = make.spec(**fields, **change)
    np.testing.assert_allclose(ours(spec, STEPS), torch_says(plain, spec, STEPS), atol=1e-9, rtol=0)


@pytest.mark.parametrize("change", SCHEDULES, ids=NAMES)
@pytest.mark.parametrize("steps_per_epoch", [1, 2])
def test_few_steps_to_an_epoch_are_no_special_case(make, plain, change, steps_per_epoch):
    spec = make.spec(epochs=EPOCHS, momentum=0.9, **change)
    expected = torch_says(plain, spec, steps_per_epoch)
    np.testing.assert_allclose(ours(spec, steps_per_epoch), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("total", [1, 2, 3, 10])  # at 10, 0.3 total - 1 is a whole number of steps
def test_a_short_cycle_is_that_of_torch(make, plain, total):
    if total == 1:  # torch divides by zero here; what counts is that we give a number
        assert np.isfinite(ours(make.spec(epochs=1, schedule="one-cycle"), 1)).all()
        return
    spec = make.spec(epochs=total, schedule="one-cycle")
    np.testing.assert_allclose(ours(spec, 1), torch_says(plain, spec, 1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("change", SCHEDULES, ids=NAMES)
def test_epoch_by_epoch_a_schedule_goes_on_where_it_was(make, change):
    spec = make.spec(epochs=EPOCHS, momentum=0.9, **change)
    like = torch.zeros(1, dtype=torch.float64)
    seen = []
    for epoch in range(1, EPOCHS + 1):
        table = EpochTable([spec], epoch, steps_per_epoch=STEPS, like=like)
        hypers = [table.at(step, slice(0, 1)) for step in range(STEPS)]
        seen += [[hyper.learning_rate.item(), hyper.momentum.item()] for hyper in hypers]
    np.testing.assert_array_equal(np.array(seen), ours(spec, STEPS))


@pytest.mark.parametrize("change", SCHEDULES, ids=NAMES)
def test_a_resumed_trainer_goes_on_with_its_schedule(make, plain, build, change):
    module, data = make.modules(build.perceptron, 1)[0], make.data(1)
    spec = make.spec(epochs=12, momentum=0.9, **change)
    first = make.trainer([module], data, [spec])
    make.epochs(first, 5)
    resumed = make.trainer([module], data, [spec])
    resumed.load(first.state(), 5)
    make.epochs(resumed, 7)
    expected = plain.loop(module, spec, 0, data.x, data.y[0]).weights
    torch.testing.assert_close(resumed.weights[0], expected, atol=1e-11, rtol=0)


def test_a_schedule_that_restarts_would_be_seen(make, plain, build):
    module, data = make.modules(build.perceptron, 1)[0], make.data(1)
    spec = make.spec(epochs=12, schedule="cosine")
    first = make.trainer([module], data, [spec])
    make.epochs(first, 5)
    resumed = make.trainer([module], data, [spec])
    resumed.load(first.state(), 0)
    make.epochs(resumed, 7)
    expected = plain.loop(module, spec, 0, data.x, data.y[0]).weights
    assert (resumed.weights[0] - expected).abs().max() > 1e-3


@pytest.mark.parametrize("chunk", [None, 2, 1])
def test_rows_of_one_stack_have_schedules_and_lengths_of_their_own(make, plain, build, chunk):
    changes = [{**change, "epochs": 6 + place} for place, change in enumerate(SCHEDULES)]
    specs = [make.spec(momentum=0.9, **change) for change in changes]
    modules, data = make.modules(build.perceptron, len(specs)), make.data(len(specs))
    trainer = make.trainer(modules, data, specs, chunk=chunk)
    left, ends = list(range(len(specs))), {}
    while left:
        trainer.run_epoch()
        ends |= {
            place: trainer.weights[at]
            for at, place in enumerate(left)
            if specs[place].epochs == trainer.epoch
        }
        kept = [at for at, place in enumerate(left) if place not in ends]
        left = [left[at] for at in kept]
        if left:
            trainer.select(kept, [trainer.rows[at] for at in kept])
    for place, spec in enumerate(specs):
        expected = plain.loop(modules[place], spec, place, data.x, data.y[place]).weights
        torch.testing.assert_close(ends[place], expected, atol=1e-11, rtol=0)


def test_one_cycle_cycles_the_momentum_whatever_its_own_field_says(make):
    momentum = [ours(make.spec(epochs=9, schedule="one-cycle", momentum=m), 3)[:, 1] for m in (0.0, 0.5)]
    assert np.array_equal(*momentum)
    assert (momentum[0][0], momentum[0].min().round(3)) == (0.95, 0.85)


def test_schedules_begin_at_the_peak_and_warm_up_to_it(make):
    for change in SCHEDULES[:6]:
        spec = make.spec(epochs=EPOCHS, learning_rate=0.5, **change)
        rates = ours(spec, STEPS)[:, 0]
        warmup = spec.warmup_epochs * STEPS
        assert rates[warmup] == rates.max() == 0.5
        if warmup:
            assert rates[0] == pytest.approx(0.5 / warmup, rel=1e-12)


def test_a_table_has_a_column_for_each_row(make):
    specs = [
        make.spec(learning_rate=r, weight_decay=d, beta2=b) for r, d, b in ((1, 0.1, 0.5), (2, 0.2, 0.25))
    ]
    table = EpochTable(specs, 2, steps_per_epoch=3, like=torch.zeros(1, dtype=torch.float64))
    hyper = table.at(1, slice(0, 2))  # the fifth step
    assert hyper.learning_rate.flatten().tolist() == [1, 2]
    assert hyper.weight_decay.flatten().tolist() == [0.1, 0.2]
    assert hyper.correction2.flatten().tolist() == [1 - 0.5**5, 1 - 0.25**5]
    assert table.at(1, slice(1, 2)).fresh2.tolist() == [[0.75]]
