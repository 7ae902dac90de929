"""Training that was stopped goes on as if nothing had happened: every bit of every checkpoint is the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import zoo
from generators import generate
from generators.engine import Interrupted
from generators.engine.state import load_state, save_state
from generators.executors.inline import InlineExecutor
from generators.grid import plan
from zoo.errors import IntegrityError
from zoo.storage.weights import read_weights
from zoo.training import StackTrainer

EPOCHS = 4

# Each is one stack with models that end early, that go on to the end, and that diverge on the way.
KINDS = {
    "sgd": {"weight_decay": 1e-3},
    "constant": {"momentum": 0.0},
    "nesterov": {"optimizer": "nesterov", "schedule": "cosine"},
    "adam": {"optimizer": "adam", "schedule": "cosine", "warmup_epochs": 1},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "one-cycle"},
    "sam": {"optimizer": "sam", "sam_radius": 0.1},
    "one-cycle": {"schedule": "one-cycle"},
    "step": {"schedule": "step", "decay_epochs": 1, "decay_factor": 0.5},
    "clipped": {"gradient_clip": 0.5},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
}
ARCHITECTURES = {
    "dropout": {"name": "mlp", "depth": 1, "dropout": 0.3},
    "batch norm": {"name": "mlp", "depth": 1, "normalisation": "batch"},
}


@pytest.fixture
def make(tiny_recipe):
    def make(training=None, architecture=None, **changes):
        axes = {
            "load": {"architecture.width": [3]},
            "temperature": {"training.learning_rate": [0.05, 1e38], "training.epochs": [2, EPOCHS]},
        }
        fields = {"axes": axes, "architecture": architecture or {"name": "mlp"}, "checkpoints": [1]}
        return tiny_recipe(training={"batch_size": 200, **(training or {})}, **{**fields, **changes})

    return make


def assert_all_fates(outcome):
    ended = {model["reason"] and "diverged" for model in outcome.models}
    assert ended == {None, "diverged"}


@pytest.mark.parametrize("kind", ["sgd", "adam", "one-cycle"])
def test_a_stop_before_any_epoch_changes_no_bit(make, engine, tmp_path, kind):
    recipe = make(KINDS[kind])
    undisturbed = engine.train(recipe)
    assert_all_fates(undisturbed)
    for epoch in range(1, EPOCHS + 1):
        state = tmp_path / f"{epoch}.state"
        engine.assert_equal(engine.train_with_stops(recipe, state, [epoch]), undisturbed)
        assert state.exists() == (epoch > 1)


@pytest.mark.parametrize("training", KINDS.values(), ids=KINDS.keys())
def test_a_stop_after_each_epoch_changes_no_bit(make, engine, tmp_path, training):
    recipe = make(training)
    undisturbed = engine.train(recipe)
    assert_all_fates(undisturbed)
    engine.assert_equal(engine.train_with_stops(recipe, tmp_path / "x.state", [2, 2, 2]), undisturbed)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_dropout_and_running_statistics_go_on_where_they_were(make, engine, tmp_path, architecture):
    recipe = make(architecture=architecture)
    stopped = engine.train_with_stops(recipe, tmp_path / "x.state", [2, 2, 2])
    engine.assert_equal(stopped, engine.train(recipe))


@pytest.mark.parametrize("strategy", ["stacked", "loop"])
def test_many_stops_of_one_run_change_no_bit(make, engine, tmp_path, strategy):
    recipe = make()
    stopped = engine.train_with_stops(recipe, tmp_path / "x.state", [1, 2, 1, 2, 2], strategy=strategy)
    engine.assert_equal(stopped, engine.train(recipe, strategy=strategy))
    assert stopped.strategy == engine.train(recipe, strategy=strategy).strategy


def test_a_resumed_run_steps_as_many_networks_as_the_first(make, engine, tmp_path):
    """Another strategy would round otherwise: the saved one wins."""
    recipe, state = make(), tmp_path / "x.state"
    with pytest.raises(Interrupted):
        engine.train(recipe, state=state, hooks=engine.stop_before(3), strategy="loop")
    resumed = engine.train(recipe, state=state, strategy="stacked")
    assert resumed.strategy == "loop"
    engine.assert_equal(resumed, engine.train(recipe, strategy="loop"))


@pytest.mark.parametrize("fork", [0, 1, 2, 3])
@pytest.mark.parametrize("stops", [[2], [4], [2, 2, 2]])
def test_stops_before_at_and_after_a_fork_change_no_bit(make, engine, tmp_path, fork, stops):
    axes = {"load": {"architecture.width": [3]}, "temperature": {"training.learning_rate": [0.05, 1e38]}}
    recipe = make({"epochs": EPOCHS}, axes=axes, fork={"epoch": fork, "learning_rate": 0.01})
    undisturbed = engine.train(recipe)
    engine.assert_equal(engine.train_with_stops(recipe, tmp_path / "x.state", stops), undisturbed)


def test_forks_at_different_epochs_of_one_trunk_resume(make, engine, tmp_path):
    axes = {
        "load": {"architecture.width": [3]},
        "temperature": {"training.learning_rate": [0.05]},
        "other": {"fork.epoch": [0, 1, 2, 3]},
    }
    recipe = make({"epochs": EPOCHS}, axes=axes)
    for stops in ([3], [2, 2, 2]):
        stopped = engine.train_with_stops(recipe, tmp_path / f"{stops}.h5", stops)
        engine.assert_equal(stopped, engine.train(recipe))


def test_a_resumed_run_does_not_train_again_what_was_trained(make, engine, tmp_path, monkeypatch):
    recipe, state, epochs = make(), tmp_path / "x.state", []
    with pytest.raises(Interrupted):
        engine.train(recipe, state=state, hooks=engine.stop_before(4))
    real = StackTrainer.run_epoch

    def run_epoch(trainer):
        losses = real(trainer)
        epochs.append(trainer.epoch)
        return losses

    monkeypatch.setattr(StackTrainer, "run_epoch", run_epoch)
    engine.train(recipe, state=state)
    assert epochs == [4]


def test_wall_time_of_the_runs_adds_up(make, engine, tmp_path):
    recipe, state = make(), tmp_path / "x.state"
    with pytest.raises(Interrupted):
        engine.train(recipe, state=state, hooks=engine.stop_before(3))
    save_state(state, replace(load_state(state), seconds=1000.0))
    resumed = engine.train(recipe, state=state)
    assert sum(m["train_seconds"] for m in resumed.models) == pytest.approx(1000, rel=0.05)


def test_a_stop_without_a_place_for_the_state_saves_nothing(make, engine):
    with pytest.raises(Interrupted):
        engine.train(make(), hooks=engine.stop_before(2))


# in a zoo: where the state lies, and what becomes of a torn one


@pytest.fixture
def recipe(tiny_recipe):
    return tiny_recipe(widths=[3], training={"epochs": 3})


@pytest.fixture
def reference(recipe, tmp_path, engine):
    return engine.generate(recipe, tmp_path / "reference")


@pytest.fixture
def stopped(recipe, tmp_path, stopping):
    """Folder of a zoo that was stopped before its third epoch."""
    root = tmp_path / "zoo"
    with pytest.raises(KeyboardInterrupt):
        generate(recipe, root, device="cpu", executor=stopping(3))
    return root


def state_of(root):
    (path,) = (root / "state").iterdir()
    return path


def shards(root, recipe):
    return [np.array(read_weights(root / stack.shard).weights) for stack in plan(recipe)]


@pytest.fixture
def epochs():
    """Epochs that are trained, once `again` is called."""
    return []


@pytest.fixture
def again(recipe, reference, engine, epochs, monkeypatch, assert_equal_zoos):
    """Generate again, noting the epochs; it ends as if nothing had happened."""

    def again(root, **options):
        real = StackTrainer.run_epoch
        monkeypatch.setattr(StackTrainer, "run_epoch", lambda t: epochs.append(t.epoch + 1) or real(t))
        assert_equal_zoos(engine.generate(recipe, root, **options), reference)

    return again


def test_a_stopped_zoo_has_its_state_opens_and_verifies(stopped, recipe):
    assert state_of(stopped).stem == Path(plan(recipe)[0].shard).stem
    assert load_state(state_of(stopped)).epoch == 2
    assert len(zoo.open(stopped)) == 0
    assert [fault for fault in zoo.verify(stopped) if "state" in fault.file] == []


def test_the_next_run_goes_on_from_the_state_and_removes_it(stopped, recipe, epochs, again, tmp_path):
    again(stopped)
    assert epochs == [3]
    for ours, theirs in zip(shards(stopped, recipe), shards(tmp_path / "reference", recipe), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (stopped / "state").exists()
    assert zoo.verify(stopped) == []


def flip(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


TORN = {
    "truncated": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "a flipped bit": flip,
    "garbage": lambda data: b"\x5a" * len(data),
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("tear", TORN.values(), ids=TORN.keys())
def test_a_torn_state_is_named_and_its_stack_trained_anew(stopped, epochs, tear, capsys, again):
    path = state_of(stopped)
    path.write_bytes(tear(path.read_bytes()))
    with pytest.raises(
        IntegrityError, match=r"the saved state of training .* is torn .*starts again at epoch 0"
    ):
        load_state(path)
    assert [fault for fault in zoo.verify(stopped) if "state" in fault.file] == []
    again(stopped)
    shown = " ".join(capsys.readouterr().err.split())
    assert "warning: the saved state of training" in shown
    assert "is torn" in shown
    assert "its stack starts again at epoch 0" in shown
    assert epochs == [1, 2, 3]
    assert not (stopped / "state").exists()


def test_every_flipped_byte_of_a_state_is_found(stopped, tmp_path):
    whole, path = state_of(stopped).read_bytes(), tmp_path / "torn.state"
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match=r"its bytes have another digest"):
            load_state(path)


def test_a_state_comes_back_as_it_was_written(stopped, tmp_path):
    state = load_state(state_of(stopped))
    save_state(tmp_path / "again.state", state)
    again = load_state(tmp_path / "again.state")
    assert replace(again, arrays={}) == replace(state, arrays={})
    assert again.arrays.keys() == state.arrays.keys()
    for name, array in state.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


@pytest.mark.parametrize("field", ["added", "missing"])
def test_a_state_that_another_version_laid_out_otherwise_is_torn(stopped, field, monkeypatch):
    path = state_of(stopped)
    state = load_state(path)
    scalars = ("signature", "epoch", "chunk", "seconds", "members", "epochs", "kept")
    if field == "added":
        object.__setattr__(state, "mood", "calm")
    written = (*scalars, "mood") if field == "added" else tuple(s for s in scalars if s != "epochs")
    monkeypatch.setattr("generators.engine.state._SCALARS", written)
    save_state(path, state)
    with pytest.raises(IntegrityError, match=r"is torn"):
        load_state(path)


def test_a_state_of_something_else_is_ignored(stopped, epochs, again, capsys):
    path = state_of(stopped)
    save_state(path, replace(load_state(path), signature="0" * 64))
    again(stopped)
    assert epochs == [1, 2, 3]
    assert "warning" not in capsys.readouterr().err
    assert not (stopped / "state").exists()


def test_a_state_of_other_numerics_is_ignored(stopped, epochs, again, monkeypatch):
    monkeypatch.setattr("generators.engine.provenance.ENGINE", 99)
    again(stopped, accept_other_code=True)
    assert epochs == [1, 2, 3]


def test_states_of_stacks_that_are_done_and_strangers_are_removed(stopped, recipe, engine):
    (stopped / "state" / "stranger.h5").write_bytes(b"")
    engine.generate(recipe, stopped)
    assert not (stopped / "state").exists()


def test_a_state_is_saved_now_and_then(recipe, tmp_path, saving_often, monkeypatch):
    saved = []
    real = save_state
    monkeypatch.setattr(
        "generators.engine.population.save_state",
        lambda path, state: saved.append(state.epoch) or real(path, state),
    )
    generate(recipe, tmp_path / "zoo", device="cpu", executor=InlineExecutor())
    assert saved == [1, 2]  # after the last epoch there is a shard
    assert not (tmp_path / "zoo" / "state").exists()
