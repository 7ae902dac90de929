"""Permutations that make networks comparable: matching of units, and a canonical form."""

from zoo.alignment.activations import match_activations as match_activations
from zoo.alignment.gauge import canonical as canonical
from zoo.alignment.weights import align as align
from zoo.alignment.weights import match_weights as match_weights
