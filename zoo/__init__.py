"""Populations of trained networks that cover the phases of the loss landscape."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # measure, and tell phases
    from zoo import metrics as metrics
    from zoo import phases as phases

    # check
    from zoo.checking import Fault as Fault
    from zoo.checking import verify as verify

    # errors
    from zoo.errors import ZooError as ZooError

    # open and query
    from zoo.population import Split as Split
    from zoo.population import Zoo as Zoo
    from zoo.population import open_zoo as open

    # weights as data
    from zoo.weights import WeightDataset as WeightDataset
    from zoo.weights import WeightSample as WeightSample

# Resolved when first used, so that `import zoo.spec` reads a manifest without loading torch.
_HOMES = {
    "Fault": "zoo.checking:Fault",
    "Split": "zoo.population:Split",
    "WeightDataset": "zoo.weights:WeightDataset",
    "WeightSample": "zoo.weights:WeightSample",
    "Zoo": "zoo.population:Zoo",
    "ZooError": "zoo.errors:ZooError",
    "metrics": "zoo.metrics:",
    "open": "zoo.population:open_zoo",
    "phases": "zoo.phases:",
    "verify": "zoo.checking:verify",
}
__all__ = [
    "Fault",
    "Split",
    "WeightDataset",
    "WeightSample",
    "Zoo",
    "ZooError",
    "metrics",
    "open",
    "phases",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    module, _, attribute = _HOMES[name].partition(":")
    home = import_module(module)
    return getattr(home, attribute) if attribute else home
