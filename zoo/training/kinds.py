"""What training minimises, by what a dataset asks."""

from __future__ import annotations

from zoo.datasets import Kind
from zoo.training.convection import convection
from zoo.training.objectives import Objective, cross_entropy

OBJECTIVES: dict[Kind, Objective] = {
    "classification": cross_entropy,
    "sequence": cross_entropy,
    "convection": convection,
}
