"""Further cells where a metric changes fastest, chosen once and for all."""

import itertools
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

import zoo
from generators import LocalExecutor, Recipe, generate, generation, load_recipe, rounds
from generators.checks import check_recipe
from generators.engine.state import load_state
from generators.executors import base
from generators.executors.inline import InlineExecutor
from generators.lazy import Cells
from generators.refinement import Scale, scale_of, steepest
from generators.rounds import ROUNDS, choose_round, read_rounds, scales
from zoo.assembly import read_manifest
from zoo.errors import IntegrityError, SpecificationError, UnknownNameError
from zoo.spec import FileRecord
from zoo.storage import JOURNAL, Entry, commit, sha256_of

RATES = [1e-5, 1e-3, 0.1, 10.0]


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    """One width, learning rates from too cold to too hot; two rounds of two cells."""
    refine = {"metric": "test_accuracy", "rounds": 2, "cells": 2}
    return tiny_recipe(widths=[8], learning_rates=RATES, refine=refine, checkpoints=[])


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """Folder of a zoo that was refined in one go."""
    root = tmp_path_factory.mktemp("refined") / "zoo"
    generate(recipe, root, device="cpu")
    return root


# where a grid is steep


def brute_force(measured, halved):
    """Every pair of cells that agree but for one axis, and have none between them there."""
    found = []
    for scale in halved:
        lines = {point: point[: scale.axis] + point[scale.axis + 1 :] for point in measured}
        for one, two in itertools.permutations(measured, 2):
            low, high = one[scale.axis], two[scale.axis]
            between = [p for p in measured if low < p[scale.axis] < high and lines[p] == lines[one]]
            if lines[one] == lines[two] and low < high and not between:
                found.append((abs(measured[two] - measured[one]), scale.axis, (low, high)))
    return sorted(found, key=lambda gap: -gap[0])


def test_gaps_are_those_of_every_pair_of_neighbours():
    draw = np.random.default_rng(0)
    grid = {(a, b, c): draw.random() for a in (1, 5, 30) for b in (0.0, 0.5, 2.0) for c in ("x", "y")}
    halved = [Scale(0, integer=True, geometric=True), Scale(1, integer=False, geometric=False)]
    found = [(step.difference, step.axis, step.between) for step in steepest(grid, halved)]
    assert found == brute_force(grid, halved)
    assert len(found) == 24


def test_a_missing_cell_keeps_its_sides_apart():
    line = {(1,): 0.1, (3,): math.nan, (5,): 0.9, (9,): 0.8}
    (step,) = steepest(line, [Scale(0, integer=True, geometric=False)])
    assert (step.cell, step.between) == ((7,), (5, 9))
    assert step.difference == pytest.approx(0.1)


def test_a_gap_without_a_cell_in_it_is_left_out_and_a_cell_in_two_gaps_stands_once():
    along, across = Scale(0, integer=True, geometric=False), Scale(1, integer=True, geometric=False)
    assert steepest({(1,): 0.0, (2,): 1.0}, [along]) == []
    crossing = {(1, 0): 0.0, (3, 0): 1.0, (2, -2): 0.0, (2, 2): 0.5}
    (step,) = steepest(crossing, [across, along])
    assert (step.cell, step.axis, step.difference) == (
        (2, 0),
        0,
        1.0,
    )  # between both pairs: the steeper stays
    assert steepest({(1, 0): 0.0, (3, 0): 1.0, (2, 0): math.nan}, [along]) == []


@pytest.mark.parametrize(
    ("values", "geometric", "middle"),
    [
        ([0.001, 0.01, 0.1], True, 0.003162),
        ([1, 10, 30, 100], True, 3),
        ([0.1, 0.2, 0.3, 0.4], False, 0.15),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], False, None),
        ([1.0, 3.0], False, 2.0),
        ([1.0, 16.0], True, 4.0),
        ([0, 10], False, 5),
        ([-1.0, 8.0], False, 3.5),
        ([4, 2, 8], True, 3),
        ([0.5, 0.50001], False, None),
    ],
)
def test_the_middle_follows_the_spacing_of_the_axis(values, geometric, middle):
    scale = scale_of(0, values)
    assert scale.geometric == geometric
    low, high = sorted(values)[:2]
    assert scale.middle(low, high) == middle
    assert scale.integer == isinstance(values[0], int)


# what may be refined


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("test_acuracy", r"unknown metric to refine by 'test_acuracy'; did you mean 'test_accuracy'"),
        ("spectral_norm", r"unknown metric to refine by 'spectral_norm'"),
        ("evaluation_reason", r"unknown metric to refine by"),
    ],
)
def test_a_metric_that_generate_does_not_measure_is_refused(tiny_recipe, metric, message):
    with pytest.raises(UnknownNameError, match=message):
        check_recipe(tiny_recipe(refine=metric))


def test_equations_are_refined_by_their_error(tiny_recipe):
    fields = {"dataset": {"name": "convection"}, "architecture": {"name": "pinn"}}
    check_recipe(tiny_recipe(**fields, refine="test_error"))
    with pytest.raises(UnknownNameError, match=r"unknown metric to refine by 'test_accuracy'"):
        check_recipe(tiny_recipe(**fields, refine="test_accuracy"))


def test_axes_without_numbers_are_refused(tiny_recipe):
    axes = {
        "load": {"architecture.width": [3], "dataset.noise_seed": [1, 2]},
        "temperature": {"training.schedule": ["constant", "cosine"]},
    }
    recipe = tiny_recipe(axes=axes, training={"learning_rate": 0.1}, refine="test_loss")
    with pytest.raises(SpecificationError, match=r"refine has no axis to refine: .* or leave refine out"):
        check_recipe(recipe)
    axes["other"] = {"training.batch_size": [32, 64]}
    recipe = tiny_recipe(axes=axes, training={"learning_rate": 0.1}, refine="test_loss")
    check_recipe(recipe)
    assert scales(Cells(recipe)) == [Scale(3, integer=True, geometric=False)]


@pytest.mark.parametrize(
    ("refine", "message"),
    [
        ({"metric": "test_loss", "rounds": 0}, "greater than or equal to 1"),
        ({"metric": "test_loss", "cells": True}, "expected a number, got a boolean"),
        ({"rounds": 1}, r"metric\n  Field required"),
        ({"metric": "test_loss", "depth": 2}, "Extra inputs are not permitted"),
    ],
)
def test_a_refinement_that_makes_no_sense_is_refused(tiny_recipe, refine, message):
    with pytest.raises(ValueError, match=message):
        tiny_recipe(refine=refine)


def test_the_short_form_is_the_long_one_with_its_defaults(tiny_recipe, tmp_path):
    short = tiny_recipe(refine="test_loss")
    assert short == tiny_recipe(refine={"metric": "test_loss", "rounds": 1, "cells": 16})
    assert short.hash != tiny_recipe().hash
    assert Recipe.model_validate_json(short.model_dump_json()) == short
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(short.model_dump(mode="json")))
    assert load_recipe(tmp_path / "x.yaml") == short


# in a zoo


def test_a_refined_zoo_has_its_further_cells_where_it_is_steep(recipe, finished):
    cells = zoo.open(finished).cells.set_index("learning_rate")["test_accuracy"].sort_index()
    known = list(RATES)
    chosen = read_rounds(finished, recipe).rounds
    assert [len(each) for each in chosen] == [2, 2]
    for each in chosen:
        gaps = [(abs(cells[two] - cells[one]), one, two) for one, two in itertools.pairwise(sorted(known))]
        steep = sorted(gaps, key=lambda gap: -gap[0])[:2]
        assert [(cell.difference, *cell.between) for cell in each] == steep
        for cell in each:
            rate = cell.values["training.learning_rate"]
            assert cell.between[0] < rate < cell.between[1]
            assert rate == pytest.approx(math.sqrt(math.prod(cell.between)), rel=1e-3)
            assert cell.axis == "training.learning_rate"
            known.append(rate)
    assert sorted(known) == cells.index.tolist()


def test_a_refined_zoo_is_whole(finished):
    manifest = read_manifest(finished)
    assert (manifest.counts.models, manifest.counts.planned, manifest.counts.cells) == (16, 16, 8)
    shards = [name.partition("-")[2] for name in manifest.files if name.startswith("weights/")]
    assert sorted(name.rpartition("-00000")[0][13:] for name in shards) == ["", "r1", "r2"]
    assert ROUNDS in manifest.files
    assert zoo.verify(finished) == []


def test_a_refined_zoo_verifies_once_it_is_published(finished, tmp_path):
    root = shutil.copytree(finished, tmp_path / "zoo")
    (root / JOURNAL).unlink()
    shutil.rmtree(root / "parts")
    assert zoo.verify(root) == []
    (root / ROUNDS).write_text("{}")
    assert [fault.file for fault in zoo.verify(root)] == [ROUNDS]


def test_the_same_call_again_does_nothing(recipe, finished, monkeypatch):
    monkeypatch.setattr(base, "train_task", lambda *_args, **_kwargs: pytest.fail("trained again"))
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.suffix in {".h5", ".jsonl"}}
    refined = (finished / ROUNDS).read_bytes()
    assert generate(recipe, finished, device="cpu").manifest.complete
    assert {path: path.read_bytes() for path in before} == before
    assert (finished / ROUNDS).read_bytes() == refined
    assert not choose_round(finished, recipe)


CUTS = {
    "before anything is trained": (base, "train_task", 1),
    "before the cells are chosen": (generation, "choose_round", 1),
    "before the chosen cells are committed": (rounds, "commit", 1),
    "before the manifest counts them": (generation, "count_planned", 1),
    "before they are trained": (base, "train_task", 2),
    "before they are measured": (generation, "measure", 2),
    "before the second choice": (generation, "choose_round", 2),
    "in the second round": (base, "train_task", 3),
}


@pytest.mark.parametrize("place", CUTS.values(), ids=CUTS.keys())
def test_a_run_cut_off_anywhere_ends_with_the_same_models(
    recipe, finished, tmp_path, monkeypatch, place, assert_equal_zoos
):
    module, name, call = place
    real, calls = getattr(module, name), itertools.count(1)

    def cut(*args, **kwargs):
        if next(calls) == call:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, cut)
        with pytest.raises(KeyboardInterrupt):
            generate(recipe, tmp_path / "zoo", device="cpu")
    chosen = tmp_path / "zoo" / ROUNDS
    before = json.loads(chosen.read_text())["rounds"] if chosen.exists() else []
    assert_equal_zoos(generate(recipe, tmp_path / "zoo", device="cpu"), zoo.open(finished))
    assert json.loads(chosen.read_text())["rounds"][: len(before)] == before
    assert chosen.read_bytes() == (finished / ROUNDS).read_bytes()
    assert zoo.verify(tmp_path / "zoo") == []


class StoppingLater:
    """Trains in this process, and is stopped before an epoch counted over all runs."""

    def __init__(self, hooks):
        self.hooks = hooks

    def run(self, tasks, settings, watch):
        return InlineExecutor().run(tasks, settings, replace(watch, should_stop=self.hooks.should_stop))


def test_a_state_of_a_round_survives_until_it_goes_on(recipe, finished, tmp_path, engine, assert_equal_zoos):
    executor = StoppingLater(engine.stop_before(4))  # two of the grid, one of the first round
    with pytest.raises(KeyboardInterrupt):
        generate(recipe, tmp_path / "zoo", device="cpu", executor=executor)
    (state,) = (tmp_path / "zoo" / "state").iterdir()
    assert "-r1-" in state.name
    assert load_state(state).epoch == 1
    assert_equal_zoos(generate(recipe, tmp_path / "zoo", device="cpu"), zoo.open(finished))
    assert not state.exists()


def test_the_bar_names_the_round_and_workers_train_it(recipe, finished, tmp_path, capsys, assert_equal_zoos):
    with LocalExecutor(workers=1) as executor:
        made = generate(recipe, tmp_path / "zoo", device="cpu", executor=executor)
    shown = " ".join(capsys.readouterr().err.split())
    assert "round 1 of 2, 12/12 models" in shown
    assert "round 2 of 2, 16/16 models" in shown
    assert_equal_zoos(made, zoo.open(finished))


def test_no_cells_are_chosen_while_models_failed(recipe, finished, tmp_path, monkeypatch, assert_equal_zoos):
    def fail(*_args):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(base, "train_task", fail)
        generate(recipe, tmp_path / "zoo", device="cpu")
    assert not (tmp_path / "zoo" / ROUNDS).exists()
    assert_equal_zoos(generate(recipe, tmp_path / "zoo", device="cpu"), zoo.open(finished))


def test_diverged_cells_are_not_refined(tiny_recipe, tmp_path):
    rates = [0.001, 0.1, 1e37, 1e38]
    refine = {"metric": "test_accuracy", "rounds": 4, "cells": 3}
    recipe = tiny_recipe(widths=[2], learning_rates=rates, refine=refine, training={"epochs": 1})
    made = generate(recipe, tmp_path / "zoo", device="cpu")
    further = sorted(set(made.cells["learning_rate"]) - set(rates))
    assert [len(each) for each in read_rounds(tmp_path / "zoo", recipe).rounds] == [1, 2, 3, 3]
    assert all(0.001 < rate < 0.1 for rate in further)


def test_middles_that_make_no_network_are_left_out(tiny_recipe, tmp_path):
    axes = {
        "load": {"architecture.model_dim": [6, 8]},
        "temperature": {"training.learning_rate": [0.01, 0.02]},
    }
    recipe = tiny_recipe(
        axes=axes,
        dataset={"name": "digits-images"},
        architecture={"name": "vit", "head_dim": 2, "depth": 1, "patch": 4},
        training={"epochs": 1},
        refine="test_loss",
    )
    made = generate(recipe, tmp_path / "zoo", device="cpu")
    assert set(made.cells["model_dim"]) == {6, 8}  # 7 does not divide into 3 heads
    assert set(made.cells["learning_rate"]) == {0.01, 0.015, 0.02}


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_rounds_that_were_lost_or_changed_are_refused(recipe, finished, tmp_path, damage):
    root = shutil.copytree(finished, tmp_path / "zoo")
    if damage == "missing":
        (root / ROUNDS).unlink()
    else:
        (root / ROUNDS).write_text((root / ROUNDS).read_text().replace("rounds", "round"))
    with pytest.raises(
        IntegrityError, match=r"says which cells were refined, and is missing or was changed; restore it, or"
    ):
        generate(recipe, root, device="cpu")


def test_rounds_of_another_version_are_refused(recipe, finished, tmp_path):
    root = shutil.copytree(finished, tmp_path / "zoo")
    path = root / ROUNDS
    path.write_text('{"metric": "test_accuracy", "waves": []}')
    record = FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
    commit(root, Entry(kind="refinement", path=ROUNDS, shard=ROUNDS, record=record))
    with pytest.raises(IntegrityError, match=r"is no list of refined cells(.|\n)*waves: Extra inputs"):
        read_rounds(root, recipe)


def test_a_recipe_without_refinement_has_no_rounds(tiny_recipe, tiny_zoo):
    assert read_rounds(tiny_zoo, tiny_recipe()) is None
    assert not choose_round(tiny_zoo, tiny_recipe())
