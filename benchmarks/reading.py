"""Opening a large zoo, and reading shuffled weight vectors from one against a file for each checkpoint."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import zoo
from benchmarks.paired import Comparison, seconds
from zoo.assembly import MANIFEST, write_assembly
from zoo.spec import (
    Axis,
    Counts,
    Layout,
    LayoutEntry,
    Manifest,
    ModelSpecification,
    canonical_json,
    cell_id,
    checkpoint_id,
    model_id,
)
from zoo.storage import Entry, commit, write_file
from zoo.storage.weights import WeightShard, write_weights

EPOCHS = (0, 1, 5, 20, 50)
SEEDS = 4
MODELS_PER_SHARD = 200


def write_zoo(root: Path, *, models: int, layout: Layout) -> None:
    """Write a zoo of random weights, five checkpoints a model, by the writer that `generate` uses.

    Args:
        root: Folder of the zoo.
        models: Number of models.
        layout: Layout of the weights.
    """
    write_file(root / MANIFEST, _manifest(models).to_json().encode())
    (root / "weights").mkdir()
    numbers = np.random.default_rng(0)
    for number, first in enumerate(range(0, models, MODELS_PER_SHARD)):
        count = min(MODELS_PER_SHARD, models - first)
        records = [_record(place, layout) for place in range(first, first + count)]
        rows = [(r["model_id"], epoch, 32 * epoch) for r in records for epoch in EPOCHS]
        checkpoints = pd.DataFrame(rows, columns=["model_id", "epoch", "step"])
        ids = [checkpoint_id(model, epoch) for model, epoch, _ in rows]
        weights = numbers.standard_normal((len(rows), layout.size), dtype=np.float32)
        shard = WeightShard(layout, records, checkpoints.assign(checkpoint_id=ids), weights)
        path = f"weights/{layout.id}-{number:05d}.h5"
        record = write_weights(root / path, shard)
        commit(root, Entry(kind="weights", path=path, shard=path, record=record))
    write_assembly(root)


def flat(params: int) -> Layout:
    """Give the layout of weight vectors that mean nothing.

    Args:
        params: Their length.

    Returns:
        The layout.
    """
    return Layout(architecture="mlp", entries=[LayoutEntry(name="0.weight", shape=(params,), kind="weight")])


def _record(place: int, layout: Layout) -> dict[str, object]:
    rate, seed = 0.001 * (1 + place // SEEDS), place % SEEDS
    spec = ModelSpecification.model_validate(
        {
            "dataset": {"name": "digits"},
            "architecture": {"name": "mlp", "width": 64, "depth": 2, "activation": "relu"},
            "training": {"learning_rate": rate, "batch_size": 32, "epochs": EPOCHS[-1]},
            "seeds": {"init_seed": seed, "order_seed": seed},
        }
    )
    values = {"width": 64, "learning_rate": rate}
    return {
        "model_id": model_id(spec, values, seed),
        "cell_id": cell_id(spec, values),
        **values,
        "seed": seed,
        "init_seed": seed,
        "order_seed": seed,
        "layout": layout.id,
        "n_params": layout.size,
        "status": "finished",
        "reason": None,
        "specification": canonical_json(spec.model_dump(mode="json")),
        "code_version": "benchmark",
        "torch_version": torch.__version__,
        "device": "cpu",
    }


def _manifest(models: int) -> Manifest:
    axis = {
        "name": "learning_rate",
        "field": "training.learning_rate",
        "kind": "temperature",
        "dtype": "float64",
    }
    load = {"name": "width", "field": "architecture.width", "kind": "load", "dtype": "int64"}
    counts = dict.fromkeys(("models", "finished", "diverged", "failed", "checkpoints", "cells"), 0)
    return Manifest(
        name="synthetic",
        description="Random weights.",
        licence="CC-BY-4.0",
        recipe={"dataset": {"name": "digits"}, "axes": {}},
        recipe_hash="0" * 64,
        axes=(Axis.model_validate(load), Axis.model_validate(axis)),
        counts=Counts(planned=models, **counts),
        layouts={},
        protocols={},
        splits={},
        files={},
        journal_bytes=0,
        provenance={},
    )


def time_opening(root: Path, *, repeats: int) -> tuple[list[float], list[float]]:
    """Open a zoo again and again in a warm process.

    Args:
        root: The zoo.
        repeats: How often, after one time that is not counted.

    Returns:
        Seconds of `zoo.open` alone, and of `zoo.open` with the tables of checkpoints and models.
    """
    alone = [seconds(lambda: zoo.open(root)) for _ in range(repeats + 1)]
    tables = [seconds(lambda: _open_tables(root)) for _ in range(repeats + 1)]
    return alone[1:], tables[1:]


def _open_tables(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    opened = zoo.open(root)
    return opened.checkpoints, opened.models


def compare_reading(root: Path, files: Path, *, pairs: int, batch: int) -> Comparison:
    """Read shuffled batches of weight vectors from a zoo, and from a file for each checkpoint.

    Args:
        root: The zoo.
        files: Folder for the files, which are written first by `torch.save`.
        pairs: Number of pairs, a fresh batch for each.
        batch: Vectors in a batch.

    Returns:
        The times of reading each batch into one matrix.

    Raises:
        RuntimeError: The two ways read different vectors.
    """
    data = zoo.open(root).dataset()
    files.mkdir()
    for place in range(len(data)):
        torch.save(data[place].vector, files / f"{place}.pt")

    def peer(picked: list[int]) -> torch.Tensor:
        return torch.stack([torch.load(files / f"{place}.pt", weights_only=True) for place in picked])

    draw = random.Random(0)
    batches = [draw.sample(range(len(data)), batch) for _ in range(pairs)]
    if not all(torch.equal(data.vectors(picked), peer(picked)) for picked in batches):
        raise RuntimeError("the zoo and the files hold different vectors")
    pairs_of_seconds = [
        (seconds(partial(data.vectors, picked)), seconds(partial(peer, picked))) for picked in batches
    ]
    return Comparison([ours for ours, _ in pairs_of_seconds], [theirs for _, theirs in pairs_of_seconds])
