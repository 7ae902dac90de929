import pytest
import torch

import zoo
from generators.labels import record_labels, wrong_labels
from zoo import datasets
from zoo.spec import DatasetSpecification


def spec(**fields):
    return DatasetSpecification.model_validate({"name": "digits", **fields})


@pytest.mark.parametrize("classes", [None, "2-5-9"])
def test_every_replaced_label_is_a_row_with_its_true_class(classes):
    given = spec(classes=classes, label_noise=0.3, noise_seed=4)
    data, frame = datasets.load("digits"), wrong_labels([given, given])
    trained = data.training_labels(given)
    seen = data.training_items(given)
    true = data.restricted(given).train.y
    assert frame["item"].tolist() == seen[trained[seen] != true].tolist()
    assert frame["trained_label"].tolist() == trained[frame["item"].tolist()].tolist()
    assert frame["label"].tolist() == true[trained[seen] != true].tolist()
    assert set(frame["dataset"]) == {given.labels_key}


def test_the_share_that_is_seen_does_not_matter_and_the_seed_does():
    assert spec(label_noise=0.1, fraction=0.5).labels_key == spec(label_noise=0.1).labels_key
    assert spec(label_noise=0.1, noise_seed=1).labels_key != spec(label_noise=0.1).labels_key


def test_clean_labels_leave_no_file(tmp_path):
    record_labels(tmp_path, [spec()])
    assert list(tmp_path.iterdir()) == []


def test_a_zoo_records_its_wrong_labels(tiny_recipe, tmp_path):
    from generators import generate

    made = generate(tiny_recipe(dataset={"name": "digits", "label_noise": 0.25}), tmp_path / "zoo")
    model = made.models["model_id"].iloc[0]
    given = made.specification(model).dataset
    frame = made.wrong_labels(model)
    labels = datasets.load(given).train.y.clone()
    labels[frame["item"].tolist()] = torch.tensor(frame["trained_label"].tolist())
    assert torch.equal(labels, datasets.load(given).training_labels(given))
    assert len(frame) == 250
    assert zoo.verify(made.root) == []
    before = (made.root / "journal.jsonl").read_bytes()
    generate(tiny_recipe(dataset={"name": "digits", "label_noise": 0.25}), tmp_path / "zoo")
    assert (made.root / "journal.jsonl").read_bytes() == before


def test_a_zoo_with_true_labels_has_no_wrong_ones(tiny_recipe, tmp_path):
    from generators import generate

    made = generate(tiny_recipe(dataset={"name": "digits"}), tmp_path / "zoo")
    assert made.wrong_labels(made.models["model_id"].iloc[0]).empty
