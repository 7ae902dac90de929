"""Cells that are listed, and cells that are drawn."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from generators import Recipe, dry_run, generate
from generators.axes import Range
from generators.checks import check_recipe
from generators.grid import expand, plan, recipe_axes
from generators.kinds import recipe_kind
from generators.sampling import shortened, sobol_cells
from zoo.errors import SpecificationError

WIDTH, RATE = "architecture.width", "training.learning_rate"
LISTED = [{WIDTH: 8, RATE: 0.1}, {WIDTH: 2, RATE: 0.1}, {WIDTH: 8, RATE: 1}]


@pytest.fixture
def listed(tiny_recipe):
    def make(cells=LISTED, load=(WIDTH,), temperature=(RATE,), **changes):
        axes = {"load": load, "temperature": temperature}
        axes = {kind: list(fields) if isinstance(fields, tuple) else fields for kind, fields in axes.items()}
        return tiny_recipe(axes=axes, sampling={"method": "list", "cells": cells}, **changes)

    return make


@pytest.fixture
def drawn(tiny_recipe):
    def make(width=None, rate=None, *, cells=16, seed=0, other=None, **changes):
        axes = {
            "load": {WIDTH: width or {"low": 4, "high": 128, "scale": "log"}},
            "temperature": {RATE: rate or {"low": 1e-4, "high": 1, "scale": "log"}},
            "other": other or {},
        }
        sampling = {"method": "sobol", "cells": cells, "seed": seed}
        return tiny_recipe(**{"axes": axes, "sampling": sampling, **changes})

    return make


# a list


def test_listed_cells_are_those_of_the_list_in_its_order(listed):
    recipe = listed()
    models = list(expand(recipe))
    assert [tuple(m.values.values()) for m in models[::2]] == [(8, 0.1), (2, 0.1), (8, 1.0)]
    assert [m.seed for m in models] == [0, 1] * 3
    assert [m.spec.training.learning_rate for m in models[::2]] == [0.1, 0.1, 1.0]
    assert [(a.name, a.kind, a.dtype) for a in recipe_axes(recipe)] == [
        ("width", "load", "int64"),
        ("learning_rate", "temperature", "float64"),
    ]
    assert [len(stack.models) for stack in plan(recipe)] == [4, 2]
    assert dry_run(recipe)["cells"] == 3
    assert recipe.axes.fields == {WIDTH: (8, 2), RATE: (0.1, 1)}


def test_stacks_follow_the_order_of_the_list(listed):
    size = "training.batch_size"
    cells = [{WIDTH: w, size: b} for w, b in ((8, 64), (2, 32), (8, 32), (2, 32.0), (8, 64))]
    cells = [{**cell, RATE: 0.1 * (place + 1)} for place, cell in enumerate(cells)]
    stacks = plan(listed(cells, temperature=(size, RATE)))
    found = [[tuple(m.values.values())[:2] for m in stack.models][::2] for stack in stacks]
    assert found == [[(8, 64), (8, 64)], [(2, 32), (2, 32)], [(8, 32)]]
    assert [stack.shard[-8:-3] for stack in stacks] == ["00000", "00000", "00001"]


def test_a_listed_recipe_reads_back_and_may_write_out_its_values(listed):
    recipe = listed()
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert listed(load={WIDTH: [8, 2]}).hash == recipe.hash
    assert listed(cells=LISTED[:2]).hash != recipe.hash


def test_the_name_of_the_data_may_be_listed(listed):
    cells = [{**cell, "dataset.name": "digits"} for cell in LISTED]
    recipe = listed(cells, load=("dataset.name", WIDTH), dataset={})
    check_recipe(recipe)
    assert recipe_kind(recipe.model_dump(mode="json")) == "classification"
    assert next(expand(recipe)).values["name"] == "digits"


def test_listed_fields_are_good_that_no_grid_could_have(listed):
    """Each optimiser has fields of its own: with the others' values it would be refused, or they be idle."""
    cells = [
        {WIDTH: 2, "training.optimizer": "nesterov", "training.momentum": 0.9},
        {WIDTH: 2, "training.optimizer": "adam", "training.momentum": 0},
    ]
    recipe = listed(
        cells, temperature=("training.optimizer", "training.momentum"), training={"learning_rate": 1}
    )
    check_recipe(recipe)
    assert len(list(expand(recipe))) == 4


def test_a_listed_zoo_is_made(listed, tmp_path):
    made = generate(listed(), tmp_path / "zoo", device="cpu")
    assert sorted(zip(made.cells["width"], made.cells["learning_rate"], strict=True)) == [
        (2, 0.1),
        (8, 0.1),
        (8, 1.0),
    ]
    assert made.manifest.complete


LIST_FAULTS = [
    (
        {"cells": [{WIDTH: 8}]},
        "sampling.cells.0 lacks training.learning_rate and has nothing, which is no axis",
    ),
    (
        {"cells": [LISTED[0], {**LISTED[1], "training.lr": 1}]},
        "sampling.cells.1 lacks nothing and has training.lr, .* each cell names every axis: architecture",
    ),
    ({"cells": [*LISTED, LISTED[1]]}, "sampling.cells.3 is the cell 1 again: .*; drop one"),
    ({"cells": []}, "Tuple should have at least 1 item"),
    ({"cells": 3}, "sampling.list.cells"),
    (
        {"load": {WIDTH: [8, 3]}},
        r"axis 'architecture.width' lists \[8, 3\], its cells have \[2, 8\]; leave the",
    ),
    ({"load": {WIDTH: {"low": 1, "high": 9}}}, "is a range, from which the sampling list cannot draw"),
    (
        {"refine": "test_loss"},
        "refine puts cells between neighbours of a grid, and the sampling list has none",
    ),
]


@pytest.mark.parametrize(("changes", "message"), LIST_FAULTS)
def test_a_list_that_is_none_of_these_axes_is_refused(listed, changes, message):
    with pytest.raises(ValueError, match=message):
        listed(**changes)


def test_a_listed_value_that_is_out_of_range_is_refused(listed):
    with pytest.raises(SpecificationError, match="width: Input should be greater than or equal to 1, got 0"):
        plan(listed([*LISTED, {WIDTH: 0, RATE: 1}]))


def test_an_axis_that_no_listed_cell_uses_is_refused(listed):
    cells = [{WIDTH: 2, "training.beta1": beta} for beta in (0.5, 0.9)]
    with pytest.raises(SpecificationError, match=r"axis training.beta1 would change nothing"):
        check_recipe(listed(cells, temperature=("training.beta1",), training={"learning_rate": 0.1}))


# a draw

PINNED = [
    (38, 0.9173, "sgd"),
    (7, 0.2503, "adam"),
    (20, 0.6284, "sgd"),
    (112, 0.03955, "adam"),
    (56, 0.5363, "adam"),
]


def test_drawn_cells_are_pinned():
    """The same on any machine: a change here changes every recipe that draws its cells."""
    axes = [Range(low=4, high=128, scale="log"), Range(low=0, high=1), ("sgd", "adam")]
    assert sobol_cells(axes, [True, False, False], cells=5, seed=7) == PINNED


def test_another_seed_draws_other_cells_and_more_cells_begin_with_the_fewer(drawn):
    points = [tuple(m.values.values()) for m in expand(drawn())][::2]
    assert len(set(points)) == 16
    assert [tuple(m.values.values()) for m in expand(drawn(cells=40))][:32:2] == points
    assert points != [tuple(m.values.values()) for m in expand(drawn(seed=1))][::2]


def test_drawn_values_have_the_type_of_their_field_and_few_digits(drawn):
    recipe = drawn(cells=64, other={"training.schedule": ["constant", "cosine"]})
    models = list(expand(recipe))[::2]
    assert all(type(m.values["width"]) is int and 4 <= m.values["width"] <= 128 for m in models)
    rates = [m.values["learning_rate"] for m in models]
    assert all(type(rate) is float and rate == shortened(rate) and 1e-4 <= rate <= 1 for rate in rates)
    assert all(len(m.model_id) < 80 for m in models)
    assert {m.values["schedule"] for m in models} == {"constant", "cosine"}
    assert [m.spec.architecture.options["width"] for m in models] == [m.values["width"] for m in models]


def test_drawn_cells_fill_each_axis_evenly_on_its_scale():
    """A Sobol sequence puts exactly one of 2^m points into each 2^m-th of an axis; values in equal shares."""
    axes = [Range(low=0.001, high=1000, scale="log"), Range(low=-3, high=5), tuple("abcd")]
    cells = sobol_cells(axes, [False, False, False], cells=64, seed=3)
    logs = np.array([(math.log(one) - math.log(0.001)) / math.log(1e6) for one, _, _ in cells])
    lines = np.array([(two + 3) / 8 for _, two, _ in cells])
    for share in (logs, lines):
        assert np.bincount((share * 16).astype(int), minlength=16).tolist() == [4] * 16
    assert {letter: sum(cell[2] == letter for cell in cells) for letter in "abcd"} == dict.fromkeys(
        "abcd", 16
    )


def test_cells_that_rounding_makes_equal_are_replaced_by_further_points():
    cells = sobol_cells([Range(low=1, high=4), Range(low=1, high=4)], [True, True], cells=16, seed=0)
    assert sorted(cells) == [(one, two) for one in range(1, 5) for two in range(1, 5)]


def test_rounding_does_not_leave_the_range():
    cells = sobol_cells([Range(low=0.12344, high=0.12356)], [False], cells=3, seed=0)
    assert sorted(cells) == [(0.12344,), (0.1235,), (0.12356,)]
    assert {cell for (cell,) in sobol_cells([Range(low=1.5, high=3.5)], [True], cells=2, seed=0)} == {2, 3}


def test_more_cells_than_there_are_is_refused():
    with pytest.raises(
        SpecificationError,
        match=r"5 cells were asked for, and 128 points gave 4 distinct ones: .* widen them, or ask for fewer",
    ):
        sobol_cells([Range(low=1, high=4)], [True], cells=5, seed=0)


def test_a_drawn_recipe_reads_back_and_is_checked(drawn):
    recipe = drawn()
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    check_recipe(recipe)
    assert recipe_kind(recipe.model_dump(mode="json")) == "classification"
    assert dry_run(recipe)["models"] == 32


def test_a_bound_that_is_out_of_range_is_refused(drawn):
    with pytest.raises(SpecificationError, match="width: Input should be greater than or equal to 1, got 0"):
        plan(drawn(width={"low": 0, "high": 3}))
    with pytest.raises(SpecificationError, match=r"training.momentum: Input should be less than 1"):
        plan(drawn(other={"training.momentum": {"low": 0, "high": 1}}))


DRAW_FAULTS = [
    ({"width": {"low": 3, "high": 3}}, "low 3 must be below high 3"),
    ({"width": {"low": 0, "high": 3, "scale": "log"}}, "a range of scale log lies above 0, got low 0"),
    ({"width": {"low": 1, "high": True}}, "expected a number, got a boolean"),
    ({"width": {"low": 1, "high": 3, "step": 1}}, "Extra inputs are not permitted"),
    ({"width": {"low": 1}}, "high\n  Field required"),
    ({"width": {"low": 1, "high": math.inf}}, "finite number"),
    (
        {"width": [2, 3], "rate": [0.1]},
        "sampling sobol draws from ranges, and no axis is one; give one, such as",
    ),
    ({"cells": 0}, "greater than or equal to 1"),
    ({"cells": True}, "expected a number, got a boolean"),
    ({"sampling": None}, "expected a method among grid, list and sobol"),
    ({"sampling": {"method": "halton"}}, "expected a method among grid, list and sobol"),
    (
        {"sampling": {"method": "grid"}},
        "is a range, from which the sampling grid cannot draw; give its values",
    ),
    (
        {"refine": "test_loss"},
        "neighbours of a grid, and the sampling sobol has none; leave one of the two out",
    ),
]


@pytest.mark.parametrize(("changes", "message"), DRAW_FAULTS)
def test_a_draw_that_makes_no_sense_is_refused(drawn, changes, message):
    with pytest.raises(ValueError, match=message):
        drawn(**changes)


def test_ways_of_sampling_are_part_of_the_hash_but_the_grid_is_not(tiny_recipe, drawn):
    assert tiny_recipe(sampling={"method": "grid"}).hash == tiny_recipe().hash
    assert len({drawn().hash, drawn(seed=1).hash, drawn(cells=8).hash}) == 3


# the page about recipes


def test_the_recipes_of_the_page_are_sound(tiny_recipe):
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    parts = [yaml.safe_load(part.split("```")[0]) for part in text.split("```yaml\n")[1:]]
    shown = [part for part in parts if "sampling" in part]
    assert [part["sampling"]["method"] for part in shown] == ["list", "sobol"]
    for part, cells in zip(shown, (2, 64), strict=True):
        recipe = tiny_recipe(**part)
        check_recipe(recipe)
        assert dry_run(recipe)["cells"] == cells
