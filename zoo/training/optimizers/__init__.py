"""Optimisers that update a whole stack at once; one file each."""

from zoo.training.optimizers.base import Gradient as Gradient
from zoo.training.optimizers.base import Optimizer as Optimizer
from zoo.training.optimizers.registry import get as get
from zoo.training.optimizers.registry import names as names
