import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import datasets
from zoo.architectures import build
from zoo.datasets import Items
from zoo.metrics import KEY_COLUMNS, applicable_properties
from zoo.metrics.hessian import METRICS, curvature, spectral_density
from zoo.metrics.hessian.product import Landscape
from zoo.metrics.networks import landscape_items, networks
from zoo.spec import ArchitectureSpecification, DataShape, Protocol
from zoo.weights import flatten, unflatten

BY_NAME = {metric.name: metric for metric in METRICS}
every_metric = pytest.mark.parametrize("metric", METRICS, ids=BY_NAME)


@pytest.fixture
def digits(subject):
    """Four checkpoints of perceptrons on all digits."""
    return dataclasses.replace(
        subject,
        dataset=datasets.load("digits"),
        weights=subject.weights[:4].copy(),
        checkpoints=subject.checkpoints[:4].reset_index(drop=True),
        predictions=None,
    )


def numbers(metric, subject):
    return metric.compute(subject).frame[[column.name for column in metric.columns]].to_numpy()


def relabelled(subject):
    """Turn the hidden units of the first layer round."""
    rows = []
    for vector in subject.weights:
        tensors = unflatten(torch.tensor(vector), subject.layout)
        tensors["0.weight"], tensors["0.bias"] = tensors["0.weight"].flip(0), tensors["0.bias"].flip(0)
        tensors["2.weight"] = tensors["2.weight"].flip(1)
        rows.append(flatten(tensors, subject.layout).numpy())
    return dataclasses.replace(subject, weights=np.stack(rows))


@every_metric
def test_what_is_declared_holds_and_what_is_denied_does_not(metric, digits):
    first, again, turned = (numbers(metric, some) for some in (digits, digits, relabelled(digits)))
    found = {
        "seed_deterministic": np.array_equal(first, again, equal_nan=True),
        "permutation_invariant": np.allclose(first, turned, rtol=1e-4, atol=1e-6, equal_nan=True),
        "in_unit_interval": bool(np.all(np.isnan(first) | ((first >= 0) & (first <= 1)))),
    }
    assert metric.properties | metric.denied == applicable_properties("checkpoints")
    assert not metric.properties & metric.denied
    assert {name for name, holds in found.items() if holds} == metric.properties


@every_metric
def test_a_measurement_has_its_keys_types_and_reasons(metric, digits):
    weights = digits.weights.copy()
    weights[1, 5], weights[2] = np.nan, 1e30
    frame = metric.compute(dataclasses.replace(digits, weights=weights)).frame
    names = [column.name for column in metric.columns]
    assert list(frame.columns) == [*KEY_COLUMNS["checkpoints"], *names, f"{metric.name}_reason"]
    assert (frame.dtypes[names] == np.float64).all()
    assert frame[f"{metric.name}_reason"].tolist()[1:3] == [
        "weights are not finite",
        "derivatives of the loss are not finite",
    ]
    assert frame[names].isna().all(axis=1).tolist() == [False, True, True, False]
    whole = metric.compute(digits).frame
    pd.testing.assert_frame_equal(frame.iloc[[0, 3]], whole.iloc[[0, 3]], rtol=1e-4)
    assert (frame[names].isna().any(axis=1) == frame[f"{metric.name}_reason"].notna()).all()


@every_metric
def test_too_few_items_are_a_reason(metric, digits):
    measurement = metric.compute(dataclasses.replace(digits, dataset=small(digits.dataset)))
    names = [column.name for column in metric.columns]
    assert measurement.frame[names].isna().all(axis=None)
    count = metric.settings["items"].split()[0]
    assert measurement.frame[f"{metric.name}_reason"].str.startswith(f"the protocol looks at {count} ").all()


@every_metric
def test_protocols_are_whole(metric):
    protocol = metric.protocol()
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
    assert all(column.description for column in metric.columns)
    assert metric.kinds == {"classification", "sequence"}


def test_names_scopes_and_suites_are_those_agreed_on():
    facts = {m.name: (m.protocol_id, m.scope, m.suite, m.series) for m in METRICS}
    assert facts == {
        "hessian": ("hessian/train-256-v1", "all", "standard", None),
        "hessian_test": ("hessian/test-256-v1", "last", "standard", None),
        "hessian_density": ("hessian/density-train-256-v1", "last", "standard", "spectra"),
        "ptmz_hessian": ("ptmz-hessian/v1", "last", "ptmz", None),
        "yang2021_hessian": ("yang2021-hessian/v1", "last", "yang2021", None),
    }
    columns = [column.name for metric in METRICS for column in metric.columns]
    assert len(columns) == len(set(columns))
    assert columns[:3] == ["hessian_top_eigenvalue", "hessian_trace", "hessian_trace_sem"]


@pytest.mark.parametrize(("name", "side"), [("hessian", "train"), ("hessian_test", "test")])
def test_stored_numbers_are_those_of_the_function_on_the_fixed_items(name, side, digits):
    items = landscape_items(digits, side, 256)
    row = digits.skeleton()
    row.load_state_dict(unflatten(torch.tensor(digits.weights[2]), digits.layout))
    found = curvature(row, items.x, items.y)
    expected = [found.top_eigenvalue, found.trace.value, found.trace.standard_error]
    np.testing.assert_allclose(numbers(BY_NAME[name], digits)[2], torch.stack(expected), rtol=1e-3)


def test_the_density_is_stored_as_points(digits):
    metric = BY_NAME["hessian_density"]
    weights = digits.weights.copy()
    weights[1] = np.nan
    measurement = metric.compute(dataclasses.replace(digits, weights=weights))
    items = landscape_items(digits, "train", 256)
    expected = spectral_density(networks(digits), items.x, items.y)
    assert measurement.series.keys() == {"nodes", "weights"}
    assert [len(row) for row in measurement.series["nodes"]] == [256, 0, 256, 256]
    assert [len(row) for row in measurement.series["weights"]] == [256, 0, 256, 256]
    np.testing.assert_allclose(measurement.series["nodes"][3], expected.nodes[3], rtol=1e-3, atol=1e-4)
    for row in (0, 2, 3):
        nodes, mass = measurement.series["nodes"][row], measurement.series["weights"][row]
        share = mass[nodes < -1e-3 * np.abs(nodes).max()].sum()
        assert measurement.frame["hessian_negative_share"][row] == pytest.approx(share)
    empty = metric.compute(dataclasses.replace(digits, dataset=small(digits.dataset))).series
    assert [len(row) for row in empty["nodes"]] == [0] * 4


def small(data):
    few = {side: Items(getattr(data, side).x[:40], getattr(data, side).y[:40]) for side in ("train", "test")}
    return dataclasses.replace(data, **few)


def test_logarithms_are_natural_and_only_of_what_is_above_zero(digits, monkeypatch):
    metric = BY_NAME["ptmz_hessian"]
    frame = metric.compute(digits).frame
    for name in ("top_eigenvalue", "trace"):
        expected = np.log(frame[f"ptmz_hessian_{name}"])
        np.testing.assert_allclose(frame[f"ptmz_hessian_log_{name}"], expected)
    negative = torch.tensor([-1.0, 2.0, 0.0, 3.0]).double()
    monkeypatch.setattr(
        "zoo.metrics.hessian.papers.power_iteration", lambda some: negative[: len(some.stack)]
    )
    frame = metric.compute(digits).frame
    assert frame["ptmz_hessian_top_eigenvalue"].tolist() == negative.tolist()
    assert frame["ptmz_hessian_log_top_eigenvalue"].isna().tolist() == [True, False, True, False]
    reasons = frame["ptmz_hessian_reason"]
    assert reasons.isna().tolist() == [False, True, False, True]
    assert reasons[0] == "only what is above 0 has a logarithm"


def test_a_search_that_does_not_end_is_a_reason(digits, monkeypatch):
    monkeypatch.setattr("zoo.metrics.hessian.stored._PRODUCTS", 12)
    monkeypatch.setattr("zoo.metrics.hessian.stored._TOLERANCE", 1e-12)
    frame = BY_NAME["hessian"].compute(digits).frame
    missing = frame["hessian_top_eigenvalue"].isna()
    assert missing.any()
    assert frame["hessian_trace"].notna().all()
    assert set(frame["hessian_reason"][missing]) == {"no eigenvalue to 1e-12 within 12 products"}


@every_metric
def test_how_a_population_is_cut_changes_nothing(metric, digits, monkeypatch):
    whole = numbers(metric, digits)
    monkeypatch.setattr(Landscape, "rows", lambda self: 3)
    np.testing.assert_allclose(numbers(metric, digits), whole, rtol=1e-3, atol=1e-6)


def test_memory_does_not_grow_with_the_population(digits, monkeypatch):
    seen = []
    whole = Landscape.product

    def watched(self):
        seen.append(len(self.stack))
        return whole(self)

    monkeypatch.setattr(Landscape, "product", watched)
    many = dataclasses.replace(
        digits,
        weights=np.concatenate([digits.weights] * 60),
        checkpoints=pd.concat([digits.checkpoints] * 60, ignore_index=True),
    )
    monkeypatch.setattr("zoo.metrics.hessian.stored._PROBES", 2)
    BY_NAME["hessian"].compute(many)
    most = Landscape.of(networks(digits), *dataclasses.astuple(landscape_items(digits, "train", 256))).rows()
    assert max(seen) == most < 240


def test_sequences_are_measured_at_all_places():
    spec = ArchitectureSpecification(name="gpt", model_dim=4, depth=1, head_dim=4)
    module = build(spec, DataShape((5,), 6, 6))
    x, y = torch.randint(6, (2, 8, 5), generator=torch.Generator().manual_seed(0))
    assert module(x).shape == (8, 5, 6)
    assert curvature(module, x, y, probes=2).top_eigenvalue.isfinite()
