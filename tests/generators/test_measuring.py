"""Measuring part by part: what is there is kept, what is missing is measured, whatever cut it off."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

import zoo
from generators import generate, measure, measurement
from generators import measured as measured_module
from generators.executors import base
from generators.executors.inline import InlineExecutor
from generators.executors.local import LocalExecutor
from zoo.errors import (
    FormatError,
    MeasurementError,
    QueryError,
    SpecificationError,
    UnknownNameError,
    UnsafeFileError,
)
from zoo.metrics import Measurement, all_metrics, measured, model_pairs
from zoo.spec import Column

PAIRS = ["cka", "l2_distance"]


@pytest.fixture(scope="module")
def made(tiny_recipe, tmp_path_factory):
    return generate(tiny_recipe(widths=[2, 3]), tmp_path_factory.mktemp("made") / "zoo").root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "zoo")


def fake(**changes):
    """A metric with arrays, which counts how often it is asked for each checkpoint."""
    asked = []

    def compute(subject):
        ids = subject.checkpoints["checkpoint_id"]
        asked.extend(ids)
        numbers = subject.weights[:, 0].astype(float)
        frame = measured("fake", ids.to_frame(), {"fake": numbers}, [None] * len(ids))
        return Measurement(frame, series={"first": [row[:2] for row in subject.weights]})

    template = all_metrics()["norms"]
    column = Column(name="fake", dtype="float64", description="first weight")
    settings = {
        "name": "fake",
        "protocol_id": "fake/v1",
        "columns": (column,),
        "compute": compute,
        "series": "spectra",
        "needs_origin": False,
        **changes,
    }
    return dataclasses.replace(template, **settings), asked


@pytest.fixture
def with_fake(monkeypatch):
    def install(**changes):
        metric, asked = fake(**changes)
        known = {**all_metrics(), "fake": metric}
        monkeypatch.setattr(measurement, "all_metrics", lambda: known)
        for module in ("generators.measurement", "generators.measuring"):
            monkeypatch.setattr(f"{module}.get", known.__getitem__)
        return asked

    return install


def test_a_metric_is_measured_on_what_it_is_for(root, with_fake):
    asked = with_fake(scope="last")
    z = measure(root, metrics=["fake"])
    last = z.where("epoch == last_epoch").checkpoints["checkpoint_id"]
    assert sorted(asked) == sorted(last)
    assert z.checkpoints["fake"].notna().sum() == len(last)


def test_a_query_says_which_checkpoints_and_the_rest_can_follow(root, with_fake):
    asked = with_fake(scope="last")
    z = measure(root, metrics=["fake"], where="epoch == 0")
    first = set(z.where("epoch == 0").checkpoints["checkpoint_id"])
    assert set(asked) == first
    assert set(z.checkpoints.dropna(subset="fake")["checkpoint_id"]) == first
    z = measure(root, metrics=["fake"])
    assert len(asked) == len(set(asked)) == 2 * len(first)
    assert set(z.series("fake")) == {(one,) for one in asked}
    for (checkpoint,), arrays in z.series("fake").items():
        whole = np.concatenate([t.flatten() for t in z.state_dict(checkpoint).values()])
        np.testing.assert_array_equal(arrays["first"], whole[:2])
    assert zoo.verify(root) == []
    before = len(asked)
    measure(root, metrics=["fake"])
    assert len(asked) == before


def test_rows_whose_arrays_are_lost_keep_their_values_and_get_new_arrays(root, with_fake):
    asked = with_fake(scope="last")
    before = measure(root, metrics=["fake"]).checkpoints.dropna(subset="fake")
    shutil.rmtree(root / "spectra")
    few = measure(root, metrics=["fake"], where="epoch == 0")
    assert set(few.checkpoints.dropna(subset="fake")["checkpoint_id"]) > set(before["checkpoint_id"])
    del asked[:]
    whole = measure(root, metrics=["fake"])
    assert set(asked) == set(before["checkpoint_id"])
    assert len(whole.series("fake")) == whole.checkpoints["fake"].notna().sum()
    assert zoo.verify(root) == []


def test_values_of_other_settings_are_never_mixed_under_one_id(root, with_fake):
    with_fake()
    measure(root, metrics=["fake"], where="epoch == 0")
    with_fake(settings={"norm": "another"})
    with pytest.raises(FormatError, match=r"fake/v1 was measured with other settings by another version"):
        measure(root, metrics=["fake"])
    shutil.rmtree(root / "parts" / "fake" / "v1")  # the way out
    assert measure(root, metrics=["fake"]).manifest.protocols["fake/v1"].settings == {"norm": "another"}


def test_arrays_of_a_view_are_those_of_its_checkpoints(root, with_fake):
    with_fake()
    view = measure(root, metrics=["fake"]).where("epoch == 0")
    assert set(view.series("fake")) == {(one,) for one in view.checkpoints["checkpoint_id"]}


def test_arrays_that_are_not_there_are_named(root):
    with pytest.raises(
        UnknownNameError, match=r"unknown metric with arrays 'fake'; known: none \(`phasezoo measure"
    ):
        zoo.open(root).series("fake")


def test_pairs_of_more_epochs_are_added_to_those_that_are_there(root):
    few = measure(root, metrics=PAIRS, where="epoch == last_epoch").pairs
    whole = measure(root, metrics=PAIRS)
    rows = whole.checkpoints.merge(whole.models, on="model_id")
    expected = {tuple(r) for r in model_pairs(rows)[["checkpoint_a", "checkpoint_b"]].itertuples(index=False)}
    found = {tuple(r) for r in whole.pairs[["checkpoint_a", "checkpoint_b"]].itertuples(index=False)}
    assert found == expected
    assert len(few) < len(whole.pairs)
    both = few.merge(whole.pairs, on=["checkpoint_a", "checkpoint_b"], suffixes=("", "_again"))
    assert len(both) == len(few)
    pd.testing.assert_series_equal(both["cka"], both["cka_again"], check_names=False)


def test_cells_average_the_pairs_of_last_checkpoints_alone(root):
    z = measure(root, metrics=["l2_distance"])
    last = measure(root, metrics=["l2_distance"]).where("epoch == last_epoch")
    expected = last.pairs.groupby("cell_id")["l2_distance"].mean()
    pd.testing.assert_series_equal(
        z.cells.set_index("cell_id")["l2_distance"], expected, check_index=False, check_names=False
    )


def test_a_distance_from_the_beginning_needs_no_query_for_it(root):
    whole = measure(root, metrics=["norms"], where="epoch == last_epoch").checkpoints
    known = whole.dropna(subset="distance_from_init")
    assert (known["epoch"] > 0).all()
    assert (known["distance_from_init"] > 0).all()


def test_what_was_found_before_a_stop_is_kept(root, with_fake, monkeypatch):
    monkeypatch.setattr("generators.measuring.CELLS_AT_ONCE", 1)
    asked = with_fake()

    class Stopping(InlineExecutor):
        def run(self, tasks, settings, watch):
            pressed = iter([False] * 3 + [True] * 99)
            yield from super().run(tasks, settings, base.Watch(watch.on_progress, lambda: next(pressed)))

    with pytest.raises(KeyboardInterrupt):
        measure(root, metrics=["fake"], executor=Stopping())
    told = set(asked)
    assert 0 < len(told) < len(zoo.open(root).checkpoints)
    known = zoo.open(root).checkpoints.dropna(subset="fake")["checkpoint_id"]
    assert set(known) == told
    whole = measure(root, metrics=["fake"])
    assert len(asked) == len(set(asked)) == len(whole.checkpoints)


@pytest.mark.parametrize("lost", ["series", "measurement"])
def test_a_writer_killed_before_it_could_commit_loses_that_part_alone(root, with_fake, monkeypatch, lost):
    asked = with_fake()
    first = measure(root, metrics=["fake"], where="epoch == 0")
    known = first.checkpoints.dropna(subset="fake")
    real = measured_module.commit

    def killed(path, entry):
        if entry.kind == lost:
            raise KeyboardInterrupt
        real(path, entry)

    with monkeypatch.context() as patch:
        patch.setattr(measured_module, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            measure(root, metrics=["fake"])
    after = zoo.open(root)
    pd.testing.assert_frame_equal(after.checkpoints.dropna(subset="fake"), known, check_dtype=False)
    assert set(after.series("fake")) >= {(one,) for one in known["checkpoint_id"]}
    whole = measure(root, metrics=["fake"])
    assert whole.checkpoints["fake"].notna().all()
    assert set(whole.series("fake")) == {(one,) for one in whole.checkpoints["checkpoint_id"]}
    assert set(asked[: len(known)]) == set(known["checkpoint_id"])
    assert not set(asked[len(known) :]) & set(known["checkpoint_id"])
    assert zoo.verify(root) == []
    files = [path.name for folder in ("spectra", "parts/fake") for path in (root / folder).rglob("*.*")]
    assert len(files) == 2 * len(list((root / "weights").iterdir()))


def test_an_error_of_one_metric_leaves_the_others(root, with_fake):
    def fail(_subject):
        raise RuntimeError("out of luck")

    with_fake(compute=fail)
    with pytest.raises(
        MeasurementError, match=r"of the measurements failed, all others are stored: fake of .*out of luck"
    ):
        measure(root, metrics=["fake", "norms"])
    z = zoo.open(root)
    assert z.checkpoints["weight_norm"].notna().all()
    assert "fake" not in z.checkpoints


def test_workers_find_what_this_process_finds(root, tmp_path, made):
    other = shutil.copytree(made, tmp_path / "other")
    names = ["norms", *PAIRS, "disagreement"]
    here = measure(root, metrics=names, executor=InlineExecutor())
    there = measure(other, metrics=names, executor=LocalExecutor(2))
    pd.testing.assert_frame_equal(here.checkpoints, there.checkpoints)
    pd.testing.assert_frame_equal(here.pairs, there.pairs)


def test_predictions_of_shards_measured_at_once_are_not_mixed(root):
    before = {path.name: path.read_bytes() for path in (root / "predictions").iterdir()}
    shutil.rmtree(root / "predictions")
    measure(root, metrics=["evaluation"], executor=LocalExecutor(2))
    assert {path.name: path.read_bytes() for path in (root / "predictions").iterdir()} == before
    assert len(before) > 1
    assert zoo.verify(root) == []


def test_a_task_that_travels_carries_its_shard(root, with_fake):
    with_fake()
    told = []

    class Elsewhere:
        """As on a cluster: no path, nothing heard before the end."""

        def run(self, tasks, settings, _watch):
            for task in tasks:
                carried = dataclasses.replace(task.portable(), root=root / "nowhere").with_state(root)
                yield base.perform(carried, settings, base.Hooks(on_progress=told.append))

    z = measure(root, metrics=["fake", "disagreement"], executor=Elsewhere())
    assert told == []
    assert z.checkpoints["fake"].notna().all()
    assert z.pairs["disagreement"].notna().any()
    assert zoo.verify(root) == []


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"metrics": ["norm"]}, UnknownNameError, r"unknown metric 'norm'; did you mean 'norms'"),
        (
            {"metrics": ["solution"]},
            SpecificationError,
            "'solution' has no meaning for this zoo, whose data are of the kind class",
        ),
        ({"where": "widht > 3"}, QueryError, "unknown column 'widht'"),
        ({"where": "width > 3"}, QueryError, r"no checkpoint of .* matches 'width > 3': there is nothing to"),
        (
            {"executor": "slurm", "metrics": ["norms"]},
            SpecificationError,
            "unknown executor 'slurm'; choose 'local' or 'ray'",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(root, settings, error, message):
    unchecked = measure.__wrapped__  # without the checks of types that only the tests switch on
    with pytest.raises(error, match=message):
        unchecked(root, **settings)


def test_a_link_to_another_place_is_refused(root, tmp_path, with_fake):
    with_fake()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "precious").write_text("keep me")
    (root / "spectra").symlink_to(tmp_path / "victim")
    with pytest.raises(
        UnsafeFileError, match=r"spectra is a link, expected a folder of this zoo; remove the"
    ):
        measure(root, metrics=["fake"])
    assert (tmp_path / "victim" / "precious").read_text() == "keep me"


def test_a_damaged_part_is_named_and_measured_anew(root):
    before = measure(root, metrics=["norms", "l2_distance"])
    part = next((root / "parts" / "norms").rglob("*.parquet"))
    part.write_bytes(bytes(len(part.read_bytes())))
    assert part.relative_to(root).as_posix() in {fault.file for fault in zoo.verify(root)}
    after = measure(root, metrics=["norms"])
    pd.testing.assert_frame_equal(after.checkpoints, before.checkpoints)
    assert zoo.verify(root) == []
