import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from benchmarks import engine, gpu, landscape, memory, ray_workers, reading, sides, spectra, training
from benchmarks.families import Family, cnn, mlp, pinn
from benchmarks.paired import Comparison, compare
from benchmarks.pool import Pool
from benchmarks.ways import differences
from zoo.spectra import fit_power_law

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("family", [mlp(8, 128), cnn(4, 128), pinn()], ids=lambda family: family.title)
def test_the_plain_loop_and_the_stack_end_at_the_same_weights(family: Family):
    exact = differences(family, range(3), epochs=2, chunk=2)
    assert len(exact) == 3
    assert max(exact) < 1e-9
    assert max(differences(family, range(2), epochs=1, dtype=torch.float32)) < 1e-4


def test_the_models_of_a_family_differ():
    assert len({pinn().trained(model).learning_rate for model in range(4)}) == 4
    assert not torch.equal(pinn().data(0)[1], pinn().data(1)[1])


def test_the_tasks_of_the_demo_end_where_the_plain_loop_does():
    stack = training.demo_stacks(epochs=1)[1]
    assert max(training.differences([(stack, 0), (stack, 4)])) < 1e-4


def test_a_sample_has_its_share_of_every_width():
    stacks = training.demo_stacks(epochs=1)
    drawn = training.sample(stacks, each=2, seed=0)
    assert [stack.shard for stack, _ in drawn] == [stack.shard for stack in stacks for _ in range(2)]
    assert len({(stack.shard, place) for stack, place in drawn}) == 2 * len(stacks)


def test_both_sides_run_in_turns_and_the_first_pair_is_not_counted():
    turns: list[str] = []
    times = iter([9.0, 1.0, 2.0])

    def ours() -> float:
        turns.append("ours")
        return next(times)

    def peer() -> float:
        turns.append("peer")
        return 4.0

    found = compare(ours, peer, pairs=2)
    assert turns == ["ours", "peer"] * 3
    assert found.ratios == [4.0, 2.0]
    assert found.ratio == 3.0


def test_a_target_is_met_or_missed():
    found = Comparison([1.0, 1.0, 1.0], [2.0, 4.0, 3.0])
    assert engine.ratio_line("work", 3, found).row() == "| work | 3x | 3.00x (2.00 to 4.00) | met |  |"
    assert "**missed**" in engine.ratio_line("work", 3.1, found).row()


def test_workers_hold_stacks_and_train_them(monkeypatch):
    monkeypatch.setattr(sides, "_TRAINERS", {})
    family = mlp(8, 128)
    assert sides.hold(0, family, "loop", 0)[0] == 1
    assert sides.hold(1, family, "stacked", 0)[0] == sides.MODELS
    assert sides.step(1, "stacked", 2) > 0
    assert sides._TRAINERS["stacked"].epoch == 2
    assert sides._TRAINERS["stacked"].rows[0].order_seed == sides.MODELS


def test_a_pool_calls_all_workers_and_says_what_failed():
    with Pool(2) as pool:
        assert pool.call(math.ldexp, 1) == [0.0, 2.0]
        with pytest.raises(RuntimeError, match="a worker of the benchmark failed"):
            pool.call(math.pow, -1)  # zero to the power of -1


def test_the_memory_of_a_process_and_its_children_is_found():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert {os.getpid(), child.pid} <= set(memory.family(os.getpid()))
    assert memory.resident(os.getpid()) > 1 << 20
    child.communicate(b"\n")
    assert memory.resident(child.pid) == 0


def test_the_recipes_that_memory_is_measured_on_have_large_stacks():
    found = {name: memory.describe(recipe) for name, recipe in memory.recipes().items()}
    assert found["the demo"] == "168 models in 7 stacks, 24 MB of weights"
    assert found["wide MLPs, many checkpoints"] == "16 models in 4 stacks, 212 MB of weights"
    assert found["wide MLPs, large stacks"] == "128 models in 2 stacks, 308 MB of weights"


def test_the_cost_of_a_step_is_that_of_its_products():
    flops, moved = gpu.step_cost(mlp(8, 16))
    macs = 16 * (64 * 8 + 8 * 8 + 8 * 10)
    assert flops == 2 * (3 * macs - 16 * 64 * 8)  # nobody asks for the gradient of the inputs
    assert moved > 4 * 8 * 682  # weights, gradient and velocity, read or written eight times at least
    assert gpu.peaks("NVIDIA H100 80GB HBM3") == (66.9e12, 3.35e12)


def test_ray_gets_equal_tasks():
    tasks = ray_workers.tasks(epochs=1)
    assert len({task.name for task in tasks}) == len(tasks) == 8
    assert len({task.model_epochs for task in tasks}) == 1


def test_the_synthetic_zoo_opens_and_reads_as_the_files_do(tmp_path):
    reading.write_zoo(tmp_path / "zoo", models=8, layout=reading.flat(7))
    opened = zoo.open(tmp_path / "zoo")
    assert (len(opened), len(opened.models), opened.weights().shape) == (40, 8, (40, 7))
    compared = reading.compare_reading(tmp_path / "zoo", tmp_path / "files", pairs=2, batch=5)
    assert len(compared.ratios) == 2


def test_the_command_has_help():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "run.py", "--help"], capture_output=True, text=True, check=True
    )
    assert all(option in done.stdout for option in ("--quick", "--out", "--device"))


def test_both_sides_of_the_hessian_find_the_same_numbers():
    found = landscape.mlp(4, count=4)
    line = landscape.hessian_line(found, 1.0, pairs=1)
    assert "eigenvalues within" in line.how
    assert line.met in {True, False}


def test_a_disagreement_of_the_hessian_stops_the_benchmark(monkeypatch):
    monkeypatch.setattr(landscape, "_pyhessian", lambda *_: (1e9, [1.0, 2.0]))
    with pytest.raises(RuntimeError, match="both sides disagree on network 0"):
        landscape.hessian_line(landscape.mlp(4, count=4), 1.0, pairs=1)


def test_the_plain_curve_takes_the_same_steps(monkeypatch):
    monkeypatch.setattr(landscape, "CURVE_STEPS", 4)
    line = landscape.bezier_line(landscape.mlp(4, count=24), 1.0, pairs=1)
    assert "us a step and pair" in line.how


def test_the_loop_of_svds_finds_the_exponents_of_ours():
    weights = [stack[:2] for stack in spectra.networks()]
    line = spectra.farms_line(weights, 25, threads=1, pairs=1)
    assert line.needed == "25x"
    assert "x (" in line.found
    values = spectra.spectrum_by_loop(weights[1][0]).double()[-200:]
    law = fit_power_law(values, "goodness_of_fit")
    assert spectra.best_by_loop(values, values > 0) == pytest.approx(law.alpha.item(), rel=1e-6)


def test_other_exponents_stop_the_comparison(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spectra, "median_by_loop", lambda values: 7.0)
    with pytest.raises(RuntimeError, match="the loop gives other exponents than ours"):
        spectra.farms_line([stack[:1] for stack in spectra.networks()], None, threads=1, pairs=1)


def test_a_zoo_of_random_weights_is_measured_in_a_process_of_its_own():
    took, most = spectra.measure_zoo(20)
    assert took > 0
    assert most > 1e7
