import itertools

import numpy as np
import pytest
from sklearn import metrics

import wsl_tasks
from wsl_tasks.property_prediction.scores import kendall_tau, mae, r2
from zoo.errors import MethodError
from zoo.weights import WeightSample

TASK = "property-prediction/digits-mlp-demo/test_accuracy@v1"


@pytest.fixture(scope="module")
def task(zoo):
    return wsl_tasks.get_task(TASK, zoo=zoo)


class Answer:
    """Answers whatever a function makes of the test items."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, train, val):
        self.train, self.val = train, val

    def predict(self, test):
        return self.answer([test[i] for i in range(len(test))])


def truth(zoo, samples):
    """Find each sample's accuracy by its weights: the only thing that a method may look at."""
    rows = zoo.where("status == 'finished' and epoch == last_epoch")
    items = rows.dataset("test_accuracy")
    known = {
        sample.vector.numpy().tobytes(): target for sample, target in (items[i] for i in range(len(items)))
    }
    return np.array([known[sample.vector.numpy().tobytes()] for sample in samples])


def tau_b(x, y):
    pairs = list(itertools.combinations(range(len(x)), 2))
    a = [np.sign(x[i] - x[j]) for i, j in pairs]
    b = [np.sign(y[i] - y[j]) for i, j in pairs]
    return np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b))


@pytest.mark.parametrize("ties", [False, True])
def test_scores_agree_with_independent_ones(ties):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40))
    if ties:
        x, y = x.round(), y.round()
    assert kendall_tau(x, y) == pytest.approx(tau_b(x, y), abs=1e-12)
    assert r2(x, y) == pytest.approx(metrics.r2_score(y, x), abs=1e-12)
    assert mae(x, y) == pytest.approx(metrics.mean_absolute_error(y, x), abs=1e-12)


def test_scores_that_are_undefined_are_nan():
    same, other = np.ones(3), np.arange(3.0)
    assert np.isnan([kendall_tau(same, other), kendall_tau(other, same), r2(other, same)]).all()
    assert np.isnan(kendall_tau(other[:1], other[:1]))


def test_the_truth_scores_full_marks(task, zoo):
    result = task.evaluate(Answer(lambda samples: truth(zoo, samples)), name="truth")
    assert [result.scores[name].value for name in ("kendall_tau", "r2", "mae")] == pytest.approx([1, 1, 0])
    assert (result.scores["kendall_tau"].low, result.scores["kendall_tau"].high) == pytest.approx((1, 1))
    assert result.method == "truth"
    assert set(result.versions) == {"phasezoo", "torch", "numpy", "scikit-learn"}
    assert result.zoo.recipe_hash == zoo.manifest.recipe_hash


def test_each_finished_model_of_the_test_cells_counts_once(task, zoo):
    result = task.evaluate(wsl_tasks.MeanPredictor())
    test = zoo.split("iid-v1").test.models
    finished = test[test["status"] == "finished"]
    assert (result.n, result.n_cells) == (len(finished), finished["cell_id"].nunique())
    assert set(zoo.models["status"]) == {"finished", "diverged"}


def test_the_breakdown_is_that_of_each_band(task, zoo):
    answers = {}

    def half_right(samples):
        answers["of"] = truth(zoo, samples) + np.linspace(0, 1, len(samples))
        return answers["of"]

    result = task.evaluate(Answer(half_right))
    rates = np.unique(zoo.models["learning_rate"])
    test = zoo.where("status == 'finished' and epoch == last_epoch").split("iid-v1").test
    for band, part in zip(("cold", "mid", "hot"), np.split(rates, [4, 8]), strict=True):
        places = test.checkpoints.merge(test.models, on="model_id")["learning_rate"].isin(part)
        has_value = result.breakdown[band]["mae"].value is not None
        assert has_value == bool(places.any())
    total = [s["mae"].value for s in result.breakdown.values() if s["mae"].value is not None]
    assert min(total) <= result.scores["mae"].value <= max(total)


def test_a_constant_prediction_has_no_ranking(task):
    result = task.evaluate(wsl_tasks.MeanPredictor())
    tau = result.scores["kendall_tau"]
    assert (tau.value, tau.low, tau.high) == (None, None, None)
    assert tau.reason == "undefined: all predictions or all targets are equal, so there is no ranking"
    assert result.scores["r2"].value <= 0


@pytest.mark.parametrize("name", ["layer-statistics-ridge", "layer-statistics-boosting"])
def test_layer_statistics_beat_the_mean(task, name):
    result = task.evaluate(task.baselines()[name](), name=name)
    mean = task.evaluate(wsl_tasks.MeanPredictor())
    assert result.scores["mae"].value < mean.scores["mae"].value
    assert result.scores["kendall_tau"].value > 0.4


def test_a_method_sees_weights_and_nothing_else(task):
    method = Answer(lambda samples: np.arange(len(samples)))
    task.evaluate(method)
    sample, target = method.train[3]
    assert sample.checkpoint_id == "train-3"
    assert 0 <= target <= 1
    with pytest.raises(IndexError):
        method.train[len(method.train)]
    seen = []
    task.evaluate(Answer(lambda samples: seen.extend(samples) or np.arange(len(samples))))
    assert all(isinstance(sample, WeightSample) for sample in seen)
    assert [sample.checkpoint_id for sample in seen] == [f"test-{i}" for i in range(len(seen))]


def test_the_order_of_items_tells_nothing_and_changes_nothing(task, zoo):
    orders = []
    for seed in (0, 0, 1):
        task.evaluate(Answer(lambda s: orders.append(truth(zoo, s)) or truth(zoo, s)), seed=seed)
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(np.sort(orders[0]), np.sort(orders[2]))


def test_the_same_seed_gives_the_same_result(task):
    once, again = (task.evaluate(wsl_tasks.LayerStatisticsRidge(), seed=4) for _ in range(2))
    assert once.scores == again.scores
    assert once.seeds == (4,)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s: np.zeros(len(s) + 1), r"predict\(test\): expected shape \(\d+,\), got"),
        (lambda s: np.full(len(s), np.nan), "expected finite numbers, got nan"),
        (lambda s: ["high"] * len(s), "expected an array or tensor of real numbers"),
        (lambda s: None, "got NoneType"),
    ],
)
def test_what_cannot_be_scored_is_refused(task, answer, message):
    with pytest.raises(MethodError, match=message):
        task.evaluate(Answer(answer))


def test_a_method_of_another_family_is_refused(task):
    with pytest.raises(MethodError, match="calls fit and predict of a method, UniformSoup has no predict"):
        task.evaluate(wsl_tasks.UniformSoup())
