import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.alignment import align
from zoo.datasets import Items
from zoo.metrics import applicable_properties, model_pairs
from zoo.metrics.connectivity import METRICS, Fit, bezier, linear_barrier, mode_connectivity, stored
from zoo.metrics.connectivity.measuring import OTHER_PAIR, Protocol
from zoo.metrics.connectivity.path import Look
from zoo.metrics.networks import landscape_items, networks
from zoo.spec import DatasetSpecification
from zoo.spec import Protocol as StoredProtocol
from zoo.storage.tables import parquet_bytes, read_parquet
from zoo.training import evaluate_logits

LINEAR, BENT, PTMZ, YANG = METRICS
every_metric = pytest.mark.parametrize("metric", METRICS, ids=[metric.name for metric in METRICS])


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """A few steps are enough to see where numbers go; the settings themselves are pinned below."""
    for name in ("QUADRATIC", "PTMZ", "YANG2021"):
        fit = getattr(stored, name)
        length = {"steps": 6} if fit.epochs is None else {"epochs": 2}
        monkeypatch.setattr(stored, name, dataclasses.replace(fit, **length))


@pytest.fixture
def last(subject):
    """The last checkpoints alone: two cells of three models."""
    rows = subject.checkpoints["epoch"] == subject.checkpoints["last_epoch"]
    return subject.rows(np.flatnonzero(rows))


def values(metric, measurement):
    return measurement.frame[[column.name for column in metric.columns]].to_numpy()


def sides(subject):
    return landscape_items(subject, "train"), landscape_items(subject, "test")


# what is stored


def test_names_protocols_and_scopes_are_as_written_down():
    described = {
        metric.name: (metric.protocol_id, metric.suite, metric.scope, metric.series) for metric in METRICS
    }
    assert described == {
        "linear_barrier": ("barrier/linear-v1", "standard", "last", "curves"),
        "mode_connectivity": ("bezier/quadratic-v1", "standard", "last", "curves"),
        "ptmz_mode_connectivity": ("ptmz-mode-connectivity/v1", "ptmz", "last", "curves"),
        "yang2021_mode_connectivity": ("yang2021-mode-connectivity/v1", "yang2021", "last", "curves"),
    }
    assert [column.name for column in BENT.columns] == [
        "mode_connectivity",
        "mode_connectivity_test",
        "mode_connectivity_nats",
        "mode_connectivity_test_nats",
    ]
    assert [column.name for column in LINEAR.columns] == [
        f"{prefix}barrier_{side}_{unit}"
        for prefix in ("", "aligned_")
        for side in ("train", "test")
        for unit in ("nats", "points")
    ]


def test_settings_are_frozen():
    assert BENT.settings["fit"] == {
        "learning_rate": 0.2,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "batch_size": 64,
        "steps": 1000,
        "annealing": "cosine",
        "clip": 1.0,
        "start": "middle",
    }
    shared = {"momentum": 0.9, "weight_decay": 5e-4, "batch_size": 128, "annealing": "plateau"}
    assert PTMZ.settings["fit"] == {"learning_rate": 0.1, "epochs": 10, "start": "middle", **shared}
    assert YANG.settings["fit"] == {"learning_rate": 0.01, "epochs": 50, "start": "random", **shared}
    assert [metric.settings["points"] for metric in METRICS] == [25, 9, 5, 5]


@every_metric
def test_a_protocol_survives_json(metric):
    protocol = metric.protocol()
    assert StoredProtocol.model_validate_json(protocol.model_dump_json()) == protocol
    assert metric.properties | metric.denied == applicable_properties("pairs")


@every_metric
def test_a_measurement_has_its_keys_its_curves_and_can_be_stored(metric, last, tmp_path):
    measurement = metric.compute(last)
    frame, series = measurement.frame, measurement.series
    assert list(frame.columns) == [column.name for column in metric.stored_columns]
    assert len(frame) == 6
    assert (frame[metric.columns[0].name].isna() == frame[f"{metric.name}_reason"].notna()).all()
    points = metric.settings["points"]
    for arrays in series.values():
        lengths = [
            points if reason is None else 0
            for reason in frame[f"{metric.name}_reason"]
            .astype(object)
            .where(frame[f"{metric.name}_reason"].notna(), None)
        ]
        assert [len(array) for array in arrays] == lengths
    path = tmp_path / "part.parquet"
    path.write_bytes(parquet_bytes(frame, metric.stored_columns))
    pd.testing.assert_frame_equal(read_parquet(path, metric.stored_columns), frame, check_dtype=False)


# the numbers


def pair_of(subject, metric, place):
    """Networks of a pair, from the lower checkpoint id to the higher, and whether that is backwards."""
    row = metric.compute(subject).frame.iloc[place]
    ids = sorted([row["checkpoint_a"], row["checkpoint_b"]])
    places = {name: i for i, name in enumerate(subject.checkpoints["checkpoint_id"])}
    a, b = (networks(subject).select([places[name]]) for name in ids)
    return row, a, b


def test_barriers_are_those_of_the_public_function(last):
    row, a, b = pair_of(last, LINEAR, 1)
    matched = align(last.architecture, last.judged.shape, a, b)
    for prefix, other in (("", b), ("aligned_", matched)):
        for side, items in zip(("train", "test"), sides(last), strict=True):
            curve = linear_barrier(a, other, items.x, items.y)
            assert row[f"{prefix}barrier_{side}_points"] == pytest.approx(
                curve.barrier_points.item(), abs=1e-9
            )
            assert row[f"{prefix}barrier_{side}_nats"] == pytest.approx(curve.barrier_nats.item(), rel=1e-5)


def test_mode_connectivity_is_that_of_the_public_function(last):
    row, a, b = pair_of(last, BENT, 1)
    train, test = sides(last)
    curves = bezier(a, b, train.x, train.y, held_out=(test.x, test.y), fit=stored.QUADRATIC)
    assert row["mode_connectivity"] == pytest.approx(curves.train.mode_connectivity.item(), abs=1e-9)
    assert row["mode_connectivity_test"] == pytest.approx(curves.held_out.mode_connectivity.item(), abs=1e-9)
    assert row["mode_connectivity_nats"] == pytest.approx(
        curves.train.mode_connectivity_nats.item(), rel=1e-4, abs=1e-6
    )


@every_metric
def test_the_ends_of_stored_curves_are_errors_of_the_networks(metric, last):
    measurement = metric.compute(last)
    table, weights = model_pairs(last.checkpoints), torch.tensor(last.weights)
    for side, items in zip(("train", "test"), sides(last), strict=True):
        logits = evaluate_logits(last.skeleton(), last.layout, weights, items.x)
        errors = 100 * (logits.argmax(-1) != items.y).double().mean(dim=1)
        for place, points in enumerate(measurement.series[f"{side}_points"]):
            if len(points):
                ends = errors[[table["row_a"][place], table["row_b"][place]]]
                np.testing.assert_allclose(points[[0, -1]], ends.numpy(), atol=1e-12)


def test_papers_count_the_decay_as_loss(last):
    nats, plain = (metric.compute(last).series["train_nats"][0][0] for metric in (PTMZ, BENT))
    first = model_pairs(last.checkpoints)["row_a"][0]
    norm = np.square(last.weights[first].astype(np.float64)).sum()
    assert nats - plain == pytest.approx(5e-4 / 2 * norm, rel=1e-5)


def test_papers_take_the_first_of_equal_extremes(last):
    measurement = PTMZ.compute(last)
    backwards = measurement.frame["checkpoint_a"] > measurement.frame["checkpoint_b"]
    curves = np.stack(measurement.series["train_points"])
    curves = torch.tensor(np.where(backwards.to_numpy()[:, None], curves[:, ::-1], curves))
    found = mode_connectivity(curves, ties="first").numpy()
    np.testing.assert_allclose(measurement.frame["ptmz_mode_connectivity"], found, atol=1e-9)


def test_yang_looks_at_the_two_lowest_seeds_of_each_cell(last):
    frame = YANG.compute(last).frame
    measured = frame[frame["yang2021_mode_connectivity"].notna()]
    assert measured["checkpoint_a"].tolist() == ["cold-seed0@3", "hot-seed0@3"]
    assert measured["checkpoint_b"].tolist() == ["cold-seed1@3", "hot-seed1@3"]
    assert set(frame["yang2021_mode_connectivity_reason"].dropna()) == {OTHER_PAIR}


# properties


@every_metric
def test_the_same_subject_gives_the_same_bits(metric, last):
    first, second = metric.compute(last), metric.compute(last)
    np.testing.assert_array_equal(values(metric, first), values(metric, second))


@pytest.mark.parametrize("metric", [LINEAR, BENT, PTMZ], ids=["linear", "bent", "ptmz"])
def test_exchanging_the_models_of_a_pair_turns_its_curve_and_changes_no_number(metric, last):
    seeds = last.checkpoints.assign(seed=-last.checkpoints["seed"])
    plain, swapped = metric.compute(last), metric.compute(dataclasses.replace(last, checkpoints=seeds))
    keys = [
        list(zip(m.frame[a], m.frame[b], strict=True))
        for m, a, b in ((plain, "checkpoint_a", "checkpoint_b"), (swapped, "checkpoint_b", "checkpoint_a"))
    ]
    order = [keys[1].index(key) for key in keys[0]]
    np.testing.assert_allclose(values(metric, plain), values(metric, swapped)[order], rtol=1e-9, atol=1e-12)
    for place, other in enumerate(order):
        there, back = (m.series["train_nats"][p] for m, p in ((plain, place), (swapped, other)))
        np.testing.assert_allclose(there, back[::-1], rtol=1e-9)


@every_metric
def test_cells_do_not_depend_on_each_other(metric, last):
    hot = last.rows(np.flatnonzero(last.checkpoints["cell_id"] == "hot"))
    whole = metric.compute(last)
    of_hot = (whole.frame["cell_id"] == "hot").to_numpy()
    np.testing.assert_allclose(
        values(metric, metric.compute(hot)), values(metric, whole)[of_hot], rtol=1e-3, atol=1e-5
    )


# nothing to measure


@every_metric
def test_models_that_diverged_or_hold_no_numbers_are_named(metric, last):
    weights = last.weights.copy()
    weights[0] = np.nan
    status = last.checkpoints["status"].mask(last.checkpoints["model_id"] == "cold-seed1", "diverged")
    broken = dataclasses.replace(last, weights=weights, checkpoints=last.checkpoints.assign(status=status))
    frame = metric.compute(broken).frame.set_index(["checkpoint_a", "checkpoint_b"])
    reasons, first = frame[f"{metric.name}_reason"], metric.columns[0].name
    assert reasons["hot-seed0@3", "hot-seed1@3"] == "weights are not finite"
    assert reasons["cold-seed0@3", "cold-seed1@3"] == "model cold-seed1 is diverged"
    assert frame[first].isna()["hot-seed0@3", "hot-seed1@3"]
    if metric is not YANG:
        assert frame[first].notna()["hot-seed1@3", "hot-seed2@3"]
        assert frame[first].notna()["cold-seed0@3", "cold-seed2@3"]


@every_metric
def test_a_single_seed_has_no_pair(metric, last):
    checkpoints = last.checkpoints.assign(cell_id=last.checkpoints["model_id"])
    measurement = metric.compute(dataclasses.replace(last, checkpoints=checkpoints))
    assert len(measurement.frame) == 0
    assert list(measurement.frame.columns) == [column.name for column in metric.stored_columns]
    assert all(len(arrays) == 0 for arrays in measurement.series.values())


@every_metric
def test_too_few_items_are_said(metric, last):
    train = Items(last.dataset.train.x[:1], last.dataset.train.y[:1])
    few = dataclasses.replace(
        last,
        dataset=dataclasses.replace(last.dataset, train=train),
        dataset_specification=DatasetSpecification(name="digits"),
    )
    frame = metric.compute(few).frame
    assert frame[metric.columns[0].name].isna().all()
    assert set(frame[f"{metric.name}_reason"]) == {
        "curves are taken over at least 2 items, there are 1 train items"
    }


def test_a_curve_that_leaves_the_numbers_is_said(last, monkeypatch):
    monkeypatch.setattr(stored, "QUADRATIC", Fit(1e30, 0.9, 0.0, 16, steps=6))
    frame = BENT.compute(last).frame
    assert frame["mode_connectivity"].isna().all()
    assert set(frame["mode_connectivity_reason"]) == {"loss or logits on the path are not finite"}


def test_curves_are_taken_over_a_bounded_number_of_items(last, monkeypatch):
    monkeypatch.setattr(stored, "_STANDARD", Protocol(Look(9), items=8))
    measurement = BENT.compute(last)
    drawn = landscape_items(last, "test", 8)
    logits = networks(last).evaluate(drawn.x)
    errors = 100 * (logits.argmax(-1) != drawn.y).double().mean(dim=1)
    assert measurement.series["test_points"][0][0] == errors[model_pairs(last.checkpoints)["row_a"][0]]
    assert stored.MAX_ITEMS == 2048
