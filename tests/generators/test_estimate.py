"""What a recipe costs: operations from closed forms, memory that is there or refused, time from a probe."""

import itertools
import os
import sys
import time

import pytest
import torch

from generators import LocalExecutor, dry_run, estimate, generate
from generators.engine import memory
from generators.engine.cost import flops_per_epoch, item_cost, resting_bytes, row_bytes, stack_bytes
from generators.engine.memory import capacity, free_bytes
from generators.estimate import process_bytes
from generators.grid import plan
from zoo.errors import SpecificationError


def only_stack(recipe):
    (stack,) = plan(recipe)
    return stack


def linear_flops(sizes):
    """Two operations a weight and item, three times: forward, gradient of weights, gradient of inputs."""
    products = [a * b for a, b in itertools.pairwise(sizes)]
    return 6 * sum(products) - 2 * products[0]  # nobody asks for the gradient of the data


# operations


@pytest.mark.parametrize(("width", "depth"), [(3, 1), (5, 2), (16, 4)])
def test_operations_of_a_perceptron_follow_their_closed_form(tiny_recipe, width, depth):
    stack = only_stack(tiny_recipe(widths=[width], architecture={"name": "mlp", "depth": depth}))
    expected = linear_flops([64, *[width] * depth, 10])
    assert item_cost(stack).flops == expected
    assert flops_per_epoch(stack) == 1000 * expected


def test_sam_costs_two_gradients_and_a_share_of_the_items_its_share(tiny_recipe):
    plain = flops_per_epoch(only_stack(tiny_recipe(widths=[3])))
    sam = flops_per_epoch(only_stack(tiny_recipe(widths=[3], training={"optimizer": "sam"})))
    tenth = flops_per_epoch(only_stack(tiny_recipe(widths=[3], dataset={"name": "digits", "fraction": 0.1})))
    assert sam == 2 * plain
    assert tenth == pytest.approx(plain / 10)


def test_an_estimate_counts_steps_and_operations_of_all_models(tiny_recipe):
    axes = {"load": {"architecture.width": [2, 3]}, "temperature": {"training.epochs": [1, 3]}}
    cost = estimate(tiny_recipe(axes=axes, training={"learning_rate": 0.1, "batch_size": 300}), device="cpu")
    assert cost.model_steps == 2 * 2 * (1 + 3) * 4
    per_item = linear_flops([64, 2, 2, 10]) + linear_flops([64, 3, 3, 10])
    assert cost.flops == 2 * (1 + 3) * 1000 * per_item
    assert cost.seconds > 0
    assert cost.bytes > process_bytes() > 1 << 20


def test_an_estimate_is_near_the_time_that_it_takes(tiny_recipe, engine, tmp_path):
    recipe = tiny_recipe(widths=[8], training={"batch_size": 50, "epochs": 20})
    cost = estimate(recipe, device="cpu")
    made = engine.generate(recipe, tmp_path / "zoo", strategy="stacked")
    assert cost.seconds / 4 < made.models["train_seconds"].sum() < cost.seconds * 4


def test_an_estimate_of_workers_shares_the_time_and_adds_the_memory(tiny_recipe):
    recipe = tiny_recipe()
    alone, shared = (estimate(recipe, device="cpu", executor=e) for e in (None, LocalExecutor(2)))
    assert shared.bytes > 2.5 * process_bytes()
    assert shared.bytes > alone.bytes
    assert shared.model_steps == alone.model_steps


def test_an_estimate_leaves_threads_and_folders_alone(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    estimate(tiny_recipe(), device="cpu", executor=LocalExecutor(2))
    dry_run(tiny_recipe())
    assert torch.get_num_threads() == threads
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"fork": {"epoch": 1}},
        {"training": {"precision": "bfloat16"}},
        {"architecture": {"name": "mlp", "dropout": 0.5, "normalisation": "batch"}},
        {"dataset": {"name": "digits", "fraction": 0.01}},
        {"training": {"batch_size": 5000}},
    ],
)
def test_every_kind_of_recipe_is_estimated(tiny_recipe, changes):
    cost = estimate(tiny_recipe(**changes), device="cpu")
    assert cost.seconds > 0
    assert cost.flops > 0


# memory


def test_as_many_networks_are_stepped_as_fit(tiny_recipe):
    stack = only_stack(tiny_recipe(widths=[3]))
    resting, row = resting_bytes(stack), row_bytes(stack)
    assert capacity(stack, int((resting + row) / 0.8) + 8) == 1
    assert capacity(stack, int((resting + 7 * row) / 0.8) + 8) == 7
    assert stack_bytes(stack, 3) == resting + 3 * row
    assert stack_bytes(stack, 100) == resting + 8 // 2 * row


def test_memory_grows_with_width_batch_and_slots(tiny_recipe):
    def row(**training):
        width = training.pop("width", 3)
        return row_bytes(only_stack(tiny_recipe(widths=[width], training=training)))

    assert row(width=6) > row()
    assert row(batch_size=640) > row()
    assert row(optimizer="adam") > row()


@pytest.mark.parametrize("free", [0, 100_000])
def test_a_model_larger_than_memory_is_refused_before_a_folder_is_made(
    tiny_recipe, tmp_path, monkeypatch, free
):
    monkeypatch.setattr("generators.generation.free_bytes", lambda _device: free)
    with pytest.raises(
        SpecificationError,
        match=(
            r"width2-learning_rate0.01-seed0-\w+ does not fit into memory: training one network of 166 "
            r"parameters at batch size 64 needs about 0.0 GB, 80% of the free 0.0 GB may be used; "
            "make it narrower, take a smaller batch, or use a device with more memory"
        ),
    ):
        generate(tiny_recipe(), tmp_path / "zoo", device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_an_absurd_model_is_refused_at_once_without_being_made(tiny_recipe, tmp_path):
    recipe = tiny_recipe(widths=[65536], architecture={"name": "mlp", "depth": 64}, seeds=[0])
    begin, before = time.perf_counter(), process_bytes()
    for look in (
        lambda: generate(recipe, tmp_path / "zoo", device="cpu"),
        lambda: estimate(recipe, device="cpu"),
    ):
        with pytest.raises(
            SpecificationError, match=r"270,591,983,626 parameters .* use a device with more memory"
        ):
            look()
    assert time.perf_counter() - begin < 10
    assert process_bytes() - before < 1 << 28
    assert not (tmp_path / "zoo").exists()


def test_what_does_not_fit_at_once_is_stepped_in_parts(tiny_recipe, engine, monkeypatch):
    recipe = tiny_recipe(widths=[3])
    stack = only_stack(recipe)
    room = int((resting_bytes(stack) + 2 * row_bytes(stack)) / 0.8) + 8
    monkeypatch.setattr("generators.engine.population.free_bytes", lambda _device: room)
    parts = engine.train(recipe)
    monkeypatch.undo()
    assert parts.strategy == "stacked/2"
    engine.assert_equal(parts, engine.train(recipe), atol=1e-6)


def test_this_machine_has_free_memory():
    assert 1 << 20 < free_bytes("cpu") < 1 << 50


def test_the_limit_of_a_control_group_counts(tmp_path):
    assert memory._group_bytes(tmp_path) == sys.maxsize
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._group_bytes(tmp_path) == sys.maxsize
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._group_bytes(tmp_path) == 300


def test_no_device_has_more_memory_than_the_machine():
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory.free_bytes("cpu") <= pages
