"""What becomes of the models of a stack: divergence, epochs as an axis, and every option of a recipe."""

import numpy as np
import pytest
import torch

import zoo
from generators.engine import Hooks
from generators.grid import plan
from zoo.training import StackTrainer


@pytest.fixture
def make(tiny_recipe):
    def make(training=None, **changes):
        fields = {"widths": [3], "learning_rates": [0.05], "checkpoints": [1]}
        return tiny_recipe(
            training={"epochs": 4, "batch_size": 200, **(training or {})}, **{**fields, **changes}
        )

    return make


@pytest.fixture
def rows(monkeypatch):
    """How many rows each epoch trains."""
    counts, real = [], StackTrainer.run_epoch
    monkeypatch.setattr(StackTrainer, "run_epoch", lambda self: counts.append(len(self.rows)) or real(self))
    return counts


def by_id(outcome):
    """Weights by model id and epoch."""
    return {(outcome.models[place]["model_id"], epoch): w for (place, epoch), w in outcome.weights.items()}


def assert_same_where_both(one, other, atol=1e-6):
    ours, theirs = by_id(one), by_id(other)
    shared = ours.keys() & theirs.keys()
    assert shared
    for key in shared:
        np.testing.assert_allclose(ours[key], theirs[key], atol=atol, rtol=0, err_msg=str(key))
    return shared


# divergence


def test_a_diverged_model_frees_its_place_and_its_neighbours_never_notice(make, engine, rows):
    together = engine.train(make(learning_rates=[0.05, 1e38, 0.1]))
    assert together.status == ["finished"] * 2 + ["diverged"] * 2 + ["finished"] * 2
    assert rows[0] == 6
    assert rows[-1] == 4
    alone = engine.train(make(learning_rates=[0.05, 0.1]))
    shared = assert_same_where_both(together, alone)
    assert len(shared) == 4 * 3


def test_nothing_is_trained_when_all_have_diverged(make, engine, rows):
    outcome = engine.train(make(learning_rates=[1e38], training={"epochs": 50}))
    assert outcome.status == ["diverged"] * 2
    assert len(rows) < 5
    assert {epoch for _, epoch in outcome.weights} <= {0, 1}


def test_a_loss_above_its_bound_ends_a_model_with_a_reason(make, engine, rows):
    axes = {
        "load": {"architecture.width": [3]},
        "temperature": {"training.loss_bound": [0.5, 100.0]},
    }
    outcome = engine.train(make({"learning_rate": 0.05}, axes=axes))
    assert outcome.status == ["diverged"] * 2 + ["finished"] * 2
    bounded = outcome.models[0]
    assert bounded["reason"].startswith("mean loss 2.")
    assert bounded["reason"].endswith(" of epoch 1 is above the bound 0.5")
    assert rows == [4, 2, 2, 2]
    assert (0, 1) not in outcome.weights  # the epoch in which it diverged is not kept


@pytest.mark.parametrize("planted", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["weights", "loss"])
def test_what_is_no_number_is_seen_in_weights_and_in_losses(make, engine, monkeypatch, rows, planted, where):
    real = StackTrainer.run_epoch

    def run_epoch(trainer):
        losses = real(trainer)
        if trainer.epoch == 2:
            if where == "weights":
                trainer.parameters[1, 7] = planted
            else:
                losses[1] = planted
        return losses

    monkeypatch.setattr(StackTrainer, "run_epoch", run_epoch)
    outcome = engine.train(make(seeds=[0, 1, 2]))
    assert outcome.status == ["finished", "diverged", "finished"]
    assert outcome.models[1]["reason"].startswith(
        "loss or weights left the finite numbers in epoch 2 (mean loss "
    )
    assert rows == [3, 3, 2, 2]
    assert sorted(outcome.weights) == [(0, 0), (0, 1), (0, 4), (1, 0), (1, 1), (2, 0), (2, 1), (2, 4)]
    assert all(np.isfinite(w).all() for w in outcome.weights.values())
    monkeypatch.setattr(StackTrainer, "run_epoch", real)
    assert_same_where_both(outcome, engine.train(make(seeds=[0, 1, 2])))


def test_steps_are_counted_up_to_the_epoch_of_divergence(make, engine):
    outcome = engine.train(make(learning_rates=[0.05, 1e38]))
    finished, diverged = outcome.models[0], outcome.models[2]
    assert finished["train_steps"] == 4 * 5
    assert diverged["train_steps"] % 5 == 0
    assert 5 <= diverged["train_steps"] < 20
    per_step = finished["train_flops"] / finished["train_steps"]
    assert diverged["train_flops"] == pytest.approx(per_step * diverged["train_steps"])
    assert diverged["train_seconds"] / diverged["train_steps"] == pytest.approx(
        finished["train_seconds"] / finished["train_steps"], rel=1e-3
    )


# progress


def test_progress_counts_what_has_ended_as_done(make, engine):
    told = []
    recipe = make(learning_rates=[0.05, 1e38])
    engine.train(recipe, hooks=Hooks(on_progress=told.append))
    assert [progress.epoch for progress in told] == [1, 2, 3, 4]
    assert told[-1].model_epochs == plan(recipe)[0].model_epochs == 16
    assert told[-1].diverged == 2
    counts = [progress.model_epochs for progress in told]
    assert counts == sorted(counts)


# epochs as an axis


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_models_of_different_length_end_where_they_end_alone(make, engine, rows, schedule):
    def axes(epochs):
        return {"load": {"architecture.width": [3]}, "temperature": {"training.epochs": epochs}}

    fields = {"learning_rate": 0.05, "schedule": schedule, "momentum": 0.9}
    together = engine.train(make(fields, axes=axes([1, 2, 4])))
    assert rows == [6, 4, 2, 2]
    assert sorted(together.weights) == [
        (place, epoch) for place, last in enumerate([1, 1, 2, 2, 4, 4]) for epoch in sorted({0, 1, last})
    ]
    for epochs in (1, 2, 4):
        alone = engine.train(make(fields, axes=axes([epochs])))
        assert len(assert_same_where_both(together, alone)) == len(alone.weights)


def test_seeds_decide_and_places_do_not(make, engine):
    """A model is the same whatever stands beside it."""
    few, many = engine.train(make(seeds=[3])), engine.train(make(seeds=[0, 1, 2, 3]))
    for epoch in (0, 1, 4):
        np.testing.assert_allclose(few.weights[0, epoch], many.weights[3, epoch], atol=1e-6)


# every option of a recipe, end to end


AXES = [
    ("dataset.fraction", [0.1, 1.0]),
    ("dataset.subset_seed", [0, 1]),
    ("dataset.label_noise", [0.0, 0.9]),
    ("dataset.noise_seed", [0, 1]),
    ("training.optimizer", ["sgd", "nesterov", "adam", "adamw", "sam"]),
    ("training.schedule", ["constant", "cosine", "one-cycle"]),
    ("training.warmup_epochs", [0, 1]),
    ("training.init_scale", [0.5, 2.0]),
    ("training.weight_decay", [0.0, 0.1]),
    ("training.gradient_clip", [0.1, 10]),
    ("training.batch_size", [100, 1000]),
    ("training.precision", ["float32", "bfloat16"]),
    ("architecture.depth", [1, 2]),
    ("architecture.dropout", [0.0, 0.5]),
    ("architecture.normalisation", ["none", "batch", "layer"]),
]


@pytest.mark.parametrize(("field", "values"), AXES, ids=[field for field, _ in AXES])
def test_every_option_reaches_the_networks(tiny_recipe, engine, tmp_path, field, values):
    """Each value gives other weights, and the zoo says which it was."""
    base = {"load": {"architecture.width": [3]}, "temperature": {"training.learning_rate": [0.1]}}
    axes = {**base, "other": {field: values}}
    dataset = {"name": "digits", "fraction": 0.5, "label_noise": 0.2}
    dataset = {key: value for key, value in dataset.items() if f"dataset.{key}" != field}
    training = {"batch_size": 200, "weight_decay": 0.01}  # without decay adam and adamw are one
    recipe = tiny_recipe(axes=axes, seeds=[0], dataset=dataset, training=training, checkpoints=[])
    root = tmp_path / "zoo"
    made = engine.generate(recipe, root)
    name = field.rpartition(".")[2]
    assert made.models["status"].tolist() == ["finished"] * len(values)
    assert sorted(made.cells[name].tolist()) == sorted(values)
    last = [
        torch.cat([t.flatten() for t in made.state_dict(f"{row.model_id}@{row.last_epoch}").values()])
        for row in made.models.itertuples()
    ]
    for place, one in enumerate(last):
        assert not any(torch.equal(one, other) for other in last[:place])
    assert zoo.verify(root) == []


def test_the_scale_of_initial_weights_scales_matrices_alone(make, engine):
    axes = {"load": {"architecture.width": [3]}, "temperature": {"training.init_scale": [1.0, 2.5]}}
    recipe = make({"learning_rate": 0.05}, axes=axes, seeds=[0])
    outcome = engine.train(recipe)
    one, scaled, first = outcome.weights[0, 0], outcome.weights[1, 0], 0
    for entry in plan(recipe)[0].layout.entries:
        part = slice(first, first + entry.size)
        factor = np.float32(2.5 if entry.kind == "weight" else 1.0)
        np.testing.assert_array_equal(scaled[part], one[part] * factor)
        first += entry.size


def test_a_share_of_the_items_takes_as_many_steps(make, engine):
    outcome = engine.train(make(dataset={"name": "digits", "fraction": 0.25}, training={"batch_size": 100}))
    assert {m["train_steps"] for m in outcome.models} == {4 * 3}
