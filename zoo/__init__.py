"""Populations of trained networks that cover the phases of the loss landscape."""

# errors
from zoo.errors import ZooError as ZooError

# open and query
from zoo.population import Split as Split
from zoo.population import Zoo as Zoo
from zoo.population import open_zoo as open

__all__ = ["Split", "Zoo", "ZooError", "open"]
