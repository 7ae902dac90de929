"""Weight vectors as data: flat vectors, state dicts, samples for weight-space models."""

from zoo.weights.dataset import WeightDataset as WeightDataset
from zoo.weights.reader import WeightReader as WeightReader
from zoo.weights.sample import WeightSample as WeightSample
from zoo.weights.vectors import flatten as flatten
from zoo.weights.vectors import layout_of as layout_of
from zoo.weights.vectors import unflatten as unflatten
