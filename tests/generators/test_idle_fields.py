"""Fields of training that change nothing in a recipe are refused, with the reason."""

import pytest

import zoo
from generators.checks import check_recipe
from zoo.errors import SpecificationError

RATE = {"training.learning_rate": [0.1]}


@pytest.fixture
def child(zoo_copy, tiny_recipe):
    def make(training=None, **temperature):
        models = zoo.open(zoo_copy).models.query("width == 2")
        return tiny_recipe(
            training={"epochs": 1, **(training or {})},
            axes={"load": {"architecture.width": [2]}, "temperature": {**RATE, **temperature}},
            parent={"zoo": str(zoo_copy), "checkpoint": f"{models['model_id'].iloc[0]}@1"},
        )

    return make


@pytest.mark.parametrize("given", [{"init_scale": 3.0}, {"init_rank": 1}])
def test_what_is_done_to_initial_weights_is_refused_where_there_is_a_parent(child, given):
    (field,) = given
    match = (
        rf"training.{field} would change nothing: networks with a parent begin at its weights.*leave {field}"
    )
    with pytest.raises(SpecificationError, match=match):
        check_recipe(child(given))
    with pytest.raises(SpecificationError, match=match):
        check_recipe(child(**{f"training.{field}": [1, 2]}))


def test_a_parent_alone_and_initial_scales_alone_are_taken(child, tiny_recipe):
    check_recipe(child())
    check_recipe(child({"init_scale": 1}))
    check_recipe(tiny_recipe(training={"init_scale": 3.0, "init_rank": 1}))


def test_a_parent_that_is_an_axis_is_a_parent(child, zoo_copy):
    recipe = child({"init_scale": 3.0})
    checkpoint = recipe.parent["checkpoint"]
    other = {
        "parent.checkpoint": (checkpoint, checkpoint.replace("@1", "@2")),
        "parent.zoo": (str(zoo_copy),),
    }
    axes = recipe.axes.model_copy(update={"other": other})
    recipe = recipe.model_copy(update={"parent": {}, "axes": axes})
    with pytest.raises(SpecificationError, match=r"training.init_scale would change nothing"):
        check_recipe(recipe)


def test_steps_of_an_attack_without_a_radius_are_refused_for_what_they_are(tiny_recipe):
    def make(radius):
        axes = {"load": {"architecture.width": [2]}, "temperature": RATE}
        axes["other"] = {"training.adversarial_steps": [1, 7]}
        return tiny_recipe(training={"adversarial_epsilon": radius}, axes=axes)

    check_recipe(make(0.1))
    match = (
        r"adversarial_steps would change nothing: adversarial_epsilon is 0, which moves no inputs, so cells"
    )
    with pytest.raises(SpecificationError, match=match):
        check_recipe(make(0.0))
