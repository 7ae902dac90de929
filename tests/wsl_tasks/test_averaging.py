import numpy as np
import pytest
import torch

import wsl_tasks
from wsl_tasks import Members
from zoo import datasets
from zoo.errors import MethodError
from zoo.spec import Layout, LayoutEntry

TASK = "averaging/digits-mlp-demo/seeds@v1"
LAYOUT = Layout(architecture="mlp", entries=(LayoutEntry(name="w", shape=(2,), kind="weight"),))


@pytest.fixture(scope="module")
def task(zoo):
    return wsl_tasks.get_task(TASK, zoo=zoo)


class Merge:
    def __init__(self, merge):
        self.merge_members = merge

    def fit(self, train, val):
        self.sides = train, val

    def merge(self, members):
        return self.merge_members(members)


def members_of(weights, accuracy):
    return Members(torch.tensor(weights), LAYOUT, lambda w: np.array([accuracy(*row) for row in w.tolist()]))


def test_the_best_member_gains_nothing(task):
    result = task.evaluate(wsl_tasks.BestMember())
    gain = result.scores["accuracy_gain"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    assert result.scores["inference_cost"].value == 1


def test_an_ensemble_is_the_mean_of_the_loaded_models_logits(task, zoo):
    """Every number again, from modules one by one."""
    result = task.evaluate(wsl_tasks.LogitEnsemble())
    test = zoo.where("status == 'finished' and epoch == last_epoch").split("iid-v1").test
    data = datasets.load("digits")
    accuracies, gains = [], []
    for _, models in test.models.groupby("cell_id"):
        rows = test.checkpoints[test.checkpoints["model_id"].isin(models["model_id"])]
        logits = torch.stack([test.load_model(i)(data.test.x) for i in rows["checkpoint_id"]]).mean(dim=0)
        accuracies.append((logits.argmax(dim=1) == data.test.y).double().mean().item())
        best = rows["test_accuracy"].iloc[int(np.argmax(rows["val_accuracy"]))]
        gains.append(accuracies[-1] - best)
    assert result.n == result.n_cells == len(gains)
    assert result.scores["accuracy"].value == pytest.approx(np.mean(accuracies))
    assert result.scores["accuracy_gain"].value == pytest.approx(np.mean(gains))
    assert result.scores["inference_cost"].value == 3


def test_soups_of_other_basins_are_bad_and_greed_avoids_them(task):
    uniform, greedy = (task.evaluate(m()).scores for m in (wsl_tasks.UniformSoup, wsl_tasks.GreedySoup))
    assert uniform["accuracy_gain"].value < greedy["accuracy_gain"].value
    assert uniform["inference_cost"].value == greedy["inference_cost"].value == 1


def test_breakdown_averages_to_the_whole(task):
    result = task.evaluate(wsl_tasks.LogitEnsemble())
    accuracies = [band["accuracy"].value for band in result.breakdown.values()]
    defined = [a for a in accuracies if a is not None]
    assert min(defined) <= result.scores["accuracy"].value <= max(defined)


def test_uniform_soup_is_the_mean():
    merged = wsl_tasks.UniformSoup().merge(members_of([[1.0, 2.0], [3.0, 6.0]], lambda a, b: 0.5))
    assert merged.tolist() == [[2.0, 4.0]]


def test_best_member_is_the_first_of_the_best():
    members = members_of([[1.0, 0.0], [3.0, 0.0], [3.0, 1.0]], lambda a, b: a)
    assert wsl_tasks.BestMember().merge(members).tolist() == [[3.0, 0.0]]


def test_greedy_soup_takes_members_best_first_where_validation_does_not_fall():
    """Accuracy falls with the distance from zero: -2 joins 1 (mean -0.5), 3 does not (mean 2/3)."""
    members = members_of([[3.0, 0.0], [-2.0, 0.0], [1.0, 0.0]], lambda a, b: 1 - abs(a) / 10)
    assert wsl_tasks.GreedySoup().merge(members).tolist() == [[-0.5, 0.0]]


def test_greedy_soup_takes_members_that_change_nothing():
    members = members_of([[3.0, 0.0], [1.0, 0.0]], lambda a, b: 0.5)
    assert wsl_tasks.GreedySoup().merge(members).tolist() == [[2.0, 0.0]]


def test_cells_with_one_finished_seed_are_left_out(zoo):
    task = wsl_tasks.get_task(TASK, zoo=zoo)
    cells = task.views.test.models["cell_id"].unique()
    one = zoo.where(f"cell_id != {cells[0]!r} or seed == 0")
    assert wsl_tasks.get_task(TASK, zoo=one).evaluate(wsl_tasks.UniformSoup()).n == len(cells) - 1


def test_a_method_learns_from_views_without_test_cells(task):
    method = Merge(lambda members: members.weights)
    task.evaluate(method)
    train, val = method.sides
    test = set(task.views.test.models["cell_id"])
    assert not test & set(train.models["cell_id"])
    assert not test & set(val.models["cell_id"])


def test_a_method_that_writes_into_the_members_harms_itself_alone(task):
    def spoil(members):
        merged = members.weights.clone()
        members.weights.zero_()
        return merged

    honest = task.evaluate(wsl_tasks.LogitEnsemble())
    assert task.evaluate(Merge(spoil)).scores == honest.scores


def test_validation_accuracy_is_that_of_the_validation_items(task, zoo):
    seen = []
    task.evaluate(Merge(lambda m: seen.extend(m.validation_accuracy(m.weights)) or m.weights))
    stored = task.views.test.checkpoints["val_accuracy"]
    np.testing.assert_allclose(sorted(seen), sorted(stored), atol=1e-12)


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        (lambda m: m.weights[0], r"merge\(members\): expected shape \(any, \d+\), got \(\d+,\)"),
        (lambda m: m.weights[:0], r"expected shape \(any, \d+\), got \(0, \d+\)"),
        (lambda m: m.weights[:, 1:], r"expected shape \(any, \d+\)"),
        (lambda m: m.weights * torch.nan, "expected finite numbers, got nan"),
        (lambda m: m, "expected an array or tensor of real numbers, got Members"),
    ],
)
def test_what_cannot_be_scored_is_refused(task, merge, message):
    with pytest.raises(MethodError, match=message):
        task.evaluate(Merge(merge))
