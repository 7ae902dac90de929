import dataclasses
import itertools
import re
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.datasets import Items, Kind
from zoo.errors import UnknownNameError
from zoo.metrics import (
    KEY_COLUMNS,
    PROPERTIES,
    Measurement,
    Metric,
    Subject,
    all_metrics,
    applicable_properties,
    get,
    measured,
    model_pairs,
)
from zoo.metrics.connectivity import stored
from zoo.spec import CORE_COLUMNS, Column, Protocol
from zoo.storage.tables import parquet_bytes, read_parquet
from zoo.weights import flatten, unflatten

PARTIAL = {"yang2021_mode_connectivity", "ptmz_hessian", "eigenspectrum", "spectrum_null"}
"""Metrics that leave some rows out by design: one pair a cell, logarithms of negatives, few eigenvalues."""
DIRECTIONS = {"_loss": "lower", "_error": "lower", "_accuracy": "higher", "_score": "higher"}
every_metric = pytest.mark.parametrize("metric", all_metrics().values(), ids=all_metrics())


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    """What is tested here does not depend on how long curves are trained."""
    monkeypatch.setattr(stored, "QUADRATIC", dataclasses.replace(stored.QUADRATIC, steps=20))
    for name in ("PTMZ", "YANG2021"):
        monkeypatch.setattr(stored, name, dataclasses.replace(getattr(stored, name), epochs=2))


def values(metric: Metric, measurement: Measurement) -> np.ndarray:
    return measurement.frame[[column.name for column in metric.columns]].to_numpy()


def with_weights(subject: Subject, weights: np.ndarray) -> Subject:
    """Exchange the weights, and the predictions with them."""
    changed = dataclasses.replace(subject, weights=weights)
    if subject.dataset.kind == "convection":
        return changed
    predictions = all_metrics()["evaluation"].compute(changed).predictions
    return dataclasses.replace(changed, predictions=predictions)


def relabelled(subject: Subject, seed: int = 0) -> Subject:
    """Permute the hidden units of every model of MLPs, in all its checkpoints alike."""
    rows = []
    for place, model in enumerate(subject.checkpoints["model_id"]):
        rng = np.random.default_rng([seed, *model.encode()])
        tensors = unflatten(torch.tensor(subject.weights[place]), subject.layout)
        layers = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
        for layer, following in itertools.pairwise(layers):
            order = rng.permutation(len(tensors[f"{layer}.bias"]))
            tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"][order]
            tensors[f"{layer}.bias"] = tensors[f"{layer}.bias"][order]
            tensors[f"{following}.weight"] = tensors[f"{following}.weight"][:, order]
        rows.append(flatten(tensors, subject.layout).numpy())
    return with_weights(subject, np.stack(rows))


def with_few_test_items(subject: Subject) -> Subject:
    test = Items(subject.dataset.test.x[:20], subject.dataset.test.y[:20])
    dataset = dataclasses.replace(subject.dataset, test=test)
    return with_weights(dataclasses.replace(subject, dataset=dataset), subject.weights)


def reversed_seeds(subject: Subject) -> Subject:
    checkpoints = subject.checkpoints.assign(seed=-subject.checkpoints["seed"])
    return dataclasses.replace(subject, checkpoints=checkpoints)


def permutation_invariant(metric: Metric, subject: Subject) -> bool:
    plain, changed = metric.compute(subject), metric.compute(relabelled(subject))
    return np.allclose(values(metric, plain), values(metric, changed), rtol=1e-4, atol=1e-6, equal_nan=True)


def seed_deterministic(metric: Metric, subject: Subject) -> bool:
    first, second = metric.compute(subject), metric.compute(subject)
    return np.array_equal(values(metric, first), values(metric, second), equal_nan=True)


def symmetric(metric: Metric, subject: Subject) -> bool:
    plain = metric.compute(subject).frame.set_index(["checkpoint_a", "checkpoint_b"])
    swapped = metric.compute(reversed_seeds(subject)).frame.set_index(["checkpoint_b", "checkpoint_a"])
    names = [column.name for column in metric.columns]
    assert len(plain) > 0
    aligned = swapped.loc[plain.index, names]
    return np.allclose(plain[names].to_numpy(), aligned.to_numpy(), rtol=1e-9, atol=1e-12, equal_nan=True)


def in_unit_interval(metric: Metric, subject: Subject) -> bool:
    numbers = values(metric, metric.compute(subject))
    return bool(np.all(np.isnan(numbers) | ((numbers >= 0) & (numbers <= 1))))


CHECKS = {
    "permutation_invariant": permutation_invariant,
    "seed_deterministic": seed_deterministic,
    "symmetric": symmetric,
    "in_unit_interval": in_unit_interval,
}


def lies(metric: Metric, subject: Subject) -> list[str]:
    """List the properties declared but absent, denied but present, or left open."""
    open_ones = applicable_properties(metric.table) ^ (metric.properties | metric.denied)
    both = metric.properties & metric.denied
    false = [name for name in metric.properties - open_ones if not CHECKS[name](metric, subject)]
    subjects = (subject, with_few_test_items(subject))  # some values leave an interval by chance alone
    modest = [name for name in metric.denied - open_ones if all(CHECKS[name](metric, s) for s in subjects)]
    return sorted({*open_ones, *both, *false, *modest})


def damaged(subject):
    """A subject with one model diverged, one full of NaN, one zero, one without its epoch 0."""
    weights = subject.weights.copy()
    weights[3] = np.nan
    weights[8] = 0
    status = subject.checkpoints["status"].mask(subject.checkpoints["model_id"] == "hot-seed0", "diverged")
    changed = with_weights(subject, weights)
    kept = np.arange(len(weights)) != 10
    return dataclasses.replace(
        changed,
        weights=changed.weights[kept],
        predictions=None if changed.predictions is None else changed.predictions[kept],
        checkpoints=changed.checkpoints.assign(status=status)[kept].reset_index(drop=True),
    )


@every_metric
def test_every_declared_property_holds_and_every_denied_one_does_not(metric, subject):
    assert lies(metric, subject) == []


def test_the_vocabulary_is_checked_in_full():
    assert CHECKS.keys() == PROPERTIES.keys()


@every_metric
def test_names_and_directions_agree(metric):
    for column in metric.columns:
        ending = next((end for end in DIRECTIONS if column.name.endswith(end)), None)
        assert column.direction == DIRECTIONS.get(ending, "none"), column.name
        assert column.dtype == "float64"
        assert column.description


@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_two_metrics_of_a_table_share_a_column(kind):
    for table, core in CORE_COLUMNS.items():
        names = [c.name for c in core]
        metrics = [m for m in all_metrics().values() if m.table == table and kind in m.kinds]
        names += [c.name for m in metrics for c in m.protocol().columns]
        assert len(names) == len(set(names))


def test_protocol_ids_are_unique_and_versioned():
    ids = [metric.protocol_id for metric in all_metrics().values()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9_-]+/([a-z0-9-]+-)?v[1-9]", name) for name in ids)


@every_metric
def test_the_protocol_survives_json(metric):
    protocol = metric.protocol()
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
    assert protocol.columns[-1].name == f"{metric.name}_reason"


@every_metric
@pytest.mark.parametrize("change", [lambda subject: subject, damaged], ids=["whole", "damaged"])
def test_a_measurement_has_its_keys_types_and_reasons(metric, change, subject):
    frame = metric.compute(change(subject)).frame
    names = [column.name for column in metric.columns]
    assert list(frame.columns) == [*KEY_COLUMNS[metric.table], *names, f"{metric.name}_reason"]
    assert list(frame.columns) == [column.name for column in metric.stored_columns]
    assert len(frame) > 0
    assert frame[list(KEY_COLUMNS[metric.table])].notna().all(axis=None)
    assert not frame.duplicated(list(KEY_COLUMNS[metric.table])).any()
    assert (frame.dtypes[names] == np.float64).all()
    assert isinstance(frame[f"{metric.name}_reason"].dtype, pd.StringDtype)
    assert not np.isinf(frame[names].to_numpy()).any()
    undefined = frame[names].isna().any(axis=1)
    assert (undefined == frame[f"{metric.name}_reason"].notna()).all()
    assert undefined.any() == (change is damaged or metric.name in PARTIAL)
    assert not undefined.all()


@every_metric
def test_a_measurement_can_be_stored(metric, subject, tmp_path):
    frame = metric.compute(damaged(subject)).frame
    path = tmp_path / "part.parquet"
    path.write_bytes(parquet_bytes(frame, metric.stored_columns))
    pd.testing.assert_frame_equal(read_parquet(path, metric.stored_columns), frame, check_dtype=False)


@every_metric
def test_a_subject_without_rows_of_the_table_gives_an_empty_measurement(metric, subject):
    if metric.table == "pairs":
        checkpoints = subject.checkpoints.assign(cell_id=subject.checkpoints["model_id"])
        frame = metric.compute(dataclasses.replace(subject, checkpoints=checkpoints)).frame
        assert len(frame) == 0
        assert list(frame.columns) == [column.name for column in metric.stored_columns]


def first_entry(subject):
    keys = subject.checkpoints[["checkpoint_id"]]
    return Measurement(measured("fake", keys, {"fake": subject.weights[:, 0]}, [None] * len(keys)))


def drawn(subject):
    keys = subject.checkpoints[["checkpoint_id"]]
    numbers = np.random.default_rng().random(len(keys))
    return Measurement(measured("fake", keys, {"fake": numbers}, [None] * len(keys)))


def norm_of_the_first(subject):
    pairs = model_pairs(subject.checkpoints)
    numbers = np.linalg.norm(subject.weights[pairs["row_a"]], axis=1)
    keys = pairs[["cell_id", "checkpoint_a", "checkpoint_b"]]
    return Measurement(measured("fake", keys, {"fake": numbers}, [None] * len(keys)))


def fake(compute, table, declared, denied):
    column = Column(name="fake", dtype="float64", description="made up")
    return Metric(
        "fake", "fake/v1", table, (column,), {}, frozenset(declared), compute, denied=frozenset(denied)
    )


SURE, RELABEL, UNIT, SWAP = "seed_deterministic", "permutation_invariant", "in_unit_interval", "symmetric"


@pytest.mark.parametrize(
    ("compute", "table", "declared", "denied", "caught"),
    [
        pytest.param(first_entry, "checkpoints", {SURE, RELABEL, UNIT}, (), [UNIT, RELABEL], id="false"),
        pytest.param(drawn, "checkpoints", {SURE, UNIT}, {RELABEL}, [SURE], id="random"),
        pytest.param(norm_of_the_first, "pairs", {SURE, RELABEL, SWAP}, {UNIT}, [SWAP], id="asymmetric"),
        pytest.param(norm_of_the_first, "pairs", {RELABEL}, {SWAP, UNIT}, [SURE], id="left open"),
        pytest.param(first_entry, "checkpoints", (), {SURE, RELABEL, UNIT}, [SURE], id="too modest"),
        pytest.param(first_entry, "checkpoints", {SURE, "fast"}, {RELABEL, UNIT}, ["fast"], id="made up"),
    ],
)
def test_a_metric_that_lies_is_caught(compute, table, declared, denied, caught, subject):
    assert lies(fake(compute, table, declared, denied), subject) == caught


def test_relabelling_keeps_the_function_and_moves_the_weights(subject):
    changed = relabelled(subject)
    assert not np.array_equal(changed.weights, subject.weights)
    assert np.array_equal(changed.predictions, subject.predictions)


def test_an_unknown_metric_is_named():
    with pytest.raises(UnknownNameError, match="unknown metric 'normz'; did you mean 'norms'"):
        get("normz")


def test_get_gives_what_all_metrics_lists():
    assert get("cka") is all_metrics()["cka"]
