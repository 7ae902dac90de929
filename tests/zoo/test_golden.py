"""The format, pinned: a zoo of two models, built again byte for byte, and read without any of our code."""

import hashlib
import json
import math
import runpy
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import zoo
from zoo.assembly import write_assembly

FOLDER = Path(__file__).parents[1] / "golden"
OLD, NEW = FOLDER / "two-models", FOLDER / "two-models-2"
ADDED = ["parent", "code_commit", "strategy", "train_steps", "train_flops", "train_seconds"]
LAYOUT = "mlp-8-cb36e4af"


def files_of(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_the_golden_zoo_is_built_again_byte_for_byte(tmp_path):
    runpy.run_path(str(FOLDER / "make.py"))["write"](tmp_path)
    built, committed = files_of(tmp_path), files_of(NEW)
    assert sorted(built) == sorted(committed)
    assert [name for name in built if built[name] != committed[name]] == []


# A reader that follows docs/format.md, and imports nothing of ours.


class Reader:
    def __init__(self, root):
        self.root = root
        self.manifest = json.loads((root / "manifest.json").read_text())

    def table(self, name):
        return pq.read_table(self.root / f"{name}.parquet").to_pylist()

    def weights(self, checkpoint_id):
        row = next(row for row in self.table("checkpoints") if row["checkpoint_id"] == checkpoint_id)
        with h5py.File(self.root / row["shard"]) as file:
            return file["weights"][row["row"]]

    def state_dict(self, checkpoint_id):
        model = next(row for row in self.table("checkpoints") if row["checkpoint_id"] == checkpoint_id)[
            "model_id"
        ]
        layout = next(row["layout"] for row in self.table("models") if row["model_id"] == model)
        vector, state, start = self.weights(checkpoint_id), {}, 0
        for entry in self.manifest["layouts"][layout]["entries"]:
            end = start + math.prod(entry["shape"])
            state[entry["name"]] = vector[start:end].reshape(entry["shape"])
            start = end
        return state


@pytest.fixture(params=[OLD, NEW], ids=["before the added columns", "with them"])
def root(request):
    return request.param


@pytest.fixture
def reader(root):
    return Reader(root)


def test_every_file_is_listed_with_its_size_and_hash(reader):
    working = {"manifest.json", "journal.jsonl", f"parts/evaluation/{LAYOUT}-00000.parquet"}
    listed, there = reader.manifest["files"], files_of(reader.root)
    assert set(listed) == set(there) - working
    for name, record in listed.items():
        assert record["bytes"] == len(there[name])
        assert record["sha256"] == hashlib.sha256(there[name]).hexdigest()


def test_the_manifest_counts_what_is_there(reader):
    manifest = reader.manifest
    assert (manifest["format"], manifest["format_version"]) == ("phasezoo", 1)
    assert manifest["counts"] == {
        "models": 2, "finished": 1, "diverged": 1, "failed": 0, "checkpoints": 3, "cells": 1, "planned": 2
    }  # fmt: skip
    assert [(axis["name"], axis["kind"]) for axis in manifest["axes"]] == [
        ("width", "load"),
        ("learning_rate", "temperature"),
    ]
    assert manifest["journal_bytes"] == (reader.root / "journal.jsonl").stat().st_size
    assert manifest["protocols"]["evaluation@v1"]["table"] == "checkpoints"


def test_ids_end_in_the_hash_of_canonical_json(reader):
    layout = reader.manifest["layouts"][LAYOUT]
    canonical = json.dumps(layout, sort_keys=True, separators=(",", ":"))
    assert f"mlp-8-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}" == LAYOUT
    for row in reader.table("models"):
        assert row["model_id"].endswith(hashlib.sha256(row["specification"].encode()).hexdigest()[:8])
        shared = {k: v for k, v in json.loads(row["specification"]).items() if k != "seeds"}
        canonical = json.dumps(shared, sort_keys=True, separators=(",", ":"))
        assert row["cell_id"].endswith(hashlib.sha256(canonical.encode()).hexdigest()[:8])


def test_the_tables_hold_the_known_rows(reader):
    models, checkpoints = reader.table("models"), reader.table("checkpoints")
    known = [(0, "finished", None, 1), (1, "diverged", "loss left the finite numbers in epoch 1", 0)]
    assert [(m["seed"], m["status"], m["reason"], m["last_epoch"]) for m in models] == known
    assert [(m["width"], m["learning_rate"], m["n_params"]) for m in models] == [(2, 0.5, 8)] * 2
    first, second = (model["model_id"] for model in models)
    assert [c["checkpoint_id"] for c in checkpoints] == [f"{first}@0", f"{first}@1", f"{second}@0"]
    assert [(c["epoch"], c["step"], c["row"]) for c in checkpoints] == [(0, 0, 0), (1, 4, 1), (0, 0, 2)]
    assert [(c["test_loss"], c["test_accuracy"]) for c in checkpoints] == [
        (2.0, 0.25),
        (0.5, 0.75),
        (None, 0.125),
    ]
    assert reader.table("layers") == reader.table("pairs") == []


def test_the_weights_are_the_known_numbers(reader):
    last = reader.table("checkpoints")[1]["checkpoint_id"]
    assert reader.weights(last).tolist() == [8, 9, 10, 11, 12, 13, 14, 15]
    state = reader.state_dict(last)
    assert state["0.weight"].tolist() == [[8, 9, 10], [11, 12, 13]]
    assert state["0.bias"].tolist() == [14, 15]


def test_a_shard_explains_itself_and_can_be_mapped(reader):
    path = reader.root / reader.table("checkpoints")[0]["shard"]
    with h5py.File(path) as file:
        assert {name: file.attrs[name] for name in ("format", "format_version")} == {
            "format": b"phasezoo",
            "format_version": b"1",
        }
        assert json.loads(file.attrs["layout"]) == reader.manifest["layouts"][LAYOUT]
        assert file["epoch"][()].tolist() == [0, 1, 0]
        ids = [value.decode() for value in file["checkpoint_id"][()]]
        assert [json.loads(text)["status"] for text in file["models"][()]] == ["finished", "diverged"]
        place = {"offset": file["weights"].id.get_offset(), "shape": file["weights"].shape}
    assert ids == [row["checkpoint_id"] for row in reader.table("checkpoints")]
    mapped = np.memmap(path, dtype="<f4", mode="r", **place)
    assert mapped.ravel().tolist() == list(range(24))


def test_predictions_stand_row_by_row(reader):
    with h5py.File(reader.root / f"predictions/{LAYOUT}-00000.h5") as file:
        assert file["predictions"][()].tolist() == [[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 1, 1]]
        assert file["predictions"].dtype == np.uint8


def test_our_own_reader_agrees(reader):
    ours = zoo.open(reader.root)
    assert ours.checkpoints["checkpoint_id"].tolist() == [
        r["checkpoint_id"] for r in reader.table("checkpoints")
    ]
    assert ours.weights().ravel().tolist() == list(range(24))
    assert ours.cells["test_accuracy"].tolist() == [0.75]


# older zoos


def test_both_verify_clean(root):
    assert zoo.verify(root) == []


def test_an_older_zoo_has_the_added_columns_missing():
    models = zoo.open(OLD).models
    assert list(models.columns)[-len(ADDED) :] == ADDED
    assert models[ADDED].isna().all(axis=None)
    assert set(ADDED).isdisjoint(pq.read_table(OLD / "models.parquet").column_names)


def test_a_newer_zoo_has_them_as_they_were_written():
    models = zoo.open(NEW).models
    assert models[ADDED].iloc[0].tolist()[1:] == ["0" * 40, "stacked/2", 4, 1024.0, 0.5]
    assert models["parent"].isna().all()


def test_tables_of_an_older_zoo_can_be_derived_again(tmp_path):
    """A measurement added by this version writes all tables anew: the added columns are there, and empty."""
    root = shutil.copytree(OLD, tmp_path / "zoo")
    write_assembly(root)
    assert zoo.verify(root) == []
    written = pq.read_table(root / "models.parquet")
    assert set(ADDED) <= set(written.column_names)
    assert all(written[name].null_count == 2 for name in ADDED)
    pd.testing.assert_frame_equal(zoo.open(root).models, zoo.open(OLD).models)


def test_ids_are_the_same_in_both():
    assert zoo.open(OLD).models["model_id"].tolist() == zoo.open(NEW).models["model_id"].tolist()
