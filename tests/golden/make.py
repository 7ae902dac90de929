"""Write the golden zoo: two models with whole numbers for weights, so that no machine rounds them otherwise.

Run `python tests/golden/make.py tests/golden/two-models-2`. The committed files change only with the format.
`two-models` was made before the columns of `COSTS` existed and is kept as it is: older zoos must open.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.assembly import MANIFEST, write_assembly
from zoo.spec import (
    Axis,
    Column,
    Counts,
    Layout,
    LayoutEntry,
    Manifest,
    ModelSpecification,
    Protocol,
    canonical_json,
    cell_id,
    checkpoint_id,
    digest,
    model_id,
)
from zoo.storage import Entry, commit, parquet_bytes, write_file
from zoo.storage.weights import WeightShard, write_predictions, write_weights

LAYOUT = Layout(
    architecture="mlp",
    entries=(
        LayoutEntry(name="0.weight", shape=(2, 3), kind="weight"),
        LayoutEntry(name="0.bias", shape=(2,), kind="bias"),
    ),
)
RECIPE = {"name": "two-models-2", "seeds": [0, 1]}
PROTOCOL = Protocol(
    metric="evaluation",
    table="checkpoints",
    columns=(
        Column(name="test_loss", dtype="float64", description="mean loss in nats", direction="lower"),
        Column(name="test_accuracy", dtype="float64", description="share of hits", direction="higher"),
    ),
    settings={"batch": 4},
)
COSTS = {
    "parent": None,
    "code_commit": "0" * 40,
    "strategy": "stacked/2",
    "train_steps": 4,
    "train_flops": 1024.0,
    "train_seconds": 0.5,
}
SHARD = f"weights/{LAYOUT.id}-00000.h5"


def specification(seed):
    return ModelSpecification.model_validate(
        {
            "dataset": {"name": "digits"},
            "architecture": {"name": "mlp", "width": 2, "depth": 1, "activation": "relu"},
            "training": {"learning_rate": 0.5, "batch_size": 4, "epochs": 1},
            "seeds": {"init_seed": seed, "order_seed": seed},
        }
    )


def model(seed, status, reason):
    spec, values = specification(seed), {"width": 2, "learning_rate": 0.5}
    return {
        "model_id": model_id(spec, values, seed),
        "cell_id": cell_id(spec, values),
        **values,
        "seed": seed,
        "init_seed": seed,
        "order_seed": seed,
        "layout": LAYOUT.id,
        "n_params": LAYOUT.size,
        "status": status,
        "reason": reason,
        "specification": canonical_json(spec.model_dump(mode="json")),
        "code_version": "0.1.0",
        "torch_version": "2.13.0",
        "device": "cpu",
        **COSTS,
    }


def first_manifest():
    return Manifest(
        name="two-models-2",
        description="One finished and one diverged model with whole numbers for weights.",
        licence="CC-BY-4.0",
        recipe=RECIPE,
        recipe_hash=digest(RECIPE),
        axes=(
            Axis(name="width", field="architecture.width", kind="load", dtype="int64"),
            Axis(name="learning_rate", field="training.learning_rate", kind="temperature", dtype="float64"),
        ),
        counts=Counts(models=0, finished=0, diverged=0, failed=0, checkpoints=0, cells=0, planned=2),
        layouts={},
        protocols={},
        splits={},
        files={},
        journal_bytes=0,
        provenance={"phasezoo": "0.1.0", "created": "2026-01-01T00:00:00+00:00"},
    )


def write(root):
    """Write the zoo as a maker does: first manifest, shard, measurements, tables."""
    write_file(root / MANIFEST, first_manifest().to_json().encode())
    models = [model(0, "finished", None), model(1, "diverged", "loss left the finite numbers in epoch 1")]
    rows = [(models[0]["model_id"], 0), (models[0]["model_id"], 1), (models[1]["model_id"], 0)]
    checkpoints = pd.DataFrame(
        {
            "checkpoint_id": [checkpoint_id(name, epoch) for name, epoch in rows],
            "model_id": [name for name, _ in rows],
            "epoch": np.array([epoch for _, epoch in rows], dtype=np.int32),
            "step": np.array([epoch * 4 for _, epoch in rows], dtype=np.int64),
        }
    )
    weights = np.arange(24, dtype=np.float32).reshape(3, 8)
    record = write_weights(root / SHARD, WeightShard(LAYOUT, models, checkpoints, weights))
    commit(root, Entry(kind="weights", path=SHARD, shard=SHARD, record=record))
    write_measurements(root, checkpoints, record.sha256)
    write_assembly(root)


def write_measurements(root, checkpoints, of):
    path = f"predictions/{LAYOUT.id}-00000.h5"
    classes = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 1, 1]], dtype=np.uint8)
    record = write_predictions(root / path, checkpoints["checkpoint_id"].tolist(), classes)
    commit(root, Entry(kind="predictions", path=path, shard=SHARD, of=of, record=record))
    key = [Column(name="checkpoint_id", dtype="string", description="the checkpoint")]
    frame = checkpoints[["checkpoint_id"]].assign(
        test_loss=[2.0, 0.5, None], test_accuracy=[0.25, 0.75, 0.125]
    )
    path = f"parts/evaluation/{LAYOUT.id}-00000.parquet"
    record = write_file(root / path, parquet_bytes(frame, [*key, *PROTOCOL.columns]), rows=3)
    names = {"protocol": PROTOCOL, "protocol_id": "evaluation@v1"}
    commit(root, Entry(kind="measurement", path=path, shard=SHARD, of=of, record=record, **names))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
