"""First steps with a zoo: open it, ask for a part of it, load networks, score a method of your own.

Run `make demo` once, then `python examples/first_steps.py`; another zoo's folder may be given as argument.
Each step is a function, so that the tests run them too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

import wsl_tasks
import zoo
from wsl_tasks import Result
from zoo import Zoo

TASK = "property-prediction/digits-mlp-demo/test_accuracy@v1"


def look(population: Zoo) -> None:
    """A zoo is a handful of tables; every checkpoint is a row, also of the models that came out badly."""
    print(population)
    print("axes:", ", ".join(f"{axis.name} ({axis.kind})" for axis in population.manifest.axes))
    print(population.models["status"].value_counts().to_string())
    print(
        population.checkpoints[["checkpoint_id", "epoch", "train_loss", "test_accuracy"]].head(3).to_string()
    )


def query(population: Zoo) -> Zoo:
    """`where` keeps checkpoints by any column of checkpoints or models; what it gives is a zoo again.

    Here: the final weights of the narrowest networks that were trained to the end. They have one layout,
    so their weights are one matrix, a row for each row of `.checkpoints`.
    """
    width = population.models["width"].min()
    narrow = population.where(f"width == {width} and status == 'finished' and epoch == last_epoch")
    print(narrow, "with weights", narrow.weights().shape)
    return narrow


def load(view: Zoo) -> torch.nn.Module:
    """A checkpoint opens as the network that it is, in eval mode; its weights are a plain state dict too."""
    best = view.checkpoints.nlargest(1, "test_accuracy")["checkpoint_id"].iloc[0]
    print("best:", best)
    print({name: tuple(tensor.shape) for name, tensor in view.state_dict(best).items()})
    return view.load_model(best)


def learn_from(population: Zoo) -> tuple[int, int, int]:
    """A split keeps all seeds and checkpoints of a grid point on one side; a view is a torch dataset.

    Layouts differ in length, so a batch of a whole zoo is a list; within one layout it can be a matrix.
    """
    train, val, test = population.where("status == 'finished'").split("iid-v1")
    sample, accuracy = train.dataset("test_accuracy")[0]
    print(f"{sample.checkpoint_id}: {sample.layout.id}, {len(sample.vector)} numbers -> {accuracy:.3f}")
    print({name: tuple(tensor.shape) for name, tensor in sample.tensors().items()})
    return len(train), len(val), len(test)


class WeightScale:
    """Predicts accuracy from two numbers, size and length of the weight vector, by least squares.

    Any object with `fit` and `predict` is a predictor; the test items come without targets and ids.
    """

    def fit(self, train: Any, val: Any) -> None:  # noqa: ARG002 - there is nothing to choose on val
        """Fit accuracy to the features of the training networks."""
        items = [train[place] for place in range(len(train))]
        features = self._features([sample for sample, _ in items])
        self._coefficients = np.linalg.lstsq(features, np.array([y for _, y in items]), rcond=None)[0]

    def predict(self, test: Any) -> Float[np.ndarray, " items"]:
        """Give one number for each test item, in their order."""
        return self._features([test[place] for place in range(len(test))]) @ self._coefficients

    @staticmethod
    def _features(samples: list[Any]) -> Float[np.ndarray, "items 3"]:
        return np.array(
            [[1.0, float(s.vector.square().mean().log()), np.log(len(s.vector))] for s in samples]
        )


def evaluate(population: Zoo) -> Result:
    """A task fits the method on the training cells and scores it on the test cells, with intervals."""
    result = wsl_tasks.get_task(TASK, zoo=population).evaluate(WeightScale())
    for name, score in result.scores.items():
        print(f"{name}: {score.text()}")
    return result


def main(folder: str) -> None:
    """Take all steps.

    Args:
        folder: A zoo with an axis `width`.
    """
    if not Path(folder).is_dir():
        sys.exit(f"{folder} is not there; run `make demo` first, or give the folder of a zoo")
    population = zoo.open(folder)
    look(population)
    load(query(population))
    learn_from(population)
    evaluate(population)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["demo/digits-mlp-demo"]))
