import pytest
import torch

SETTINGS = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine"},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.9, "gradient_clip": 0.5},
    "adam": {"optimizer": "adam", "schedule": "step", "decay_epochs": 2},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "warmup_epochs": 2},
    "sam": {"optimizer": "sam", "momentum": 0.9},
    "one-cycle": {"schedule": "one-cycle"},
    "one-cycle-adam": {"optimizer": "adam", "schedule": "one-cycle"},
    "float16": {"momentum": 0.9, "precision": "float16"},
    "float16-adam": {"optimizer": "adam", "precision": "float16", "schedule": "one-cycle"},
    "float16-sam": {"optimizer": "sam", "precision": "float16"},
    "bfloat16": {"momentum": 0.9, "precision": "bfloat16"},
}
EPOCHS = 3


def fresh(make, build, name, chunk, *, dtype=torch.float32):
    modules, data = make.modules(build.convolution, 3, dtype), make.data(3, (2, 6, 6), dtype=dtype)
    specs = [make.spec(learning_rate=r, epochs=EPOCHS, **SETTINGS[name]) for r in (0.01, 0.02, 0.05)]
    return make.trainer(modules, data, specs, [3, 4, 5], chunk=chunk)


@pytest.mark.parametrize(
    ("name", "chunk"),
    [*((name, None) for name in SETTINGS), ("sgd", 1), ("one-cycle", 1), ("float16-adam", 2)],
)
def test_a_run_interrupted_after_any_epoch_ends_in_the_same_bits(make, build, name, chunk):
    undisturbed, states = fresh(make, build, name, chunk), []
    for _ in range(EPOCHS):
        states.append((undisturbed.epoch, undisturbed.state()))
        undisturbed.run_epoch()
    for epoch, state in states:
        resumed = fresh(make, build, name, chunk)
        resumed.load(state, epoch)
        losses = make.epochs(resumed, EPOCHS - epoch)
        assert losses.isfinite().all()
        end = resumed.state()
        assert all(torch.equal(values, end[key]) for key, values in undisturbed.state().items())


def test_the_state_holds_weights_with_buffers_and_every_slot(make, build):
    trainer = fresh(make, build, "float16-adam", None)
    trainer.run_epoch()
    state = trainer.state()
    assert set(state) == {"weights", "mean", "square", "loss_scale", "good_steps"}
    assert torch.equal(state["weights"], trainer.weights)
    assert all(len(values) == 3 for values in state.values())


def test_the_state_is_a_copy(make, build):
    trainer = fresh(make, build, "adam", None)
    trainer.run_epoch()
    state = trainer.state()
    before = {key: values.clone() for key, values in state.items()}
    trainer.run_epoch()
    assert all(torch.equal(values, before[key]) for key, values in state.items())
    assert not torch.equal(trainer.state()["mean"], before["mean"])


def test_what_was_loaded_is_left_as_it_was(make, build):
    trainer = fresh(make, build, "adam", None)
    state = trainer.state()
    before = {key: values.clone() for key, values in state.items()}
    trainer.load(state, 0)
    trainer.run_epoch()
    assert all(torch.equal(values, before[key]) for key, values in state.items())


@pytest.mark.parametrize("missing", ["velocity", "weights"])
def test_a_state_that_lacks_something_is_no_state(make, build, missing):
    trainer = fresh(make, build, "sgd", None)
    state = trainer.state()
    del state[missing]
    with pytest.raises(KeyError, match=missing):
        trainer.load(state, 1)


@pytest.mark.parametrize("left_out", ["velocity", "buffers", "epoch"])
def test_leaving_something_out_would_be_seen(make, build, left_out):
    undisturbed = fresh(make, build, "sgd", None)
    make.epochs(undisturbed, 2)
    state, buffers = undisturbed.state(), undisturbed.buffers
    resumed = fresh(make, build, "sgd", None)
    if left_out == "velocity":
        state["velocity"].zero_()
    resumed.load(state, 1 if left_out == "epoch" else 2)
    if left_out == "buffers":
        resumed.buffers = {name: torch.zeros_like(values) for name, values in buffers.items()}
    make.epochs(resumed, 2)
    make.epochs(undisturbed, 2)
    assert not torch.equal(resumed.weights, undisturbed.weights)


def test_a_selection_can_be_resumed_too(make, build):
    ends = []
    for interrupted in (False, True):
        trainer = fresh(make, build, "sgd", None)
        make.epochs(trainer, 2)
        rows = [trainer.rows[2], trainer.rows[0]]
        trainer.select([2, 0], rows)
        if interrupted:
            state, trainer = trainer.state(), fresh(make, build, "sgd", None)
            trainer.select([2, 0], rows)
            trainer.load(state, 2)
        make.epochs(trainer, 2)
        ends.append(trainer.weights)
    assert torch.equal(*ends)
