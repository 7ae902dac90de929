import numpy as np
import pytest
import torch
from scipy import stats

from zoo.errors import FormatError
from zoo.spec import Layout, LayoutEntry
from zoo.weights import WeightSample
from zoo.weights.statistics import STATISTICS, layer_statistics, sample_statistics


def layout_of_width(width, depth=1):
    entries = [
        LayoutEntry(name="0.weight", shape=(width, 3), kind="weight"),
        LayoutEntry(name="0.bias", shape=(width,), kind="bias"),
    ]
    deeper = [LayoutEntry(name=f"{i}.bias", shape=(width,), kind="bias") for i in range(1, depth)]
    return Layout(architecture="mlp", entries=(*entries, *deeper))


def sample_of(width, seed, depth=1):
    layout = layout_of_width(width, depth)
    vector = torch.randn(layout.size, generator=torch.Generator().manual_seed(seed))
    return WeightSample(f"m{seed}@1", layout, vector)


def reference(values):
    """The statistics one by one, from scipy and order statistics in plain Python."""
    described = stats.describe(values, ddof=0)
    ordered = sorted(values)

    def quantile(share):
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    quantiles = [quantile(share) for share in (0, 0.25, 0.5, 0.75, 1)]
    return [described.mean, described.variance, *quantiles, sum(v * v for v in values) ** 0.5]


@pytest.mark.parametrize("width", [1, 2, 7])
def test_agrees_with_scipy_and_plain_python(width):
    layout = layout_of_width(width)
    vectors = np.random.default_rng(0).normal(size=(4, layout.size)).astype(np.float32)
    got = layer_statistics(vectors, layout)
    expected = [reference(v[: 3 * width]) + reference(v[3 * width :]) for v in vectors.astype(float).tolist()]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)
    assert got.dtype == np.float64


def test_order_of_the_units_does_not_matter():
    layout = layout_of_width(5)
    weight, bias = np.random.default_rng(1).normal(size=(5, 3)), np.arange(5.0)
    shuffled = [2, 0, 4, 1, 3]
    a = np.concatenate([weight.ravel(), bias])[None]
    b = np.concatenate([weight[shuffled].ravel(), bias[shuffled]])[None]
    np.testing.assert_allclose(layer_statistics(a, layout), layer_statistics(b, layout), rtol=1e-12)


def test_widths_may_differ_and_rows_keep_their_order():
    samples = [sample_of(w, seed) for seed, w in enumerate((2, 4, 2, 8))]
    got = sample_statistics(samples)
    assert got.shape == (4, 2 * len(STATISTICS))
    for row, sample in zip(got, samples, strict=True):
        np.testing.assert_array_equal(row, layer_statistics(sample.vector.numpy()[None], sample.layout)[0])


def test_another_architecture_is_refused():
    with pytest.raises(FormatError, match=r"line tensors up by name: .*'0.bias'\], .*'1.bias'\]; choose one"):
        sample_statistics([sample_of(2, 0), sample_of(2, 1, depth=2)])


def test_no_sample_is_refused():
    with pytest.raises(FormatError, match="at least one sample, got none"):
        sample_statistics([])


def test_vectors_of_another_length_are_refused():
    layout = layout_of_width(2)
    with pytest.raises(FormatError, match="has 8 numbers, got vectors of 9"):
        layer_statistics(np.zeros((1, 9)), layout)
