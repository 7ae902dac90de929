"""How many networks a step takes at once changes the speed and nothing else."""

from types import SimpleNamespace

import pytest
import torch

from generators import generate
from generators.engine import strategy as module
from generators.engine.strategy import choose_chunk, describe
from zoo.errors import UnknownNameError
from zoo.training import StackTrainer


@pytest.fixture
def make(tiny_recipe):
    def make(training=None, **changes):
        fields = {"widths": [3], "seeds": [0, 1, 2], "checkpoints": [1]}
        return tiny_recipe(training={"batch_size": 100, **(training or {})}, **{**fields, **changes})

    return make


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sam"])
def test_every_strategy_gives_the_same_models(make, engine, optimizer):
    recipe = make({"optimizer": optimizer})
    stacked, loop, auto = (engine.train(recipe, strategy=name) for name in ("stacked", "loop", "auto"))
    assert (stacked.strategy, loop.strategy) == ("stacked/6", "loop")
    engine.assert_equal(stacked, loop, atol=1e-5)
    engine.assert_equal(stacked, auto, atol=1e-5)


def test_the_table_says_how_a_stack_was_stepped(make, engine, tmp_path):
    made = engine.generate(make(), tmp_path / "zoo", strategy="loop")
    assert made.models["strategy"].tolist() == ["loop"] * 6


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_steps_of_some_networks_at_once_give_the_same_models(make, engine, monkeypatch, size):
    monkeypatch.setattr("generators.engine.population.choose_chunk", lambda *_args, **_kwargs: size)
    some = engine.train(make(learning_rates=[0.05, 1e38]))
    monkeypatch.undo()
    assert some.strategy == describe(size, 6)
    engine.assert_equal(some, engine.train(make(learning_rates=[0.05, 1e38])), atol=1e-5)


def test_siblings_of_a_fork_are_stepped_together_once_they_have_parted(make, engine):
    """The trunk is one row, and no reason to take its branches one by one."""
    assert engine.train(make(fork={"epoch": 1}, learning_rates=[0.05])).strategy == "stacked/3"


# the choice


@pytest.fixture
def clock(monkeypatch):
    """Time passes only when a trainer steps: `seconds` a network and step by size, 1 where not given."""
    made = SimpleNamespace(now=0.0, seconds={}, sizes=[], steps=0)

    class Trainer(StackTrainer):
        def __init__(self, size):
            self.size, self.parameters = size, torch.empty(size, 1)
            made.sizes.append(size)

        def run_steps(self, steps):
            made.now += steps * self.size * made.seconds.get(self.size, 1.0)
            made.steps += steps

        def synchronize(self):
            pass

    made.make = Trainer
    now = {name: lambda: made.now for name in ("perf_counter", "process_time", "thread_time")}
    monkeypatch.setattr(module, "time", SimpleNamespace(**now))
    monkeypatch.setattr(module, "_MEASURED", {})
    return made


def choose(clock, name="auto", *, rows=64, steps=10_000, key=("kind",)):
    return choose_chunk(name, clock.make, rows=rows, steps=steps, key=key)


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [
        ({16: 0.9}, 16),
        ({64: 0.9, 1: 0.95}, 64),
        ({1: 0.9, 4: 0.95}, 1),
        ({4: 0.9}, 4),
        ({}, 64),
    ],
)
def test_the_fastest_a_network_is_chosen(clock, seconds, fastest):
    clock.seconds = seconds
    assert choose(clock) == fastest
    assert clock.sizes == [64, *module._SIZES]


@pytest.mark.parametrize("rows", [2, 5, 16, 40])
def test_sizes_beyond_the_stack_are_not_tried(clock, rows):
    assert choose(clock, rows=rows) == rows
    assert clock.sizes == [rows, *(size for size in module._SIZES if size < rows)]


def test_a_kind_is_measured_once(clock):
    clock.seconds = {16: 0.9}
    assert choose(clock) == 16
    steps, clock.seconds = clock.steps, {64: 0.1}
    assert choose(clock) == 16
    assert clock.steps == steps
    assert choose(clock, key=("another kind",)) == 64


@pytest.mark.parametrize(
    ("name", "options", "chosen"),
    [
        ("auto", {"steps": 999}, 64),
        ("stacked", {}, 64),
        ("loop", {}, 1),
        ("auto", {"rows": 1}, 1),
        ("stacked", {"rows": 1}, 1),
    ],
)
def test_nothing_is_measured_where_it_is_not_worth_it_or_not_asked(clock, name, options, chosen):
    assert choose(clock, name, **options) == chosen
    assert clock.sizes == []


def test_long_work_is_measured_in_earnest(make, engine, monkeypatch):
    """1,000 steps of a stack: real trainers are timed, and thrown away without a trace in the weights."""
    monkeypatch.setattr(module, "_WORTH_PROBING", 10)
    monkeypatch.setattr(module, "_MEASURED", {})
    auto = engine.train(make(), strategy="auto")
    (chosen,) = module._MEASURED.values()
    assert chosen in {6, *module._SIZES}
    assert auto.strategy == describe(chosen, 6)
    engine.assert_equal(auto, engine.train(make(), strategy="stacked"), atol=1e-5)


def test_an_unknown_strategy_is_refused_before_a_folder_is_made(make, tmp_path):
    function = getattr(generate, "__wrapped__", generate)
    with pytest.raises(UnknownNameError, match=r"unknown strategy 'stackd'; did you mean 'stacked'\?"):
        function(make(), tmp_path / "zoo", device="cpu", strategy="stackd")
    assert not (tmp_path / "zoo").exists()
