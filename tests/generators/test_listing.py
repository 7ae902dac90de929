import pytest

from generators import dry_run, list_recipes, load_recipe
from generators.engine.cost import flops_per_epoch
from generators.grid import alike, plan
from generators.listing import listing, total_flops
from zoo.cli.main import run

OURS = {
    "digits-mlp",
    "mnist1d-mlp",
    "fashion-cnn",
    "fashion-resnet",
    "convection-pinn-small",
    "modadd-mlp",
    "kjv-gpt",
    "digits-subsets",
    "fashion-subsets",
    "fashion-forks",
    "fashion-tempbalance",
    "digits-richlazy",
}


def test_our_recipes_are_there_and_as_large_as_promised():
    assert set(list_recipes()) >= OURS | {"digits-mlp-demo"}
    recipe = load_recipe("digits-mlp")
    assert len(recipe.axes.load["architecture.width"]) >= 8
    assert len(recipe.axes.temperature["training.learning_rate"]) >= 8
    assert len(recipe.seeds) >= 5
    for name in ("digits-subsets", "fashion-subsets"):
        assert len(load_recipe(name).axes.other["dataset.classes"]) >= 200


@pytest.mark.parametrize("name", ["digits-mlp", "fashion-resnet", "vit-cifar10", "resnet18-svhn"])
def test_a_listing_says_what_a_dry_run_says(name):
    recipe = load_recipe(name)
    found, made = listing(recipe), dry_run(recipe)
    said = (found.name, found.models, found.cells, found.bytes)
    assert said == (name, made["models"], made["cells"], made["bytes"])
    assert found.smallest * found.models <= made["parameters"] <= found.largest * found.models


@pytest.mark.parametrize("name", ["digits-mlp", "fashion-cnn", "vit-cifar10", "mnist1d-mlp"])
def test_operations_of_networks_in_between_lie_in_between(name):
    sorts = alike(plan(load_recipe(name)))
    exact = sum(count * stack.model_epochs * flops_per_epoch(stack) for stack, count in sorts)
    assert total_flops(sorts) == pytest.approx(exact, rel=0.1)


def test_the_command_lists_recipes_with_cost_and_source(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    chosen = ["digits-mlp", "resnet18-cifar10"]
    monkeypatch.setattr("generators.recipe.list_recipes", lambda: chosen)
    assert run(["recipes"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    small, large = rows
    assert all(text in small for text in ("digits-mlp", "1440", "166 to 26,122", "core", "phasezoo"))
    assert all(text in large for text in ("resnet18-cifar10", "192", "3.45 TB", "GPU", "Schürholt"))


def test_the_command_shows_one_recipe_with_what_is_ours(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["recipes", "vit-cifar10"]) == 0
    shown = capsys.readouterr().out
    assert "temperature axis training.batch_size" in shown
    assert "all of these are ours" in shown
    assert "147 in 49 cells" in shown


def test_a_dry_run_without_the_data_says_what_it_can(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PHASEZOO_DATA", str(tmp_path))
    monkeypatch.setenv("PHASEZOO_OFFLINE", "1")
    assert run(["generate", "resnet18-cifar10", "--out", str(tmp_path / "zoo"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "192" in shown
    assert "hours on one GPU, not tried" in shown
    assert "To try it, the dataset 'cifar10' needs cifar-10-binary.tar.gz" in shown


def test_names_of_recipes_are_whole_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("generators.recipe.list_recipes", lambda: ["resnet18-svhn", "digits-mlp"])
    assert run(["recipes"]) == 0
    assert "resnet18-svhn" in capsys.readouterr().out
