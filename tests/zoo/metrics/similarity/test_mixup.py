import dataclasses

import numpy as np
import pytest
import scipy.stats
import torch

from zoo.errors import UndefinedMetricError
from zoo.metrics.networks import landscape_items
from zoo.metrics.similarity.mixup import draw_partners, draw_shares, mix
from zoo.metrics.similarity.papers import yang2021_points
from zoo.metrics.similarity.standard import mixup_points
from zoo.spec import DatasetSpecification
from zoo.training import stream


def test_items_are_mixed_with_their_partners_share_by_share():
    x = torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    partners, shares = [2, 0, 3, 1], [0.0, 0.25, 0.5, 1.0]
    found = mix(x, torch.tensor(partners), torch.tensor(shares))
    for item, (partner, share) in enumerate(zip(partners, shares, strict=True)):
        torch.testing.assert_close(found[item], share * x[item] + (1 - share) * x[partner])


def test_shares_have_the_law_of_beta():
    shares = draw_shares(4000, stream(0, "test")).numpy()
    assert scipy.stats.kstest(shares, scipy.stats.beta(16, 16).cdf).pvalue > 0.01
    assert scipy.stats.kstest(shares, scipy.stats.beta(15, 15).cdf).pvalue < 0.9
    assert shares.var() == pytest.approx(1 / 132, rel=0.1)


@pytest.mark.parametrize("count", [2, 3, 100])
def test_partners_are_one_cycle(count):
    partners = draw_partners(count, stream(0, "test")).tolist()
    place, seen = 0, set()
    while place not in seen:
        seen.add(place)
        place = partners[place]
    assert len(seen) == count


def test_points_of_cka_mixup_lie_between_two_training_items_each(whole):
    x = landscape_items(whole, "train", 256).x
    points = mixup_points(whole)
    assert points.shape == (256, 64)
    assert torch.equal(points, mixup_points(whole))
    partners = draw_partners(256, stream(0, "cka-mixup:partners")).tolist()
    shares = draw_shares(256, stream(0, "cka-mixup:shares")).tolist()
    for item in range(256):
        by_hand = shares[item] * x[item] + (1 - shares[item]) * x[partners[item]]
        torch.testing.assert_close(points[item], by_hand)
    assert len(set(shares)) > 250


def test_points_are_made_of_items_that_networks_saw(whole):
    spec = DatasetSpecification(name="digits", fraction=0.6)
    part = dataclasses.replace(whole, dataset_specification=spec)
    seen = whole.dataset.train.x[whole.dataset.training_items(spec)]
    x = landscape_items(part, "train", 256).x
    partners = draw_partners(256, stream(0, "cka-mixup:partners"))
    assert (torch.cdist(x, seen).min(dim=1).values == 0).all()
    apart = mixup_points(part) - x[partners]
    torch.testing.assert_close(
        apart, draw_shares(256, stream(0, "cka-mixup:shares"))[:, None] * (x - x[partners])
    )


def test_pixels_are_mixed_as_numbers_from_zero_to_one(whole):
    data = whole.dataset
    bytes_ = dataclasses.replace(data.train, x=(data.train.x * 255).round().to(torch.uint8))
    as_bytes = dataclasses.replace(whole, dataset=dataclasses.replace(data, train=bytes_))
    torch.testing.assert_close(mixup_points(as_bytes), mixup_points(whole), rtol=0, atol=1 / 255)


def test_cka_mixup_needs_256_items(on_items, subject):
    with pytest.raises(UndefinedMetricError, match="looks at 256 train items, there are 255"):
        mixup_points(on_items(subject, train=255, test=30))


@pytest.mark.parametrize("points", [mixup_points, yang2021_points])
def test_tokens_cannot_be_mixed(points, tokens):
    with pytest.raises(UndefinedMetricError, match="the inputs are tokens: there is nothing between two"):
        points(tokens)


def convex(point, x):
    """Find the share of one item: a point between two items has distances to them that add up."""
    distances = np.linalg.norm(x - point, axis=1)
    lengths = np.linalg.norm(x[:, None] - x[None], axis=2)
    slack = np.abs(distances[:, None] + distances[None] - lengths)
    first, second = np.unravel_index(np.argmin(slack), slack.shape)
    assert slack[first, second] < 1e-4
    return distances[second] / lengths[first, second]


@pytest.mark.parametrize(("train", "sizes"), [(1000, [128] * 6), (200, [128, 72]), (5, [5])])
def test_yang2021_mixes_each_batch_within_itself_by_one_share(on_items, subject, train, sizes):
    some = on_items(subject, train=train, test=30)
    points = yang2021_points(some)
    assert len(points) == sum(sizes)
    assert torch.equal(points, yang2021_points(some))
    generator = stream(0, "yang2021-cka")
    order = torch.randperm(train, generator=generator)
    x, start, shares = some.dataset.train.x.numpy(), 0, []
    for size in sizes:
        share = float(draw_shares(1, generator))
        partners = torch.randperm(size, generator=generator)
        places = order[start : start + size]
        for item in range(size):
            by_hand = share * x[places[item]] + (1 - share) * x[places[partners[item]]]
            np.testing.assert_allclose(points[start + item], by_hand, rtol=1e-5, atol=1e-6)
        found = convex(points[start].numpy(), x[places])
        assert found == pytest.approx(share, abs=1e-3) or 1 - found == pytest.approx(share, abs=1e-3)
        start += size
        shares.append(share)
    assert len(set(shares)) == len(sizes)
