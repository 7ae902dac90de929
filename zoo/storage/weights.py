"""Weight shards and prediction shards: which arrays they hold, and how the rows of a model are kept there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer
from numpy.typing import NDArray

from zoo.errors import FormatError
from zoo.spec import FileRecord, Layout, parse_json
from zoo.storage.shards import ATTRIBUTES, Shard, open_shard, write_shard


@dataclass(frozen=True)
class WeightShard:
    """What one weight shard holds.

    Attributes:
        layout: Layout of all of its weights.
        models: One JSON record a model: the columns of the table of models, without `last_epoch`.
        checkpoints: Table with checkpoint_id, model_id, epoch, step; a row for each row of the weights.
        weights: `(n_checkpoints, n_params)` float32.
    """

    layout: Layout
    models: list[dict[str, Any]]
    checkpoints: pd.DataFrame
    weights: Float[np.ndarray, "checkpoints params"]


def write_weights(path: Path, shard: WeightShard) -> FileRecord:
    """Write a weight shard; equal content gives equal bytes.

    Args:
        path: The file.
        shard: Its content.

    Returns:
        Size, digest and rows.
    """
    arrays = {
        "weights": np.ascontiguousarray(shard.weights, dtype="<f4"),
        "checkpoint_id": _bytes(shard.checkpoints["checkpoint_id"]),
        "model_id": _bytes(shard.checkpoints["model_id"]),
        "epoch": shard.checkpoints["epoch"].to_numpy("<i4"),
        "step": shard.checkpoints["step"].to_numpy("<i8"),
        "models": _bytes([json.dumps(model) for model in shard.models]),
    }
    text = {**ATTRIBUTES, "layout": shard.layout.to_json()}
    return write_shard(path, arrays, text=text, rows=len(shard.weights))


def read_weights(path: Path, record: FileRecord | None = None) -> WeightShard:
    """Open a weight shard; the weights stay on disk until touched.

    Args:
        path: The file.
        record: What the manifest says of it, if known.

    Returns:
        Its content; `weights` is a read-only memory map.

    Raises:
        IntegrityError: The file is missing, truncated or not HDF5.
        UnsafeFileError: It is not a plain shard.
        FormatError: Its arrays do not fit each other or their layout.
    """
    shard = open_shard(path, record)
    layout = _layout(shard)
    weights = shard.array("weights")
    ids = _strings(shard, "checkpoint_id")
    if weights.dtype != np.dtype("<f4") or weights.shape != (len(ids), layout.size):
        raise FormatError(
            f"{path}: expected float32 weights of shape ({len(ids)}, {layout.size}) as its ids and layout "
            f"say, got {weights.dtype} {weights.shape}"
        )
    columns: dict[str, Any] = {
        "checkpoint_id": ids,
        "model_id": _strings(shard, "model_id"),
        "epoch": np.asarray(shard.array("epoch")),
        "step": np.asarray(shard.array("step")),
    }
    if any(np.shape(column) != (len(ids),) for column in columns.values()):
        raise FormatError(f"{path}: expected one model_id, epoch and step for each of {len(ids)} checkpoints")
    models = [parse_json(text, source=f"{path}, 'models',") for text in _strings(shard, "models")]
    # a shard of failed models has no row, and no row to tell pandas that ids are text
    checkpoints = pd.DataFrame(columns).astype({"checkpoint_id": "str", "model_id": "str"})
    return WeightShard(layout, models, checkpoints, weights)


def _layout(shard: Shard) -> Layout:
    try:
        return Layout.model_validate_json(shard.text["layout"])
    except (KeyError, ValueError):
        raise FormatError(f"{shard.path} has no valid layout among its attributes") from None


def _bytes(values: Sequence[str] | pd.Series[str]) -> NDArray[np.generic]:
    return np.array([value.encode() for value in values], dtype="S" if len(values) else "S1")


def _strings(shard: Shard, name: str) -> list[str]:
    array = shard.array(name)
    if array.dtype.kind != "S" or array.ndim != 1:
        raise FormatError(
            f"{shard.path}: expected bytes in {name!r}, got {array.dtype} of shape {array.shape}"
        )
    try:
        return [value.decode() for value in array.tolist()]
    except UnicodeDecodeError:
        raise FormatError(f"{shard.path}: {name!r} holds bytes that are no UTF-8") from None


def write_predictions(
    path: Path, checkpoint_ids: Sequence[str], predictions: Integer[np.ndarray, "checkpoints items"]
) -> FileRecord:
    """Write the predicted class of every test item.

    Args:
        path: The file.
        checkpoint_ids: The checkpoints, in the order of their weight shard.
        predictions: `(n_checkpoints, n_test)`, uint8 or int16.

    Returns:
        Size, digest and rows.
    """
    arrays = {"predictions": np.ascontiguousarray(predictions), "checkpoint_id": _bytes(checkpoint_ids)}
    return write_shard(path, arrays, text=ATTRIBUTES, rows=len(predictions))


def read_predictions(path: Path, record: FileRecord | None = None) -> NDArray[np.integer[Any]]:
    """Map the predicted classes of a shard into memory.

    Args:
        path: The file.
        record: What the manifest says of it, if known.

    Returns:
        `(n_checkpoints, n_test)`, read-only.
    """
    return open_shard(path, record).array("predictions")  # type: ignore[return-value]
