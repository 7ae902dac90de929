"""Recipes of very many cells: planned from a few specifications, and refused from a few as well."""

import json
import pickle
import subprocess
import sys

import pytest

from generators import checks, load_recipe
from generators.checks import ALONE, check_recipe
from generators.grid import expand, plan
from generators.lazy import Cells
from zoo.errors import SpecificationError
from zoo.spec import DatasetSpecification, ForkSpecification, ModelSpecification, TrainingSpecification


@pytest.fixture
def huge(tiny_recipe):
    """Ten widths, and as many learning rates and weight decays."""

    def make(rates, decays):
        axes = {
            "load": {"architecture.width": list(range(2, 12))},
            "temperature": {
                "training.learning_rate": [0.001 * (place + 1) for place in range(rates)],
                "training.weight_decay": [1e-6 * place for place in range(decays)],
            },
        }
        return tiny_recipe(axes=axes, seeds=[0])

    return make


@pytest.fixture
def written(monkeypatch):
    """Values of the specifications that were written out."""
    from generators.description import Recipe

    values, real = [], Recipe.specification
    monkeypatch.setattr(Recipe, "specification", lambda *given: values.append(given[1]) or real(*given))
    return values


def test_a_plan_writes_out_a_specification_a_value_and_not_a_model(huge, written):
    recipe = huge(100, 20)
    stacks = plan(recipe)
    assert sum(len(stack.models) for stack in stacks) == 20_000
    assert sum(stack.n_checkpoints for stack in stacks) == 3 * 20_000
    assert sum(stack.model_steps for stack in stacks) == 2 * 16 * 20_000
    assert len(written) < 200
    assert sum(1 for _ in expand(recipe)) == 20_000
    assert len(written) < 400


GROWTH = """
import json, resource, sys, tracemalloc
from generators import Recipe, dry_run
from generators.grid import expand, plan

def traced(work):
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found

def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

small, large = (Recipe.model_validate_json(text) for text in sys.argv[1:])
plan(small)
found = {
    "expand": traced(lambda: sum(1 for _ in expand(small))),
    "plan": traced(lambda: plan(small)),
    "before": resident(),
    "models": sum(1 for _ in expand(large)),
    "expanded": resident(),
    "dry": dry_run(large)["models"],
    "planned": resident(),
}
print(json.dumps(found))
"""


def test_memory_does_not_grow_with_the_models(huge):
    """In a process of its own, without the checks of types: 100,000 models traced, a million resident."""
    recipes = [huge(100, 100).model_dump_json(), huge(1000, 100).model_dump_json()]
    command = [sys.executable, "-c", GROWTH, *recipes]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["expand"] < 1 << 20
    assert found["plan"] < 16 << 20  # an object a stack and some numbers a cell
    assert found["models"] == found["dry"] == 1_000_000
    assert found["expanded"] - found["before"] < 16 << 20
    assert found["planned"] - found["before"] < 160 << 20


def test_a_model_is_written_out_once_and_again_after_its_release(tiny_recipe, written):
    (stack,) = plan(tiny_recipe(widths=[2]))
    written.clear()
    ids = [model.model_id for model in stack.models]
    assert [model.model_id for model in stack.models] == ids
    assert len(written) == 4
    assert stack.models[0] is stack.models[0]
    assert [model.seed for model in stack.models[1:3]] == [1, 0]
    assert stack.models[-1] is stack.models[3]
    with pytest.raises(IndexError, match="out of range"):
        stack.models[4]
    stack.release()
    assert [model.model_id for model in stack.models] == ids
    assert len(written) == 8


def test_the_first_model_alone_is_made_alone(tiny_recipe, written):
    (stack,) = plan(tiny_recipe(widths=[2]))
    written.clear()
    first = stack.models[0]
    assert first.spec.architecture.options["width"] == 2
    assert len(written) == 1
    assert next(iter(stack.models)) is first


def test_what_is_sent_to_a_worker_needs_no_recipe(tiny_recipe, written):
    (stack,) = plan(tiny_recipe(widths=[2]))
    data = pickle.dumps(stack)
    assert b"Recipe" not in data
    written.clear()
    sent = pickle.loads(data)
    assert isinstance(sent.models, tuple)
    assert sent.models == stack.models
    assert stack.models == sent.models
    assert stack != sent.models
    assert sent.models[0] != "a model"
    assert stack.models != [1]
    assert (sent.kind, sent.n_checkpoints, sent.model_epochs) == (stack.kind, 12, 8)
    assert written == []  # they were written out before they were sent
    sent.release()
    assert len(sent.models) == 4


# values that do not go together


def axes_of(**fields):
    named = {f"{key.replace('__', '.')}": values for key, values in fields.items()}
    return {"load": {"architecture.width": [2]}, "temperature": named}


APART = [
    (
        {"training__epochs": [4, 2], "training__warmup_epochs": [0, 2]},
        "warmup_epochs 2 must be below epochs 2",
    ),
    (
        {"training__optimizer": ["sgd", "nesterov"], "training__momentum": [0.9, 0]},
        "nesterov needs a momentum",
    ),
    ({"training__schedule": ["constant", "one-cycle"], "training__warmup_epochs": [0, 1]}, "one-cycle has a"),
    ({"training__epochs": [4, 2], "fork__epoch": [0, 3]}, "fork.epoch 3 must be below training.epochs 2"),
    (
        {"training__optimizer": ["sgd", "nesterov"], "fork__momentum": [0.5, 0]},
        "after the fork.*nesterov needs",
    ),
]


@pytest.mark.parametrize(("fields", "message"), APART)
@pytest.mark.parametrize("most", [2000, 3])
def test_values_that_do_not_go_together_are_refused_before_training(
    tiny_recipe, monkeypatch, fields, message, most
):
    """The fault stands in the last cell alone; with many combinations planning finds it."""
    monkeypatch.setattr(checks, "MOST_CHECKED", most)
    training = {"epochs": 4, "learning_rate": 0.1}
    fork = {"fork": {"epoch": 1}} if any(field.startswith("fork__") for field in fields) else {}
    recipe = tiny_recipe(axes=axes_of(**fields), training=training, checkpoints=[], **fork)
    with pytest.raises(SpecificationError, match=message):
        plan(recipe)
    if most == 2000:
        with pytest.raises(SpecificationError, match=message):
            check_recipe(recipe)
    else:
        check_recipe(recipe)


def test_options_of_an_architecture_are_tried_together(tiny_recipe):
    axes = {
        "load": {"architecture.model_dim": [8, 7]},
        "temperature": {"training.learning_rate": [0.1]},
        "other": {"architecture.head_dim": [8, 2]},
    }
    recipe = tiny_recipe(axes=axes, dataset={"name": "digits-images"}, architecture={"name": "vit"})
    for check in (plan, check_recipe):
        with pytest.raises(SpecificationError, match="model_dim 7 does not divide into 3 heads"):
            check(recipe)


def test_a_network_that_cannot_take_the_data_is_refused_when_loaded(tiny_recipe):
    recipe = tiny_recipe(architecture={"name": "cnn", "depth": 2})
    with pytest.raises(SpecificationError, match=r"cnn"):
        check_recipe(recipe)


def test_a_value_that_is_read_twice_is_refused(tiny_recipe):
    recipe = tiny_recipe(learning_rates=[2**53 + 1, 2**53])
    with pytest.raises(
        SpecificationError,
        match=r"axis 'training.learning_rate' has a value twice: \[9007199254740993, 9007199254740992\] are "
        r"\[9007199254740992.0, 9007199254740992.0\] once they are read; drop one",
    ):
        plan(recipe)


def test_fields_that_stand_alone_are_fields():
    parts = {"dataset": DatasetSpecification, "training": TrainingSpecification, "fork": ForkSpecification}
    known = {f"{part}.{name}" for part, kind in parts.items() for name in kind.model_fields}
    assert known | {"fork.trunk_seed"} >= ALONE
    assert set(ModelSpecification.model_fields) >= set(parts)


def test_values_of_fields_that_stand_alone_never_forbid_each_other(tiny_recipe):
    """All of their extremes at once, under each optimiser and schedule."""
    extremes = {
        "training": {
            "learning_rate": [1e-9, 1e9], "weight_decay": [0, 9], "batch_size": [1, 9999],
            "decay_factor": [0.01, 1], "beta1": [0, 0.99], "beta2": [0, 0.99], "epsilon": [1e-9, 1],
            "sam_radius": [1e-9, 9], "gradient_clip": [1e-9, 9], "init_scale": [1e-9, 9],
            "precision": ["float16", "bfloat16"], "loss_bound": [1e-9, 9],
            "temp_balance": ["none", "farms"], "temp_balance_spread": [0.1, 1],
        },
        "dataset": {
            "label_noise": [0, 1], "noise_seed": [0, 9], "fraction": [0.001, 1], "subset_seed": [0, 9],
        },
        "fork": {"learning_rate": [1e-9, 9], "weight_decay": [0, 9], "trunk_seed": [0, 9]},
    }  # fmt: skip
    assert {f"{part}.{key}" for part, fields in extremes.items() for key in fields} == ALONE
    for optimizer in ("sgd", "nesterov", "adam", "adamw", "sam"):
        for end in (0, 1):
            chosen = {part: {k: v[end] for k, v in fields.items()} for part, fields in extremes.items()}
            recipe = tiny_recipe(
                training={"optimizer": optimizer, **chosen["training"]},
                dataset={"name": "digits", **chosen["dataset"]},
                fork={"epoch": 1, **chosen["fork"]},
            )
            assert Cells(recipe).count == 4


def test_the_recipes_of_the_package_are_loaded_from_few_specifications(written):
    load_recipe("digits-mlp-demo")
    assert len(written) < 60
