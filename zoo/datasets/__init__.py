"""Data that networks are trained on: resident tensors, fixed splits, a licence and a hash."""

from zoo.datasets.base import Dataset as Dataset
from zoo.datasets.base import Items as Items
from zoo.datasets.registry import load as load
from zoo.datasets.registry import names as names
from zoo.datasets.registry import shape as shape
