"""What the numbers of each layer look like: eight statistics per tensor, blind to the order of elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from zoo.errors import FormatError
from zoo.spec import Layout
from zoo.weights.sample import WeightSample

STATISTICS = ("mean", "var", "min", "q25", "median", "q75", "max", "norm")
"""Order of the statistics of one tensor."""


def layer_statistics(
    vectors: Float[np.ndarray, "models params"], layout: Layout
) -> Float[np.ndarray, "models features"]:
    """Summarise every tensor of every network by eight numbers.

    Mean, variance (of the population, divided by n) and the five quantiles 0, 1/4, 1/2, 3/4, 1 (linear
    between order statistics) are the seven of Unterthiner et al. 2020 (arXiv 2002.11448, section 3); the
    eighth is the L2 norm. Permuting the units of a layer changes none of them.

    Args:
        vectors: `(n_models, n_params)`, one flat vector a network.
        layout: Layout of the vectors.

    Returns:
        `(n_models, 8 n_entries)` float64, entry by entry in the layout's order, within an entry in the order
        of `STATISTICS`. Layouts with equally many entries, such as MLPs of any width, give equally long rows.

    Raises:
        FormatError: The vectors have another length than the layout.

    Example:
        >>> from zoo.spec import LayoutEntry
        >>> layout = Layout(architecture="mlp", entries=[LayoutEntry(name="w", shape=(3,), kind="weight")])
        >>> layer_statistics(np.array([[0.0, 3.0, 6.0]]), layout).round(3).tolist()
        [[3.0, 6.0, 0.0, 1.5, 3.0, 4.5, 6.0, 6.708]]
    """
    if vectors.shape[1] != layout.size:
        raise FormatError(f"layout {layout.id} has {layout.size} numbers, got vectors of {vectors.shape[1]}")
    pieces = np.split(np.asarray(vectors, np.float64), layout.offsets[1:], axis=1)
    return np.concatenate([_describe(piece) for piece in pieces], axis=1)


def _describe(values: NDArray[np.float64]) -> NDArray[np.float64]:
    quantiles = np.quantile(values, (0, 0.25, 0.5, 0.75, 1), axis=1)
    norm = np.linalg.norm(values, axis=1)
    return np.stack([values.mean(axis=1), values.var(axis=1), *quantiles, norm], axis=1)


def sample_statistics(samples: Sequence[WeightSample]) -> Float[np.ndarray, "samples features"]:
    """Summarise samples whose layouts may differ in the sizes of their tensors.

    Args:
        samples: At least one sample; all must name the same tensors.

    Returns:
        `(n_samples, 8 n_entries)` float64, rows in the order of the samples; see `layer_statistics`.

    Raises:
        FormatError: There is no sample, or two name different tensors, so that columns would not correspond.
    """
    if not samples:
        raise FormatError("layer statistics need at least one sample, got none")
    first = samples[0].layout
    groups: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault(sample.layout.id, []).append(place)
    features = np.empty((len(samples), len(STATISTICS) * len(first.entries)))
    for places in groups.values():
        layout = samples[places[0]].layout
        _check_same_tensors(first, layout)
        features[places] = layer_statistics(np.stack([samples[i].vector.numpy() for i in places]), layout)
    return features


def _check_same_tensors(first: Layout, other: Layout) -> None:
    expected, got = ([entry.name for entry in layout.entries] for layout in (first, other))
    if expected != got:
        raise FormatError(
            f"layer statistics line tensors up by name: layout {first.id} has {expected}, layout {other.id} "
            f"has {got}; choose one architecture and depth, such as with where('depth == 2')"
        )
