import itertools

import pytest

from generators import grid
from generators.grid import expand, plan, recipe_axes


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


def test_a_stack_shares_layout_batch_size_and_epochs(tiny_recipe):
    axes = {
        "load": {"architecture.width": [2, 3]},
        "temperature": {"training.batch_size": [32, 64], "training.epochs": [2, 3]},
    }
    training = {"batch_size": 1, "epochs": 1, "learning_rate": 0.1}
    stacks = plan(tiny_recipe(axes=axes, training=training))
    assert len(stacks) == 8
    for stack in stacks:
        assert (
            len(
                {
                    (m.spec.training.batch_size, m.spec.training.epochs, m.values["width"])
                    for m in stack.models
                }
            )
            == 1
        )
        assert stack.checkpoints == tuple(sorted({0, 1, stack.models[0].spec.training.epochs}))
    assert len({stack.shard for stack in stacks}) == 8


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
