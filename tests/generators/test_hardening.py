"""What could have made a zoo wrong, lost a saved state, or hung: each has happened once."""

import os
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import zoo
from generators import LocalExecutor, generate
from generators.engine import Interrupted, Task, TaskSettings
from generators.engine.state import FOLDER, is_sound, load_state, save_state, state_path
from generators.executors import Watch, base
from generators.executors.inline import InlineExecutor
from generators.executors.local import _Run, _Worker
from generators.executors.worker import STOP
from generators.folder import remove_leftovers
from generators.generation import begun_together, choose_executor, make_tasks
from generators.grid import plan
from zoo.errors import IntegrityError, SpecificationError, StorageError, UnsafeFileError


def normalised(tiny_recipe, **training):
    return tiny_recipe(architecture={"name": "mlp", "normalisation": "batch"}, training=training)


@pytest.fixture
def stopped(tiny_recipe, engine, tmp_path):
    """A task with a saved state of two of four epochs."""
    recipe = tiny_recipe(widths=[2], training={"epochs": 4})
    (stack,) = plan(recipe)
    path = state_path(tmp_path, stack.shard)
    with pytest.raises(Interrupted):
        engine.train(recipe, state=path, hooks=engine.stop_before(3))
    return SimpleNamespace(recipe=recipe, stack=stack, path=path, root=tmp_path)


# the recipe


def test_the_same_axes_in_another_order_are_refused(tiny_recipe, tmp_path):
    rates, decays = [0.01, 0.1], [0.0, 0.001]
    temperature = {"training.learning_rate": rates, "training.weight_decay": decays}
    axes = {"load": {"architecture.width": [2]}, "temperature": temperature}
    generate(tiny_recipe(axes=axes), tmp_path / "zoo", device="cpu")
    turned = {**axes, "temperature": dict(reversed(temperature.items()))}
    assert tiny_recipe(axes=turned).hash == tiny_recipe(axes=axes).hash
    with pytest.raises(
        SpecificationError, match=r"begun with the axes in the order \['width', 'learning_rate"
    ):
        generate(tiny_recipe(axes=turned), tmp_path / "zoo", device="cpu")
    assert zoo.verify(tmp_path / "zoo") == []


@pytest.mark.parametrize("batch_size", [1, 3, 999])
def test_a_batch_of_one_is_refused_where_a_network_needs_more(tiny_recipe, tmp_path, batch_size):
    with pytest.raises(
        SpecificationError, match=r"1000 items in batches of \d+ leave a batch of one.*another batch"
    ):
        generate(normalised(tiny_recipe, batch_size=batch_size), tmp_path / "zoo", device="cpu")
    assert not (tmp_path / "zoo").exists()


def test_a_batch_of_one_is_taken_by_other_networks(tiny_recipe, tmp_path):
    made = generate(tiny_recipe(training={"batch_size": 333}), tmp_path / "zoo", device="cpu")
    assert made.manifest.counts.finished == 8


def test_what_torch_says_of_shapes_is_recorded(tiny_recipe, monkeypatch):
    def shapeless(*_arguments):
        raise ValueError("Expected more than 1 value per channel")

    monkeypatch.setattr(base, "train_task", shapeless)
    trained = base.perform(Task(tuple(plan(tiny_recipe())[:1]), {}), TaskSettings(), base.Hooks())
    assert trained.failed == "ValueError: Expected more than 1 value per channel"


def test_batches_larger_than_the_data_cost_no_more_memory(tiny_recipe):
    from generators.engine.cost import row_bytes

    whole, more = (plan(tiny_recipe(training={"batch_size": size}))[0] for size in (1000, 10**9))
    assert row_bytes(whole) == row_bytes(more)


# threads


def test_a_run_that_goes_on_keeps_to_workers_of_one_thread(tiny_recipe, monkeypatch):
    monkeypatch.setattr("generators.generation._rough_seconds", lambda _stacks: 100.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(4)), raising=False)
    stacks = plan(tiny_recipe(widths=[2, 3, 4]))
    last = choose_executor("local", stacks, "cpu", at_most=1)
    assert isinstance(last, LocalExecutor)
    assert last.workers == 1
    assert isinstance(choose_executor("local", stacks[:1], "cpu"), InlineExecutor)


def test_this_process_trains_on_one_thread_and_gives_the_others_back(tiny_recipe, tmp_path, monkeypatch):
    seen = []
    real = base.train_task
    monkeypatch.setattr(base, "train_task", lambda *a: seen.append(torch.get_num_threads()) or real(*a))
    torch.set_num_threads(2)
    try:
        generate(tiny_recipe(widths=[2]), tmp_path / "zoo", device="cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [1]


# pipes


class Pipe:
    """A worker's end that says what it is told to, then closes or breaks."""

    def __init__(self, *words):
        self.words, self.sent = list(words), []

    def send(self, word):
        self.sent.append(word)

    def recv(self):
        word = self.words.pop(0)
        if isinstance(word, OSError) and not isinstance(word, StorageError):
            raise word
        return word

    def close(self):
        pass


BUSY = Task((), {})


def run_of(*pipes):
    pool = [_Worker.__new__(_Worker) for _ in pipes]
    for worker, pipe in zip(pool, pipes, strict=True):
        worker.pipe, worker.task, worker.begin = pipe, BUSY, 0.0
    run = _Run(pool, [], TaskSettings(), Watch())
    return run, pool


def test_a_worker_that_cannot_save_its_state_is_not_waited_for():
    run, pool = run_of(Pipe(StorageError("no room to write")), Pipe(STOP))
    done = []

    def stop():
        with pytest.raises(StorageError, match="no room to write"):
            list(run._stop())
        done.append(True)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(10)
    assert done
    assert [worker.task for worker in pool] == [BUSY, None]


def test_a_worker_that_dies_amid_a_message_when_stopped_is_no_error():
    run, _ = run_of(Pipe(OSError("got end of file during message")), Pipe(STOP))
    assert list(run._stop()) == []


def test_a_worker_that_dies_amid_its_result_is_replaced(monkeypatch):
    run, pool = run_of(Pipe(OSError("got end of file during message")))
    monkeypatch.setattr(run, "_replace", lambda worker, task: iter([(worker, task)]))
    assert list(run._receive(pool[0])) == [(pool[0], BUSY)]


# states


def test_a_state_that_fits_is_sound(stopped):
    state = load_state(stopped.path)
    assert state.shards == [stopped.stack.shard]
    assert is_sound(state, models=4, epochs=4, params=stopped.stack.layout.size)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 99},
        {"epoch": 0},
        {"chunk": -1},
        {"members": [[0], [1], [2], [7]]},
        {"members": [[0], [1], [2], [2]]},
        {"members": [[0], [1]]},
        {"members": []},
        {"ended": {0: ("lost", None)}},
        {"epochs": [2]},
        {"kept": []},
        {"arrays": {}},
    ],
)
def test_a_state_whose_parts_do_not_fit_starts_anew(stopped, engine, change):
    """Its digest is right: whoever wrote it may have written anything."""
    save_state(stopped.path, replace(load_state(stopped.path), **change))
    engine.assert_equal(engine.train(stopped.recipe, state=stopped.path), engine.train(stopped.recipe))


def test_a_state_of_other_weights_starts_anew(stopped, engine):
    state = load_state(stopped.path)
    arrays = {**state.arrays, "weights": np.zeros((4, 3), np.float32)}
    save_state(stopped.path, replace(state, arrays=arrays))
    engine.assert_equal(engine.train(stopped.recipe, state=stopped.path), engine.train(stopped.recipe))


def test_a_state_of_the_same_models_with_other_checkpoints_starts_anew(stopped, tiny_recipe, engine):
    more = tiny_recipe(widths=[2], training={"epochs": 4}, checkpoints=[1, 2])
    resumed = engine.train(more, state=stopped.path)
    assert len(resumed.weights) == 16
    engine.assert_equal(resumed, engine.train(more))


def test_a_folder_in_place_of_a_state_is_torn(tmp_path):
    with pytest.raises(IntegrityError, match=r"is torn \(it is no plain file\); its stack starts again"):
        load_state(tmp_path)


def test_a_linked_folder_of_states_is_refused_and_left_alone(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.state").write_text("do not touch")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / FOLDER).symlink_to(victim)
    with pytest.raises(UnsafeFileError, match=r"is a link, expected a folder of this zoo; remove the link"):
        remove_leftovers(tmp_path / "zoo", [])
    assert (victim / "thesis.state").read_text() == "do not touch"


def test_a_linked_state_is_not_read_and_its_target_stays(stopped, engine):
    target = stopped.root / "elsewhere"
    stopped.path.rename(target)
    stopped.path.symlink_to(target)
    engine.assert_equal(engine.train(stopped.recipe, state=stopped.path), engine.train(stopped.recipe))
    remove_leftovers(stopped.root, [])
    assert target.exists()
    assert not stopped.path.exists()


def test_a_failed_task_keeps_its_state_for_the_next_run(stopped, tiny_zoo, monkeypatch, assert_equal_zoos):
    root = stopped.root / "zoo"

    class Failing:
        def run(self, tasks, settings, watch):
            for task in tasks:
                yield base.failed(task, settings, "its worker died in each of 3 attempts")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "ATTEMPTS", 3)
        path = state_path(root, stopped.stack.shard)
        path.parent.mkdir(parents=True)
        stopped.path.rename(path)
        (root / FOLDER).rename(stopped.root / "aside")
        generate_empty(stopped.recipe, root)
        (stopped.root / "aside").rename(root / FOLDER)
        generate(stopped.recipe, root, device="cpu", executor=Failing())
    assert path.exists()
    seen = []
    resumed = generate(stopped.recipe, root, device="cpu", executor=Watched(seen))
    assert min(seen) == 3
    assert not (root / FOLDER).exists()
    assert_equal_zoos(resumed, generate(stopped.recipe, stopped.root / "undisturbed", device="cpu"))


def generate_empty(recipe, root):
    """Begin a zoo and train nothing."""

    class Idle:
        def run(self, tasks, settings, watch):
            raise Interrupted
            yield

    with pytest.raises(KeyboardInterrupt):
        generate(recipe, root, device="cpu", executor=Idle())


class Watched(InlineExecutor):
    """Notes the epochs that are trained."""

    def __init__(self, seen):
        self.seen = seen

    def run(self, tasks, settings, watch):
        tell = Watch(lambda _task, progress: self.seen.append(progress.epoch), watch.should_stop)
        return super().run(tasks, settings, tell)


def test_stacks_that_were_begun_together_go_on_together(tiny_recipe, tmp_path, engine):
    """As on a GPU, where a task holds several: one of its shards was committed, then the disk was full."""
    recipe = tiny_recipe(
        widths=[2], learning_rates=[0.01, 0.02], training={"epochs": 4}, seeds=list(range(40))
    )
    stacks = plan(recipe)
    assert len(stacks) == 2
    task = Task(tuple(stacks), {}, state_path(tmp_path, stacks[0].shard))
    with pytest.raises(Interrupted):
        next(InlineExecutor().run([task], TaskSettings(), Watch(should_stop=iter([False, True]).__next__)))
    warnings = []
    groups = begun_together(tmp_path, stacks, stacks[1:], warn=warnings.append)
    assert [[stack.shard for stack in group] for group in groups] == [[stack.shard for stack in stacks]]
    (again,) = make_tasks(tmp_path, recipe, stacks[1:], "cpu", groups)
    assert (again.stacks, again.state) == (task.stacks, task.state)
    assert begun_together(tmp_path, stacks, [], warn=warnings.append) == []
    assert warnings == []
