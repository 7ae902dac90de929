"""Worker processes on this machine: the same zoo as without them, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

import zoo
from generators import LocalExecutor, generate
from generators.engine import Interrupted, Task, TaskSettings
from generators.executors import Done, Executor, Watch, base
from generators.executors.inline import InlineExecutor
from generators.executors.interrupt import deferred_interrupt
from generators.executors.worker import STOP, _ParentIsGone, serve
from generators.generation import choose_executor, make_tasks
from generators.grid import plan
from zoo.errors import SpecificationError, StorageError
from zoo.storage import sha256_of


@pytest.fixture
def recipe(tiny_recipe):
    return tiny_recipe(widths=[2, 3, 4, 5], training={"epochs": 4})


@pytest.fixture(scope="module")
def pool():
    """Two workers, started once: importing torch takes them seconds."""
    with LocalExecutor(2) as executor:
        yield executor


@pytest.fixture
def reference(recipe, tmp_path, engine):
    return engine.generate(recipe, tmp_path / "reference")


class Disturbed:
    """An executor whose progress is watched: `disturb(executor, task, progress)` at each word of it."""

    def __init__(self, executor, disturb):
        self.executor, self.disturb = executor, disturb

    def run(self, tasks, settings, watch):
        def on_progress(task, progress):
            watch.on_progress(task, progress)
            self.disturb(self.executor, task, progress)

        return self.executor.run(tasks, settings, replace(watch, on_progress=on_progress))


def kill_worker_of(executor, task):
    for worker in executor._pool:
        if worker.task == task:
            worker.process.send_signal(signal.SIGKILL)


def width(task):
    return task.models[0].values["width"]


# without disturbance


def test_workers_give_the_zoo_that_this_process_gives(recipe, pool, reference, tmp_path, assert_equal_zoos):
    made = generate(recipe, tmp_path / "zoo", device="cpu", executor=pool)
    assert_equal_zoos(made, reference)
    assert zoo.verify(tmp_path / "zoo") == []


def test_workers_give_the_same_bytes_of_weights(recipe, pool, reference, tmp_path):
    generate(recipe, tmp_path / "zoo", device="cpu", executor=pool)
    for stack in plan(recipe):
        ours, theirs = zoo.open(tmp_path / "zoo"), reference
        assert (ours.weights(stack.layout.id) == theirs.weights(stack.layout.id)).all()


def test_fine_tuning_and_forks_reach_the_workers(
    tiny_recipe, tiny_zoo, pool, engine, tmp_path, assert_equal_zoos
):
    models = zoo.open(tiny_zoo).models
    parent = models[models["width"] == 3]["model_id"].iloc[0] + "@2"
    recipe = tiny_recipe(
        widths=[3],
        parent={"zoo": str(tiny_zoo), "checkpoint": parent},
        fork={"epoch": 1},
        training={"epochs": 3},
    )
    made = generate(recipe, tmp_path / "zoo", device="cpu", executor=pool)
    assert_equal_zoos(made, engine.generate(recipe, tmp_path / "inline"))


def test_more_workers_than_tasks_do_no_harm(tiny_recipe, pool, engine, tmp_path, assert_equal_zoos):
    recipe = tiny_recipe(widths=[2])
    made = generate(recipe, tmp_path / "zoo", device="cpu", executor=pool)
    assert_equal_zoos(made, engine.generate(recipe, tmp_path / "inline"))


def test_executors_are_executors():
    assert isinstance(LocalExecutor(1), Executor)
    assert isinstance(InlineExecutor(), Executor)


@pytest.mark.parametrize(
    ("seconds", "cores", "expected"), [(1.0, 4, None), (100.0, 1, None), (100.0, 3, 3), (100.0, 99, 4)]
)
def test_workers_are_started_where_they_are_worth_it(recipe, monkeypatch, seconds, cores, expected):
    monkeypatch.setattr("generators.generation._rough_seconds", lambda _stacks: seconds)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cores)), raising=False)
    chosen = choose_executor("local", plan(recipe), "cpu")
    if expected is None:
        assert isinstance(chosen, InlineExecutor)
    else:
        assert isinstance(chosen, LocalExecutor)
        assert chosen.workers == expected


# workers that die


def test_a_killed_worker_costs_its_task_alone(
    recipe, pool, reference, tmp_path, monkeypatch, assert_equal_zoos
):
    """Saved after each epoch, the task goes on where it was."""
    monkeypatch.setattr(
        "generators.generation.TaskSettings", lambda **s: TaskSettings(**s, state_seconds=0.0)
    )
    killed, epochs = [], []

    def disturb(executor, task, progress):
        epochs.append((width(task), progress.epoch))
        if width(task) == 3 and progress.epoch == 2 and not killed:
            killed.append(task.name)
            kill_worker_of(executor, task)

    made = generate(recipe, tmp_path / "zoo", device="cpu", executor=Disturbed(pool, disturb))
    assert killed
    assert_equal_zoos(made, reference)
    others = [epoch for epoch in epochs if epoch[0] != 3]
    assert len(others) == len(set(others)) == 3 * 4
    assert not (tmp_path / "zoo" / "state").exists()


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_recorded_and_the_next_run_trains_just_it(
    recipe, pool, reference, tmp_path, assert_equal_zoos, monkeypatch
):
    root, given = tmp_path / "zoo", []

    def disturb(executor, task, progress):
        if width(task) == 4 and progress.epoch == 1:
            given.append(task.name)
            kill_worker_of(executor, task)

    made = generate(recipe, root, device="cpu", executor=Disturbed(pool, disturb))
    assert len(given) == base.ATTEMPTS == 3
    failed = made.models[made.models["status"] == "failed"]
    assert failed["width"].tolist() == [4] * 4
    assert set(failed["reason"]) == {"its worker died in each of 3 attempts, at last killed by signal 9"}
    assert made.manifest.counts.finished == 12
    whole = {stack.shard: sha256_of(root / stack.shard) for stack in plan(recipe)}
    trained = []
    generate(
        recipe, root, device="cpu", executor=Disturbed(pool, lambda _e, task, _p: trained.append(width(task)))
    )
    assert set(trained) == {4}
    assert_equal_zoos(zoo.open(root), reference)
    changed = [shard for shard, digest in whole.items() if sha256_of(root / shard) != digest]
    assert len(changed) == 1


# the worker's side of the pipe


@pytest.fixture
def served():
    """Our end of a pipe that is served in a thread; what ended the service."""
    ours, theirs = Pipe()
    ended = []

    def run():
        try:
            serve(theirs)
            ended.append(None)
        except Exception as error:  # noqa: BLE001 - the test looks at whatever it is
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield SimpleNamespace(pipe=ours, ended=ended, join=lambda: thread.join(timeout=20))
    ours.close()
    thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture
def one_task(tiny_recipe):
    return Task(tuple(plan(tiny_recipe(widths=[3]))), {})


def test_a_worker_answers_stop_also_when_it_is_idle(served):
    served.pipe.send(STOP)
    assert served.pipe.recv() == STOP
    served.pipe.close()
    served.join()
    assert served.ended == [None]


def test_a_worker_tells_each_epoch_and_then_sends_what_it_trained(served, one_task):
    served.pipe.send((one_task, TaskSettings()))
    received = [served.pipe.recv() for _ in range(3)]
    assert [progress.epoch for progress in received[:2]] == [1, 2]
    assert isinstance(received[2], Done)
    assert received[2].failed is None


def test_a_worker_that_is_stopped_says_so_and_takes_the_next_task(served, one_task):
    served.pipe.send((one_task, TaskSettings()))
    served.pipe.send(STOP)
    while (received := served.pipe.recv()) != STOP:
        assert received.epoch < 2
    served.pipe.send((one_task, TaskSettings()))
    assert served.pipe.recv().epoch == 1


def test_a_worker_sends_errors_that_are_meant_for_the_user(served, tiny_recipe):
    served.pipe.send((impossible_task(tiny_recipe), TaskSettings()))
    assert isinstance(served.pipe.recv(), SpecificationError)


@pytest.mark.parametrize("read", [0, 1])
def test_a_worker_whose_parent_is_gone_ends_amid_its_task(served, tiny_recipe, read):
    """Also where the parent leaves words unread, which resets the connection."""
    long = Task(tuple(plan(tiny_recipe(widths=[3], training={"epochs": 100_000}))), {})
    served.pipe.send((long, TaskSettings()))
    for _ in range(read):
        served.pipe.recv()
    while not served.pipe.poll():
        time.sleep(0.001)
    served.pipe.close()
    served.join()
    assert isinstance(served.ended[0], _ParentIsGone)


@pytest.mark.parametrize("workers", [0, -1])
def test_an_executor_without_workers_is_refused(workers):
    with pytest.raises(SpecificationError, match=rf"a LocalExecutor has at least one worker, got {workers}"):
        LocalExecutor(workers)


# errors and ends


def impossible_task(tiny_recipe):
    """Two batch sizes in one task: the trainer refuses it."""
    stacks = [plan(tiny_recipe(widths=[3], training={"batch_size": size}))[0] for size in (32, 64)]
    return Task(tuple(stacks), {})


def test_an_error_of_a_worker_that_is_meant_for_the_user_is_raised_here(tiny_recipe, recipe, pool, tmp_path):
    tasks = [impossible_task(tiny_recipe), *make_tasks(tmp_path, recipe, plan(recipe), "cpu")]
    with pytest.raises(
        SpecificationError, match=r"one stack has one optimiser, one precision and one batch size"
    ):
        list(pool.run(tasks, TaskSettings(), Watch()))
    # the pool has forgotten what it was given, and goes on
    again = make_tasks(tmp_path, recipe, plan(recipe), "cpu")
    trained = list(pool.run(again, TaskSettings(), Watch()))
    assert sorted(t.task.name for t in trained) == sorted(t.name for t in again)


def test_a_run_that_is_stopped_leaves_the_pool_idle(recipe, pool, tmp_path):
    tasks = make_tasks(tmp_path, recipe, plan(recipe), "cpu")
    pressed = iter([False] * 3 + [True] * 100)
    with pytest.raises(Interrupted):
        list(pool.run(tasks, TaskSettings(), Watch(should_stop=lambda: next(pressed))))
    assert all(worker.task is None for worker in pool._pool)
    assert len(list(pool.run(tasks, TaskSettings(), Watch()))) == len(tasks)


@pytest.mark.slow
def test_a_run_that_is_dropped_leaves_the_pool_idle(recipe, pool, tmp_path):
    tasks = make_tasks(tmp_path, recipe, plan(recipe), "cpu")
    results = pool.run(tasks, TaskSettings(), Watch())
    next(results)
    results.close()
    assert all(worker.task is None for worker in pool._pool)
    assert len(list(pool.run(tasks, TaskSettings(), Watch()))) == len(tasks)


def test_workers_are_gone_when_what_they_trained_cannot_be_stored(recipe, tmp_path, monkeypatch, processes):
    before = set(processes.children(os.getpid()))

    def refuse(*_args):
        raise StorageError("no room")

    monkeypatch.setattr("generators.generation.write_weights", refuse)
    with pytest.raises(StorageError, match=r"no room"):
        generate(recipe, tmp_path / "zoo", device="cpu", executor=LocalExecutor(1))
    assert set(processes.children(os.getpid())) <= before


# Ctrl-C, in this process


def test_the_first_interrupt_waits_and_the_second_does_not():
    told = []
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt(lambda: told.append("stopping")) as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        assert told == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


# a whole process of a user: no guard against being imported by its own workers

SCRIPT = """
    import sys
    from functools import partial
    import torch
    torch.set_num_threads(1)
    import generators.generation
    from generators import LocalExecutor, generate, load_recipe
    from generators.engine import TaskSettings
    generators.generation.TaskSettings = partial(TaskSettings, state_seconds=float(sys.argv[3]))
    generate(load_recipe(sys.argv[1]), sys.argv[2], device="cpu", executor=LocalExecutor(2))
    print("done")
"""


@pytest.fixture
def long_recipe(tiny_recipe):
    """Two stacks, an epoch about a tenth of a second each."""
    training = {"epochs": 12, "batch_size": 5}
    return tiny_recipe(widths=[16, 17], learning_rates=[0.01], training=training, checkpoints=[])


@pytest.fixture
def start(tmp_path, processes):
    """Start the script; it is gone at the end, and so are its workers."""
    started = []

    def start(recipe, *, state_seconds=0.0):
        (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
        (tmp_path / "recipe.yaml").write_text(recipe.model_dump_json())
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "recipe.yaml")]
        with (tmp_path / "errors.txt").open("w") as errors:
            script = subprocess.Popen(
                [*command, str(tmp_path / "zoo"), str(state_seconds)], stdout=subprocess.PIPE, stderr=errors
            )
        started.append(script)
        return script

    yield start
    for script in started:
        script.kill()
        script.communicate()


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_training(tmp_path):
    """A worker has saved a state."""
    return any((tmp_path / "zoo" / "state").glob("[!.]*.state"))


@pytest.mark.slow
def test_a_script_without_a_guard_trains_with_workers(
    tiny_recipe, start, tmp_path, assert_equal_zoos, engine
):
    script = start(tiny_recipe(), state_seconds=60)
    out, _ = script.communicate(timeout=60)
    assert out == b"done\n"  # once: no worker has run the script
    assert_equal_zoos(zoo.open(tmp_path / "zoo"), engine.generate(tiny_recipe(), tmp_path / "inline"))


@pytest.mark.slow
def test_ctrl_c_saves_what_is_in_training_and_the_next_run_ends_equal(
    long_recipe, start, pool, tmp_path, processes, assert_equal_zoos
):
    script = start(long_recipe)
    wait_for(lambda: in_training(tmp_path))
    workers = processes.children(script.pid)
    assert len(workers) == 2
    script.send_signal(signal.SIGINT)
    assert script.wait(timeout=30) == -signal.SIGINT
    shown = (tmp_path / "errors.txt").read_text()
    assert (
        "stopping after this epoch, what is in training is saved first; Ctrl-C again stops at once" in shown
    )
    assert not any(processes.alive(worker) for worker in workers)
    assert in_training(tmp_path)
    assert zoo.open(tmp_path / "zoo").manifest.counts.planned == 4
    resumed = generate(long_recipe, tmp_path / "zoo", device="cpu", executor=pool)
    assert not (tmp_path / "zoo" / "state").exists()
    undisturbed = generate(long_recipe, tmp_path / "undisturbed", device="cpu", executor=pool)
    assert_equal_zoos(resumed, undisturbed)
    for layout in undisturbed.layouts:
        assert (resumed.weights(layout) == undisturbed.weights(layout)).all()


@pytest.mark.slow
def test_workers_end_by_themselves_when_their_parent_is_killed(long_recipe, start, tmp_path, processes):
    script = start(long_recipe)
    wait_for(lambda: in_training(tmp_path))
    workers = processes.children(script.pid)
    script.kill()
    script.wait()
    wait_for(lambda: not any(processes.alive(worker) for worker in workers), seconds=15)
    assert "Traceback" not in (tmp_path / "errors.txt").read_text()
    assert zoo.open(tmp_path / "zoo").manifest.counts.models < 4


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(tiny_recipe, start, tmp_path, processes):
    """An epoch takes far longer than the test waits."""
    recipe = tiny_recipe(
        widths=[64, 65], training={"epochs": 1000, "batch_size": 1}, seeds=list(range(8)), checkpoints=[]
    )
    script = start(recipe, state_seconds=1e6)
    wait_for(lambda: len(processes.children(script.pid)) == 2)
    time.sleep(4)
    workers = processes.children(script.pid)
    script.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping after this epoch" in (tmp_path / "errors.txt").read_text(), seconds=5)
    begin = time.monotonic()
    script.send_signal(signal.SIGINT)
    assert script.wait(timeout=10) == -signal.SIGINT
    assert time.monotonic() - begin < 3
    wait_for(lambda: not any(processes.alive(worker) for worker in workers), seconds=5)
