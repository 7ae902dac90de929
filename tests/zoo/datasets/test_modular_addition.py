import itertools

import pytest
import torch

from zoo import datasets
from zoo.errors import SpecificationError
from zoo.spec import DatasetSpecification


def spec(**changes):
    return DatasetSpecification(name="modular-addition", **changes)


def pairs_of(items, modulus, form):
    """Read (a, b, label) off the inputs."""
    if form == "tokens":
        assert (items.x[:, 2] == modulus).all()
        a, b = items.x[:, 0], items.x[:, 1]
    else:
        assert items.x.dtype == torch.float32
        assert torch.equal(items.x.sum(dim=1), torch.full((len(items),), 2.0))
        a, b = items.x[:, :modulus].argmax(dim=1), items.x[:, modulus:].argmax(dim=1)
    return list(zip(a.tolist(), b.tolist(), items.y.tolist(), strict=True))


@pytest.mark.parametrize("form", ["one-hot", "tokens"])
@pytest.mark.parametrize("modulus", [2, 12, 97])
def test_every_pair_is_on_one_side_with_its_sum(modulus, form):
    data = datasets.load(spec(modulus=modulus, form=form))
    found = [row for side in (data.train, data.val, data.test) for row in pairs_of(side, modulus, form)]
    expected = [(a, b, (a + b) % modulus) for a, b in itertools.product(range(modulus), repeat=2)]
    assert sorted(found) == expected


@pytest.mark.parametrize("form", ["one-hot", "tokens"])
def test_shape_and_sizes_are_known_without_making_it(form):
    given = spec(modulus=11, form=form)
    data = datasets.load(given)
    assert data.shape == datasets.shape(given)
    sizes = datasets.sizes(given)
    assert sizes.train == len(data.train) == 121 - 24
    assert sizes.smallest_class == torch.bincount(data.train.y, minlength=11).min()


def test_a_tenth_is_for_choices_and_a_tenth_to_report():
    data = datasets.load("modular-addition")
    assert (len(data.val), len(data.test)) == (940, 940)  # 97 * 97 = 9,409
    assert datasets.used(spec(fraction=0.5)) == round(0.5 * 7529)


def test_both_forms_have_the_same_split():
    vectors, tokens = datasets.load(spec(modulus=7)), datasets.load(spec(modulus=7, form="tokens"))
    assert pairs_of(vectors.val, 7, "one-hot") == pairs_of(tokens.val, 7, "tokens")


@pytest.mark.parametrize(
    ("form", "sha256"),
    [
        ("one-hot", "215048354786f45bde1d9c174ecb5bc6f570a52ccb187e7a5f0a13c93f0dbdc7"),
        ("tokens", "893a9f3f489278aa5b7955b2cad5968bd2cff0936a4772425737b877cf4bcbd0"),
    ],
)
def test_the_split_never_changes(form, sha256):
    assert datasets.load(spec(form=form)).sha256 == sha256


def test_every_sum_has_a_training_pair_whatever_the_modulus():
    for modulus in [*range(2, 65), 1024]:
        assert datasets.sizes(spec(modulus=modulus, form="tokens")).smallest_class >= 1


def test_the_split_looks_random():
    """Where a is low, as large a share of the pairs is for training as anywhere, within five deviations."""
    data = datasets.load(spec(form="tokens"))
    low = int((data.train.x[:, 0] < 48).sum())
    share, n = 48 / 97, 7529
    assert abs(low - share * n) < 5 * (n * share * (1 - share) * 0.2) ** 0.5  # 0.2: drawn without replacement


def test_a_modulus_too_wide_for_vectors_is_refused():
    with pytest.raises(SpecificationError, match=r"up to modulus 256, not 257; take form: tokens"):
        datasets.shape(spec(modulus=257))
    assert datasets.shape(spec(modulus=257, form="tokens")).tokens == 258


@pytest.mark.parametrize("changes", [{"modulus": 1}, {"modulus": 1025}, {"form": "words"}, {"prime": 7}])
def test_options_out_of_range_are_refused(changes):
    with pytest.raises(SpecificationError, match=next(iter(changes))):
        datasets.resolve(spec(**changes))


def test_defaults_are_written_out():
    assert datasets.resolve(spec()).options == {"modulus": 97, "form": "one-hot"}
