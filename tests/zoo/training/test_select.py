import pytest
import torch

from zoo.training import Row

OPTIMIZERS = {
    "sgd": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "adam": {},
    "adamw": {"weight_decay": 0.1},
    "sam": {"momentum": 0.9},
}


def started(make, build, name, *, precision="float32", chunk=None, epochs=2):
    dtype = torch.float64 if precision == "float32" else torch.float32
    modules, data = make.modules(build.convolution, 4, dtype), make.data(4, (2, 6, 6), dtype=dtype)
    specs = [
        make.spec(optimizer=name, learning_rate=r, epochs=6, precision=precision, **OPTIMIZERS[name])
        for r in (0.01, 0.02, 0.03, 0.04)
    ]
    trainer = make.trainer(modules, data, specs, chunk=chunk)
    make.epochs(trainer, epochs)
    return trainer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_and_slots_travel_unchanged_with_the_rows_that_are_kept(make, build, name):
    trainer = started(make, build, name, precision="float16")
    before, targets, rows = trainer.state(), trainer.data.y, trainer.rows
    trainer.select([3, 1], [trainer.rows[3], trainer.rows[1]])
    after = trainer.state()
    assert set(after) == {"weights", *trainer.slots}
    assert {"loss_scale", "good_steps"} < set(after)
    for key, values in after.items():
        assert torch.equal(values, before[key][[3, 1]])
    assert torch.equal(trainer.data.y, targets[[3, 1]])
    assert trainer.rows == [rows[3], rows[1]]
    assert trainer.epoch == 2


@pytest.mark.parametrize(("name", "chunk"), [*((name, None) for name in OPTIMIZERS), ("sgd", 1), ("adam", 1)])
def test_the_others_go_on_as_if_no_row_had_left(make, build, name, chunk):
    whole, part = started(make, build, name, chunk=chunk), started(make, build, name, chunk=chunk)
    part.select([0, 2], [part.rows[0], part.rows[2]])
    losses = [make.epochs(trainer, 2) for trainer in (whole, part)]
    for name_, values in part.slots.items():
        torch.testing.assert_close(values, whole.slots[name_][[0, 2]], atol=1e-9, rtol=0)
    torch.testing.assert_close(part.weights, whole.weights[[0, 2]], atol=1e-9, rtol=0)
    torch.testing.assert_close(losses[1], losses[0][:, [0, 2]], atol=1e-9, rtol=0)
    if chunk == 1:
        assert torch.equal(part.weights, whole.weights[[0, 2]])


def test_in_float32_too_the_others_hardly_notice(make, build):
    ends = []
    for kept in ([0, 1, 2, 3], [0, 2]):
        modules = make.modules(build.perceptron, 4, torch.float32)
        trainer = make.trainer(modules, make.data(4, dtype=torch.float32), [make.spec(momentum=0.9)] * 4)
        make.epochs(trainer, 2)
        trainer.select(kept, [trainer.rows[place] for place in kept])
        make.epochs(trainer, 2)
        ends.append(trainer.weights)
    torch.testing.assert_close(ends[1], ends[0][[0, 2]], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_doubled_row_with_equal_seeds_stays_equal_and_with_another_parts(make, build, name):
    trainer = started(make, build, name, chunk=1)
    row = trainer.rows[1]
    trainer.select([1, 1, 1], [row, row, Row(row.training, 99)])
    assert trainer.parameters.data_ptr() != trainer.parameters[1].data_ptr()
    make.epochs(trainer, 2)
    first, second, third = trainer.weights
    assert torch.equal(first, second)
    assert (first - third).abs().max() > 1e-4


def test_a_fork_changes_what_it_names_and_goes_on_with_the_rest(make, plain, build):
    module, data = make.modules(build.perceptron, 1)[0], make.data(1)
    spec = make.spec(momentum=0.9, epochs=6, schedule="cosine")
    trainer = make.trainer([module], data, [spec])
    make.epochs(trainer, 3)
    forked = spec.model_copy(update={"learning_rate": 0.05})
    trainer.select([0, 0], [Row(spec, 0), Row(forked, 8)])
    make.epochs(trainer, 3)
    close = {"atol": 1e-11, "rtol": 0}
    trunk = plain.loop(module, spec, 0, data.x, data.y[0]).weights
    torch.testing.assert_close(trainer.weights[0], trunk, **close)
    # by hand: the momentum and the schedule go on, the rate's peak and the order are new
    half = plain.loop(module, spec, 0, data.x, data.y[0], epochs=3)
    rates = plain.optimizer(torch.nn.Linear(1, 1), forked)
    schedule = plain.schedule(rates, forked, 4)
    for step in range(24):
        if step >= 12:
            picked = plain.order(8, 1 + step // 4, 30).split(8)[step % 4]
            half.optimizer.param_groups[0]["lr"] = rates.param_groups[0]["lr"]
            half.module.zero_grad()
            torch.nn.functional.cross_entropy(half.module(data.x[picked]), data.y[0][picked]).backward()
            half.optimizer.step()
        rates.step()
        schedule.step()
    torch.testing.assert_close(trainer.weights[1], plain.flat(half.module), **close)


def test_items_and_bounds_travel_too(make, plain, build):
    modules, data = make.modules(build.perceptron, 3), make.data(3)
    items = torch.stack([torch.arange(place, place + 16) for place in range(3)])
    data = type(data)(data.x, data.y, items)
    specs = [make.spec(gradient_clip=clip) for clip in (None, 0.05, 0.1)]
    trainer = make.trainer(modules, data, specs)
    make.epochs(trainer, 1)
    trainer.select([2, 0], [trainer.rows[2], trainer.rows[0]])
    make.epochs(trainer, 2)
    for at, place in enumerate([2, 0]):
        used = items[place]
        expected = plain.loop(modules[place], specs[place], place, data.x[used], data.y[place, used])
        torch.testing.assert_close(trainer.weights[at], expected.weights, atol=1e-11, rtol=0)
