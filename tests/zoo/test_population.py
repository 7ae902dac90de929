import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from generators import measure
from zoo import datasets
from zoo.assembly import TABLES, read_manifest, table_columns, write_assembly
from zoo.errors import (
    AmbiguousLayoutError,
    FormatError,
    IntegrityError,
    QueryError,
    UnknownNameError,
    UnsafeFileError,
)
from zoo.places import cache_folder
from zoo.storage import JOURNAL, parquet_bytes, sha256_of
from zoo.weights import WeightSample


@pytest.fixture
def tiny(tiny_zoo):
    return zoo.open(tiny_zoo)


@pytest.fixture
def narrow(tiny):
    return tiny.where("width == 2")


def change_manifest(root, **changes):
    raw = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**raw, **changes}))


def change_table(root, name, change):
    """Write a table again, changed, with the types that it had."""
    path = root / f"{name}.parquet"
    manifest = read_manifest(root)
    columns = table_columns(name, manifest.axes, manifest.protocols.values())
    path.write_bytes(parquet_bytes(change(pd.read_parquet(path)), columns))


# what is in it


def test_a_zoo_says_what_it_holds(tiny, narrow):
    assert (len(tiny), len(narrow), len(tiny.models), len(tiny.cells)) == (24, 12, 8, 4)
    assert repr(tiny) == "<Zoo tiny: 24 checkpoints, 2 layouts>"
    assert repr(narrow) == "<Zoo tiny: 12 of 24 checkpoints, 1 layouts>"
    assert isinstance(narrow, zoo.Zoo)


def test_a_zoo_whose_models_all_failed_opens(tiny_zoo, tmp_path):
    root = tmp_path / "failed"
    shutil.copytree(tiny_zoo, root)
    for name in ("checkpoints", "layers", "pairs"):
        change_table(root, name, lambda frame: frame.iloc[:0])
    manifest = json.loads((root / "manifest.json").read_text())
    for name in ("checkpoints", "layers", "pairs"):
        path = root / f"{name}.parquet"
        manifest["files"][path.name] |= {"bytes": path.stat().st_size, "sha256": sha256_of(path), "rows": 0}
    change_manifest(root, files=manifest["files"])
    assert len(zoo.open(root).checkpoints) == 0


def test_views_narrow_the_arrays_of_layers_too(tiny_zoo, tmp_path):
    root = tmp_path / "measured"
    shutil.copytree(tiny_zoo, root)
    whole = measure(root, metrics=["eigenspectrum"])
    view = whole.where("width == 2 and epoch == last_epoch")
    found = view.series("eigenspectrum")
    ids = set(view.checkpoints["checkpoint_id"])
    assert {key for key in whole.series("eigenspectrum") if key[0] in ids} == set(found)
    assert len(found) == 3 * len(ids)


def test_views_narrow_every_table(tiny, narrow):
    assert narrow.models["width"].unique().tolist() == [2]
    assert set(narrow.checkpoints["model_id"]) == set(narrow.models["model_id"])
    first = tiny.where("epoch == 0")
    assert first.checkpoints["epoch"].tolist() == [0] * 8
    assert len(first.pairs) == 0
    assert len(first.layers) == 0
    assert tiny.models.shape == (8, tiny.models.shape[1])


def test_views_of_views_are_those_of_both_conditions(tiny):
    chained = tiny.where("width == 2").where("epoch == last_epoch")
    assert chained.checkpoints.equals(tiny.where("width == 2 and epoch == last_epoch").checkpoints)
    assert len(chained.where("seed > 5")) == 0


def test_a_changed_table_does_not_change_other_views(tiny):
    tiny.checkpoints["test_accuracy"] = -1.0
    tiny.models["width"] = -1
    assert tiny.where("epoch == 0").checkpoints["epoch"].tolist() == [0] * 8
    assert tiny.where("width == 2").models["width"].unique().tolist() == [2]


@pytest.mark.parametrize("expression", ["widht == 2", "width ==", "__import__('os')", "width.real == 2"])
def test_a_typo_or_code_in_an_expression_is_refused(tiny, expression):
    with pytest.raises(QueryError, match=r"\S"):
        tiny.where(expression)


def test_cells_are_averages_over_the_last_epoch_of_finished_seeds(tiny):
    joined = tiny.checkpoints.merge(tiny.models, on="model_id")
    for _, cell in tiny.cells.iterrows():
        of_cell = joined[(joined["cell_id"] == cell["cell_id"]) & (joined["epoch"] == 2)]
        assert (cell["n_models"], cell["n_finished"]) == (2, 2)
        assert of_cell["width"].unique().tolist() == [cell["width"]]
        for metric in ("test_accuracy", "train_loss"):
            assert cell[metric] == pytest.approx(sum(of_cell[metric]) / 2, rel=1e-12)
    assert tiny.cells["cell_id"].tolist() == tiny.models["cell_id"].unique().tolist()


# weights


def test_weights_that_stand_together_are_mapped(tiny, narrow):
    together = narrow.weights()
    assert together.dtype == np.float32
    assert together.shape == (12, narrow.layout(narrow.layouts[0]).size)
    assert isinstance(together, np.memmap)
    assert np.array_equal(tiny.weights(narrow.layouts[0]), together)


def test_weights_that_stand_apart_are_gathered_and_equal(narrow):
    last = narrow.where("epoch == last_epoch")
    gathered = last.weights()
    assert not isinstance(gathered, np.memmap)
    assert np.array_equal(gathered, narrow.weights()[narrow.checkpoints["epoch"] == 2])


def test_one_matrix_needs_one_layout(tiny):
    with pytest.raises(AmbiguousLayoutError, match=r"this view has 2 \(mlp-.*, mlp-.*\); pass one of them"):
        tiny.weights()
    with pytest.raises(AmbiguousLayoutError, match=r"this view has 0"):
        tiny.where("width > 100").weights()


def test_a_state_dict_is_the_row_cut_by_the_layout(narrow):
    name = narrow.checkpoints["checkpoint_id"][5]
    state = narrow.state_dict(name)
    joined = torch.cat([tensor.reshape(-1) for tensor in state.values()]).numpy()
    assert np.array_equal(joined, narrow.weights()[5])
    assert state["0.weight"].shape == (2, 64)
    state["0.weight"].zero_()
    assert narrow.state_dict(name)["0.weight"].any()


def test_a_loaded_model_has_the_stored_accuracy(tiny):
    test = datasets.load("digits").test
    for row in tiny.where("epoch == 2").checkpoints.itertuples():
        module = tiny.load_model(row.checkpoint_id)
        assert not module.training
        with torch.no_grad():
            hits = (module(test.x).argmax(1) == test.y).double().mean()
        assert float(hits) == pytest.approx(row.test_accuracy, abs=1e-12)


# unknown names


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda z: z.split("iid-v2"), "unknown split 'iid-v2'; did you mean 'iid-v1'"),
        (lambda z: z.layout("mlp"), "unknown layout 'mlp'"),
        (lambda z: z.weights("mlp-0"), "unknown layout 'mlp-0'.* in this view"),
        (lambda z: z.state_dict("nope@0"), "unknown checkpoint 'nope@0'.* see .checkpoints.checkpoint_id"),
        (lambda z: z.load_model("nope@0"), "unknown checkpoint 'nope@0'"),
        (lambda z: z.specification("nope"), "unknown model 'nope'.* see .models.model_id"),
    ],
)
def test_unknown_names_are_refused(tiny, look, message):
    with pytest.raises(UnknownNameError, match=message):
        look(tiny)


def test_what_a_view_has_left_out_is_unknown_to_it(tiny, narrow):
    other = tiny.where("width == 3")
    with pytest.raises(UnknownNameError, match=r"unknown checkpoint"):
        narrow.state_dict(other.checkpoints["checkpoint_id"][0])
    with pytest.raises(UnknownNameError, match=r"unknown layout"):
        narrow.weights(other.layouts[0])


def test_a_specification_says_how_a_model_was_trained(tiny):
    row = tiny.models.iloc[-1]
    spec = tiny.specification(row["model_id"])
    assert spec.training.learning_rate == row["learning_rate"]
    assert spec.architecture.options["width"] == row["width"]


# as a torch dataset


def test_samples_come_in_the_order_of_the_checkpoints(tiny):
    samples = tiny.dataset()
    assert len(samples) == 24
    assert isinstance(samples[0], WeightSample)
    assert [samples[i].checkpoint_id for i in range(24)] == tiny.checkpoints["checkpoint_id"].tolist()
    state = tiny.state_dict(samples[20].checkpoint_id)
    assert all(torch.equal(state[name], tensor) for name, tensor in samples[20].tensors().items())


def test_targets_are_those_of_the_tables(tiny):
    samples = tiny.dataset("test_accuracy")
    assert [samples[i][1] for i in range(24)] == tiny.checkpoints["test_accuracy"].tolist()
    assert tiny.dataset("width")[0][1] == 2.0


def test_a_dataset_can_be_sent_to_other_processes(narrow):
    samples = narrow.dataset("test_accuracy")
    samples[0]
    copy = pickle.loads(pickle.dumps(samples))
    assert torch.equal(copy[3][0].vector, samples[3][0].vector)
    loader = torch.utils.data.DataLoader(samples, batch_size=4, collate_fn=list, num_workers=0)
    assert sum(len(batch) for batch in loader) == 12


@pytest.mark.parametrize("target", ["test_acuracy", "status", "checkpoint_id"])
def test_a_target_that_is_no_number_is_refused(tiny, target):
    with pytest.raises(QueryError, match=rf"unknown numeric column '{target}'"):
        tiny.dataset(target)


def test_a_target_with_missing_values_is_refused(zoo_copy):
    def lose(frame):
        return frame.assign(test_accuracy=frame["test_accuracy"].where(frame.index != 3))

    change_table(zoo_copy, "checkpoints", lose)
    with pytest.raises(
        QueryError, match=r"'test_accuracy' is missing for 1 of 24 .*test_accuracy is not None"
    ):
        zoo.open(zoo_copy).dataset("test_accuracy")
    kept = zoo.open(zoo_copy).where("test_accuracy is not None")
    assert len(kept.dataset("test_accuracy")) == 23


# splits


def test_a_split_divides_the_cells(tiny):
    split = tiny.split("iid-v1")
    assert sum(map(len, split)) == 24
    cells = [set(side.models["cell_id"]) for side in split]
    assert sum(map(len, cells)) == len(set.union(*cells)) == 4
    assert min(map(len, cells)) == 1


def test_a_missing_split_file_is_named(zoo_copy):
    (zoo_copy / "splits" / "iid-v1.json").unlink()
    with pytest.raises(IntegrityError, match=r"iid-v1.json is missing; fetch the zoo again"):
        zoo.open(zoo_copy).split("iid-v1")


# opening


def test_a_zoo_is_opened_by_name_from_its_home(tiny_zoo, tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_HOME", str(tmp_path))
    shutil.copytree(tiny_zoo, tmp_path / "zoos" / "small")
    assert cache_folder() == tmp_path / "zoos"
    assert zoo.open("small").root == tmp_path / "zoos" / "small"


def test_a_zoo_is_opened_by_name_from_the_working_folder(tiny_zoo, tmp_path, monkeypatch):
    shutil.copytree(tiny_zoo, tmp_path / "zoos" / "small")
    monkeypatch.chdir(tmp_path)
    assert len(zoo.open("small")) == 24


def test_an_unknown_zoo_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_HOME", str(tmp_path))
    with pytest.raises(
        UnknownNameError, match=r"unknown zoo 'nope'; .*looked at nope, zoos/nope, .*phasezoo gen"
    ):
        zoo.open("nope")


def test_an_address_is_no_folder():
    with pytest.raises(
        UnknownNameError, match=r"unknown zoo 'https://x/y'.*download the zoo, then open its folder"
    ):
        zoo.open("https://x/y")


def test_a_folder_without_a_manifest_holds_no_zoo(tmp_path):
    with pytest.raises(IntegrityError, match=r"holds no zoo: manifest.json is missing. Generate or fetch"):
        zoo.open(tmp_path)


def test_a_manifest_that_is_no_text_is_a_format_error(zoo_copy):
    (zoo_copy / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match=r"is not valid JSON"):
        zoo.open(zoo_copy)


def test_a_missing_table_is_found_when_asked_for(zoo_copy):
    (zoo_copy / "models.parquet").unlink()
    opened = zoo.open(zoo_copy)
    with pytest.raises(IntegrityError, match=r"models.parquet is missing"):
        opened.models.head()


def test_a_table_without_its_rows_is_refused(zoo_copy):
    change_table(zoo_copy, "checkpoints", lambda frame: frame.iloc[1:])
    with pytest.raises(FormatError, match=r"the manifest promises 24 rows, the file has 23"):
        zoo.open(zoo_copy).checkpoints.head()


def test_a_row_that_stands_twice_is_refused(zoo_copy):
    change_table(zoo_copy, "checkpoints", lambda frame: frame.iloc[[0, 0, *range(2, 24)]])
    with pytest.raises(IntegrityError, match=r"has 1 rows twice, such as width2.*@0; fetch the zoo again"):
        zoo.open(zoo_copy).checkpoints.head()


@pytest.mark.parametrize("harm", ["unlink", "truncate"])
def test_a_harmed_shard_is_found_when_touched(zoo_copy, harm):
    shard = next((zoo_copy / "weights").iterdir())
    whole = shard.read_bytes()
    shard.unlink()
    if harm == "truncate":
        shard.write_bytes(whole[:-100])
    opened = zoo.open(zoo_copy)
    layout = next(name for name in opened.layouts if shard.name.startswith(name))
    with pytest.raises(
        IntegrityError, match=r"(is missing|is truncated or was replaced)(.|\n)*etch the zoo again"
    ):
        opened.weights(layout)


# tables behind the journal


def test_tables_behind_the_journal_are_derived_without_writing(tiny, zoo_copy):
    change_manifest(zoo_copy, journal_bytes=0)
    tables = {name: (zoo_copy / f"{name}.parquet").read_bytes() for name in TABLES}
    for name in tables:
        (zoo_copy / f"{name}.parquet").unlink()
    before = sorted(zoo_copy.rglob("*"))
    derived = zoo.open(zoo_copy)
    for name, data in tables.items():
        columns = table_columns(name, derived.manifest.axes, derived.manifest.protocols.values())
        assert parquet_bytes(getattr(derived, name), columns) == data
    pd.testing.assert_frame_equal(derived.cells, tiny.cells, check_dtype=False)
    assert sorted(zoo_copy.rglob("*")) == before
    assert np.array_equal(derived.weights(derived.layouts[0]), tiny.weights(tiny.layouts[0]))


def test_writing_the_tables_again_changes_no_byte(zoo_copy):
    before = {path: path.read_bytes() for path in zoo_copy.rglob("*") if path.is_file()}
    write_assembly(zoo_copy)
    assert {path: path.read_bytes() for path in zoo_copy.rglob("*") if path.is_file()} == before


def test_a_published_zoo_has_no_journal_and_its_tables_are_final(zoo_copy):
    (zoo_copy / JOURNAL).unlink()
    assert len(zoo.open(zoo_copy).models) == 8
    with pytest.raises(FormatError, match=r"was published: it has no journal to derive its tables from"):
        write_assembly(zoo_copy)


def test_measurements_can_be_lost_and_tables_still_derive(zoo_copy):
    journal = (zoo_copy / JOURNAL).read_bytes().splitlines(keepends=True)
    kept = [line for line in journal if json.loads(line)["kind"] == "weights"]
    (zoo_copy / JOURNAL).write_bytes(b"".join(kept))
    bare = zoo.open(zoo_copy)
    assert len(bare) == 24
    assert "test_accuracy" not in bare.checkpoints
    assert len(bare.cells) == 4


def test_fewer_than_three_cells_have_no_split(zoo_copy):
    journal = (zoo_copy / JOURNAL).read_bytes().splitlines(keepends=True)
    first = [line for line in journal if json.loads(line)["kind"] == "weights"][:1]
    (zoo_copy / JOURNAL).write_bytes(b"".join(first))
    write_assembly(zoo_copy)
    assert read_manifest(zoo_copy).splits == {}
    assert read_manifest(zoo_copy).counts.cells == 2


@pytest.mark.parametrize("journal", [None, b"", b'{"kind":"wei'])
def test_a_zoo_that_has_only_begun_is_empty(zoo_copy, tmp_path, journal):
    bare = tmp_path / "begun"
    bare.mkdir()
    shutil.copy(zoo_copy / "manifest.json", bare)
    counts = dict.fromkeys(read_manifest(bare).counts.model_dump(), 0)
    change_manifest(bare, files={}, splits={}, layouts={}, protocols={}, counts=counts, journal_bytes=0)
    if journal is not None:
        (bare / JOURNAL).write_bytes(journal)
    begun = zoo.open(bare)
    assert (len(begun), begun.layouts) == (0, [])
    assert all(len(getattr(begun, name)) == 0 for name in (*TABLES, "cells"))
    assert len(begun.where("width == 2")) == 0


def test_a_batch_of_vectors_is_one_matrix(tiny_zoo):
    view = zoo.open(tiny_zoo).where("width == 2")
    data = view.dataset()
    picked = [5, 0, 7]
    np.testing.assert_array_equal(data.vectors(picked).numpy(), view.weights()[picked])
    np.testing.assert_array_equal(data.vectors([0, 1]).numpy(), view.weights()[:2])
    mixed = zoo.open(tiny_zoo).dataset()
    with pytest.raises(AmbiguousLayoutError, match="these 24 checkpoints have 2; narrow the view"):
        mixed.vectors(range(len(mixed)))
    with pytest.raises(AmbiguousLayoutError, match="these 0 checkpoints have 0"):
        mixed.vectors([])


def test_a_split_that_was_changed_is_refused(zoo_copy):
    path = zoo_copy / "splits/iid-v1.json"
    split = json.loads(path.read_text())
    split["train"] = sorted(split["train"] + split["test"])
    path.write_text(json.dumps(split))
    with pytest.raises(IntegrityError, match=r"iid-v1.json was changed: the manifest promises sha256"):
        zoo.open(zoo_copy).split("iid-v1")
    manifest = json.loads((zoo_copy / "manifest.json").read_text())
    manifest["files"]["splits/iid-v1.json"]["sha256"] = sha256_of(path)
    (zoo_copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match=r"leaks: .*Do not report results on this split"):
        zoo.open(zoo_copy).split("iid-v1")


@pytest.mark.parametrize(("column", "value"), [("shard", "/etc/passwd"), ("row", -1), ("row", 10**6)])
def test_a_table_that_points_elsewhere_is_refused(zoo_copy, column, value):
    path = zoo_copy / "checkpoints.parquet"
    manifest = read_manifest(zoo_copy)
    columns = table_columns("checkpoints", manifest.axes, manifest.protocols.values())
    table = zoo.open(zoo_copy).checkpoints
    table.loc[0, column] = value
    path.write_bytes(parquet_bytes(table, columns))
    with pytest.raises(UnsafeFileError, match="which the manifest does not have"):
        _ = zoo.open(zoo_copy).checkpoints
