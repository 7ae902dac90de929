"""Networks that begin at a checkpoint of another zoo."""

import shutil

import numpy as np
import pytest

import zoo
from generators import generate, parents
from generators.parents import parent_of, parent_weights
from zoo.errors import SpecificationError, UnknownNameError
from zoo.spec import ParentSpecification


@pytest.fixture(autouse=True)
def forget():
    """What was read of parents is remembered by place, and these tests change what lies there."""
    parents._read.cache_clear()
    parents._open.cache_clear()


@pytest.fixture(scope="module")
def parent(tiny_zoo):
    """Id of a checkpoint of width 2."""
    models = zoo.open(tiny_zoo).models
    return models[models["width"] == 2]["model_id"].iloc[0] + "@2"


@pytest.fixture
def make(tiny_recipe, parent):
    def make(place, checkpoint=parent, **changes):
        fields = {"name": "child", "widths": [2], "training": {"epochs": 1}, "checkpoints": []}
        return tiny_recipe(parent={"zoo": str(place), "checkpoint": checkpoint}, **{**fields, **changes})

    return make


def vector(opened, checkpoint):
    return np.concatenate([tensor.numpy().ravel() for tensor in opened.state_dict(checkpoint).values()])


def test_a_child_begins_at_its_parents_weights(make, tiny_zoo, zoo_copy, parent, tmp_path):
    child = generate(make(zoo_copy), tmp_path / "child", device="cpu")
    start = vector(zoo.open(tiny_zoo), parent)
    for model in child.models["model_id"]:
        np.testing.assert_array_equal(vector(child, f"{model}@0"), start)
        assert not np.array_equal(vector(child, f"{model}@1"), start)
    assert child.models["parent"].tolist() == [f"tiny:{parent}"] * 4
    assert zoo.verify(tmp_path / "child") == []
    assert list(child.manifest.provenance["parents"]) == [parent]


def test_the_specification_of_a_child_names_the_weights_not_the_folder(make, tiny_zoo, zoo_copy):
    one, other = (
        make(place).specification({"architecture.width": 2, "training.learning_rate": 0.1}, 0)
        for place in (tiny_zoo, zoo_copy)
    )
    assert one.parent == other.parent
    assert one.parent.zoo == "tiny"
    assert one.hash == other.hash


def test_initial_weights_are_not_scaled_where_there_is_a_parent(make, zoo_copy, tiny_zoo, parent, tmp_path):
    recipe = make(zoo_copy, training={"epochs": 1, "init_scale": 3.0})
    child = generate(recipe, tmp_path / "child", device="cpu")
    first = child.models["model_id"].iloc[0]
    np.testing.assert_array_equal(vector(child, f"{first}@0"), vector(zoo.open(tiny_zoo), parent))


def test_the_parents_checkpoint_is_an_axis(make, zoo_copy, parent, tmp_path):
    """How long a network was trained before: children of two checkpoints of one model."""
    model = parent.removesuffix("@2")
    axes = {
        "load": {"architecture.width": [2]},
        "temperature": {"training.learning_rate": [0.1]},
        "other": {"parent.checkpoint": [f"{model}@1", f"{model}@2"]},
    }
    recipe = make(zoo_copy, axes=axes)
    recipe = recipe.model_copy(update={"parent": {"zoo": str(zoo_copy)}})
    child = generate(recipe, tmp_path / "child", device="cpu")
    assert child.models["parent_checkpoint"].unique().tolist() == [f"{model}@1", f"{model}@2"]
    for row in child.models.itertuples():
        start = vector(zoo.open(zoo_copy), row.parent_checkpoint)
        np.testing.assert_array_equal(vector(child, f"{row.model_id}@0"), start)
    assert zoo.verify(tmp_path / "child") == []
    generate(recipe, tmp_path / "child", device="cpu")


def test_a_parent_and_a_fork_go_together(make, zoo_copy, tiny_zoo, parent, tmp_path):
    recipe = make(zoo_copy, training={"epochs": 2}, fork={"epoch": 1}, checkpoints=[1], learning_rates=[0.1])
    child = generate(recipe, tmp_path / "child", device="cpu")
    one, other = child.models["model_id"]
    for epoch in (0, 1, 2):
        equal = np.array_equal(vector(child, f"{one}@{epoch}"), vector(child, f"{other}@{epoch}"))
        assert equal == (epoch <= 1)
    np.testing.assert_array_equal(vector(child, f"{one}@0"), vector(zoo.open(tiny_zoo), parent))


# what is refused


@pytest.mark.parametrize(
    "given", [{}, {"zoo": "x"}, {"checkpoint": "a@1"}, {"zoo": "x", "checkpoint": "a@1", "epoch": 1}]
)
def test_a_parent_has_a_zoo_and_a_checkpoint(tiny_recipe, given):
    spec = tiny_recipe().specification({"architecture.width": 2, "training.learning_rate": 0.1}, 0)
    with pytest.raises(
        SpecificationError, match=r"a parent has a zoo and a checkpoint, got \[.*\]; such as parent: \{zoo: "
    ):
        parent_of(spec, given)


def test_a_parent_of_another_layout_is_refused(make, zoo_copy, tmp_path):
    with pytest.raises(
        SpecificationError,
        match=r"the parent .*@2 has the layout mlp-\S+, its child would have mlp-\S+; fine-tuning goes",
    ):
        generate(make(zoo_copy, widths=[3]), tmp_path / "child", device="cpu")
    assert not (tmp_path / "child").exists()


def test_an_unknown_zoo_is_refused(make, tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown zoo '.*nowhere'"):
        generate(make(tmp_path / "nowhere"), tmp_path / "child", device="cpu")
    assert not (tmp_path / "child").exists()


def test_an_unknown_checkpoint_is_refused(make, zoo_copy, parent, tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown checkpoint '.*@7'; did you mean"):
        generate(make(zoo_copy, parent.replace("@2", "@7")), tmp_path / "child", device="cpu")
    assert not (tmp_path / "child").exists()


def test_other_weights_under_the_same_id_are_refused(zoo_copy, parent):
    found = ParentSpecification(zoo="tiny", checkpoint=parent, sha256="0" * 64)
    with pytest.raises(
        SpecificationError,
        match=r"@2 has weights of sha256 \w{12}..., expected 000000000000...; use the zoo that the recipe",
    ):
        parent_weights(found, str(zoo_copy))


def change_weights(root, checkpoint):
    row = zoo.open(root).checkpoints.set_index("checkpoint_id").loc[checkpoint]
    opened = zoo.open(root)
    vector_bytes = vector(opened, checkpoint).astype("<f4").tobytes()
    shard = root / row["shard"]
    data = shard.read_bytes()
    assert data.count(vector_bytes) == 1
    shard.write_bytes(data.replace(vector_bytes, (vector(opened, checkpoint) * 2).astype("<f4").tobytes()))


def test_a_zoo_begun_with_parents_of_other_weights_is_not_continued(
    make, zoo_copy, parent, tmp_path, stopping
):
    recipe, root = make(zoo_copy, training={"epochs": 2}), tmp_path / "child"
    with pytest.raises(KeyboardInterrupt):
        generate(recipe, root, device="cpu", executor=stopping(2))
    change_weights(zoo_copy, parent)
    parents._read.cache_clear()
    parents._open.cache_clear()
    with pytest.raises(
        SpecificationError,
        match=r"child was begun with parents of other weights; the rest would begin elsewhere",
    ):
        generate(recipe, root, device="cpu")
    shutil.rmtree(root)
    assert generate(recipe, root, device="cpu").manifest.complete
