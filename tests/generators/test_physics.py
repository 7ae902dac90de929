"""Small runs of our recipes show the phenomena that the zoos are for."""

from pathlib import Path

import numpy as np
import pytest

from generators import generate, load_recipe
from zoo import open as open_zoo
from zoo.report.phase_diagram import phase_diagram


def small(name, axes, **changes):
    """A recipe cut down: these values on its axes, these fields of its training, one or more seeds."""
    recipe = load_recipe(name)
    kinds = {
        kind: {field: tuple(axes.get(field, values)) for field, values in fields.items()}
        for kind, fields in recipe.axes.kinds.items()
    }
    training = {**recipe.training, **changes.pop("training", {})}
    raw = recipe.model_dump() | {"axes": kinds, "training": training, "checkpoints": ()} | changes
    return type(recipe).model_validate(raw)


def trajectories(made):
    axes = [axis.name for axis in made.manifest.axes]
    return made.checkpoints.merge(made.models[["model_id", "seed", *axes]], on="model_id")


def test_weight_decay_lets_networks_find_the_rule_long_after_they_know_their_pairs(tmp_path: Path):
    axes = {"dataset.fraction": [1.0], "training.weight_decay": [0.0, 0.1, 0.3]}
    recipe = small("modadd-mlp", axes, training={"epochs": 150}, checkpoints=(30, 60, 100), seeds=(0,))
    table = trajectories(generate(recipe, tmp_path / "zoo"))
    test = table.pivot_table(index="epoch", columns="weight_decay", values="test_accuracy")
    fit = table.pivot_table(index="epoch", columns="weight_decay", values="fit_loss")
    assert (fit.loc[30] < np.log(2)).all()  # they know their pairs,
    assert (test.loc[30] < 0.5).all()  # and not the rule,
    assert test.loc[150, 0.3] > 0.9  # which comes later, and only where weights decay,
    assert test.loc[150, 0.0] < 0.5
    assert test.loc[60, 0.0] < test.loc[60, 0.1] < test.loc[60, 0.3]  # the sooner the more they do


def test_solutions_of_the_convection_equation_fail_where_its_coefficient_is_large(tmp_path: Path):
    axes = {"dataset.coefficient": [1, 20], "training.learning_rate": [0.01]}
    recipe = small("convection-pinn-small", axes, training={"epochs": 500}, seeds=(0,))
    table = trajectories(generate(recipe, tmp_path / "zoo"))
    error = table[table["epoch"] == 500].set_index("coefficient")["test_error"]
    assert error[1] < 0.2
    assert error[20] > 0.8  # the zero solution has 1
    titles = [axes.get_title() for axes in phase_diagram(open_zoo(tmp_path / "zoo")).axes]
    assert titles[:2] == ["Relative L2 error on the test grid", "Train loss"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    axes = {
        "architecture.width": [2, 128],
        "dataset.label_noise": [0.2],
        "dataset.fraction": [1.0],
        "training.learning_rate": [0.006, 0.1],
    }
    made = generate(small("digits-mlp", axes, seeds=(0, 1)), tmp_path_factory.mktemp("digits") / "zoo")
    return made.cells.set_index(["width", "learning_rate"])


def test_digits_have_an_underfitted_a_generalizing_and_an_overfitted_corner(digits):
    under, general, over = digits.loc[(2, 0.006)], digits.loc[(128, 0.006)], digits.loc[(128, 0.1)]
    assert under["train_accuracy"] < 0.6
    assert under["test_accuracy"] < 0.6
    assert general["test_accuracy"] > 0.93
    assert over["fit_loss"] < general["fit_loss"] / 3  # it knows the wrong labels by heart,
    assert over["test_accuracy"] < general["test_accuracy"] - 0.02  # and pays for it
