import pytest

import generators
from generators import list_recipes, load_recipe
from generators.grid import expand
from zoo.errors import SpecificationError, UnknownNameError

TEXT = """
name: toy
description: A toy.
dataset: {name: digits}
architecture: {name: mlp}
training: {batch_size: 64, epochs: 2}
axes:
  load: {architecture.width: [2, 3]}
  temperature: {training.learning_rate: [1e-2, 0.1]}
seeds: [0, 1]
checkpoints: [1]
"""


@pytest.fixture
def load(tmp_path):
    def write_and_load(old="", new="", text=TEXT):
        assert old in text
        path = tmp_path / "toy.yaml"
        path.write_text(text.replace(old, new, 1))
        return load_recipe(path)

    return write_and_load


def test_recipes_of_the_package_are_sound():
    assert "digits-mlp-demo" in list_recipes()
    for name in list_recipes():
        assert load_recipe(name).name == name


def test_the_demo_is_a_population_of_at_least_a_hundred():
    assert generators.dry_run(load_recipe("digits-mlp-demo"))["models"] >= 100


def test_defaults_are_written_out_and_the_hash_covers_them(load):
    recipe = load()
    assert recipe.licence == "CC-BY-4.0"
    assert recipe.hash == load("seeds: [0, 1]", "seeds: [0, 1]\nlicence: CC-BY-4.0").hash
    assert recipe.hash != load("epochs: 2", "epochs: 3").hash


FAULTS = [
    ("name: toy", "name: Toy!", "name: String should match pattern .*, got 'Toy!'"),
    ("seeds:", "sedes: [0]\nseeds:", "sedes: Extra inputs are not permitted"),
    ("description: A toy.\n", "", "description: Field required"),
    ("seeds: [0, 1]", "seeds: []", "seeds: Tuple should have at least 1 item"),
    ("seeds: [0, 1]", "seeds: [0, 0]", r"a seed stands twice in \[0, 0\]"),
    ("seeds: [0, 1]", "seeds: [-1]", "seeds.0: Input should be greater than or equal to 0"),
    ("[2, 3]", "[]", "axis 'architecture.width' is empty; give at least one value"),
    ("[2, 3]", "[2, 2]", r"axis 'architecture.width' has a value twice: \[2, 2\]"),
    ("{architecture.width: [2, 3]}", "{}", "axes.load: Dictionary should have at least 1 item"),
    (
        "architecture.width",
        "width",
        "axis 'width': expected dataset.<key>, architecture.<key> or training.<key>",
    ),
    ("architecture.width", "seeds.init_seed", "axis 'seeds.init_seed': expected dataset.<key>"),
    (
        "architecture.width",
        "architecture.seed",
        r"axes become columns \['seed', 'learning_rate'\]; they must differ",
    ),
    ("architecture.width", "architecture.learning_rate", "axes become columns .* they must differ"),
    ("architecture.width: [2, 3]", "training.learning_rate: [1]", "they must differ|not both"),
    ("[2, 3]", "[0]", "architecture 'mlp':\n  width: Input should be greater than or equal to 1, got 0"),
    ("[2, 3]", "[2, wide]", "width: Input should be a valid integer"),
    ("1e-2", "-0.1", "training.learning_rate: Input should be greater than 0, got -0.1"),
    ("1e-2", ".nan", "training.learning_rate: Input should be a finite number, got nan"),
    ("1e-2", ".inf", "training.learning_rate: Input should be a finite number"),
    ("batch_size: 64", "batch_size: 0", "training.batch_size: Input should be greater than or equal to 1"),
    ("batch_size: 64", "batch: 64", "training.batch: Extra inputs are not permitted"),
    ("name: digits", "name: digit", "unknown dataset 'digit'; did you mean 'digits'"),
    ("name: mlp", "name: mpl", "unknown architecture 'mpl'; did you mean 'mlp'"),
    ("{name: mlp}", "{name: mlp, heads: 3}", "heads: Extra inputs are not permitted"),
    ("checkpoints: [1]", "checkpoints: [3]", r"checkpoints \[3\] lie after the last epoch 2"),
    ("name: toy", "name: [toy", "is not valid YAML"),
    ("name: toy", "name: toy\nname: toy2", "is not valid YAML: the key name stands twice"),
    ("name: toy", "name: &a toy\nlicence: *a", r"is not valid YAML: a recipe has no aliases"),
    (
        "name: toy",
        "name: !!python/object/apply:os.getcwd []",
        "is not valid YAML: could not determine a constructor",
    ),
    ("name: toy", "[a]: 1\nname: toy", "is not valid YAML"),
    ("name: toy", "{a: 1}: 1\nname: toy", "is not valid YAML"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_a_fault_is_refused_with_its_place(load, old, new, message):
    with pytest.raises(SpecificationError, match=rf"toy.yaml(.|\n)*{message}"):
        load(old, new)


@pytest.mark.parametrize("text", ["", "- a", "just words", "[" * 10_000])
def test_what_is_no_recipe_at_all_is_refused(load, text):
    with pytest.raises(SpecificationError, match=r"toy.yaml is not (a recipe|valid YAML)"):
        load(text=text)


def test_an_axis_is_load_or_temperature_not_both(load):
    with pytest.raises(
        SpecificationError, match=r"architecture.width is a load axis or a temperature axis, not both"
    ):
        load("training.learning_rate: [1e-2, 0.1]", "architecture.width: [4]")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(
        SpecificationError, match=r"huge.yaml has 1,048,577 bytes; a recipe has at most 1 MiB"
    ):
        load_recipe(path)


def test_an_unknown_recipe_suggests_a_known_one():
    with pytest.raises(
        UnknownNameError, match=r"unknown recipe 'digits-mlp'; did you mean 'digits-mlp-demo'\?"
    ):
        load_recipe("digits-mlp")
    with pytest.raises(UnknownNameError, match=r"or give the path of a YAML file"):
        load_recipe("zzz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [True]}, "expected a number, got a boolean"),
        ({"checkpoints": [True]}, "expected a number, got a boolean"),
    ],
)
def test_booleans_are_no_numbers(tiny_recipe, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_recipe(**changes)


def test_a_boolean_on_an_axis_is_refused(tiny_recipe):
    recipe = tiny_recipe(widths=[True])
    with pytest.raises(SpecificationError, match=r"architecture.width is a boolean, expected a number"):
        next(expand(recipe))
