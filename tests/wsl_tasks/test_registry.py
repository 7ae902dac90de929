import pytest

import wsl_tasks
from wsl_tasks.property_prediction import PropertyPrediction
from wsl_tasks.registry import metadata
from zoo.errors import FormatError, UnknownNameError

IDS = [
    "averaging/digits-mlp-demo/seeds@v1",
    "property-prediction/digits-mlp-demo/test_accuracy@v1",
    "weight-generation/digits-mlp-demo/unconditional@v1",
]


def test_the_tasks():
    assert wsl_tasks.list_tasks() == IDS


@pytest.mark.parametrize("task_id", IDS)
def test_an_id_is_made_of_family_zoo_and_version(task_id):
    known = metadata(task_id)
    family, zoo, name = task_id.split("/")
    assert (known.family, known.zoo) == (family, zoo)
    assert name.endswith("@v1")
    assert known.protocol == f"{family}-v1"


@pytest.mark.parametrize("task_id", IDS)
def test_baselines_are_listed_without_the_zoo(task_id):
    assert len(wsl_tasks.get_task(task_id, zoo="no-such-zoo").baselines()) >= 3


def test_an_unknown_id_is_refused_with_suggestions():
    with pytest.raises(
        UnknownNameError, match=r"did you mean 'averaging/.*seeds@v1'.*`phasezoo tasks` lists them"
    ):
        wsl_tasks.get_task("averaging/digits-mlp-demo/seeds@v2")


def test_a_zoo_may_be_given_as_its_folder(zoo):
    task = wsl_tasks.get_task(IDS[0], zoo=zoo.root)
    assert task.zoo.manifest.recipe_hash == zoo.manifest.recipe_hash


def test_an_unknown_zoo_is_refused_at_first_use():
    task = wsl_tasks.get_task(IDS[0], zoo="no-such-zoo")
    with pytest.raises(UnknownNameError, match="unknown zoo 'no-such-zoo'"):
        task.evaluate(wsl_tasks.UniformSoup())


def test_a_zoo_that_differs_from_the_published_one_is_refused(zoo):
    pinned = metadata(IDS[1]).model_copy(update={"split_sha256": "0" * 64})
    with pytest.raises(
        FormatError, match=r"sha256 000000000000\.\.\., got .*this zoo differs from the published"
    ):
        PropertyPrediction(pinned, zoo).evaluate(wsl_tasks.MeanPredictor())


def test_the_published_zoo_is_taken(zoo):
    sha256 = zoo.manifest.files[zoo.manifest.splits["iid-v1"]].sha256
    pinned = metadata(IDS[1]).model_copy(update={"split_sha256": sha256})
    assert PropertyPrediction(pinned, zoo).evaluate(wsl_tasks.MeanPredictor()).zoo.split_sha256 == sha256


def test_a_zoo_without_the_split_is_refused(zoo):
    other = metadata(IDS[1]).model_copy(update={"split": "width-v1"})
    with pytest.raises(
        UnknownNameError, match=r"unknown split 'width-v1'; .*'iid-v1'.*the zoo tiny gets its splits when"
    ):
        PropertyPrediction(other, zoo).evaluate(wsl_tasks.MeanPredictor())


@pytest.mark.parametrize(
    ("task_id", "expected"),
    [(IDS[0], "two finished seeds"), (IDS[1], "models on each side"), (IDS[2], "width == 16")],
)
def test_a_zoo_without_finished_models_is_refused(zoo, task_id, expected):
    task = wsl_tasks.get_task(task_id, zoo=zoo.where("status == 'diverged'"))
    method = next(iter(task.baselines().values()))()
    with pytest.raises(FormatError, match=rf"expected .*{expected}.* of the zoo tiny, got none; generate"):
        task.evaluate(method)
