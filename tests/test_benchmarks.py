import subprocess
import sys
from pathlib import Path

import torch

import zoo
from benchmarks import reading, training

ROOT = Path(__file__).parent.parent


def test_the_plain_loop_and_the_stack_end_at_the_same_weights():
    stack = training.demo_stacks(epochs=1)[1]
    assert max(training.differences([(stack, 0), (stack, 23)], dtype=torch.float64)) < 1e-9
    assert max(training.differences([(stack, 0), (stack, 4)], dtype=torch.float32)) < 1e-4


def test_a_sample_has_its_share_of_every_width():
    stacks = training.demo_stacks(epochs=1)
    drawn = training.sample(stacks, each=2, seed=0)
    assert [stack.shard for stack, _ in drawn] == [stack.shard for stack in stacks for _ in range(2)]
    assert len({(stack.shard, place) for stack, place in drawn}) == 2 * len(stacks)


def test_the_synthetic_zoo_opens_and_reads_as_the_files_do(tmp_path):
    reading.write_zoo(tmp_path / "zoo", models=8, params=7)
    opened = zoo.open(tmp_path / "zoo")
    assert (len(opened), len(opened.models), opened.weights().shape) == (40, 8, (40, 7))
    compared = reading.compare_reading(tmp_path / "zoo", tmp_path / "files", pairs=2, batch=5)
    assert len(compared.ratios) == 2


def test_the_command_has_help():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "run.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout
    assert "--out" in done.stdout
