"""Adversarial training from a recipe: stacks, strategies, resumption, and what it costs."""

import pytest

from generators.engine.cost import flops_per_epoch, row_bytes
from generators.grid import plan, recipe_axes

AXES = {
    "load": {"architecture.width": [3]},
    "temperature": {"training.adversarial_epsilon": [0.0, 0.05, 0.1]},
}
TRAINING = {"learning_rate": 0.05, "batch_size": 200, "epochs": 4, "adversarial_steps": 2}


@pytest.fixture
def make(tiny_recipe):
    def make(training=None, **changes):
        fields = {"axes": AXES, "seeds": [0], "checkpoints": [1]}
        return tiny_recipe(training={**TRAINING, **(training or {})}, **{**fields, **changes})

    return make


def test_networks_of_one_stack_differ_in_their_radius_and_not_in_their_steps(make):
    assert len(plan(make())) == 1
    axes = {**AXES, "other": {"training.adversarial_steps": [1, 2]}}
    axes["temperature"] = {"training.adversarial_epsilon": [0.05, 0.1]}
    stacks = plan(make({}, axes=axes))
    assert [{m.values["adversarial_steps"] for m in stack.models} for stack in stacks] == [{1}, {2}]


def test_the_radius_is_an_axis_and_zero_trains_as_without_an_attack(make, engine, tiny_recipe):
    (_, axis) = recipe_axes(make())
    assert (axis.name, axis.kind, axis.dtype) == ("adversarial_epsilon", "temperature", "float64")
    attacked = engine.train(make())
    plain = {
        key: value for key, value in TRAINING.items() if key not in {"adversarial_steps", "learning_rate"}
    }
    alone = engine.train(
        tiny_recipe(widths=[3], learning_rates=[0.05], seeds=[0], training=plain), strategy="loop"
    )
    assert abs(attacked.last(0) - alone.last(0)).max() < 1e-6
    assert abs(attacked.last(1) - alone.last(0)).max() > 1e-3


def test_every_strategy_and_a_resumed_run_give_the_same_models(make, engine, tmp_path):
    recipe = make()
    stacked = engine.train(recipe)
    engine.assert_equal(stacked, engine.train(recipe, strategy="loop"), atol=1e-5)
    engine.assert_equal(stacked, engine.train_with_stops(recipe, tmp_path / "state.h5", [2, 2]))


def test_branches_of_a_fork_are_attacked_each_by_itself(make, engine):
    outcome = engine.train(make(seeds=[0, 1], fork={"epoch": 1}))
    assert (outcome.weights[2, 1] == outcome.weights[3, 1]).all()
    assert (outcome.last(2) != outcome.last(3)).any()


@pytest.mark.parametrize(("optimizer", "gradients"), [("sgd", 1), ("sam", 2)])
def test_an_attack_costs_a_gradient_a_step_and_what_it_keeps_of_the_inputs(
    tiny_recipe, make, optimizer, gradients
):
    training = {"batch_size": 200, "optimizer": optimizer}
    (plain,), (attacked,) = plan(tiny_recipe(widths=[3], training=training)), plan(make(training))
    assert flops_per_epoch(attacked) == flops_per_epoch(plain) * (gradients + 2) / gradients
    assert row_bytes(attacked) == row_bytes(plain) + 200 * 64 * 64
