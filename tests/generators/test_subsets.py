import pytest

import zoo
from generators import generate, measure
from generators.grid import plan
from zoo import datasets
from zoo.storage.weights import read_predictions


@pytest.fixture(scope="module")
def subsets(tiny_recipe, tmp_path_factory):
    axes = {
        "load": {"architecture.width": [4]},
        "temperature": {"training.learning_rate": [0.1]},
        "other": {"dataset.classes": ["0-1-2", "0-3-8", "5-6-9", "1-4-7"]},
    }
    root = tmp_path_factory.mktemp("subsets") / "zoo"
    generate(tiny_recipe(axes=axes, dataset={"name": "digits"}), root)
    return measure(root)


def test_subsets_of_classes_share_one_stack_and_one_layout(subsets):
    assert len(subsets.layouts) == 1
    assert subsets.checkpoints["shard"].nunique() == 1
    assert zoo.verify(subsets.root) == []


def test_each_network_is_judged_on_its_own_classes(subsets):
    finals = subsets.where("epoch == last_epoch")
    for row in finals.checkpoints.itertuples():
        spec = finals.specification(row.model_id)
        test = datasets.load(spec.dataset).restricted(spec.dataset).test
        right = finals.load_model(row.checkpoint_id)(test.x).argmax(1) == test.y
        assert row.test_accuracy == pytest.approx(float(right.double().mean()), abs=1e-12)


def test_predictions_end_where_the_test_items_of_a_subset_do(subsets):
    table = subsets.checkpoints
    stored = read_predictions(subsets.root / "predictions" / table["shard"].iloc[0].split("/")[1])
    lengths = []
    for row in table.itertuples():
        spec = subsets.specification(row.model_id)
        test = datasets.load(spec.dataset).restricted(spec.dataset).test
        found = stored[row.row]
        assert (found[: len(test)] == test.y.numpy()).mean() == pytest.approx(row.test_accuracy)
        assert (found[len(test) :] == 255).all()
        lengths.append(len(test))
    assert min(lengths) < max(lengths) == stored.shape[1]


def test_pairs_are_compared_on_their_own_test_items(subsets):
    assert subsets.pairs["disagreement"].notna().all()
    assert subsets.pairs["cka"].notna().all()


def test_whole_subsets_are_held_out(subsets):
    train, val, test = subsets.split("subset-v1")
    known = [set(side.models["classes"]) for side in (train, val, test)]
    assert sum(map(len, known)) == len(set().union(*known)) == 4
    assert all(known)


def test_networks_of_different_heads_never_share_a_stack(tiny_recipe, tmp_path):
    axes = {
        "load": {"dataset.class_count": [2, 4], "dataset.fraction": [0.5, 1.0]},
        "temperature": {"training.learning_rate": [0.1]},
    }
    recipe = tiny_recipe(
        axes=axes, dataset={"name": "digits"}, architecture={"name": "mlp", "width": 4}, seeds=[0]
    )
    stacks = plan(recipe)
    for stack in stacks:
        assert len({model.spec.dataset.class_count for model in stack.models}) == 1
    made = generate(recipe, tmp_path / "zoo")
    assert (made.models["status"] == "finished").all()
    assert len(made.layouts) == 2
