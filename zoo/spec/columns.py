"""The columns that every zoo's tables have, and how a metric declares its own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

DType = Literal["string", "int32", "int64", "float64"]
Direction = Literal["higher", "lower", "none"]
TableName = Literal["models", "checkpoints", "layers", "pairs"]


class Column(BaseModel):
    """One column of a table.

    Attributes:
        name: Name; `_loss` and `_error` end what is better low, `_accuracy` and `_score` what is better high.
        dtype: Parquet type.
        description: Meaning, unit and range, in one sentence.
        direction: Which way is better, or `none`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: DType
    description: str
    direction: Direction = "none"


def _columns(*rows: tuple[str, DType, str]) -> tuple[Column, ...]:
    return tuple(Column(name=name, dtype=dtype, description=text) for name, dtype, text in rows)


MODEL_COLUMNS = _columns(
    ("model_id", "string", "axis values, seed and short hash of the specification"),
    ("cell_id", "string", "axis values and short hash of what the cell's models share"),
    ("seed", "int32", "place among the seeds of the cell, from 0"),
    ("init_seed", "int64", "seed of the initial weights"),
    ("order_seed", "int64", "seed of the data order"),
    ("layout", "string", "id of the layout"),
    ("n_params", "int64", "length of the weight vector"),
    ("status", "string", "finished, diverged or failed"),
    ("reason", "string", "why a run diverged or failed; missing where it finished"),
    ("last_epoch", "int32", "epoch of the last stored checkpoint; missing where there is none"),
    ("specification", "string", "full specification, JSON"),
    ("code_version", "string", "version of phasezoo that trained the model"),
    ("torch_version", "string", "version of torch that trained the model"),
    ("device", "string", "device that trained the model"),
)
ADDED_MODEL_COLUMNS = _columns(
    ("parent", "string", "zoo and checkpoint that it was fine-tuned from; missing where it was not"),
    (
        "code_commit",
        "string",
        "commit of the code that trained it, `-dirty` with changes; missing if unknown",
    ),
    ("strategy", "string", "how its stack was stepped: stacked/<networks at once>, or loop"),
    ("train_steps", "int64", "optimiser steps taken"),
    (
        "train_flops",
        "float64",
        "floating-point operations of its training, estimated from one forward and backward pass",
    ),
    ("train_seconds", "float64", "wall time of its stack, shared out by optimiser steps"),
)
"""Written since version 0.2; a zoo from before may lack them."""
CHECKPOINT_COLUMNS = _columns(
    ("checkpoint_id", "string", "<model_id>@<epoch>"),
    ("model_id", "string", "the model"),
    ("epoch", "int32", "epochs trained; 0 is the initial weights"),
    ("step", "int64", "optimiser steps taken"),
    ("shard", "string", "file that holds the weights"),
    ("row", "int32", "row in this file"),
)
LAYER_COLUMNS = _columns(
    ("checkpoint_id", "string", "the checkpoint"),
    ("layer", "string", "name of the tensor in the state dict"),
    ("shape", "string", "shape of the tensor, such as 32x64"),
)
PAIR_COLUMNS = _columns(
    ("cell_id", "string", "the cell that both belong to"),
    ("checkpoint_a", "string", "checkpoint of the model with the lower seed"),
    ("checkpoint_b", "string", "that of the model with the higher seed, at the same epoch or the last"),
)
LABEL_COLUMNS = _columns(
    ("dataset", "string", "`labels_key` of the dataset: a digest of all that decides its labels"),
    ("item", "int32", "place of a training item whose label was replaced, from 0"),
    ("label", "int32", "its true class, numbered as the network does"),
    ("trained_label", "int32", "the class that it was trained on"),
)
"""Of the file of wrong labels, which a zoo with label noise has."""
LABELS = "labels.parquet"

CORE_COLUMNS: dict[TableName, tuple[Column, ...]] = {
    "models": MODEL_COLUMNS,
    "checkpoints": CHECKPOINT_COLUMNS,
    "layers": LAYER_COLUMNS,
    "pairs": PAIR_COLUMNS,
}
ADDED_COLUMNS: dict[TableName, tuple[Column, ...]] = {"models": ADDED_MODEL_COLUMNS}
KEYS: dict[TableName, tuple[str, ...]] = {
    "models": ("model_id",),
    "checkpoints": ("checkpoint_id",),
    "layers": ("checkpoint_id", "layer"),
    "pairs": ("checkpoint_a", "checkpoint_b"),
}
"""The columns whose values are unique together."""
