"""Parents: checkpoints of other zoos that networks are fine-tuned from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

import zoo
from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import ModelSpecification, ParentSpecification


def parent_of(spec: ModelSpecification, given: Mapping[str, Any]) -> ParentSpecification:
    """Look up what a recipe names as parent.

    Args:
        spec: The child.
        given: `zoo` (folder or name) and `checkpoint` (its id).

    Returns:
        The parent as the child's specification records it: the same on any machine.

    Raises:
        SpecificationError: A key is missing or unknown, or the parent has another layout than the child.
        UnknownNameError: There is no such zoo or checkpoint.
    """
    if set(given) != {"zoo", "checkpoint"}:
        raise SpecificationError(
            f"a parent has a zoo and a checkpoint, got {sorted(given)}; such as "
            "parent: {zoo: zoos/digits-mlp, checkpoint: <checkpoint_id>}"
        )
    found, layout, _ = _read(str(given["zoo"]), str(given["checkpoint"]))
    expected = architectures.layout(spec.architecture, datasets.shape(spec.dataset)).id
    if layout != expected:
        raise SpecificationError(
            f"the parent {found.checkpoint} has the layout {layout}, its child would have {expected}; "
            "fine-tuning goes on with the same layout: choose another parent or architecture"
        )
    return found


def parent_weights(parent: ParentSpecification, place: str) -> Float[np.ndarray, " params"]:
    """Read a parent's weights.

    Args:
        parent: The parent, as a specification records it.
        place: Folder or name of its zoo.

    Returns:
        `(n_params,)` float32.

    Raises:
        SpecificationError: The checkpoint there has other weights than those that the specification names.
    """
    found, _, weights = _read(place, parent.checkpoint)
    if found.sha256 != parent.sha256:
        raise SpecificationError(
            f"{place}: {parent.checkpoint} has weights of sha256 {found.sha256[:12]}..., expected "
            f"{parent.sha256[:12]}...; use the zoo that the recipe was made with"
        )
    return weights


@lru_cache(maxsize=64)
def _read(place: str, checkpoint: str) -> tuple[ParentSpecification, str, Float[np.ndarray, " params"]]:
    opened = _open(place)
    state = opened.state_dict(checkpoint)
    weights = np.concatenate([tensor.numpy().reshape(-1) for tensor in state.values()]).astype("<f4")
    row = opened.checkpoints.set_index("checkpoint_id").loc[checkpoint]
    layout = str(opened.models.set_index("model_id")["layout"][row["model_id"]])
    sha256 = hashlib.sha256(weights.tobytes()).hexdigest()
    return (
        ParentSpecification(zoo=opened.manifest.name, checkpoint=checkpoint, sha256=sha256),
        layout,
        weights,
    )


@lru_cache(maxsize=8)
def _open(place: str) -> zoo.Zoo:
    return zoo.open(place)
