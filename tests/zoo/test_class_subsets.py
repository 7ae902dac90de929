import pytest
import torch
from pydantic import ValidationError

from zoo import datasets
from zoo.datasets import Dataset, Items
from zoo.errors import SpecificationError
from zoo.spec import DatasetSpecification, DataShape

DIGITS = datasets.load("digits")


def spec(**fields):
    return DatasetSpecification.model_validate({"name": "digits", **fields})


def test_each_class_gives_as_many_items_as_the_smallest_has():
    smallest = int(torch.bincount(DIGITS.train.y).min())
    assert datasets.sizes("digits") == (len(DIGITS.train), smallest)
    for kept in ((0, 7), (1, 2, 9)):
        given = spec(classes="-".join(map(str, kept)))
        seen = DIGITS.training_items(given)
        assert torch.bincount(DIGITS.train.y[seen], minlength=10).nonzero()[:, 0].tolist() == list(kept)
        assert (torch.bincount(DIGITS.train.y[seen])[list(kept)] == smallest).all()
        assert len(seen) == datasets.used(given) == len(kept) * smallest


def test_classes_are_numbered_from_0_in_their_order():
    given = spec(classes="3-5-8")
    labels, seen = DIGITS.training_labels(given), DIGITS.training_items(given)
    for new, old in enumerate((3, 5, 8)):
        assert ((DIGITS.train.y[seen] == old) == (labels[seen] == new)).all()
    judged = DIGITS.restricted(given)
    assert judged.shape == datasets.shape(given) == DataShape((64,), 3)
    for whole, part in ((DIGITS.val, judged.val), (DIGITS.test, judged.test)):
        inside = torch.isin(whole.y, torch.tensor([3, 5, 8]))
        assert torch.equal(part.x, whole.x[inside])
        assert torch.equal(torch.tensor([3, 5, 8])[part.y], whole.y[inside])
    assert torch.equal(judged.train.x, DIGITS.train.x[seen])
    assert torch.equal(judged.train.y, labels[seen])


def test_a_count_of_classes_takes_the_first():
    assert torch.equal(
        DIGITS.training_items(spec(class_count=3)), DIGITS.training_items(spec(classes="0-1-2"))
    )
    assert datasets.shape(spec(class_count=3)).classes == 3


def test_all_classes_are_the_dataset_itself():
    assert DIGITS.restricted(spec()) is DIGITS
    assert DIGITS.training_labels(spec()) is DIGITS.train.y


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_noise_and_share_stay_within_the_subset(share):
    given = spec(classes="2-4-6", label_noise=share)
    whole = DIGITS.training_items(given)
    clean = DIGITS.training_labels(spec(classes="2-4-6"))[whole]
    noisy = DIGITS.training_labels(given)[whole]
    assert int((noisy != clean).sum()) == round(share * len(whole))
    assert set(noisy.tolist()) <= {0, 1, 2}
    half = DIGITS.training_items(spec(classes="2-4-6", fraction=0.5))
    assert len(half) == datasets.used(spec(classes="2-4-6", fraction=0.5)) == len(whole) // 2
    assert set(half.tolist()) < set(whole.tolist())


def test_what_shares_its_inputs_says_so():
    one, other = spec(classes="0-1"), spec(classes="4-9", label_noise=0.5, fraction=0.5)
    assert datasets.residence(one) == datasets.residence(other) == datasets.residence(spec())
    images = DatasetSpecification(name="digits-images")
    assert datasets.residence(images) != datasets.residence(images.model_copy(update={"flip": 0.5}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": "3-10"}, r"the dataset 'digits' has the classes 0 to 9, not 10; choose among them"),
        ({"class_count": 11}, r"the dataset 'digits' has 10 classes, got class_count 11; take fewer"),
        ({"crop": 1}, r"for images \(channels, height, width\), the dataset 'digits' has inputs of shape"),
        ({"modulus": 7}, r"dataset 'digits':\n  modulus: Extra inputs are not permitted"),
    ],
)
def test_what_a_dataset_does_not_have_is_refused(fields, message):
    with pytest.raises(SpecificationError, match=message):
        datasets.resolve(spec(**fields))


@pytest.mark.parametrize("call", [DIGITS.training_labels, DIGITS.training_items, DIGITS.restricted])
def test_a_class_that_is_not_there_is_refused_by_the_data_too(call):
    with pytest.raises(SpecificationError, match=r"has the classes 0 to 9, not 12"):
        call(spec(classes="0-12"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": "7-3"}, r"classes 7-3 must be distinct and ascend, such as 0-3-7"),
        ({"classes": "3-3"}, r"must be distinct"),
        ({"classes": "3"}, r"String should match pattern"),
        ({"classes": "0-1", "class_count": 2}, r"say the same thing; give one of them"),
        ({"class_count": 1}, r"greater than or equal to 2"),
    ],
)
def test_a_choice_of_classes_is_unambiguous(fields, message):
    with pytest.raises(ValidationError, match=message):
        spec(**fields)


def test_a_subset_without_items_on_a_side_is_refused():
    items = Items(torch.zeros(3, 2), torch.tensor([0, 1, 2]))
    data = Dataset("thin", items, Items(items.x[2:], items.y[2:]), items, 3, "CC0-1.0", "toy")
    with pytest.raises(
        SpecificationError, match=r"'thin' has no val items of the classes \(0, 1\); keep oth"
    ):
        data.training_items(DatasetSpecification(name="thin", classes="0-1"))


@pytest.mark.parametrize("classes", [None, "0-3-5-8"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_items_seen_have_their_share_of_wrong_labels_whatever_the_seeds(classes, seed):
    shares = []
    for noise_seed in (seed, *range(10, 19)):
        noise = {"label_noise": 0.1, "noise_seed": noise_seed, "classes": classes}
        given = spec(**noise, fraction=0.25, subset_seed=seed)
        seen = DIGITS.training_items(given)
        clean = DIGITS.training_labels(given.model_copy(update={"label_noise": 0.0}))
        shares.append(float((DIGITS.training_labels(given)[seen] != clean[seen]).double().mean()))
    spread = (0.1 * 0.9 / len(seen)) ** 0.5  # of a share, drawn at random
    assert all(abs(share - 0.1) < 4 * spread for share in shares)
