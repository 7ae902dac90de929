import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from zoo.errors import FormatError, IntegrityError
from zoo.spec import Layout, LayoutEntry
from zoo.storage import open_shard, write_shard
from zoo.storage.weights import WeightShard, read_predictions, read_weights, write_predictions, write_weights
from zoo.weights import WeightReader, WeightSample, flatten, layout_of, unflatten

LAYOUT = Layout(
    architecture="mlp",
    entries=(
        LayoutEntry(name="0.weight", shape=(2, 3), kind="weight"),
        LayoutEntry(name="0.bias", shape=(2,), kind="bias"),
        LayoutEntry(name="scale", shape=(), kind="norm"),
    ),
)


def shard(rows=4, models=None):
    ids = [f"m{i}@0" for i in range(rows)]
    table = pd.DataFrame({"checkpoint_id": ids, "model_id": [i[:2] for i in ids], "epoch": 0, "step": 0})
    weights = np.arange(rows * 9, dtype=np.float32).reshape(rows, 9)
    return WeightShard(
        LAYOUT, models or [{"model_id": f"m{i}", "width": 2} for i in range(rows)], table, weights
    )


def rewrite(path, drop=(), text=None, **arrays):
    """Write a shard again with some of its arrays changed."""
    old = open_shard(path)
    kept = {name: np.array(old.array(name)) for name in old.datasets if name not in drop}
    write_shard(path, {**kept, **arrays}, text=old.text if text is None else text, rows=1)


# vectors


def test_cutting_a_vector_gives_views_in_the_layouts_order():
    vector = torch.arange(9.0)
    tensors = unflatten(vector, LAYOUT)
    assert list(tensors) == ["0.weight", "0.bias", "scale"]
    assert tensors["0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["scale"].shape == ()
    vector[6] = 100
    assert tensors["0.bias"][0] == 100


def test_a_stack_of_vectors_is_cut_at_once():
    tensors = unflatten(torch.zeros(4, 5, 9), LAYOUT)
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "0.weight": (4, 5, 2, 3),
        "0.bias": (4, 5, 2),
        "scale": (4, 5),
    }


def test_joining_undoes_cutting_and_copies():
    vector = torch.randn(9, generator=torch.Generator().manual_seed(0))
    joined = flatten(unflatten(vector, LAYOUT), LAYOUT)
    assert torch.equal(joined, vector)
    assert joined.data_ptr() != vector.data_ptr()


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(FormatError, match=r"layout mlp-9-.* has 9 numbers, got vectors of 8"):
        unflatten(torch.zeros(8), LAYOUT)


def test_a_state_dict_that_does_not_fit_is_refused_with_all_differences():
    tensors = {"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(2), "extra": torch.zeros(1)}
    faults = (
        r"0.weight: expected \(2, 3\), got \(3, 2\); extra: expected none, got \(1,\); "
        r"scale: expected \(\), got none"
    )
    with pytest.raises(FormatError, match=rf"does not fit this state dict; {faults}"):
        flatten(tensors, LAYOUT)


def test_a_layout_is_read_off_a_module_with_the_kind_of_each_tensor():
    module = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.LayerNorm(4), nn.Linear(4, 5))
    kinds = {entry.name: entry.kind for entry in layout_of(module, "toy").entries}
    assert kinds == {
        "0.weight": "weight",
        "0.bias": "bias",
        "1.weight": "norm",
        "1.bias": "norm",
        "1.running_mean": "buffer",
        "1.running_var": "buffer",
        "1.num_batches_tracked": "buffer",
        "2.weight": "norm",
        "2.bias": "norm",
        "3.weight": "weight",
        "3.bias": "bias",
    }


def test_a_sample_gives_its_tensors_by_name():
    sample = WeightSample("m0@0", LAYOUT, torch.arange(9.0))
    assert sample.tensors()["0.bias"].tolist() == [6, 7]


# shards of weights


@pytest.mark.parametrize("rows", [1, 4])
def test_a_weight_shard_comes_back(tmp_path, rows):
    path = tmp_path / "w.h5"
    written = shard(rows)
    record = write_weights(path, written)
    back = read_weights(path, record)
    assert back.layout == LAYOUT
    assert back.models == written.models
    pd.testing.assert_frame_equal(back.checkpoints, written.checkpoints, check_dtype=False)
    np.testing.assert_array_equal(back.weights, written.weights)
    assert record.rows == rows


def test_a_failed_stack_leaves_models_without_weights(tmp_path):
    path = tmp_path / "w.h5"
    write_weights(path, shard(0, models=[{"model_id": "m0", "reason": "out of memory: Ω"}]))
    back = read_weights(path)
    assert back.models == [{"model_id": "m0", "reason": "out of memory: Ω"}]
    assert back.weights.shape == (0, 9)


def test_equal_shards_have_equal_bytes(tmp_path):
    records = [write_weights(tmp_path / name, shard()) for name in ("a", "b")]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": np.zeros((4, 8), "<f4")}, r"expected float32 weights of shape \(4, 9\)"),
        ({"weights": np.zeros((3, 9), "<f4")}, r"expected float32 weights of shape \(4, 9\)"),
        ({"weights": np.zeros((4, 9), "<f8")}, r"got float64"),
        ({"checkpoint_id": np.array([b"a", b"b"])}, r"expected float32 weights of shape \(2, 9\)"),
        ({"text": {}}, "has no valid layout among its attributes"),
        ({"text": {"layout": "nonsense"}}, "has no valid layout among its attributes"),
        ({"drop": ("weights",)}, "has no dataset 'weights'"),
        ({"epoch": np.zeros(3, "<i4")}, "expected one model_id, epoch and step for each of 4 checkpoints"),
        ({"model_id": np.zeros(4, "<i4")}, "expected bytes in 'model_id', got int32"),
        ({"models": np.array([b"{", b"{}"])}, "is not valid JSON"),
        ({"models": np.array([b"\xff"])}, "'models' holds bytes that are no UTF-8"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path, changes, message):
    path = tmp_path / "w.h5"
    write_weights(path, shard())
    rewrite(path, **changes)
    with pytest.raises(FormatError, match=message):
        read_weights(path)


def test_predictions_come_back(tmp_path):
    path = tmp_path / "p.h5"
    classes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    record = write_predictions(path, ["a@0", "b@0"], classes)
    np.testing.assert_array_equal(read_predictions(path, record), classes)


# reader


@pytest.fixture
def reader(tmp_path):
    files = {name: write_weights(tmp_path / name, shard()) for name in ("a.h5", "b.h5")}
    return WeightReader(tmp_path, files)


def test_rows_that_stand_together_are_mapped_and_others_gathered(reader):
    together = reader.rows(["a.h5"] * 2, [1, 2])
    assert isinstance(together, np.memmap)
    apart = reader.rows(["a.h5", "b.h5"], [2, 0])
    assert not isinstance(apart, np.memmap)
    np.testing.assert_array_equal(together, shard().weights[1:3])
    np.testing.assert_array_equal(apart, shard().weights[[2, 0]])


def test_a_reader_travels_without_its_maps(reader):
    size = len(pickle.dumps(reader))
    reader.map("a.h5")
    assert len(pickle.dumps(reader)) == size
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).map("a.h5"), shard().weights)


def test_a_shard_that_was_cut_is_found_when_touched(reader, tmp_path):
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"the manifest promises"):
        reader.map("a.h5")
