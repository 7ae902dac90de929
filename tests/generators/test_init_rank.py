"""Initial weights of a given rank, from a recipe to checkpoints."""

import numpy as np
import pytest

import zoo
from generators import generate
from generators.grid import plan

AXES = {"load": {"architecture.width": [8]}, "temperature": {"training.init_rank": [1, 3, 8]}}
TRAINING = {"learning_rate": 0.05, "epochs": 1}


@pytest.fixture
def make(tiny_recipe):
    def make(training=None, **changes):
        fields = {"axes": AXES, "seeds": [0], "checkpoints": []}
        return tiny_recipe(training={**TRAINING, **(training or {})}, **{**fields, **changes})

    return make


def parts(recipe, vector):
    first = 0
    for entry in plan(recipe)[0].layout.entries:
        yield entry, vector[first : first + entry.size].reshape((*entry.shape[:1], -1))
        first += entry.size


def test_initial_matrices_have_their_rank_and_their_norm_and_biases_stay(make, engine, tiny_recipe):
    recipe = make()
    outcome = engine.train(recipe)
    drawn = engine.train(tiny_recipe(widths=[8], seeds=[0], training={"epochs": 1})).weights[0, 0]
    for place, rank in enumerate([1, 3, 8]):
        pairs = zip(parts(recipe, outcome.weights[place, 0]), parts(recipe, drawn), strict=True)
        for (entry, found), (_, before) in pairs:
            if entry.kind != "weight" or rank == 8:
                np.testing.assert_array_equal(found, before)
                continue
            assert np.linalg.matrix_rank(found, tol=1e-5) == rank
            assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(before), rel=1e-6)


def test_the_rank_is_cut_before_the_scale(make, engine):
    one, scaled = (engine.train(make({"init_scale": scale})) for scale in (1.0, 2.5))
    for (entry, small), (_, large) in zip(
        parts(make(), one.weights[0, 0]), parts(make(), scaled.weights[0, 0]), strict=True
    ):
        np.testing.assert_array_equal(large, small * np.float32(2.5 if entry.kind == "weight" else 1))


def test_ranks_are_one_stack_whose_kernels_are_cut_as_well(make, engine):
    recipe = make(
        dataset={"name": "digits-images"},
        architecture={"name": "cnn", "depth": 2},
        axes={**AXES, "load": {"architecture.width": [4]}, "temperature": {"training.init_rank": [1]}},
    )
    for entry, found in parts(recipe, engine.train(recipe).weights[0, 0]):
        if entry.kind == "weight":
            assert np.linalg.matrix_rank(found, tol=1e-5) == 1
    assert len(plan(make())) == 1


def test_the_weights_of_a_parent_are_not_cut(tiny_recipe, zoo_copy, tmp_path):
    opened = zoo.open(zoo_copy)
    parent = opened.models.loc[opened.models["width"] == 2, "model_id"].iloc[0] + "@2"
    child = generate(
        tiny_recipe(
            name="child",
            widths=[2],
            training={"epochs": 1, "init_rank": 1},
            checkpoints=[],
            parent={"zoo": str(zoo_copy), "checkpoint": parent},
        ),
        tmp_path / "child",
        device="cpu",
    )
    begun = child.state_dict(child.models["model_id"].iloc[0] + "@0")
    for name, tensor in opened.state_dict(parent).items():
        np.testing.assert_array_equal(begun[name], tensor)
