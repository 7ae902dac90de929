import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

import generators
from generators import Recipe, list_recipes, load_recipe
from generators.grid import expand
from zoo import architectures, datasets
from zoo.errors import SpecificationError, UnknownNameError
from zoo.spec import ArchitectureSpecification

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
    (
        "seeds:",
        "sedes: [0]\nseeds:",
        r"sedes: Extra inputs are not permitted, got \[0\]; did you mean 'seeds'\?",
    ),
    ("load:", "lod: {}\n  load:", "axes.lod: Extra inputs are not permitted, got {}; did you mean 'load'"),
    ("batch_size: 64", "batchsize: 64", "training.batchsize: Extra inputs .*; did you mean 'batch_size'"),
    ("seeds: [0, 1]", "seeds: [0]\nfork: {epoch: 1, moment: 0}", "fork.moment: .*; did you mean 'momentum'"),
    ("name: toy", "name: toy\nzzz: 1", "zzz: Extra inputs are not permitted, got 1$"),
    (
        "architecture: {name: mlp}",
        "architecture: {}\nnotes: [a, 1]",
        r"notes.1: Input should be a valid string",
    ),
    (
        "architecture.width: [2, 3]",
        "architecture.name: [mlp, vit], architecture.model_dim: [8]",
        "the axis architecture.model_dim is no option of the architecture 'mlp'; all of mlp, vit have depth, "
        "dropout: take one of these, or make a recipe for each architecture",
    ),
    (
        "architecture.width: [2, 3]",
        "architecture.name: [mlp, pnn], architecture.width: [8]",
        "unknown architecture 'pnn'",
    ),
    (
        "architecture.width: [2, 3]",
        "architecture.width: [2, 3], dataset.name: [digits, convection]",
        r"the datasets ask different things of a network: digits \(classification\), convection "
        r"\(convection\); a recipe has one kind",
    ),
    (
        "architecture.width: [2, 3]",
        "architecture.width: {low: 2, high: 3}",
        "axis .*width' is a range, from which",
    ),
    (
        "load: {architecture.width: [2, 3]}",
        "load: [architecture.width]",
        "axes.load: Input should be a valid dict",
    ),
    ("description: A toy.\n", "", "description: Field required"),
    ("seeds: [0, 1]", "seeds: []", "seeds: Tuple should have at least 1 item"),
    ("seeds: [0, 1]", "seeds: [0, 0]", r"a seed stands twice in \[0, 0\]"),
    ("seeds: [0, 1]", "seeds: [-1]", r"seeds.0.number: Input should be greater than or equal to 0"),
    ("[2, 3]", "[]", "axis 'architecture.width' is empty; give at least one value"),
    ("[2, 3]", "[2, 2]", r"axis 'architecture.width' has a value twice: \[2, 2\]"),
    ("{architecture.width: [2, 3]}", "{}", "axes.load: Dictionary should have at least 1 item"),
    (
        "architecture.width",
        "width",
        "axis 'width': expected one of dataset.<key>, architecture.<key>, training.<key>, fork.<key>, "
        "parent.<key>",
    ),
    ("architecture.width", "seeds.init_seed", "axis 'seeds.init_seed': expected one of dataset.<key>"),
    (
        "architecture.width",
        "architecture.seed",
        r"axes become columns \['seed', 'learning_rate'\]; they must differ",
    ),
    ("architecture.width", "architecture.learning_rate", "axes become columns .* they must differ"),
    (
        "architecture.width: [2, 3]",
        "training.learning_rate: [1]",
        "training.learning_rate is an axis of one kind, such as load or temperature, not of two",
    ),
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
    ("seeds: [0, 1]", "seeds: [{init: 1}]", "seeds.0.pair.order: Field required"),
    ("seeds: [0, 1]", "seeds: [{init: 1, order: -1}]", "seeds.0.pair.order: Input should be greater than"),
    ("seeds: [0, 1]", "seeds: [{init: yes, order: 1}]", "expected a number, got a boolean"),
    ("seeds: [0, 1]", "seeds: [{init: 1, order: 2, fork: 3}]", "seeds.0.pair.fork: Extra inputs"),
    ("seeds: [0, 1]", "seeds: [1, {init: 1, order: 1}]", "a seed stands twice in"),
    ("seeds: [0, 1]", "seeds: [{init: 1, order: 2}, {init: 1, order: 2}]", "a seed stands twice in"),
    (
        "seeds: [0, 1]",
        "seeds: [{init: 1, order: 2}]\nfork: {epoch: 1}",
        "in a recipe with a fork a seed is one number: it draws the order after the fork",
    ),
    ("seeds: [0, 1]", "seeds: [0]\nfork: {trunk_seed: 1}", "fork.epoch: Field required"),
    (
        "seeds: [0, 1]",
        "seeds: [0]\nfork: {epoch: 1, trunk_seed: -1}",
        "seeds.init_seed: Input should be greater",
    ),
    ("seeds: [0, 1]", "seeds: [0]\nfork: {epoch: 1, width: 3}", "fork.width: Extra inputs are not permitted"),
    (
        "seeds: [0, 1]",
        "seeds: [0]\nfork: {epoch: yes}",
        "fork.epoch is a boolean, expected a number or a text",
    ),
    ("seeds: [0, 1]", "seeds: [0]\nfork: {epoch: 2}", "fork.epoch 2 must be below training.epochs 2"),
    (
        "seeds: [0, 1]",
        "seeds: [0]\nfork: {epoch: 1, momentum: 1.0}",
        "fork.momentum: Input should be less than 1",
    ),
    (
        "epochs: 2}",
        "epochs: 2, optimizer: nesterov, momentum: 0.9}\nfork: {epoch: 1, momentum: 0}",
        "after the fork: Value error, nesterov needs a momentum above 0",
    ),
    (
        "seeds: [0, 1]",
        "seeds: [0]\nparent: {zoo: nowhere}",
        r"a parent has a zoo and a checkpoint, got \['zoo'\]",
    ),
    (
        "seeds: [0, 1]",
        "seeds: [0]\nparent: {zoo: nowhere, checkpoint: a, epoch: 1}",
        r"a parent has a zoo and a checkpoint, got \['checkpoint', 'epoch', 'zoo'\]; such as parent: ",
    ),
    (
        "seeds: [0, 1]",
        "seeds: [0]\nparent: {zoo: nowhere, checkpoint: a}",
        "unknown zoo 'nowhere'",
    ),
    (
        "architecture.width",
        "parent.zoo",
        "axis 'parent.zoo': a recipe has one parent zoo; take parent.checkpoint as axis",
    ),
    (
        "training.learning_rate: [1e-2, 0.1]}",
        "training.learning_rate: [0.1]}\n  other: {architecture.width: [4]}",
        "architecture.width is an axis of one kind, such as load or temperature, not of two",
    ),
    (
        "training.learning_rate: [1e-2",
        "training.train_seconds: [1e-2",
        "axes become columns .* they must differ",
    ),
    ("epochs: 2}", "epochs: 2, warmup_epochs: 2}", "warmup_epochs 2 must be below epochs 2"),
    ("epochs: 2}", "epochs: 2, schedule: step}", "decay_epochs and the schedule 'step' need each other"),
    ("{name: digits}", "{name: digits, fraction: 0}", "dataset.fraction: Input should be greater than 0"),
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
        SpecificationError,
        match=r"architecture.width is an axis of one kind, such as load or temperature, not of two",
    ):
        load("training.learning_rate: [1e-2, 0.1]", "architecture.width: [4]")


def test_new_parts_at_their_defaults_do_not_change_the_hash(load):
    recipe = load()
    assert "fork" not in recipe.model_dump()
    assert recipe.hash == load("seeds: [0, 1]", "seeds: [0, 1]\nfork: {}\nparent: {}").hash
    assert recipe.hash != load("seeds: [0, 1]", "seeds: [0, 1]\nfork: {epoch: 1}").hash
    assert recipe.hash != load("seeds: [0, 1]", "seeds: [0, {init: 1, order: 0}]").hash
    other = load("[1e-2, 0.1]}", "[1e-2, 0.1]}\n  other: {fork.epoch: [1]}")
    assert recipe.hash != other.hash


def test_where_a_recipe_comes_from_is_part_of_it_if_it_is_told(load):
    assert load().hash == load("name: toy", "name: toy\nsource: null\nnotes: []").hash
    told = load("name: toy", "name: toy\nsource: A paper, 2021\nnotes: [the seeds are ours]")
    assert (told.source, told.notes) == ("A paper, 2021", ("the seeds are ours",))
    assert told.hash != load().hash


def test_architectures_with_a_common_axis_make_one_recipe(load):
    text = TEXT.replace("{architecture.width", "{architecture.name: [cnn, resnet], architecture.width")
    assert len(list(expand(load("digits", "digits-images", text=text)))) == 16


def test_the_hash_of_the_demo_is_pinned():
    pinned = "fa2bc1a369273848674667878aadee9b58a0ce7bb6c72800f9add19f9e1403c7"
    assert load_recipe("digits-mlp-demo").hash == pinned


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": [1, {"init": 0, "order": 2}]},
        {"fork": {"epoch": 1, "learning_rate": 0.01}},
        {"parent": {"zoo": "x", "checkpoint": "a@1"}},
    ],
)
def test_a_recipe_reads_back_from_its_own_json(tiny_recipe, changes):
    recipe = tiny_recipe(**changes)
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert again.hash == recipe.hash


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(
        SpecificationError, match=r"huge.yaml has 1,048,577 bytes; a recipe has at most 1 MiB"
    ):
        load_recipe(path)


def test_an_unknown_recipe_suggests_a_known_one():
    with pytest.raises(
        UnknownNameError,
        match=r"unknown recipe 'digits-mlp-dmo'; did you mean 'digits-mlp-demo' or 'digits-mlp'\?",
    ):
        load_recipe("digits-mlp-dmo")
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


# the page about recipes

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_page_names_every_field():
    """Fields of all recipes; options in the row of what has them, with their defaults and other choices."""
    from zoo.spec import DatasetSpecification, ForkSpecification, TrainingSpecification

    text = PAGE.read_text(encoding="utf-8")
    kinds = [DatasetSpecification, TrainingSpecification, ForkSpecification, Recipe]
    missing = {name for kind in kinds for name in kind.model_fields if f"`{name}`" not in text}
    assert missing <= {"name", "description", "axes", "seeds", "checkpoints", "dataset"}
    options = _options_of_architectures()
    options |= {name: datasets.family(name).options for name in datasets.names()}
    for name, kind in ((name, kind) for name, kind in options.items() if kind.model_fields):
        row = _row(text, name)
        for option, field in kind.model_fields.items():
            default = "" if field.is_required() else f" ({field.default}".removesuffix(".0")
            assert f"`{option}`{default}" in row
            others = {str(choice) for choice in get_args(field.annotation)} - {str(field.default)}
            assert {choice for choice in others if f"`{choice}`" not in text} == set()


@pytest.mark.parametrize("name", architectures.names())
def test_the_page_counts_the_numbers_of_every_architecture(name):
    (found,) = re.findall(r"([\d,]+) on `([\w-]+)` \|$", _row(PAGE.read_text(encoding="utf-8"), name))
    fields = _options_of_architectures()[name].model_fields.items()
    needed = {option: 64 for option, field in fields if field.is_required()}
    spec = ArchitectureSpecification.model_validate({"name": name, **needed})
    assert found[0] == f"{architectures.layout(spec, datasets.shape(found[1])).size:,}"


def _options_of_architectures():
    return {name: architectures.registry._family(name).options for name in architectures.names()}


def _row(text, name):
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    return row


def test_the_first_recipe_of_the_page_is_sound(tmp_path):
    text = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    (tmp_path / "page.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "page.yaml")
    assert len(list(expand(recipe))) == 12
    assert set(yaml.safe_load(text)) >= {"name", "axes", "seeds", "checkpoints"}


# axes that change nothing


@pytest.mark.parametrize(
    ("optimizer", "schedule", "field"),
    [
        ("adam", "constant", "momentum"),
        ("sgd", "constant", "beta1"),
        ("sgd", "cosine", "sam_radius"),
        ("sgd", "one-cycle", "momentum"),
        ("adamw", "one-cycle", "beta1"),
    ],
)
def test_an_axis_that_changes_nothing_is_refused(load, optimizer, schedule, field):
    text = TEXT.replace("{batch_size: 64, epochs: 2}", f"{{batch_size: 64, epochs: 2, schedule: {schedule}}}")
    text = text.replace("epochs: 2,", f"epochs: 2, learning_rate: 0.1, optimizer: {optimizer},")
    text = text.replace("training.learning_rate: [1e-2, 0.1]", f"training.{field}: [0.1, 0.5]")
    with pytest.raises(SpecificationError, match=rf"axis training.{field} would change nothing: {optimizer}"):
        load(text=text)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UnknownNameError, match=r"there is no file .*nosuch.yaml; expected a recipe in YAML"):
        load_recipe(tmp_path / "nosuch.yaml")


def test_a_text_stays_a_text_and_an_exponent_becomes_a_number(tiny_recipe):
    axes = {
        "load": {"architecture.width": [4]},
        "temperature": {"training.learning_rate": ["1e-3", 0.1]},
        "other": {"dataset.classes": ["0-1", "0-9", "1-2-3"]},
    }
    recipe = tiny_recipe(axes=axes, dataset={"name": "digits"})
    assert recipe.axes.other["dataset.classes"] == ("0-1", "0-9", "1-2-3")
    assert {model.values["learning_rate"] for model in expand(recipe)} == {0.001, 0.1}
    assert {model.spec.dataset.kept_classes for model in expand(recipe)} == {(0, 1), (0, 9), (1, 2, 3)}


@pytest.mark.parametrize("value", ["all", ["every"], 3])
def test_checkpoints_are_epochs_or_every(tiny_recipe, value):
    with pytest.raises(ValidationError, match=r"checkpoints.*\n.*expected a list of epochs, or `every`"):
        tiny_recipe(checkpoints=value)


def test_every_epoch_can_be_kept(tiny_recipe):
    model = next(expand(tiny_recipe(checkpoints="every", training={"epochs": 4})))
    assert model.checkpoints == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("field", "by", "value"), [("noise_seed", "label_noise", 0), ("subset_seed", "fraction", 1)]
)
def test_seeds_of_a_choice_that_no_cell_makes_are_refused(tmp_path, field, by, value):
    raw = yaml.safe_load(PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0])
    raw["dataset"] = {"name": "digits"}
    raw["axes"]["other"] = {f"dataset.{field}": [0, 1]}
    path = tmp_path / "page.yaml"
    path.write_text(yaml.safe_dump(raw))
    message = f"axis dataset.{field} would change nothing: {by} is {value} in every cell"
    with pytest.raises(SpecificationError, match=message):
        load_recipe(path)
    raw["axes"]["load"][f"dataset.{by}"] = [value, 0.5]
    path.write_text(yaml.safe_dump(raw))
    assert load_recipe(path).axes.other
