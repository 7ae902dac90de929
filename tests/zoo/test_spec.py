import json

import pytest
from pydantic import ValidationError

from zoo.errors import FormatError, UnsafeFileError
from zoo.spec import (
    ArchitectureSpecification,
    DatasetSpecification,
    Layout,
    LayoutEntry,
    Manifest,
    ModelSpecification,
    SeedSpecification,
    TrainingSpecification,
    canonical_json,
    cell_id,
    check_path,
    checkpoint_id,
    model_id,
    parse_json,
)
from zoo.spec import manifest as manifest_module

RECORD = {"sha256": "0" * 64, "bytes": 3, "rows": 1}
LAYOUT = Layout(architecture="mlp", entries=(LayoutEntry(name="w", shape=(2,), kind="weight"),))


def raw_manifest(**changes):
    counts = ("models", "finished", "diverged", "failed", "checkpoints", "cells", "planned")
    return {
        "name": "toy",
        "description": "A toy.",
        "licence": "CC-BY-4.0",
        "recipe": {},
        "recipe_hash": "0" * 64,
        "axes": [
            {"name": "width", "field": "architecture.width", "kind": "load", "dtype": "int64"},
            {"name": "epochs", "field": "training.epochs", "kind": "temperature", "dtype": "int64"},
        ],
        "counts": dict.fromkeys(counts, 0),
        "layouts": {LAYOUT.id: LAYOUT.model_dump(mode="json")},
        "protocols": {},
        "splits": {},
        "files": {"models.parquet": RECORD},
        "journal_bytes": 0,
        "provenance": {},
        **changes,
    }


def read(raw):
    return Manifest.from_json(json.dumps(raw), source="here/manifest.json")


def model(**training):
    fields = {"learning_rate": 0.1, "batch_size": 32, "epochs": 2, **training}
    return ModelSpecification.model_validate(
        {
            "dataset": {"name": "digits"},
            "architecture": {"name": "mlp", "width": 8},
            "training": fields,
            "seeds": {"init_seed": 0, "order_seed": 0},
        }
    )


# manifest


def test_a_manifest_survives_writing_and_reading():
    manifest = read(raw_manifest())
    assert Manifest.from_json(manifest.to_json(), source="x") == manifest
    assert manifest.complete
    assert manifest.axis_names() == ["width", "epochs"]
    assert manifest.axis_names("load") == ["width"]
    assert manifest.axis_names("temperature") == ["epochs"]


BAD_PATHS = [
    "../x",
    "a/../x",
    "/etc/passwd",
    "a\\b",
    "C:\\x",
    "",
    ".hidden",
    "a/.hidden",
    "a//b",
    "a/",
    "a b",
    "a\x00b",
    "a\n",
    "-x",
    "ä",
    "a" * 201,
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_could_leave_the_zoo_is_refused(path):
    with pytest.raises(UnsafeFileError, match=r"the manifest names the file .*stays inside the zoo"):
        check_path(path)
    with pytest.raises(UnsafeFileError, match=r"Do not use this zoo"):
        read(raw_manifest(files={path: RECORD}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": []}, "a zoo has at least one load axis and one temperature axis"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted, got 1"),
        ({"name": 3}, "name: Input should be a valid string, got 3"),
        ({"files": {"a.h5": RECORD, "A.h5": RECORD}}, "two files differ in case only"),
        ({"splits": {"iid-v1": "splits/iid-v1.json"}}, "split 'iid-v1' points to .* not among the files"),
        ({"layouts": {"other": LAYOUT.model_dump(mode="json")}}, "layout 'other' has entries whose id is"),
        ({"files": {"a.h5": {**RECORD, "sha256": "xyz"}}}, "sha256: String should match pattern"),
        ({"files": {"a.h5": {**RECORD, "bytes": -1}}}, "bytes: Input should be greater than or equal to 0"),
        ({"format": "other"}, "format: Input should be 'phasezoo'"),
        ({"format_version": 0}, "format_version: Input should be 1"),
    ],
)
def test_a_broken_manifest_is_refused_with_the_place_of_the_fault(changes, message):
    with pytest.raises(FormatError, match=rf"here/manifest.json is not a zoo manifest:(.|\n)*{message}"):
        read(raw_manifest(**changes))


def test_all_faults_are_listed_and_long_input_is_cut():
    raw = raw_manifest(licence=["x" * 100], journal_bytes="many")
    del raw["name"]
    with pytest.raises(FormatError) as caught:
        read(raw)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["name", "licence", "journal_bytes"]
    assert "got" not in lines[0]
    assert lines[1].endswith("...")


def test_something_that_is_no_object_is_no_manifest():
    with pytest.raises(FormatError, match=r"the whole: Input should be"):
        read([1])


def test_a_newer_version_says_what_to_install():
    with pytest.raises(FormatError, match=r"format version 2, this phasezoo reads up to 1; install a newer"):
        read({"format_version": 2, "whatever": "it may hold"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_json_that_is_not_strict_is_refused(text, message):
    with pytest.raises(FormatError, match=rf"here is not valid JSON: .*{message}"):
        parse_json(text, source="here")


def test_json_beyond_the_limit_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(manifest_module, "MAX_MANIFEST_BYTES", 10)
    with pytest.raises(FormatError, match=r"here has 11 characters, expected at most 10"):
        parse_json("x" * 11, source="here")


# layout


def test_a_layout_names_each_tensor_once():
    entry = {"name": "w", "shape": (2,), "kind": "weight"}
    with pytest.raises(ValidationError, match=r"a layout names each tensor once"):
        Layout.model_validate({"architecture": "mlp", "entries": [entry, entry]})


def test_offsets_and_size_follow_the_entries():
    kinds = [("a", (2, 3)), ("b", ()), ("c", (4,))]
    entries = tuple(LayoutEntry(name=name, shape=shape, kind="weight") for name, shape in kinds)
    layout = Layout(architecture="mlp", entries=entries)
    assert layout.offsets == (0, 6, 7)
    assert layout.size == 11
    assert Layout.model_validate_json(layout.to_json()) == layout


def test_the_id_depends_on_names_shapes_and_order():
    other = Layout(architecture="mlp", entries=(LayoutEntry(name="v", shape=(2,), kind="weight"),))
    assert other.id != LAYOUT.id
    assert other.id.startswith("mlp-2-")


# specification


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("learning_rate", -0.1),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("learning_rate", float("nan")),
        ("momentum", 1.0),
        ("weight_decay", -1e-3),
        ("batch_size", 0),
        ("epochs", 0),
        ("schedule", "linear"),
        ("optimizer", "adagrad"),
        ("surprise", 1),
        ("warmup_epochs", -1),
        ("decay_epochs", 0),
        ("decay_factor", 0.0),
        ("decay_factor", 1.1),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("epsilon", 0.0),
        ("sam_radius", 0.0),
        ("sam_radius", float("inf")),
        ("gradient_clip", 0.0),
        ("init_scale", 0.0),
        ("init_scale", float("nan")),
        ("init_rank", 0),
        ("adversarial_epsilon", -0.1),
        ("adversarial_epsilon", float("inf")),
        ("adversarial_steps", 0),
        ("temp_balance", "layer"),
        ("temp_balance_spread", 0.0),
        ("temp_balance_spread", 1.1),
        ("temp_balance_spread", float("nan")),
        ("precision", "float64"),
        ("loss_bound", 0.0),
    ],
)
def test_training_values_out_of_range_are_refused(part, value):
    fields = {"learning_rate": 0.1, "batch_size": 1, "epochs": 1, part: value}
    with pytest.raises(ValidationError, match=part):
        TrainingSpecification.model_validate(fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "nesterov"}, "nesterov needs a momentum above 0"),
        ({"schedule": "step"}, "decay_epochs and the schedule 'step' need each other"),
        ({"decay_epochs": 1}, "decay_epochs and the schedule 'step' need each other"),
        (
            {"schedule": "one-cycle", "warmup_epochs": 1},
            "one-cycle has a warm-up of its own; leave warmup_epochs out",
        ),
        ({"adversarial_epsilon": 0.1}, "adversarial_epsilon and adversarial_steps need each other"),
        ({"adversarial_steps": 2}, "adversarial_epsilon and adversarial_steps need each other"),
        ({"warmup_epochs": 3}, "warmup_epochs 3 must be below epochs 3"),
    ],
)
def test_parts_of_a_training_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSpecification.model_validate({"learning_rate": 0.1, "batch_size": 1, "epochs": 3, **changes})


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_the_share_of_the_items_is_a_share_of_something(share):
    with pytest.raises(ValidationError, match=r"fraction"):
        DatasetSpecification(name="digits", fraction=share)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_label_noise_is_a_share(share):
    with pytest.raises(ValidationError, match=r"label_noise"):
        DatasetSpecification(name="digits", label_noise=share)


def test_architecture_options_are_all_but_the_name():
    assert ArchitectureSpecification.model_validate({"name": "mlp", "width": 8}).options == {"width": 8}


def test_ids_are_readable_stable_and_differ_with_the_specification():
    values = {"width": 8, "learning_rate": 0.1}
    assert cell_id(model(), values).startswith("width8-learning_rate0.1-")
    assert model_id(model(), values, 1).startswith("width8-learning_rate0.1-seed1-")
    assert model_id(model(), values, 1) != model_id(model(epochs=3), values, 1)
    assert checkpoint_id("m", 3) == "m@3"


def test_a_cell_shares_everything_but_seeds():
    other = model().model_copy(update={"seeds": model().seeds.model_copy(update={"init_seed": 1})})
    assert other.cell_hash == model().cell_hash
    assert other.hash != model().hash


def test_hashes_are_pinned_since_ids_on_disk_hold_them():
    assert model().hash == "3e4291b1634a8172c5cf3af8566a4084bba0b32643546d21b9e4d0431d941da4"
    assert model().cell_hash == "6bd944e6b2cae3be54aee5d27a3af3ce0599ce75ad732470a712a15219b5edf1"
    assert canonical_json({"ü": 1.0, "a": True}) == '{"a":true,"\\u00fc":1.0}'


NEW_FIELDS = [
    ("training", "warmup_epochs", 0, 1),
    ("training", "beta1", 0.9, 0.8),
    ("training", "beta2", 0.999, 0.99),
    ("training", "epsilon", 1e-8, 1e-6),
    ("training", "sam_radius", 0.05, 0.1),
    ("training", "gradient_clip", None, 1.0),
    ("training", "init_scale", 1, 2),
    ("training", "init_rank", None, 2),
    ("training", "adversarial_epsilon", None, None),
    ("training", "adversarial_steps", None, None),
    ("training", "temp_balance", "none", "farms"),
    ("training", "temp_balance_spread", 0.4, 0.9),
    ("training", "precision", "float32", "bfloat16"),
    ("training", "loss_bound", None, 10),
    ("training", "decay_factor", 0.1, 0.5),
    ("training", "decay_epochs", None, None),
    ("dataset", "fraction", 1, 0.5),
    ("dataset", "subset_seed", 0, 1),
    ("dataset", "classes", None, "0-3"),
    ("dataset", "class_count", None, 3),
    ("dataset", "crop", 0, 2),
    ("dataset", "flip", 0, 0.5),
    ("dataset", "rotation", 0, 15),
    ("seeds", "fork_seed", None, None),
]


def changed(part, **fields):
    raw = model().model_dump()
    return ModelSpecification.model_validate({**raw, part: {**raw[part], **fields}})


@pytest.mark.parametrize(("part", "field", "default", "other"), NEW_FIELDS)
def test_a_new_field_changes_the_hash_only_where_it_is_used(part, field, default, other):
    same = changed(part, **{field: default})
    assert field not in same.model_dump()[part]
    assert (same.hash, same.cell_hash) == (model().hash, model().cell_hash)
    if other is not None:
        used = changed(part, **{field: other})
        assert used.model_dump()[part][field] == other
        assert used.hash != model().hash
        assert used.cell_hash != model().cell_hash


def test_every_added_field_is_listed_above():
    parts = {"training": TrainingSpecification, "dataset": DatasetSpecification, "seeds": SeedSpecification}
    added = {(part, field) for part, kind in parts.items() for field in kind.added}
    assert added == {(part, field) for part, field, _, _ in NEW_FIELDS}


FORKED = {"fork": {"epoch": 1}, "seeds": {"init_seed": 0, "order_seed": 0, "fork_seed": 5}}
PARENT = {"parent": {"zoo": "toy", "checkpoint": "a@1", "sha256": "0" * 64}}


@pytest.mark.parametrize("changes", [{}, FORKED, PARENT, {**FORKED, **PARENT}])
def test_a_specification_reads_back_from_its_json(changes):
    spec = ModelSpecification.model_validate({**model().model_dump(), **changes})
    again = ModelSpecification.model_validate_json(canonical_json(spec.model_dump(mode="json")))
    assert again == spec
    assert again.hash == spec.hash
    assert (spec.hash == model().hash) == (not changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fork": {"epoch": 1}}, "a fork and seeds.fork_seed need each other"),
        ({"seeds": FORKED["seeds"]}, "a fork and seeds.fork_seed need each other"),
        ({**FORKED, "fork": {"epoch": 2}}, "fork.epoch 2 must be below training.epochs 2"),
        ({**FORKED, "fork": {"epoch": -1}}, "fork.epoch"),
        ({**FORKED, "fork": {"epoch": 1, "learning_rate": 0}}, "fork.learning_rate"),
        ({**FORKED, "fork": {"epoch": 1, "width": 0}}, "fork.width"),
        ({"parent": {**PARENT["parent"], "sha256": "abc"}}, "parent.sha256"),
        ({"parent": {"zoo": "toy"}}, "parent.checkpoint"),
    ],
)
def test_forks_and_parents_that_are_not_whole_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelSpecification.model_validate({**model().model_dump(), **changes})


def test_a_fork_is_refused_where_its_branch_could_not_be_trained():
    raw = {**model(optimizer="nesterov", momentum=0.9).model_dump(), **FORKED}
    with pytest.raises(
        ValidationError, match=r"after the fork: Value error, nesterov needs a momentum above 0"
    ):
        ModelSpecification.model_validate({**raw, "fork": {"epoch": 1, "momentum": 0.0}})


def test_an_epoch_is_trained_as_the_trunk_up_to_the_fork_and_as_the_branch_after():
    forked = ModelSpecification.model_validate(
        {**model(epochs=3).model_dump(), **FORKED, "fork": {"epoch": 1, "momentum": 0.5}}
    )
    assert forked.trained_as(1) == (forked.training, 0)
    assert forked.trained_as(2) == (forked.training.model_copy(update={"momentum": 0.5}), 5)
    assert model().trained_as(2) == (model().training, 0)


def test_not_a_number_has_no_canonical_form():
    with pytest.raises(ValueError, match=r"Out of range float values are not JSON compliant"):
        canonical_json(float("nan"))
