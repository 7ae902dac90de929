"""Small subjects: two cells of three MLPs on a few digits, with random weights instead of trained ones."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import datasets
from zoo.architectures import DataShape, build, initialise, layout
from zoo.metrics import Subject, all_metrics
from zoo.spec import ArchitectureSpecification, DatasetSpecification
from zoo.training import stream
from zoo.weights import flatten

ARCHITECTURE = ArchitectureSpecification(name="mlp", width=6, depth=2)
EPOCHS = (0, 3)


def small_digits():
    data = datasets.load("digits")
    sides = {
        side: datasets.Items(getattr(data, side).x[:n], getattr(data, side).y[:n])
        for side, n in (("train", 40), ("val", 20), ("test", 30))
    }
    return dataclasses.replace(data, **sides)


def random_vector(shape, seed):
    module = build(ARCHITECTURE, shape)
    initialise(ARCHITECTURE, module, stream(seed, "init"))
    return flatten(module.state_dict(), layout(ARCHITECTURE, shape)).numpy()


def checkpoint_rows():
    rows = [
        {
            "checkpoint_id": f"{cell}-seed{seed}@{epoch}",
            "model_id": f"{cell}-seed{seed}",
            "cell_id": cell,
            "seed": seed,
            "epoch": epoch,
            "last_epoch": EPOCHS[-1],
            "status": "finished",
        }
        for cell in ("hot", "cold")
        for seed in range(3)
        for epoch in EPOCHS
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def subject():
    data = small_digits()
    shape = DataShape(data.input_shape, data.classes)
    checkpoints = checkpoint_rows()
    made = Subject(
        # times 4: untrained logits are too alike for the predictions to differ
        weights=np.stack([4 * random_vector(shape, seed) for seed in range(len(checkpoints))]),
        layout=layout(ARCHITECTURE, shape),
        architecture=ARCHITECTURE,
        dataset=data,
        dataset_specification=DatasetSpecification(name="digits", label_noise=0.25, noise_seed=7),
        checkpoints=checkpoints,
    )
    predictions = all_metrics()["evaluation"].compute(made).predictions
    return dataclasses.replace(made, predictions=predictions)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
