import numpy as np
import pytest
import torch

import wsl_tasks
from wsl_tasks.networks import Networks
from wsl_tasks.weight_generation import HeldOut, Novelty
from wsl_tasks.weight_generation.task import FINE_TUNING
from zoo import datasets
from zoo.errors import MethodError, UndefinedMetricError
from zoo.spec import Layout, LayoutEntry
from zoo.training import epoch_order, stream
from zoo.weights import WeightSample

TASK = "weight-generation/digits-mlp-demo/unconditional@v1"


@pytest.fixture(scope="module")
def task(zoo):
    return wsl_tasks.get_task(TASK, zoo=zoo)


class Draw:
    def __init__(self, draw):
        self.draw = draw

    def fit(self, train, val):
        self.weights = torch.stack([train[i][0].vector for i in range(len(train))])

    def sample(self, n, generator):
        return self.draw(self.weights, n, generator)


def test_novelty_is_the_distance_to_the_nearest_over_the_median_leave_one_out():
    rng = np.random.default_rng(0)
    train, new = rng.normal(size=(9, 5)), rng.normal(size=(4, 5))
    apart = [min(np.linalg.norm(a - b) for j, b in enumerate(train) if i != j) for i, a in enumerate(train)]
    expected = [min(np.linalg.norm(x - a) for a in train) / np.median(apart) for x in new]
    np.testing.assert_allclose(Novelty(train).ratio(new), expected, rtol=1e-12)
    np.testing.assert_array_equal(Novelty(train).ratio(train), np.zeros(9))


def test_the_bar_lies_at_one_half():
    novelty = Novelty(np.array([[0.0], [2.0]]))
    assert novelty.is_new(np.array([[-0.99], [-1.0], [3.0], [2.5]])).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (np.zeros((1, 2)), "at least two training models to compare with, got 1; use a larger zoo"),
        (np.zeros((3, 2)), "more than half of them are equal to another; use a zoo whose models differ"),
    ],
)
def test_novelty_is_undefined_without_a_unit(train, message):
    with pytest.raises(UndefinedMetricError, match=message):
        Novelty(train)


def test_copies_work_and_score_nothing(task):
    scores = task.evaluate(wsl_tasks.Copy()).scores
    assert scores["accuracy_epoch0"].value > 0.3
    assert scores["novelty_ratio"].value == scores["novel_accuracy"].value == 0


def test_real_models_are_a_reference_row(task, zoo):
    result = task.evaluate(task.baselines()["held-out-models"]())
    assert result.reference
    assert not task.evaluate(wsl_tasks.Copy()).reference
    test = zoo.where("status == 'finished' and epoch == last_epoch and width == 16").split("iid-v1").test
    assert test.checkpoints["test_accuracy"].min() <= result.scores["accuracy_epoch0"].value
    assert result.scores["accuracy_epoch0"].value <= test.checkpoints["test_accuracy"].max()
    assert result.scores["novelty_ratio"].value > 0


def test_accuracy_is_that_of_the_loaded_models(zoo):
    view = zoo.where("status == 'finished' and epoch == last_epoch and width == 16")
    networks = Networks.of(view.specification(view.models["model_id"].iloc[0]))
    got = networks.accuracy(torch.tensor(view.weights()), "test")
    np.testing.assert_allclose(got, view.checkpoints["test_accuracy"], atol=1e-12)
    ids = view.checkpoints["checkpoint_id"].tolist()[:2]
    logits = torch.stack([view.load_model(i)(networks.data.test.x) for i in ids]).mean(dim=0)
    expected = (logits.argmax(dim=1) == networks.data.test.y).double().mean().item()
    assert networks.ensemble_accuracy(torch.tensor(view.weights()[:2]), "test") == pytest.approx(expected)


def test_a_network_without_numbers_is_right_about_nothing(task):
    weights = torch.full((1, task.networks.layout.size), 1e30)
    assert task.networks.accuracy(weights, "val").tolist() == [0.0]


def test_fine_tuning_is_one_epoch_of_plain_sgd_on_clean_labels(task, zoo):
    view = zoo.where("epoch == 0 and width == 16 and learning_rate < 0.002")
    data = datasets.load("digits").train
    got = task.networks.fine_tune(torch.tensor(view.weights()), FINE_TUNING)
    for place, checkpoint in enumerate(view.checkpoints["checkpoint_id"]):
        module = view.load_model(checkpoint).train()
        optimiser = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
        for batch in epoch_order([place], 1, len(data))[0].split(32):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(data.x[batch]), data.y[batch]).backward()
            optimiser.step()
        expected = torch.cat([p.detach().flatten() for p in module.parameters()])
        torch.testing.assert_close(got[place], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["copy-noise", "pca-gaussian"])
def test_baselines_are_new_and_do_not_guess(task, name):
    scores = task.evaluate(task.baselines()[name](), name=name).scores
    assert 0 < scores["novel_accuracy"].value <= scores["accuracy_epoch0"].value
    assert scores["accuracy_epoch1"].value > 0.4


def test_noise_is_chosen_to_pass_the_bar(task):
    scores = task.evaluate(task.baselines()["copy-noise"]()).scores
    assert scores["novelty_ratio"].value >= 0.5


class Fixed(torch.utils.data.Dataset):
    """A dataset of given vectors, as fit takes it."""

    def __init__(self, vectors):
        self.vectors = vectors
        entry = LayoutEntry(name="w", shape=(vectors.shape[1],), kind="weight")
        self.layout = Layout(architecture="mlp", entries=(entry,))

    def __len__(self):
        return len(self.vectors)

    def __getitem__(self, index):
        return WeightSample(f"train-{index}", self.layout, self.vectors[index]), 0.5


def test_pca_gaussian_has_the_moments_of_the_leading_components():
    """With k components the covariance is that of the training models, projected on their k eigenvectors."""
    rng = np.random.default_rng(0)
    train = torch.tensor(rng.normal(size=(12, 3)) * [5.0, 2.0, 0.01] + [1.0, 2.0, 3.0], dtype=torch.float32)
    method = wsl_tasks.PCAGaussian(lambda weights: np.ones(len(weights)))
    method.fit(Fixed(train), Fixed(train))
    method._setting = 2
    drawn = method.sample(20000, stream(0, "test")).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(train.numpy().T.astype(float)))
    leading = vectors[:, 1:]
    expected = leading @ np.diag(values[1:]) @ leading.T
    # standard error of a variance from 20,000 draws is 1 % of it
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.04 * values.max())
    np.testing.assert_allclose(drawn.mean(axis=0), train.mean(dim=0), atol=4 * (values.max() / 20000) ** 0.5)


def test_settings_are_chosen_by_novel_accuracy_on_validation():
    """Accuracy falls with the noise, copies count nothing: little noise wins, but enough to pass the bar."""
    train = torch.randn((20, 30), generator=stream(0, "train"))
    near = Novelty(train.numpy())
    method = wsl_tasks.CopyNoise(lambda weights: 1 / (1 + near.ratio(weights.numpy())))
    method.fit(Fixed(train), Fixed(train))
    ratio = near.ratio(method.sample(500, stream(1, "test")).numpy())
    assert np.mean(ratio >= 0.5) > 0.9
    assert np.median(ratio) < 0.8


def test_the_generator_is_the_only_source_of_randomness(task):
    once, again, other = (task.evaluate(wsl_tasks.Copy(), seed=s).scores for s in (1, 1, 2))
    assert once == again != other


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda w, n, g: w[:3], r"sample\(64, generator\): expected shape \(64, \d+\), got \(3, \d+\)"),
        (lambda w, n, g: w[:1].expand(n, -1) * torch.nan, "expected finite numbers, got nan"),
        (lambda w, n, g: w[:1].expand(n, -1).double() * 1e300, "in float32: expected finite numbers"),
        (lambda w, n, g: "weights", "real numbers, got str"),
    ],
)
def test_what_cannot_be_scored_is_refused(task, draw, message):
    with pytest.raises(MethodError, match=message):
        task.evaluate(Draw(draw))


def test_held_out_models_are_drawn_from_what_it_was_given():
    given = torch.arange(6.0).reshape(3, 2)
    drawn = HeldOut(lambda: given).sample(50, stream(0, "test"))
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in given.tolist()}
