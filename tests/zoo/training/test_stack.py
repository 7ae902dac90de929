import dataclasses
import re

import pytest
import torch
from torch import nn

import zoo.training.stack
from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification
from zoo.training import Row, StackData, evaluate_logits, stream, train_stack
from zoo.training.stack import shared_settings
from zoo.weights import flatten, unflatten

ARCHITECTURE = ArchitectureSpecification.model_validate({"name": "mlp", "width": 6})
SHAPE = datasets.shape("digits")
LAYOUT = architectures.layout(ARCHITECTURE, SHAPE)
ITEMS = 150


def start(seeds):
    module = architectures.build(ARCHITECTURE, SHAPE)
    rows = []
    for seed in seeds:
        architectures.initialise(ARCHITECTURE, module, stream(seed, "init"))
        rows.append(flatten(module.state_dict(), LAYOUT))
    return torch.stack(rows)


def digits(models, dtype=torch.float32):
    items = datasets.load("digits").train
    return StackData(items.x[:ITEMS].to(dtype), items.y[:ITEMS].repeat(models, 1))


def run(weights, specs, seeds, given=None, **changes):
    module = architectures.build(ARCHITECTURE, SHAPE).to(weights.dtype)
    given = given or digits(len(weights), weights.dtype)
    return train_stack(module, LAYOUT, weights, given, training=specs, order_seeds=seeds, **changes)


@pytest.fixture
def training(make):
    def spec(rate=0.1, **changes):
        fields = {"learning_rate": rate, "batch_size": 32, "momentum": 0.9, "weight_decay": 1e-3}
        return make.spec(**{**fields, **changes})

    return spec


def close(got, expected, tolerance=1e-9):
    torch.testing.assert_close(got, expected, atol=tolerance, rtol=0)


# train_stack


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_stack_trains_as_torch_optim_does(training, plain, dtype, tolerance, schedule):
    specs = [
        training(0.01, schedule=schedule),
        training(0.1, schedule=schedule, momentum=0.0),
        training(0.3, schedule="cosine", weight_decay=0.0),
    ]
    weights, given = start([0, 1, 2]).to(dtype), digits(3, dtype)
    trained = run(weights, specs, [5, 6, 7], given)
    assert trained.dtype == dtype
    for place, spec in enumerate(specs):
        module = architectures.build(ARCHITECTURE, SHAPE).to(dtype)
        module.load_state_dict(unflatten(weights[place], LAYOUT))
        alone = plain.loop(module, spec, 5 + place, given.x, given.y[place]).weights
        close(trained[place], alone, tolerance)
        assert (trained[place] - weights[place]).norm() > 0.02


def test_another_data_order_in_the_reference_would_be_seen(training, plain):
    weights, given, spec = start([0]).double(), digits(1, torch.float64), training()
    trained = run(weights, [spec], [5], given)[0]
    module = architectures.build(ARCHITECTURE, SHAPE).double()
    module.load_state_dict(unflatten(weights[0], LAYOUT))
    same, other = (plain.loop(module, spec, seed, given.x, given.y[0]).weights for seed in (5, 6))
    assert (trained - same).abs().max() < 1e-12
    assert (trained - other).abs().max() > 1e-2


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.101},
        {"momentum": 0.89},
        {"weight_decay": 2e-3},
        {"schedule": "cosine"},
        {"batch_size": 31},
        {"gradient_clip": 0.1},
        {"optimizer": "nesterov"},
        {"optimizer": "sam"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_setting_in_the_reference_would_be_seen(training, plain, make, build, change):
    module, data, spec = make.modules(build.perceptron, 1)[0], make.data(1), training(batch_size=8)
    trainer = make.trainer([module], data, [spec])
    make.epochs(trainer, 3)
    other = training(**{"batch_size": 8, **change})
    reference = plain.loop(module, other, 0, data.x, data.y[0], epochs=3).weights
    assert (trainer.weights[0] - reference).abs().max() > 1e-6


def test_a_model_alone_ends_where_it_ends_in_a_stack(training):
    specs = [training(rate) for rate in (0.01, 0.1, 0.3)]
    weights = start([0, 1, 2])
    together = run(weights, specs, [0, 1, 2])
    for place in range(3):
        alone = run(weights[place : place + 1], specs[place : place + 1], [place])
        close(alone[0], together[place], 1e-4)


def test_the_given_weights_are_left_as_they_were(training):
    weights = start([0])
    before = weights.clone()
    run(weights, [training()], [0])
    assert torch.equal(weights, before)


def test_each_epoch_reports_the_mean_loss_of_its_items(training):
    seen = []
    weights, given = start([0, 1]), digits(2)
    specs = [training(1e-12, momentum=0.0)] * 2
    run(weights, specs, [0, 1], given, on_epoch=lambda *args: seen.append(args))
    module = architectures.build(ARCHITECTURE, SHAPE)
    logits = evaluate_logits(module, LAYOUT, weights, given.x)
    expected = [nn.functional.cross_entropy(row, y) for row, y in zip(logits, given.y, strict=True)]
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    for _, at_epoch, losses in seen:
        close(at_epoch, weights, 1e-8)
        close(losses, torch.stack(expected), 1e-5)


def test_own_labels_are_learnt_by_each_model(training):
    given = digits(2)
    shifted = StackData(given.x, torch.stack([given.y[0], (given.y[0] + 1) % 10]))
    trained = run(start([1, 1]), [training(0.05, epochs=60)] * 2, [0, 0], shifted)
    logits = evaluate_logits(architectures.build(ARCHITECTURE, SHAPE), LAYOUT, trained, given.x)
    hits = (logits.argmax(-1) == shifted.y).double().mean(1)
    assert hits.min() > 0.5


# what a row has of its own


@pytest.mark.parametrize("chunk", [None, 2, 1])
def test_rows_see_their_own_items(make, plain, build, chunk):
    modules, data = make.modules(build.perceptron, 3), make.data(3)
    items = torch.stack([torch.arange(0, 18), torch.arange(12, 30), torch.tensor([3, 3, 29] * 6)])
    data = dataclasses.replace(data, items=items)
    assert data.used == 18
    specs = [make.spec(learning_rate=r) for r in (0.1, 0.2, 0.3)]
    trainer = make.trainer(modules, data, specs, chunk=chunk)
    losses = make.epochs(trainer, 3)
    assert trainer.steps_per_epoch == 3
    for place, spec in enumerate(specs):
        sliced = plain.loop(modules[place], spec, place, data.x[items[place]], data.y[place, items[place]])
        close(trainer.weights[place], sliced.weights)
        close(losses[:, place], torch.tensor(sliced.losses, dtype=torch.float64))


@pytest.mark.parametrize("chunk", [None, 1])
def test_rows_that_differ_in_everything_train_as_each_would_alone(make, plain, build, chunk):
    modules, data = make.modules(build.perceptron, 4), make.data(4)
    noisy = torch.randint(3, data.y.shape, generator=torch.Generator().manual_seed(3))
    data = dataclasses.replace(data, y=torch.where(torch.rand(data.y.shape) < 0.3, noisy, data.y))
    specs = [
        make.spec(learning_rate=0.1),
        make.spec(learning_rate=0.05, momentum=0.9, schedule="cosine", gradient_clip=0.2),
        make.spec(weight_decay=0.1, schedule="step", decay_epochs=2, epochs=5),
        make.spec(schedule="one-cycle", epochs=7),
    ]
    trainer = make.trainer(modules, data, specs, [11, 3, 3, 0], chunk=chunk)
    make.epochs(trainer, 3)
    for place, (spec, seed) in enumerate(zip(specs, [11, 3, 3, 0], strict=True)):
        expected = plain.loop(modules[place], spec, seed, data.x, data.y[place], epochs=3)
        close(trainer.weights[place], expected.weights)


def test_equal_rows_end_equal_and_each_seed_counts(make, build):
    modules, data = make.modules(build.perceptron, 1) * 3, make.data(1).select(torch.tensor([0, 0, 0]))
    trainer = make.trainer(modules, data, [make.spec()] * 3, [5, 5, 6])
    make.epochs(trainer, 3)
    assert torch.equal(trainer.weights[0], trainer.weights[1])
    assert (trainer.weights[0] - trainer.weights[2]).abs().max() > 1e-4


# how the work is cut


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 50])
def test_the_number_of_networks_at_once_changes_nothing(make, build, chunk):
    modules, data = make.modules(build.convolution, 5), make.data(5, (2, 6, 6))
    specs = [make.spec(learning_rate=0.01 * r) for r in range(1, 6)]
    ends = []
    for size in (None, chunk):
        trainer = make.trainer(modules, data, specs, chunk=size)
        losses = make.epochs(trainer, 2)
        ends.append((trainer.weights, losses))
    close(ends[1][0], ends[0][0])
    close(ends[1][1], ends[0][1])


def test_gathering_batch_by_batch_changes_nothing(monkeypatch, make, build):
    modules, data = make.modules(build.perceptron, 2, torch.float32), make.data(2, dtype=torch.float32)
    ends = []
    for limit in (64 << 20, 1, 2 * 8 * 5 * 4 * 2):  # all, one batch, two batches at a time
        monkeypatch.setattr(zoo.training.stack, "_MAX_GATHERED_BYTES", limit)
        trainer = make.trainer(modules, data, [make.spec()] * 2)
        make.epochs(trainer, 2)
        ends.append(trainer.weights)
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("chunk", [None, 1])
def test_some_steps_can_be_timed(make, build, chunk):
    trainer = make.trainer(
        make.modules(build.convolution, 3), make.data(3, (2, 6, 6)), [make.spec()] * 3, chunk=chunk
    )
    before = trainer.weights
    trainer.run_steps(2)
    assert trainer.buffers["1.num_batches_tracked"].tolist() == [2, 2, 2]
    assert (trainer.weights - before).norm(dim=1).min() > 0
    assert trainer.epoch == 0


def test_another_objective_can_be_minimised(make, build):
    def squares(network, x, y):
        return network(x).square().mean(dim=(1, 2))

    modules, data = make.modules(build.perceptron, 2), make.data(2)
    trainer = make.trainer(modules, data, [make.spec(epochs=20)] * 2, objective=squares)
    losses = make.epochs(trainer, 20)
    assert (losses[-1] < 0.05 * losses[0]).all()


# settings that cannot differ


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"optimizer": "adam"}, {"precision": "bfloat16"}])
def test_unequal_settings_of_one_stack_are_refused(training, change):
    specs = [training(), training(**change)]
    kinds = sorted({(t.optimizer, t.precision, t.batch_size) for t in specs})
    expected = (
        "one stack has one optimiser, one precision and one batch size, "
        f"got (optimizer, precision, batch_size) {kinds}; put them into stacks of their own"
    )
    with pytest.raises(SpecificationError, match=re.escape(expected)):
        run(start([0, 1]), specs, [0, 1])


def test_unequal_lengths_are_refused_where_one_call_trains_all(training):
    expected = "train_stack trains all networks equally long, got epochs [3, 4]; call it for each"
    with pytest.raises(SpecificationError, match=re.escape(expected)):
        run(start([0, 1]), [training(epochs=4), training()], [0, 1])


def test_shared_settings_are_optimiser_precision_and_batch_size(training):
    assert shared_settings([training(0.1), training(0.2, epochs=9)]) == ("sgd", "float32", 32)


def test_a_selection_of_unequal_settings_is_refused(make, build):
    trainer = make.trainer(make.modules(build.perceptron, 2), make.data(2), [make.spec()] * 2)
    with pytest.raises(SpecificationError, match="put them into stacks of their own"):
        trainer.select([0, 1], [Row(make.spec(), 0), Row(make.spec(batch_size=4), 1)])
