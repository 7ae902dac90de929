"""The state of a task in training, on disk: enough to go on after any epoch as if nothing had happened."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import FormatError, IntegrityError
from zoo.spec import parse_json
from zoo.storage import write_file

FOLDER = "state"
"""Where states lie in a zoo that is being made; gone when it is complete."""


@dataclass(frozen=True)
class State:
    """A task after some epochs.

    Attributes:
        signature: What the state belongs to: models, their checkpoints, numerics. Another one starts anew.
        shards: Shards of the task's stacks, which train together again.
        epoch: Epochs done.
        chunk: Networks that a step takes at once; a resumed run must take as many for the same bits.
        seconds: Wall time so far.
        members: Places of the models that share each row.
        ended: Status and reason by place.
        epochs: Epochs that each model was trained.
        kept: Place and epoch of each checkpoint so far.
        arrays: `kept_weights`, and what the trainer gave: `weights` and the slots, a row for each row.
    """

    signature: str
    shards: list[str]
    epoch: int
    chunk: int
    seconds: float
    members: list[list[int]]
    ended: dict[int, tuple[str, str | None]]
    epochs: list[int]
    kept: list[tuple[int, int]]
    arrays: Mapping[str, NDArray[np.generic]] = field(repr=False)


_DESCRIBED, _DIGEST_BYTES = "described", 64
_SCALARS = ("signature", "shards", "epoch", "chunk", "seconds", "members", "epochs", "kept")


def is_sound(state: State, *, models: int, epochs: int, params: int) -> bool:
    """Say whether a state's parts fit each other and its task: its digest says only that it was not damaged.

    Args:
        state: The state.
        models: Models of the task.
        epochs: Epochs of the longest of them.
        params: Length of a weight vector.

    Returns:
        Whether training can go on from it.
    """
    alive = [place for row in state.members for place in row]
    places = [*alive, *state.ended, *(place for place, _ in state.kept)]
    rows = [array for name, array in state.arrays.items() if name != "kept_weights"]
    shapes = {name: array.shape for name, array in state.arrays.items()}
    return (
        0 < state.epoch <= epochs
        and 0 < state.chunk <= models
        and len(alive) == len(set(alive)) > 0
        and all(0 <= place < models for place in places)
        and len(set(alive) | set(state.ended)) == len(state.epochs) == models
        and {status for status, _ in state.ended.values()} <= {"finished", "diverged"}
        and shapes.get("weights") == (len(state.members), params)
        and shapes.get("kept_weights") == (len(state.kept), params)
        and all(array.ndim == 2 and len(array) == len(state.members) for array in rows)
    )


def state_path(root: Path, shard: str) -> Path:
    """Say where the state of a task lies.

    Args:
        root: The zoo.
        shard: Name of the task: its first shard.

    Returns:
        The file.
    """
    return root / FOLDER / Path(shard).with_suffix(".state").name


def save_state(path: Path, state: State) -> None:
    """Write a state; a crash at any moment leaves the old one or the new one.

    Args:
        path: The file.
        state: The state.
    """
    described = {name: getattr(state, name) for name in _SCALARS}
    described["ended"] = {str(place): end for place, end in state.ended.items()}
    image = io.BytesIO()
    text = np.frombuffer(json.dumps(described).encode(), np.uint8)
    arrays: dict[str, Any] = {_DESCRIBED: text, **state.arrays}
    np.savez(image, **arrays)
    data = image.getvalue()
    write_file(path, _digest(data) + data)


def load_state(path: Path) -> State:
    """Read a state.

    Args:
        path: The file.

    Returns:
        The state, in memory.

    Raises:
        IntegrityError: The file is torn: not a state, or not the one that was written.
    """
    try:
        if path.is_symlink() or not path.is_file():
            raise IntegrityError("it is no plain file")
        data = path.read_bytes()
        # before anything is parsed: readers of damaged files ask for any amount of memory
        if data[:_DIGEST_BYTES] != _digest(data[_DIGEST_BYTES:]):
            raise IntegrityError("its bytes have another digest than those that were written")
        with np.load(io.BytesIO(data[_DIGEST_BYTES:]), allow_pickle=False) as file:
            arrays = dict(file)
        described: dict[str, Any] = parse_json(arrays.pop(_DESCRIBED).tobytes().decode(), source=str(path))
        ended = {int(place): (status, reason) for place, (status, reason) in described.pop("ended").items()}
        kept = [(place, epoch) for place, epoch in described.pop("kept")]
        return State(**described, ended=ended, kept=kept, arrays=arrays)
    except (IntegrityError, FormatError, KeyError, OSError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"the saved state of training {path} is torn ({error}); its stack starts again at epoch 0"
        ) from None


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()
