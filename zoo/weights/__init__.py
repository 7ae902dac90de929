"""Weight vectors as data: flat vectors, state dicts, samples for weight-space models."""

from zoo.weights.vectors import flatten as flatten
from zoo.weights.vectors import layout_of as layout_of
from zoo.weights.vectors import unflatten as unflatten
