"""What the data of a recipe ask of its networks, and what every zoo of that kind is measured by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import datasets


def recipe_kind(recipe: Mapping[str, Any]) -> datasets.Kind:
    """Say what a zoo's data ask of its networks.

    Args:
        recipe: The recipe, as the manifest stores it.

    Returns:
        The kind of its datasets, which is one.
    """
    axes = {field: values for fields in recipe["axes"].values() for field, values in fields.items()}
    name = recipe["dataset"].get("name") or axes["dataset.name"][0]
    return datasets.family(str(name)).kind


def first_metric(kind: datasets.Kind) -> str:
    """Name the metric that every zoo is measured by.

    Args:
        kind: What its data ask.

    Returns:
        `solution` for an equation, else `evaluation`.
    """
    return "solution" if kind == "convection" else "evaluation"
