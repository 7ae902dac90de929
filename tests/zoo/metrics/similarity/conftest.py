"""Subjects with enough items for every protocol, and of other kinds of data."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import datasets
from zoo.architectures import build, initialise, layout
from zoo.datasets import Dataset, Items
from zoo.metrics import Subject, get
from zoo.spec import ArchitectureSpecification, DatasetSpecification
from zoo.training import stream
from zoo.weights import flatten


def with_items(subject, *, train, test):
    """The same networks on more digits."""
    data = datasets.load("digits")
    sides = {"train": data.train, "val": data.val, "test": data.test}
    cut = {
        side: Items(items.x[:count], items.y[:count])
        for (side, items), count in zip(sides.items(), (train, 20, test), strict=True)
    }
    changed = dataclasses.replace(subject, dataset=dataclasses.replace(data, **cut))
    return dataclasses.replace(changed, predictions=get("evaluation").compute(changed).predictions)


@pytest.fixture
def on_items():
    return with_items


@pytest.fixture
def whole(subject):
    """On all digits."""
    return with_items(subject, train=1000, test=500)


def toy(options, *, kind):
    """Two networks of a cell on eight random sequences of tokens."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 5, (8, 4), generator=draw)
    y = torch.randint(0, 5, (8, 4) if kind == "sequence" else (8,), generator=draw)
    items = Items(x, y)
    data = Dataset("toy", items, items, items, 5, "CC0-1.0", "toy", kind=kind, tokens=5)
    spec = ArchitectureSpecification.model_validate(options)
    found, module = layout(spec, data.shape), build(spec, data.shape)
    rows = []
    for seed in range(2):
        initialise(spec, module, stream(seed, "init"))
        rows.append(flatten(module.state_dict(), found).numpy())
    checkpoints = pd.DataFrame(
        {
            "checkpoint_id": ["m@1", "n@1"],
            "model_id": ["m", "n"],
            "cell_id": "cell",
            "seed": [0, 1],
            "epoch": 1,
            "last_epoch": 1,
            "status": "finished",
        }
    )
    weights = 10 * np.stack(rows)
    subject = Subject(weights, found, spec, data, DatasetSpecification(name="toy"), checkpoints)
    return dataclasses.replace(subject, predictions=get("evaluation").compute(subject).predictions)


@pytest.fixture
def text():
    return toy({"name": "gpt", "model_dim": 8, "depth": 1}, kind="sequence")


@pytest.fixture
def tokens():
    return toy({"name": "transformer", "model_dim": 8, "depth": 1}, kind="classification")
