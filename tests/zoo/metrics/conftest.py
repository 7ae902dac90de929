"""Small subjects: two cells of three MLPs on a few digits, with random weights instead of trained ones."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import datasets
from zoo.architectures import DataShape, build, initialise, layout
from zoo.datasets import Dataset, Items
from zoo.metrics import Subject, all_metrics
from zoo.spec import ArchitectureSpecification, DatasetSpecification
from zoo.training import stream
from zoo.weights import flatten

ARCHITECTURE = ArchitectureSpecification(name="mlp", width=6, depth=2)
WIDTHS = {"eigenspectrum": 24, "spectrum_null": 24, "farms": 24, "farms_paper": 104}
"""Where exponents can be fitted to layers, and where the released code has windows to cut."""
EPOCHS = (0, 3)


def small_digits():
    data = datasets.load("digits")
    sides = {
        side: datasets.Items(getattr(data, side).x[:n], getattr(data, side).y[:n])
        for side, n in (("train", 640), ("val", 20), ("test", 300))
    }
    return dataclasses.replace(data, **sides)


def random_vector(shape, seed, architecture=ARCHITECTURE):
    module = build(architecture, shape)
    initialise(architecture, module, stream(seed, "init"))
    return flatten(module.state_dict(), layout(architecture, shape)).numpy()


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
            "learning_rate": 1e-4,
            "weight_decay": 1e-2,
        }
        for cell in ("hot", "cold")
        for seed in range(3)
        for epoch in EPOCHS
    ]
    return pd.DataFrame(rows)


def small_convection():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(32, 4, generator=draw)
    grid = torch.rand(20, 2, generator=draw)
    train, side = Items(x, torch.full((32,), 3.0)), Items(grid, (grid[:, 0] - 3 * grid[:, 1]).sin())
    return Dataset("convection", train, side, side, 1, "CC0-1.0", "toy", kind="convection", inputs=(2,))


@pytest.fixture
def subject(request):
    """Networks on digits, or on an equation for a metric that is for these alone."""
    metric = request.node.callspec.params.get("metric") if hasattr(request.node, "callspec") else None
    if metric is not None and "classification" not in metric.kinds:
        return convection_subject()
    return digits_subject(ARCHITECTURE if metric is None else of_width(WIDTHS.get(metric.name)))


def of_width(width):
    return ARCHITECTURE if width is None else ARCHITECTURE.model_copy(update={"width": width})


@pytest.fixture
def convection():
    return convection_subject()


def convection_subject():
    data, checkpoints = small_convection(), checkpoint_rows()
    return Subject(
        weights=np.stack([random_vector(data.shape, seed) for seed in range(len(checkpoints))]),
        layout=layout(ARCHITECTURE, data.shape),
        architecture=ARCHITECTURE,
        dataset=data,
        dataset_specification=DatasetSpecification(name="convection"),
        checkpoints=checkpoints,
    )


def digits_subject(architecture=ARCHITECTURE):
    data = small_digits()
    shape = DataShape(data.input_shape, data.classes)
    checkpoints = checkpoint_rows()
    made = Subject(
        # times 4: untrained logits are too alike for the predictions to differ
        weights=np.stack([4 * random_vector(shape, seed, architecture) for seed in range(len(checkpoints))]),
        layout=layout(architecture, shape),
        architecture=architecture,
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
