"""Populations of trained networks that cover the phases of the loss landscape."""

# measure
from zoo import metrics as metrics

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

__all__ = [
    "Fault",
    "Split",
    "WeightDataset",
    "WeightSample",
    "Zoo",
    "ZooError",
    "metrics",
    "open",
    "verify",
]
