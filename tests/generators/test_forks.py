"""Pairs of seeds and forks: what siblings share to the last bit, and where they part."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from generators.engine.members import Members
from generators.grid import expand
from zoo import architectures, datasets
from zoo.cli import main as cli
from zoo.training import StackTrainer
from zoo.training.streams import stream

EPOCHS = 4


@pytest.fixture
def make(tiny_recipe):
    def make(training=None, **changes):
        fields = {"widths": [3], "learning_rates": [0.05], "checkpoints": [1, 2, 3], "seeds": [0, 1, 2]}
        return tiny_recipe(
            training={"epochs": EPOCHS, "batch_size": 200, **(training or {})}, **{**fields, **changes}
        )

    return make


@pytest.fixture
def rows(monkeypatch):
    """How many rows each epoch trains."""
    counts, real = [], StackTrainer.run_epoch
    monkeypatch.setattr(StackTrainer, "run_epoch", lambda self: counts.append(len(self.rows)) or real(self))
    return counts


def same(outcome, epoch):
    """Places of the models that have the same weights at an epoch, group by group."""
    places = sorted({place for place, _ in outcome.weights})
    groups = []
    for place in places:
        for group in groups:
            if np.array_equal(outcome.weights[group[0], epoch], outcome.weights[place, epoch]):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


# pairs of seeds


def test_same_initial_weights_and_another_order_part_after_the_first_epoch(make, engine):
    recipe = make(seeds=[{"init": 5, "order": 0}, {"init": 5, "order": 1}, {"init": 6, "order": 0}])
    outcome = engine.train(recipe)
    assert same(outcome, 0) == [[0, 1], [2]]
    assert same(outcome, 1) == [[0], [1], [2]]
    assert [(m["init_seed"], m["order_seed"]) for m in outcome.models] == [(5, 0), (5, 1), (6, 0)]


def test_one_seed_is_a_pair_of_equal_ones(make, engine):
    pair, seed = engine.train(make(seeds=[{"init": 5, "order": 5}])), engine.train(make(seeds=[5]))
    engine.assert_equal(pair, seed)


# forks


@pytest.mark.parametrize("fork", range(EPOCHS))
def test_siblings_share_every_bit_up_to_the_fork_and_differ_after(make, engine, rows, fork):
    outcome = engine.train(make(fork={"epoch": fork}))
    for epoch in range(EPOCHS + 1):
        assert same(outcome, epoch) == ([[0, 1, 2]] if epoch <= fork else [[0], [1], [2]])
    assert rows == [1] * fork + [3] * (EPOCHS - fork)  # the trunk is trained once


def test_a_trunk_is_the_model_that_never_forks(make, engine):
    """Up to the fork the seeds are the trunk's; after it the branch of that seed goes its way."""
    forked = engine.train(make(fork={"epoch": 2, "trunk_seed": 7}))
    plain = engine.train(make(seeds=[7]))
    for epoch in range(3):
        np.testing.assert_allclose(forked.weights[0, epoch], plain.weights[0, epoch], atol=1e-6)
    branch = engine.train(make(seeds=[7], fork={"epoch": 2, "trunk_seed": 7}))
    np.testing.assert_allclose(branch.last(0), plain.last(0), atol=1e-6)


def test_a_branch_does_not_depend_on_its_siblings(make, engine):
    together, alone = engine.train(make(fork={"epoch": 2})), engine.train(make(fork={"epoch": 2}, seeds=[2]))
    np.testing.assert_allclose(together.last(2), alone.last(0), atol=1e-6)


def test_the_order_seed_of_a_forked_model_is_that_of_its_branch(make, engine):
    models = engine.train(make(fork={"epoch": 2, "trunk_seed": 7})).models
    assert [(m["init_seed"], m["order_seed"]) for m in models] == [(7, 0), (7, 1), (7, 2)]


def plain_loop(spec):
    """The same training as anyone would write it, which switches at the fork."""
    data = datasets.load("digits")
    x, y = data.train.x, data.training_labels(spec.dataset)
    module = architectures.build(spec.architecture, datasets.shape("digits"))
    architectures.initialise(spec.architecture, module, stream(spec.seeds.init_seed, "init"))
    trunk, fork = spec.training, spec.fork
    optimizer = torch.optim.SGD(
        module.parameters(), lr=trunk.learning_rate, momentum=trunk.momentum, weight_decay=trunk.weight_decay
    )
    for epoch in range(1, trunk.epochs + 1):
        seed = spec.seeds.order_seed if epoch <= fork.epoch else spec.seeds.fork_seed
        if epoch == fork.epoch + 1:
            changes = {"lr": fork.learning_rate, "momentum": fork.momentum, "weight_decay": fork.weight_decay}
            optimizer.param_groups[0].update({k: v for k, v in changes.items() if v is not None})
        order = torch.randperm(len(x), generator=stream(seed, "order", epoch))
        for picked in order.split(trunk.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[picked]), y[picked]).backward()
            optimizer.step()
    return torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"learning_rate": 0.01},
        {"momentum": 0.5},
        {"weight_decay": 0.05},
        {"learning_rate": 0.2, "momentum": 0.0, "weight_decay": 0.01},
    ],
)
@pytest.mark.parametrize("fork", [0, 2])
def test_a_fork_is_what_a_plain_loop_that_switches_there_gives(make, engine, changes, fork):
    recipe = make(fork={"epoch": fork, **changes})
    outcome = engine.train(recipe)
    for place, model in enumerate(expand(recipe)):
        np.testing.assert_allclose(outcome.last(place), plain_loop(model.spec), atol=2e-5, rtol=0)


def test_a_trunk_that_diverges_ends_all_its_members(make, engine, rows):
    outcome = engine.train(make(learning_rates=[0.05, 1e38], fork={"epoch": 3}))
    assert outcome.status == ["finished"] * 3 + ["diverged"] * 3
    reasons = {model["reason"] for model in outcome.models[3:]}
    assert len(reasons) == 1
    assert "left the finite numbers in epoch" in reasons.pop()
    assert rows[0] == 2
    assert rows[-1] == 3


def test_a_branch_that_diverges_ends_alone(make, engine, rows):
    axes = {
        "load": {"architecture.width": [3]},
        "temperature": {"fork.learning_rate": [0.01, 1e38]},
    }
    outcome = engine.train(make(axes=axes, fork={"epoch": 2}, training={"learning_rate": 0.05}))
    assert outcome.status == ["finished"] * 3 + ["diverged"] * 3
    assert rows[:3] == [1, 1, 6]  # cells that differ in their branch alone share a trunk
    assert {model["train_steps"] for model in outcome.models[:3]} == {EPOCHS * 5}
    assert all((place, 2) in outcome.weights for place in range(6))


def test_a_checkpoint_of_the_trunk_belongs_to_each_of_its_members(make, engine):
    outcome = engine.train(make(fork={"epoch": 2}))
    assert sorted(outcome.weights) == list(itertools.product(range(3), range(EPOCHS + 1)))


# the epoch of the fork as an axis


@pytest.fixture
def along_the_fork(make):
    axes = {
        "load": {"architecture.width": [3, 4]},
        "temperature": {"training.learning_rate": [0.05, 0.1]},
        "other": {"fork.epoch": [0, 1, 3]},
    }
    return make(axes=axes, seeds=[0, 1])


def test_the_epoch_of_the_fork_is_an_axis_of_another_kind(along_the_fork, engine, rows, tmp_path):
    made = engine.generate(along_the_fork, tmp_path / "zoo")
    # a trunk a width and rate; then two branches of the first fork beside the trunk, and so on
    assert rows == [6, 10, 10, 12] * 2
    assert made.manifest.axis_names("other") == ["fork_epoch"]
    assert made.manifest.axis_names() == ["width", "learning_rate", "fork_epoch"]
    assert made.models["fork_epoch"].unique().tolist() == [0, 1, 3]
    assert len(made.cells) == 12
    assert made.cells["fork_epoch"].tolist() == [0, 1, 3] * 4
    assert len(made.where("fork_epoch == 3").models) == 8
    assert zoo.verify(tmp_path / "zoo") == []


def test_a_zoo_with_an_axis_of_another_kind_is_drawn_and_described(along_the_fork, engine, tmp_path, capsys):
    engine.generate(along_the_fork, tmp_path / "zoo")
    assert cli.run(["plot", str(tmp_path / "zoo"), "--out", str(tmp_path / "phases.svg")]) == 0
    assert (tmp_path / "phases.svg").exists()
    assert cli.run(["info", str(tmp_path / "zoo")]) == 0
    assert "other axis" in capsys.readouterr().out


def test_siblings_have_different_fates_along_the_axis(along_the_fork, engine, tmp_path):
    made = engine.generate(along_the_fork, tmp_path / "zoo")
    models = made.models.query("width == 3 and learning_rate == 0.05")
    weights = {
        (row.fork_epoch, row.seed, epoch): np.concatenate(
            [t.numpy().ravel() for t in made.state_dict(f"{row.model_id}@{epoch}").values()]
        )
        for row in models.itertuples()
        for epoch in range(EPOCHS + 1)
    }
    for fork, epoch in itertools.product([0, 1, 3], range(EPOCHS + 1)):
        assert np.array_equal(weights[fork, 0, epoch], weights[fork, 1, epoch]) == (epoch <= fork)
    assert np.array_equal(weights[1, 1, 1], weights[3, 1, 1])
    assert not np.array_equal(weights[1, 1, 2], weights[3, 1, 2])
    # the branch that draws the trunk's own order is the trunk
    np.testing.assert_allclose(weights[1, 0, 4], weights[3, 0, 4], atol=1e-6)


# rows and their members


@pytest.fixture
def members(make):
    axes = {
        "load": {"architecture.width": [3]},
        "temperature": {"training.learning_rate": [0.05]},
        "other": {"fork.epoch": [0, 2]},
    }
    return Members(list(expand(make(axes=axes, seeds=[0, 1]))))


def test_rows_part_and_leave_epoch_by_epoch(members):
    assert members.rows == [[0], [1], [2, 3]]
    assert members.regroup(1, set()) is None
    assert members.regroup(2, {1}) == [0, 2]
    assert members.rows == [[0], [2, 3]]
    assert members.regroup(3, {1}) == [0, 1, 1]
    assert members.rows == [[0], [2], [3]]
    assert members.regroup(4, {1, 0, 3}) == [1]
    assert members.rows == [[2]]


def test_a_member_that_leaves_a_trunk_leaves_the_others_theirs(members):
    assert members.regroup(1, {2}) == [0, 1, 2]
    assert members.rows == [[0], [1], [3]]
