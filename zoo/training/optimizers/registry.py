"""The optimisers by name; a new one adds its file and one entry here."""

from __future__ import annotations

from zoo.errors import unknown_name
from zoo.training.optimizers.adam import Adam, AdamW
from zoo.training.optimizers.base import Optimizer
from zoo.training.optimizers.sam import SAM
from zoo.training.optimizers.sgd import SGD, Nesterov

_REGISTRY: dict[str, Optimizer] = {rule.name: rule for rule in (SGD(), Nesterov(), Adam(), AdamW(), SAM())}


def names() -> list[str]:
    """List the optimisers.

    Returns:
        Their names, sorted.

    Example:
        >>> names()
        ['adam', 'adamw', 'nesterov', 'sam', 'sgd']
    """
    return sorted(_REGISTRY)


def get(name: str) -> Optimizer:
    """Look an optimiser up.

    Args:
        name: Its name.

    Returns:
        The update rule.

    Raises:
        UnknownNameError: No optimiser has this name.
    """
    if name not in _REGISTRY:
        raise unknown_name("optimizer", name, _REGISTRY)
    return _REGISTRY[name]
