"""Training on Ray: the same zoo as elsewhere, whatever happens to workers, nodes and the driver.

All tests share one cluster of two nodes with one CPU each, on this machine.
"""

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import zoo
from generators import generate, measure
from generators.engine.state import FOLDER, load_state, save_state
from generators.executors import ray as ray_executor
from generators.executors.inline import InlineExecutor
from generators.executors.local import LocalExecutor
from generators.executors.ray import RayExecutor
from generators.grid import plan
from zoo.storage import JOURNAL

PATIENCE = 60
MID_STACK = 0.5
"""Seconds after its first sign when a stack of the slow recipe is in training, and far from its end."""

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def nodes():
    """The cluster, and this process connected to it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


EPOCHS = 400
"""So many that a stack trains for seconds on a fast machine too."""


@pytest.fixture(scope="module")
def slow_recipe(tiny_recipe):
    """Four stacks that each train for seconds."""
    return tiny_recipe(name="slow", widths=[2, 3, 4, 5], checkpoints=[1, 50], training={"epochs": EPOCHS})


@pytest.fixture(scope="module")
def undisturbed(slow_recipe, tmp_path_factory):
    return train(slow_recipe, tmp_path_factory.mktemp("undisturbed") / "zoo", InlineExecutor())


def train(recipe, root, executor):
    return generate(recipe, root, device="cpu", executor=executor, strategy="stacked")


class Notes:
    """What workers wrote down when they began a stack: a line with their pid and node."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def entry(self, poisoned=None):
        """What Ray calls in a worker; a closure, since workers cannot import the tests."""
        folder = str(self.folder)

        def note_and_serve(module, versions, packed):
            serve = importlib.import_module(module).serve
            name = Path(pickle.loads(packed)[0].name).stem
            node = importlib.import_module("ray").get_runtime_context().get_node_id()
            with Path(folder, name).open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {node}\n")
            if name == poisoned:
                os.kill(os.getpid(), signal.SIGKILL)
            return serve(versions, packed)

        return note_and_serve

    def lines(self):
        """Stack, pid and node of each beginning."""
        for path in sorted(self.folder.iterdir()):
            for line in path.read_text(encoding="utf-8").splitlines():
                pid, node = line.split()
                yield path.name, int(pid), node

    def begun(self):
        return Counter(name for name, _, _ in self.lines())

    def wait(self, node=None):
        """Wait until a stack is in mid-training, on some node or on this one."""
        found = wait_for(lambda: [line for line in self.lines() if node in {None, line[2]}])
        time.sleep(MID_STACK)
        return found[0]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    notes = Notes(tmp_path / "notes")
    monkeypatch.setattr(ray_executor, "_entry", notes.entry)
    return notes


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@contextmanager
def meanwhile(act):
    """Do something in another thread while the body trains; an error of it is an error here."""
    errors = []

    def guarded():
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    yield
    thread.join()
    assert errors == []


def assert_equal_zoos(one, other):
    for name in ("models", "checkpoints", "cells"):
        frames = [
            getattr(opened, name).drop(columns="train_seconds", errors="ignore") for opened in (one, other)
        ]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
    for layout in other.layouts:
        np.testing.assert_allclose(one.weights(layout), other.weights(layout), atol=1e-6, rtol=0)


def assert_begun_twice(notes, stack, stacks=4):
    assert notes.begun()[stack] == 2
    assert sum(notes.begun().values()) == stacks + 1
    assert len(notes.begun()) == stacks


# the same zoo


def test_trains_the_same_zoo_as_the_other_executors(nodes, tiny_recipe, tmp_path):
    ours = train(tiny_recipe(), tmp_path / "ray", "ray")
    assert set(ours.models["status"]) == {"finished"}
    assert_equal_zoos(ours, train(tiny_recipe(), tmp_path / "local", LocalExecutor(2)))
    assert_equal_zoos(ours, train(tiny_recipe(), tmp_path / "inline", InlineExecutor()))


def test_measures_the_same_as_this_process(nodes, tiny_recipe, tmp_path):
    here = train(tiny_recipe(), tmp_path / "here", InlineExecutor())
    there = train(tiny_recipe(), tmp_path / "there", InlineExecutor())
    names = ["norms", "cka", "l2_distance", "hessian", "hessian_density"]
    ours = measure(there.root, metrics=names, executor="ray")
    theirs = measure(here.root, metrics=names, executor=InlineExecutor())
    assert_equal_zoos(ours, theirs)
    assert ours.series("hessian_density").keys() == theirs.series("hessian_density").keys()
    assert zoo.verify(ours.root) == []


def test_a_ray_that_was_running_is_left_running(nodes, tiny_recipe, tmp_path):
    import ray

    train(tiny_recipe(), tmp_path / "zoo", RayExecutor(address=nodes.address))
    assert ray.is_initialized()


def test_the_command_line_starts_a_ray_and_stops_it(tiny_recipe, tmp_path):
    child = start_command(tiny_recipe(), tmp_path)
    raylets = wait_for(lambda: [pid for pid in descendants(child.pid) if "raylet" in command_of(pid)])
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, output
    assert "8 models (8 finished, 0 diverged, 0 failed)" in output
    assert_equal_zoos(zoo.open(tmp_path / "zoo"), train(tiny_recipe(), tmp_path / "inline", InlineExecutor()))
    wait_for(lambda: not any(map(is_alive, raylets)))


def test_the_command_line_joins_a_cluster_and_leaves_it_running(nodes, tiny_recipe, tmp_path):
    child = start_command(tiny_recipe(), tmp_path, "--address", nodes.address)
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, output
    assert zoo.open(tmp_path / "zoo").manifest.counts.finished == 8
    assert len(nodes.list_all_nodes()) == 2
    train(tiny_recipe(), tmp_path / "again", "ray")


# what gets lost


def test_a_killed_worker_costs_its_stack_only(nodes, slow_recipe, undisturbed, notes, tmp_path):
    victims = []

    def kill():
        stack, pid, _ = notes.wait()
        os.kill(pid, signal.SIGKILL)
        victims.append(stack)

    with meanwhile(kill):
        trained = train(slow_recipe, tmp_path / "zoo", "ray")
    assert_equal_zoos(trained, undisturbed)
    assert_begun_twice(notes, victims[0])


def test_a_stack_that_kills_its_workers_is_recorded_and_tried_by_the_next_run(
    nodes, tiny_recipe, notes, tmp_path, monkeypatch
):
    poisoned = Path(plan(tiny_recipe())[0].shard).stem
    with monkeypatch.context() as patch:
        patch.setattr(ray_executor, "_entry", lambda: notes.entry(poisoned))
        trained = train(tiny_recipe(), tmp_path / "zoo", RayExecutor(attempts=2))
    failed = trained.models[trained.models["status"] == "failed"]
    assert len(failed) == 4
    assert set(trained.models["status"]) == {"failed", "finished"}
    (reason,) = set(failed["reason"])
    assert reason.startswith(
        "its worker died in each of 2 attempts, at last WorkerCrashedError: The worker died"
    )
    assert sorted(notes.begun().values()) == [1, 2]
    again = train(tiny_recipe(), tmp_path / "zoo", "ray")
    assert notes.begun()[poisoned] == 3
    assert sum(notes.begun().values()) == 4
    assert_equal_zoos(again, train(tiny_recipe(), tmp_path / "inline", InlineExecutor()))


def test_a_killed_driver_goes_on(nodes, slow_recipe, undisturbed, notes, tmp_path):
    child, journal = start_command(slow_recipe, tmp_path), tmp_path / "zoo" / JOURNAL
    wait_for(lambda: child.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\n")))
    workers = [pid for pid in descendants(child.pid) if "ray::phasezoo" in command_of(pid)]
    assert 0 < len(workers) <= 2
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    trained = train(slow_recipe, tmp_path / "zoo", "ray")
    assert_equal_zoos(trained, undisturbed)
    assert 0 < sum(notes.begun().values()) < 4
    wait_for(lambda: not any(map(is_alive, workers)))  # they do not train on for nobody


def test_a_lost_node_costs_its_stack_only(nodes, slow_recipe, undisturbed, notes, tmp_path):
    second, victims = nodes.list_all_nodes()[1], []

    def remove():
        stack, _, _ = notes.wait(second.node_id)
        nodes.remove_node(second, allow_graceful=False)
        victims.append(stack)

    with meanwhile(remove):
        trained = train(slow_recipe, tmp_path / "zoo", RayExecutor(address=nodes.address))
    nodes.add_node(num_cpus=1)
    assert_equal_zoos(trained, undisturbed)
    assert len({node for _, _, node in notes.lines()}) == 2
    assert_begun_twice(notes, victims[0])


# saved states


class Stopping:
    """An executor that is asked to stop when something has happened."""

    def __init__(self, executor, when):
        self.executor, self.when = executor, when

    def run(self, tasks, settings, watch):
        return self.executor.run(tasks, settings, replace(watch, should_stop=self.when))


def stop_in_training(recipe, root, executor, when):
    with pytest.raises(KeyboardInterrupt):
        train(recipe, root, Stopping(executor, when))
    return sorted((root / FOLDER).iterdir())


def mark(states):
    """Add a million seconds to saved states: what goes on from them has them too."""
    for path in states:
        state = load_state(path)
        assert 0 < state.epoch < EPOCHS
        save_state(path, replace(state, seconds=1e6))


def marked(trained):
    seconds = trained.models.groupby("layout")["train_seconds"].sum()
    return sum(seconds > 9e5)


def test_goes_on_from_the_state_that_a_local_run_left(nodes, slow_recipe, undisturbed, tmp_path):
    begin = time.monotonic()
    root = tmp_path / "zoo"
    states = stop_in_training(slow_recipe, root, InlineExecutor(), lambda: time.monotonic() - begin > 1)
    mark(states)
    trained = train(slow_recipe, root, "ray")
    assert marked(trained) == len(states) == 1
    assert_equal_zoos(trained, undisturbed)
    assert not (root / FOLDER).exists() or not list((root / FOLDER).iterdir())


def test_asked_to_stop_it_brings_the_states_of_all_workers_home(
    nodes, slow_recipe, undisturbed, notes, tmp_path
):
    def both_in_training():
        return (
            len(notes.begun()) == 2
            and min(time.time() - p.stat().st_mtime for p in notes.folder.iterdir()) > 1
        )

    root = tmp_path / "zoo"
    states = stop_in_training(slow_recipe, root, RayExecutor(), both_in_training)
    mark(states)
    trained = train(slow_recipe, root, InlineExecutor())
    assert marked(trained) == len(states) == 2
    assert_equal_zoos(trained, undisturbed)


# processes


def start_command(recipe, folder, *more):
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    command = [
        Path(sys.executable).parent / "phasezoo",
        "generate",
        folder / "recipe.yaml",
        "--out",
        folder / "zoo",
    ]
    options = ["--device", "cpu", "--executor", "ray", "--strategy", "stacked", *more]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def descendants(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in path.read_text(encoding="ascii").split()] if path.exists() else []
    return [*children, *(deeper for child in children for deeper in descendants(child))]


def command_of(pid):
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def is_alive(pid):
    """A zombie, which nobody has waited for, has no command line."""
    return bool(command_of(pid))
