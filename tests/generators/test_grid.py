import itertools
from functools import reduce

import pytest

from generators import dry_run, grid
from generators.grid import PlannedModel, alike, expand, plan, plan_rounds, recipe_axes
from generators.recipe import axis_name
from zoo import architectures, datasets


def test_every_grid_point_has_every_seed_once(tiny_recipe):
    models = list(expand(tiny_recipe()))
    found = [(m.values["width"], m.values["learning_rate"], m.seed) for m in models]
    assert found == list(itertools.product([2, 3], [0.01, 0.1], [0, 1]))
    assert len({m.model_id for m in models}) == 8
    assert len({m.cell_id for m in models}) == 4


def test_seeds_reach_the_streams_and_their_place_the_table(tiny_recipe):
    models = list(expand(tiny_recipe(seeds=[7, 5])))
    assert [(m.seed, m.spec.seeds.init_seed, m.spec.seeds.order_seed) for m in models[:2]] == [
        (0, 7, 7),
        (1, 5, 5),
    ]


def test_axes_know_their_kind_and_type(tiny_recipe):
    axes = {
        "load": {"architecture.width": [2]},
        "temperature": {"training.learning_rate": [1], "training.schedule": ["cosine"]},
    }
    found = [(a.name, a.field, a.kind, a.dtype) for a in recipe_axes(tiny_recipe(axes=axes))]
    assert found == [
        ("width", "architecture.width", "load", "int64"),
        ("learning_rate", "training.learning_rate", "temperature", "float64"),
        ("schedule", "training.schedule", "temperature", "string"),
    ]


def test_axes_of_another_kind_follow_and_have_names_of_their_own(tiny_recipe):
    axes = {
        "load": {"architecture.width": [2]},
        "temperature": {"training.learning_rate": [0.1]},
        "other": {"fork.epoch": [0, 1], "fork.learning_rate": [1], "fork.trunk_seed": [4]},
    }
    found = [(a.name, a.field, a.kind, a.dtype) for a in recipe_axes(tiny_recipe(axes=axes))][2:]
    assert found == [
        ("fork_epoch", "fork.epoch", "other", "int64"),
        ("fork_learning_rate", "fork.learning_rate", "other", "float64"),
        ("fork_trunk_seed", "fork.trunk_seed", "other", "int64"),
    ]
    model = next(expand(tiny_recipe(axes=axes)))
    assert model.model_id.startswith(
        "width2-learning_rate0.1-fork_epoch0-fork_learning_rate1-fork_trunk_seed4-"
    )


def test_pairs_of_seeds_reach_their_streams(tiny_recipe):
    recipe = tiny_recipe(seeds=[3, {"init": 1, "order": 2}])
    seeds = [(m.seed, m.spec.seeds.init_seed, m.spec.seeds.order_seed) for m in list(expand(recipe))[:2]]
    assert seeds == [(0, 3, 3), (1, 1, 2)]


def test_seeds_of_a_fork_draw_the_branch_and_the_trunk_has_its_own(tiny_recipe):
    recipe = tiny_recipe(seeds=[3, 4], fork={"epoch": 1, "trunk_seed": 9})
    seeds = [m.spec.seeds for m in list(expand(recipe))[:2]]
    assert [(s.init_seed, s.order_seed, s.fork_seed) for s in seeds] == [(9, 9, 3), (9, 9, 4)]


def test_a_stack_shares_layout_and_batch_size_and_holds_all_epochs(tiny_recipe):
    axes = {
        "load": {"architecture.width": [2, 3]},
        "temperature": {"training.batch_size": [32, 64], "training.epochs": [2, 3]},
    }
    training = {"batch_size": 1, "epochs": 1, "learning_rate": 0.1}
    stacks = plan(tiny_recipe(axes=axes, training=training))
    assert len(stacks) == 4
    for stack in stacks:
        shared = {(m.spec.training.batch_size, m.values["width"]) for m in stack.models}
        assert len(shared) == 1
        assert [m.spec.training.epochs for m in stack.models] == [2, 2, 3, 3]
        assert [m.checkpoints for m in stack.models] == [(0, 1, 2), (0, 1, 2), (0, 1, 3), (0, 1, 3)]
        assert stack.n_checkpoints == 12
        assert stack.n_bytes == 4 * 12 * stack.layout.size
    assert len({stack.shard for stack in stacks}) == 4


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("dataset.fraction", [0.5, 1.0]),
        ("training.optimizer", ["sgd", "adam"]),
        ("training.precision", ["float32", "bfloat16"]),
        ("training.batch_size", [32, 64]),
        ("architecture.activation", ["relu", "tanh"]),
    ],
)
def test_what_cannot_be_stepped_together_is_a_stack_of_its_own(tiny_recipe, field, values):
    axes = {"load": {"architecture.width": [2]}, "temperature": {field: values}}
    stacks = plan(tiny_recipe(axes=axes, training={"learning_rate": 0.1}))
    assert [{m.values[field.rpartition(".")[2]] for m in stack.models} for stack in stacks] == [
        {value} for value in values
    ]
    assert len({stack.shard for stack in stacks}) == 2


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("dataset.label_noise", [0.0, 0.5]),
        ("training.schedule", ["constant", "one-cycle"]),
        ("training.init_scale", [0.5, 1.0]),
        ("training.gradient_clip", [1, 2]),
        ("training.loss_bound", [5.0, 6.0]),
    ],
)
def test_what_networks_may_differ_in_is_one_stack(tiny_recipe, field, values):
    axes = {"load": {"architecture.width": [2]}, "temperature": {field: values}}
    (stack,) = plan(tiny_recipe(axes=axes, training={"learning_rate": 0.1}))
    assert [m.values[field.rpartition(".")[2]] for m in stack.models] == [values[0]] * 2 + [values[1]] * 2


def test_work_is_counted_in_items_that_are_seen(tiny_recipe):
    recipe = tiny_recipe(widths=[2], dataset={"name": "digits", "fraction": 0.25}, training={"epochs": 3})
    (stack,) = plan(recipe)
    assert (stack.items, stack.steps_per_epoch, stack.model_epochs, stack.model_steps) == (250, 4, 12, 48)


def test_shards_are_numbered_within_their_layout(tiny_recipe):
    stacks = plan(tiny_recipe())
    assert [s.shard for s in stacks] == [f"weights/{s.layout.id}-00000.h5" for s in stacks]


@pytest.mark.parametrize(("limit", "sizes"), [(64, [8]), (4, [4, 4]), (5, [4, 4]), (1, [2, 2, 2, 2])])
def test_stacks_hold_whole_cells_up_to_the_limit(tiny_recipe, monkeypatch, limit, sizes):
    monkeypatch.setattr(grid, "MAX_STACK_MODELS", limit)
    recipe = tiny_recipe(widths=[2], learning_rates=[0.01, 0.02, 0.04, 0.08])
    stacks = plan(recipe)
    assert [len(stack.models) for stack in stacks] == sizes
    cells = [{m.cell_id for m in stack.models} for stack in stacks]
    assert sum(map(len, cells)) == 4


def test_shards_stay_below_their_limit_of_bytes(tiny_recipe, monkeypatch):
    monkeypatch.setattr(grid, "MAX_SHARD_BYTES", 10_000)
    stacks = plan(tiny_recipe(learning_rates=[0.01, 0.02, 0.04]))
    assert len(stacks) > 2
    assert all(stack.n_bytes <= 10_000 for stack in stacks)


def test_the_plan_depends_on_the_recipe_alone(tiny_recipe):
    assert plan(tiny_recipe()) == plan(tiny_recipe())


# the plan against one that writes every model out


def eager_models(recipe):
    fields = recipe.axes.fields
    for point in itertools.product(*fields.values()):
        for place, seed in enumerate(recipe.seeds):
            named = dict(zip(fields, point, strict=True))
            spec = recipe.specification(named, seed)
            values = {}
            for field, given in named.items():
                part, _, key = field.partition(".")
                found = spec
                if field == "fork.trunk_seed":
                    found = given
                elif part == "architecture" and key != "name":
                    found = getattr(architectures.options(spec.architecture), key)
                else:
                    found = reduce(getattr, field.split("."), spec)
                values[axis_name(field)] = found
            epochs = spec.training.epochs
            kept = tuple(sorted({0, *recipe.checkpoints, epochs}))
            yield PlannedModel(values, place, kept, epochs=epochs, spec=spec)


def eager_kind(spec):
    return (
        spec.architecture.model_dump_json(),
        datasets.residence(spec.dataset),
        datasets.used(spec.dataset),
        spec.training.batch_size,
        spec.training.optimizer,
        spec.training.precision,
        spec.training.adversarial_steps,
    )


def eager_chunks(cells, checkpoint_bytes):
    chunk = []
    for cell in cells:
        filled = checkpoint_bytes * sum(len(model.checkpoints) for model in chunk + cell)
        if chunk and (len(chunk) + len(cell) > grid.MAX_STACK_MODELS or filled > grid.MAX_SHARD_BYTES):
            yield tuple(chunk)
            chunk = []
        chunk += cell
    yield tuple(chunk)


def eager_plan(recipe):
    """Shard and models of each stack."""
    groups, numbers, stacks = {}, {}, []
    for model in eager_models(recipe):
        groups.setdefault(eager_kind(model.spec), {}).setdefault(model.cell_id, []).append(model)
    for cells in groups.values():
        first = next(iter(cells.values()))[0].spec
        layout = architectures.layout(first.architecture, datasets.shape(first.dataset))
        for models in eager_chunks(list(cells.values()), 4 * layout.size):
            number = numbers.get(layout.id, 0)
            numbers[layout.id] = number + 1
            stacks.append((f"weights/{layout.id}-{number:05d}.h5", layout, models))
    return stacks


RATES = {"training.learning_rate": ["1e-3", 0.01, 1]}
GRIDS = {
    "two axes": {"temperature": RATES},
    "epochs inside, sizes outside": {
        "load": {"training.batch_size": [32, 64], "architecture.width": [2, 3]},
        "temperature": {"training.epochs": [3, 1, 2], **RATES},
    },
    "what is stacked stands last": {
        "temperature": {**RATES, "training.optimizer": ["sgd", "adam"]},
        "other": {"architecture.activation": ["relu", "tanh"], "architecture.width": [3, 2]},
        "load": {"architecture.depth": [2, 1]},
    },
    "data": {
        "load": {"dataset.fraction": [0.1, 1]},
        "temperature": {"dataset.label_noise": [0, 0.5], "training.precision": ["float32", "bfloat16"]},
        "other": {"dataset.class_count": [2, 10], "dataset.noise_seed": [3, 4]},
    },
    "forks": {"temperature": RATES, "other": {"fork.epoch": [0, 1], "fork.trunk_seed": [5, 6]}},
    "attacks": {
        "temperature": {"training.adversarial_epsilon": [0.1, 0.2]},
        "other": {"training.adversarial_steps": [1, 2]},
    },
}


@pytest.mark.parametrize("axes", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize(("models", "size"), [(64, 64 << 20), (4, 64 << 20), (64, 20_000), (1, 1)])
def test_the_plan_is_that_of_models_written_out(tiny_recipe, monkeypatch, axes, models, size):
    monkeypatch.setattr(grid, "MAX_STACK_MODELS", models)
    monkeypatch.setattr(grid, "MAX_SHARD_BYTES", size)
    recipe = tiny_recipe(
        axes={"load": {"architecture.width": [2, 3]}, **axes},
        architecture={"name": "mlp", "width": 3},
        training={"learning_rate": 0.1},
        dataset={"name": "digits"},
    )
    expected = eager_plan(recipe)
    assert list(expand(recipe)) == list(eager_models(recipe))
    stacks = plan(recipe)
    assert [(stack.shard, stack.layout) for stack in stacks] == [found[:2] for found in expected]
    for stack, (_, _, own) in zip(stacks, expected, strict=True):
        counts = len(stack.models), stack.n_checkpoints, stack.model_epochs
        assert counts == (
            len(own),
            sum(len(model.checkpoints) for model in own),
            sum(model.spec.training.epochs for model in own),
        )
        assert stack.models == own
        assert [model.model_id for model in stack.models] == [model.model_id for model in own]
        spec = own[0].spec
        assert stack.items == datasets.used(spec.dataset)
        assert stack.steps_per_epoch == -(-stack.items // spec.training.batch_size)
        assert {eager_kind(model.spec) for model in own} == {eager_kind(spec)}
    cells = {model.cell_id for _, _, own in expected for model in own}
    assert dry_run(recipe) == {
        "models": sum(len(own) for _, _, own in expected),
        "cells": len(cells),
        "stacks": len(expected),
        "checkpoints": sum(len(model.checkpoints) for _, _, own in expected for model in own),
        "parameters": sum(len(own) * layout.size for _, layout, own in expected),
        "bytes": sum(
            4 * layout.size * len(model.checkpoints) for _, layout, own in expected for model in own
        ),
    }


def test_rounds_of_refinement_have_stacks_and_shards_of_their_own(tiny_recipe):
    recipe = tiny_recipe()
    cells = [{"architecture.width": width, "training.learning_rate": 0.03} for width in (2, 3, 2)]
    cells[2] = {**cells[2], "training.learning_rate": 0.05}
    rounds = plan_rounds(recipe, [cells, cells[:1]])
    found = [(stack.shard.partition("-")[2][-11:], len(stack.models)) for stack in rounds]
    assert found == [("r1-00000.h5", 4), ("r1-00000.h5", 2), ("r2-00000.h5", 2)]
    assert [m.values for m in rounds[0].models][::2] == [
        {"width": 2, "learning_rate": 0.03},
        {"width": 2, "learning_rate": 0.05},
    ]
    shards = [stack.shard for stack in (*plan(recipe), *rounds)]
    assert len(set(shards)) == len(shards) == 5


def test_stacks_that_cost_the_same_are_found_once(tiny_recipe, monkeypatch):
    monkeypatch.setattr(grid, "MAX_STACK_MODELS", 4)
    stacks = plan(tiny_recipe(widths=[2, 3], learning_rates=[0.01, 0.02, 0.04, 0.08, 0.1]))
    found = [(stack.shard, len(stack.models), count) for stack, count in alike(stacks)]
    assert found == [
        (stacks[0].shard, 4, 2),
        (stacks[2].shard, 2, 1),
        (stacks[3].shard, 4, 2),
        (stacks[5].shard, 2, 1),
    ]
