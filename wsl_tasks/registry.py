"""The tasks by id; a published one is never edited: a change is a new id."""

from __future__ import annotations

from pathlib import Path

from wsl_tasks.averaging import Averaging
from wsl_tasks.property_prediction import PropertyPrediction
from wsl_tasks.task import Task, TaskMetadata
from wsl_tasks.weight_generation import WeightGeneration
from zoo import Zoo
from zoo.errors import unknown_name

_FAMILIES: dict[str, type[Task]] = {
    "property-prediction": PropertyPrediction,
    "weight-generation": WeightGeneration,
    "averaging": Averaging,
}
# Ids follow from specifications, so every machine that runs the recipe gets this split.
_DIGITS_DEMO_SPLIT = "621a05e031be16ed4f777ec1985399d71221f48d59bb24781b4be661663bbb66"
_TASKS = (
    TaskMetadata(
        id="property-prediction/digits-mlp-demo/test_accuracy@v1",
        family="property-prediction",
        zoo="digits-mlp-demo",
        split="iid-v1",
        split_sha256=_DIGITS_DEMO_SPLIT,
        target="test_accuracy",
        main_score="kendall_tau",
        direction="higher",
        protocol="property-prediction-v1",
        description="Predict the test accuracy of perceptrons of seven widths from their weights alone.",
        citation="Unterthiner et al. 2020, Predicting Neural Network Accuracy from Weights, arXiv 2002.11448",
    ),
    TaskMetadata(
        id="weight-generation/digits-mlp-demo/unconditional@v1",
        family="weight-generation",
        zoo="digits-mlp-demo",
        split="iid-v1",
        split_sha256=_DIGITS_DEMO_SPLIT,
        target="val_accuracy",
        main_score="novel_accuracy",
        direction="higher",
        protocol="weight-generation-v1",
        description="Draw 64 perceptrons of width 16 that classify digits and are no copies.",
        citation="Zeng et al. 2025, Generative Modeling of Weights: Generalization or Memorization?, "
        "arXiv 2506.07998",
    ),
    TaskMetadata(
        id="averaging/digits-mlp-demo/seeds@v1",
        family="averaging",
        zoo="digits-mlp-demo",
        split="iid-v1",
        split_sha256=_DIGITS_DEMO_SPLIT,
        target="test_accuracy",
        main_score="accuracy_gain",
        direction="higher",
        protocol="averaging-v1",
        description="Merge perceptrons that differ in their seeds alone, and beat the best of them.",
        citation="Wortsman et al. 2022, Model soups, arXiv 2203.05482",
    ),
)
_BY_ID = {task.id: task for task in _TASKS}


def list_tasks() -> list[str]:
    """List the tasks.

    Returns:
        Their ids, sorted; superseded ones too, since results on them exist.

    Example:
        >>> list_tasks()[0]
        'averaging/digits-mlp-demo/seeds@v1'
    """
    return sorted(_BY_ID)


def metadata(task_id: str) -> TaskMetadata:
    """Look a task up without its zoo.

    Args:
        task_id: `<family>/<zoo>/<name>@v<version>`.

    Returns:
        What the task is.

    Raises:
        UnknownNameError: There is no such task; the nearest ids are named.

    Example:
        >>> metadata("averaging/digits-mlp-demo/seeds@v1").main_score
        'accuracy_gain'
    """
    if task_id not in _BY_ID:
        raise unknown_name("task", task_id, _BY_ID, way_out="(`phasezoo tasks` lists them)")
    return _BY_ID[task_id]


def get_task(task_id: str, *, zoo: Zoo | str | Path | None = None) -> Task:
    """Get a task, ready to evaluate methods.

    Args:
        task_id: `<family>/<zoo>/<name>@v<version>`.
        zoo: The zoo, its folder or its name; by default the one in the task's id.

    Returns:
        The task; its zoo is opened when first needed.

    Raises:
        UnknownNameError: There is no such task; the nearest ids are named.

    Example:
        >>> get_task("averaging/digits-mlp-demo/seeds@v1")
        <Task averaging/digits-mlp-demo/seeds@v1>
    """
    found = metadata(task_id)
    return _FAMILIES[found.family](found, zoo)
