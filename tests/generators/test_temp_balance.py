"""Learning rates layer by layer, from a recipe to checkpoints."""

import time

import numpy as np
import pytest

import zoo
from generators import estimate
from generators.checks import check_recipe
from generators.engine.cost import row_bytes
from generators.grid import plan
from zoo.errors import SpecificationError
from zoo.training import StackTrainer

BALANCE = {"training.temp_balance": ["none", "full", "farms"]}
EPOCHS = 3


@pytest.fixture
def make(tiny_recipe):
    """One stack: two hidden layers of 32 units, by the three methods."""

    def make(training=None, temperature=None, **changes):
        axes = {"load": {"architecture.width": [32]}, "temperature": {**BALANCE, **(temperature or {})}}
        rate = {} if "training.learning_rate" in (temperature or {}) else {"learning_rate": 0.05}
        training = {"batch_size": 200, "epochs": EPOCHS, **rate, **(training or {})}
        return tiny_recipe(training=training, **{"axes": axes, "seeds": [0], **changes})

    return make


def test_methods_are_values_of_an_axis_and_make_other_networks(make, engine, tmp_path):
    made = engine.generate(make(seeds=[0, 1]), tmp_path / "zoo")
    (axis,) = made.manifest.axes[1:]
    assert (axis.name, axis.kind, axis.dtype) == ("temp_balance", "temperature", "string")
    assert sorted(made.models["temp_balance"]) == ["farms"] * 2 + ["full"] * 2 + ["none"] * 2
    (layout,) = made.layouts
    last = made.where("epoch == last_epoch").weights(layout)
    assert len(np.unique(np.array(last), axis=0)) == 6
    first = made.where("epoch == 0").weights(layout)
    assert len(np.unique(np.array(first), axis=0)) == 2  # the same initial weights for all methods
    assert zoo.verify(tmp_path / "zoo") == []


def test_methods_and_spreads_share_a_stack(make):
    cells = [
        {"architecture.width": 32, "training.temp_balance": method, "training.temp_balance_spread": spread}
        for method, spread in (("none", 0.4), ("full", 0.4), ("farms", 0.9))
    ]
    fields = ["training.temp_balance", "training.temp_balance_spread"]
    axes = {"load": ["architecture.width"], "temperature": fields}
    recipe = make(axes=axes, sampling={"method": "list", "cells": cells})
    check_recipe(recipe)
    (stack,) = plan(recipe)
    assert [model.spec.training.temp_balance_spread for model in stack.models] == [0.4, 0.4, 0.9]


def test_a_network_without_balance_is_bit_for_bit_what_it_was(make, engine, tiny_recipe):
    """One by one: neighbours decide how rates are broadcast, and so how they round."""
    one = engine.train(make(), strategy="loop").last(0)
    axes = {"load": {"architecture.width": [32]}, "temperature": {"training.learning_rate": [0.05]}}
    alone = tiny_recipe(axes=axes, seeds=[0], training={"batch_size": 200, "epochs": EPOCHS})
    np.testing.assert_array_equal(one, engine.train(alone, strategy="loop").last(0))


def test_a_network_is_the_same_whatever_stands_beside_it(make, engine):
    few, many = engine.train(make(seeds=[3])), engine.train(make(seeds=[0, 1, 3]))
    for place in range(3):
        for epoch in (0, 1, EPOCHS):
            alone, beside = few.weights[place, epoch], many.weights[3 * place + 2, epoch]
            np.testing.assert_allclose(alone, beside, atol=1e-6)


@pytest.mark.parametrize("strategy", ["stacked", "loop"])
@pytest.mark.parametrize(
    "training",
    [{}, {"optimizer": "adam"}, {"optimizer": "sam"}, {"precision": "float16"}, {"schedule": "one-cycle"}],
    ids=["sgd", "adam", "sam", "float16", "one-cycle"],
)
def test_a_stop_after_each_epoch_changes_no_bit(make, engine, tmp_path, training, strategy):
    """Some models end early and some diverge, so rows leave on the way."""
    temperature = {"training.learning_rate": [0.05, 1e38], "training.epochs": [2, EPOCHS]}
    training = {"momentum": 0.9, **training}
    recipe = make({k: v for k, v in training.items() if k != "epochs"}, temperature)
    undisturbed = engine.train(recipe, strategy=strategy)
    assert set(undisturbed.status) == {"finished", "diverged"}
    stopped = engine.train_with_stops(recipe, tmp_path / "x.state", [2, 2], strategy=strategy)
    engine.assert_equal(stopped, undisturbed)


@pytest.mark.parametrize("fork", [0, 1, 2])
def test_forks_resume(make, engine, tmp_path, fork):
    recipe = make(fork={"epoch": fork, "learning_rate": 0.01}, seeds=[0, 1])
    undisturbed = engine.train(recipe)
    engine.assert_equal(engine.train_with_stops(recipe, tmp_path / "x.state", [2, 2]), undisturbed)


def test_auto_measures_a_stack_with_balance(make, engine, monkeypatch):
    monkeypatch.setattr("generators.engine.strategy._WORTH_PROBING", 0)
    recipe = make(seeds=[0, 1])
    engine.assert_equal(engine.train(recipe, strategy="auto"), engine.train(recipe), atol=1e-5)


# what it costs


def test_one_network_with_balance_makes_room_for_a_rate_a_parameter(make):
    (with_it,) = plan(make())
    (without,) = plan(
        make(axes={"load": {"architecture.width": [32]}, "temperature": {"training.momentum": [0.9]}})
    )
    assert row_bytes(with_it) - row_bytes(without) == 4 * with_it.layout.size


def test_an_estimate_counts_the_balance_once_an_epoch(make, monkeypatch):
    real = StackTrainer.factors
    monkeypatch.setattr(StackTrainer, "factors", lambda trainer: time.sleep(2) or real(trainer))
    found = estimate(make(), device="cpu").seconds
    assert 2 * EPOCHS <= found < 2 * 2 * EPOCHS  # once less would be below, once a step above


# refusals


def test_a_spread_without_balance_is_refused_as_an_axis(tiny_recipe):
    spreads = {"training.temp_balance_spread": [0.4, 0.9], "training.learning_rate": [0.1]}
    axes = {"load": {"architecture.width": [32]}, "temperature": spreads}
    match = "temp_balance_spread would change nothing: temp_balance is none, so all layers have one rate"
    with pytest.raises(SpecificationError, match=match):
        check_recipe(tiny_recipe(axes=axes))
    check_recipe(tiny_recipe(axes=axes, training={"temp_balance": "farms"}))
    with pytest.raises(SpecificationError, match=match):
        check_recipe(tiny_recipe(axes={**axes, "other": BALANCE}))


@pytest.mark.parametrize(
    ("method", "widths", "depth", "known"),
    [("full", [2, 32], 2, "none"), ("farms", [32, 2], 2, "none"), ("full", [32], 1, "0.weight")],
)
def test_balance_of_networks_that_are_too_small_is_refused(make, method, widths, depth, known):
    match = (
        rf"temp_balance {method} would change nothing: it takes two weights with at least 20 eigenvalues, "
        rf"and a network has {known}; take wider networks, or leave temp_balance out"
    )
    load, architecture = {"architecture.width": widths}, {"name": "mlp", "depth": depth}
    axes = {"load": load, "temperature": {"training.temp_balance": ["none", method]}}
    with pytest.raises(SpecificationError, match=match):
        check_recipe(make(axes=axes, architecture=architecture))
    axes["temperature"] = {"training.learning_rate": [0.1]}
    with pytest.raises(SpecificationError, match=match):
        check_recipe(make({"temp_balance": method}, axes=axes, architecture=architecture))
    check_recipe(make({"temp_balance": "none"}, axes=axes, architecture=architecture))


def test_in_a_list_some_networks_may_be_too_small(make):
    cells = [{"architecture.width": width, "training.temp_balance": "full"} for width in (2, 32)]
    axes = {"load": ["architecture.width"], "temperature": ["training.temp_balance"]}
    check_recipe(make(axes=axes, sampling={"method": "list", "cells": cells}))
    with pytest.raises(SpecificationError, match="temp_balance full would change nothing"):
        check_recipe(make(axes=axes, sampling={"method": "list", "cells": cells[:1]}))
