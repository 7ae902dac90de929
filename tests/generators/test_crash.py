"""Kill a generating process at random moments: what is left opens, and resumes to the same end."""

import os
import random
import shutil
import signal
import time

import numpy as np
import pytest

import zoo
from generators import generate
from generators.executors.inline import InlineExecutor
from zoo.storage import JOURNAL, TEMPORARY_PREFIX

KILLS = 12

# Python 3.12 warns of forks beside threads; the children here start no work on those of the parent
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    """Ten layouts of two models: ten shards, predictions and measurements to be cut off between."""
    return tiny_recipe(name="many", widths=list(range(2, 12)), learning_rates=[0.1], training={"epochs": 4})


@pytest.fixture(scope="module")
def reference(recipe, tmp_path_factory):
    """The zoo that nobody disturbs, and the seconds that it takes."""
    start = time.perf_counter()
    root = tmp_path_factory.mktemp("reference") / "zoo"
    generate(recipe, root, device="cpu")
    return root, time.perf_counter() - start


def start_generating(recipe, root, **options):
    """Fork, so that torch need not be imported again; only the child returns from `generate`, to exit."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            generate(recipe, root, device="cpu", **options)
            code = 0
        except KeyboardInterrupt:
            code = 3
        finally:
            os._exit(code)
    return child


def stop(child, seconds, how):
    """Send a signal after some time, unless the child has come to its end before; say how it ended."""
    time.sleep(seconds)
    os.kill(child, how)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def assert_opens(root):
    """Either nothing has begun, or the zoo opens and every checkpoint in it can be read."""
    if not (root / "manifest.json").exists():
        return 0
    opened = zoo.open(root)
    for layout in opened.layouts:
        assert np.isfinite(opened.weights(layout)).all()
    assert len(opened.checkpoints) == len(opened) == opened.manifest.counts.checkpoints
    return len(opened)


def leftovers(root):
    return list(root.rglob(f"{TEMPORARY_PREFIX}*"))


def test_kills_at_random_moments_lose_at_most_the_stack_in_flight(
    recipe, reference, tmp_path, assert_equal_zoos
):
    finished, seconds = reference
    moments, root, seen = random.Random(0), tmp_path / "zoo", [0]
    cut_off = 0
    # each run gets a slice of the time, so that the kills fall on all stages: first manifest, shards, tables
    while cut_off < KILLS:
        child = start_generating(recipe, root)
        code = stop(child, moments.uniform(0, seconds / 4), signal.SIGKILL)
        seen.append(assert_opens(root))
        assert seen[-1] >= seen[-2]
        cut_off += code == -signal.SIGKILL
        if code == 0:
            root = tmp_path / f"zoo{cut_off}"
            seen.append(0)
    assert max(seen) > 0
    resumed = generate(recipe, root, device="cpu")
    assert leftovers(root) == []
    assert_equal_zoos(resumed, zoo.open(finished))


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_of_a_fresh_run_resumes_to_the_same_end(recipe, reference, tmp_path, seed, assert_equal_zoos):
    finished, seconds = reference
    root = tmp_path / "zoo"
    stop(start_generating(recipe, root), random.Random(seed).uniform(0.1, 0.9) * seconds, signal.SIGKILL)
    assert_opens(root)
    assert_equal_zoos(generate(recipe, root, device="cpu"), zoo.open(finished))
    assert leftovers(root) == []


def test_an_interrupt_keeps_the_finished_stacks(recipe, tmp_path):
    root = tmp_path / "zoo"
    child = start_generating(recipe, root)
    deadline = time.monotonic() + 30
    while not (root / JOURNAL).exists() or (root / JOURNAL).read_bytes().count(b"\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert stop(child, 0, signal.SIGINT) == 3
    assert assert_opens(root) >= 9
    assert leftovers(root) == []
    assert generate(recipe, root, device="cpu").manifest.complete


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.999])
def test_a_journal_cut_at_any_byte_opens_and_resumes(recipe, reference, tmp_path, keep, assert_equal_zoos):
    finished, _ = reference
    root = shutil.copytree(finished, tmp_path / "zoo")
    whole = (root / JOURNAL).read_bytes()
    (root / JOURNAL).write_bytes(whole[: keep if keep == 1 else int(keep * len(whole))])
    assert_opens(root)
    assert_equal_zoos(generate(recipe, root, device="cpu"), zoo.open(finished))


# kills amid a stack, the state of its training saved after each epoch


@pytest.fixture(scope="module")
def long_recipe(tiny_recipe):
    """Two stacks of eight models, of which some diverge, fork, or end early."""
    axes = {
        "load": {"architecture.width": [2, 3]},
        "temperature": {"training.learning_rate": [0.05, 1e38], "training.epochs": [6, 12]},
    }
    return tiny_recipe(axes=axes, training={"batch_size": 200}, fork={"epoch": 4}, checkpoints=[1, 5])


@pytest.mark.parametrize("seed", range(3))
def test_kills_amid_a_stack_change_no_bit_of_it(
    long_recipe, tmp_path, saving_often, seed, assert_equal_zoos, engine
):
    begin = time.perf_counter()
    reference = engine.generate(long_recipe, tmp_path / "reference")
    seconds, moments, root = time.perf_counter() - begin, random.Random(seed), tmp_path / "zoo"
    seen = 0
    for _ in range(5):
        child = start_generating(long_recipe, root, executor=InlineExecutor())
        deadline = time.monotonic() + 30
        while not any(root.glob("state/[!.]*.state")) and time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                pytest.fail("it came to its end without a kill")
            time.sleep(0.002)
        assert stop(child, moments.uniform(0, 0.05) * seconds, signal.SIGKILL) == -signal.SIGKILL
        seen += any(root.glob("state/[!.]*.state"))
        zoo.open(root)
        assert [fault for fault in zoo.verify(root) if fault.file.endswith(".state")] == []
        if len(list(root.glob("weights/*.h5"))) == 2:
            break
    resumed = engine.generate(long_recipe, root)
    assert seen > 0
    assert leftovers(root) == []
    assert not (root / "state").exists()
    assert_equal_zoos(resumed, reference)
    for layout in reference.layouts:
        np.testing.assert_array_equal(resumed.weights(layout), reference.weights(layout))
