"""What the tests of generation share: zoos compared, tasks trained without a folder, processes watched."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from generators import generate
from generators.engine import Hooks, Interrupted, Task, TaskSettings, train_task
from generators.executors.inline import InlineExecutor
from generators.grid import plan

TABLES = ("models", "checkpoints", "layers", "pairs", "cells")


def check_equal_zoos(one, other):
    """Every table is equal to the last bit but for wall time, the weights to 1e-6."""
    for name in TABLES:
        ours, theirs = (getattr(z, name).drop(columns="train_seconds", errors="ignore") for z in (one, other))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert one.layouts == other.layouts
    for layout in other.layouts:
        np.testing.assert_allclose(one.weights(layout), other.weights(layout), atol=1e-6, rtol=0)


@pytest.fixture(scope="session")
def assert_equal_zoos():
    return check_equal_zoos


@dataclass(frozen=True)
class Outcome:
    """What training a recipe's only stack gave.

    Attributes:
        models: Record of each model, in the order of the plan.
        weights: Weight vector by place of the model and epoch.
        strategy: How it was stepped.
    """

    models: list[dict]
    weights: dict[tuple[int, int], np.ndarray]
    strategy: str | None

    @property
    def status(self):
        return [model["status"] for model in self.models]

    def last(self, place):
        """The last checkpoint of a model."""
        return self.weights[place, max(epoch for number, epoch in self.weights if number == place)]


def outcome_of(shards):
    models = [model for shard in shards for model in shard.models]
    place = {model["model_id"]: number for number, model in enumerate(models)}
    weights = {
        (place[row.model_id], row.epoch): vector
        for shard in shards
        for row, vector in zip(shard.checkpoints.itertuples(), shard.weights, strict=True)
    }
    return Outcome(models, weights, models[0]["strategy"])


def task_of(recipe, state=None, start=None):
    (stack,) = plan(recipe)
    return Task((stack,), start or {}, state)


def train_recipe(recipe, *, state=None, hooks=None, start=None, strategy="stacked", **settings):
    """Train a recipe of one stack without a folder."""
    task = task_of(recipe, state, start)
    return outcome_of(train_task(task, TaskSettings(strategy=strategy, **settings), hooks or Hooks()))


def stop_before(epoch):
    """Hooks that ask to stop before an epoch, from 1."""
    calls = iter(range(1, epoch + 1))
    return Hooks(should_stop=lambda: next(calls) == epoch)


def train_with_stops(recipe, state, stops, **settings):
    """Train with interruptions, each before an epoch counted from where the run began."""
    for stop in stops:
        with pytest.raises(Interrupted):
            train_recipe(recipe, state=state, hooks=stop_before(stop), **settings)
    return train_recipe(recipe, state=state, **settings)


def check_equal_outcomes(one, other, atol=None):
    """Bitwise, or up to `atol`; records too, but for wall time and how they were stepped."""
    keep = [
        [{k: v for k, v in m.items() if k not in {"train_seconds", "strategy"}} for m in o.models]
        for o in (one, other)
    ]
    assert keep[0] == keep[1]
    assert one.weights.keys() == other.weights.keys()
    for key, vector in one.weights.items():
        if atol is None:
            np.testing.assert_array_equal(vector, other.weights[key], err_msg=str(key))
        else:
            np.testing.assert_allclose(vector, other.weights[key], atol=atol, rtol=0, err_msg=str(key))


def generate_inline(recipe, out, **options):
    return generate(recipe, out, device="cpu", executor=InlineExecutor(), **options)


@pytest.fixture(scope="session")
def engine():
    """Training without a folder: `train`, `train_with_stops`, `task`, `stop_before`, `assert_equal`."""
    return SimpleNamespace(
        train=train_recipe,
        train_with_stops=train_with_stops,
        task=task_of,
        stop_before=stop_before,
        assert_equal=check_equal_outcomes,
        generate=generate_inline,
    )


@pytest.fixture
def saving_often(monkeypatch):
    """Every epoch ends with a saved state."""
    monkeypatch.setattr("generators.generation.TaskSettings", partial(TaskSettings, state_seconds=0.0))


def children_of(process):
    """Ids of the living children of a process: zombies are dead."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def is_alive(process):
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session")
def processes():
    """Looks at processes: `children(pid)`, `alive(pid)`."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("looks for processes in /proc")
    return SimpleNamespace(children=children_of, alive=is_alive, own=os.getpid)


class Stopping:
    """Trains in this process, and is stopped before an epoch of each task, as by Ctrl-C.

    Args:
        epoch: The epoch, counted from where the task begins or goes on.
    """

    def __init__(self, epoch):
        self.epoch = epoch

    def run(self, tasks, settings, watch):
        hooks = stop_before(self.epoch)
        return InlineExecutor().run(tasks, settings, replace(watch, should_stop=hooks.should_stop))


@pytest.fixture(scope="session")
def stopping():
    """Executor that is stopped before an epoch."""
    return Stopping
