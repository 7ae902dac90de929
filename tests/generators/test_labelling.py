"""Labels of a whole zoo: by checkpoint and by cell, derived from what is measured, whatever the rule."""

import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import zoo
from generators import generate, label, labelling, measure
from generators.calibration import calibrate
from zoo.cli.main import build
from zoo.errors import FormatError, QueryError, SpecificationError, UnknownNameError
from zoo.phases import PhaseRule, get_rule
from zoo.phases import label as label_rows

METRICS = ["cka", "l2_distance"]
READ = {"train_loss": "fit_loss", "mode_connectivity": "l2_distance", "cka": "cka"}
"""Not what a rule should read, but quick to measure."""


def rule_of(**changed):
    def criterion(column, protocol, threshold):
        return {
            "column": column,
            "protocols": [protocol],
            "threshold": threshold,
            "spread": 0.1,
            "spread_source": "a guess",
        }

    fields = {
        "id": "quick-v1",
        "description": "For these tests.",
        "source": "nowhere",
        "train_loss": criterion("fit_loss", "evaluation/clean-v1", 2.0),
        "mode_connectivity": criterion("l2_distance", "distance/l2-v1", 4.0),
        "cka": criterion("cka", "cka/logits-test-v1", 0.5),
    }
    return PhaseRule.model_validate({**fields, **changed})


@pytest.fixture(scope="module")
def made(tiny_recipe, tmp_path_factory):
    grid = {"widths": [2, 3, 16], "learning_rates": [0.01, 0.05, 0.1]}
    recipe = tiny_recipe(**grid, training={"epochs": 6}, seeds=[0, 1, 2])
    root = tmp_path_factory.mktemp("made") / "zoo"
    generate(recipe, root)
    return measure(root, metrics=METRICS).root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "zoo")


def test_cells_are_labelled_by_their_means(root):
    rule = rule_of()
    cells = label(root, rule).cells
    pd.testing.assert_series_equal(cells["phase"], label_rows(cells[list(READ.values())], rule)["phase"])
    assert cells["phase"].nunique() > 1


def test_checkpoints_are_labelled_by_their_loss_and_their_pairs(root):
    rule = rule_of()
    z = label(root, rule)
    for row in z.checkpoints.itertuples():
        mine = z.pairs[
            (z.pairs["checkpoint_a"] == row.checkpoint_id) | (z.pairs["checkpoint_b"] == row.checkpoint_id)
        ]
        high, barrier = row.fit_loss > 2, mine["l2_distance"].mean() < 4
        alike = mine["cka"].mean() >= 0.5
        expected = ("I" if barrier else "II") if high else "III" if barrier else "IV-B" if alike else "IV-A"
        assert row.phase == expected
    shares = z.checkpoints[[c for c in z.checkpoints if c.startswith("phase_I")]]
    assert shares.shape[1] == 5
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_labels_can_be_queried_and_say_their_rule(root):
    z = label(root, rule_of())
    assert (z.where("phase == 'I'").checkpoints["phase"] == "I").all()
    protocol = z.manifest.protocols["phases/quick-v1"]
    assert PhaseRule.model_validate(protocol.settings) == rule_of()
    assert (root / "phases.json").read_text() == rule_of().to_json()
    assert zoo.verify(root) == []


def test_what_is_measured_later_is_labelled_too(root):
    shutil.rmtree(root / "parts" / "cka")
    lines = (root / "journal.jsonl").read_text().splitlines(keepends=True)
    (root / "journal.jsonl").write_text("".join(line for line in lines if "parts/cka/" not in line))
    measure(root, metrics=["cka"], where="epoch == last_epoch")
    z = label(root, rule_of(train_loss=rule_of().train_loss.model_copy(update={"threshold": 1e9})))
    early = z.where("epoch < last_epoch").checkpoints
    four = early["phase"].isna()
    assert four.any()
    assert (early.loc[four, "phase_reason"] == "cka is missing").all()
    z = measure(root, metrics=["cka"])
    assert z.checkpoints["phase"].notna().all()


def test_another_rule_replaces_the_first(root):
    label(root, rule_of())
    z = label(
        root, rule_of(id="quick-v2", train_loss=rule_of().train_loss.model_copy(update={"threshold": 1e-9}))
    )
    assert [name for name in z.manifest.protocols if name.startswith("phases/")] == ["phases/quick-v2"]
    assert set(z.checkpoints["phase"]) <= {"I", "II"}


def test_cells_name_the_protocol_of_each_column(root):
    protocols = zoo.open(root).cells.attrs["protocols"]
    assert protocols["cka"] == "cka/logits-test-v1"
    assert protocols["fit_loss"] == "evaluation/clean-v1"


def test_a_rule_of_other_protocols_is_refused(root):
    foreign = rule_of(cka=rule_of().cka.model_copy(update={"protocols": ("yang2021-cka/v1",)}))
    with pytest.raises(
        SpecificationError, match=r"was made for 'cka' under protocol yang2021-cka/v1, got 'cka'"
    ):
        label(root, foreign)
    assert "phase" not in zoo.open(root).checkpoints


def test_values_of_another_protocol_since_then_leave_labels_missing(root, monkeypatch):
    # as if the metric had got a new protocol since the rule was chosen
    monkeypatch.setattr(labelling, "_check", lambda *_: None)
    z = label(root, rule_of(cka=rule_of().cka.model_copy(update={"protocols": ("cka/other-v1",)})))
    assert z.checkpoints["phase"].isna().all()
    assert z.checkpoints["phase_reason"].str.contains("made for 'cka' under protocol cka/other-v1").all()
    assert z.cells["phase"].isna().all()


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff\xfe{")])
def test_a_rule_that_was_lost_or_changed_labels_nothing_until_there_is_another(root, spoil):
    label(root, rule_of())
    spoil(root / "phases.json")
    assert "phases.json" in {fault.file for fault in zoo.verify(root)}
    assert "phase" not in measure(root, metrics=["norms"]).checkpoints
    assert label(root, rule_of()).checkpoints["phase"].notna().all()
    assert zoo.verify(root) == []


def test_a_rule_under_the_id_of_another_is_refused(root):
    with pytest.raises(SpecificationError, match="the rule yang2021-v1 of the package has other thresholds"):
        label(root, rule_of(id="yang2021-v1"))


def test_a_column_that_is_not_measured_is_named(root):
    with pytest.raises(QueryError, match=r"lacks yang2021_mode_connectivity, yang2021_cka: measure it first"):
        label(root, "yang2021-v1")


def test_a_published_zoo_keeps_its_labels(root):
    (root / "journal.jsonl").unlink()
    with pytest.raises(FormatError, match="was published, and its tables are final"):
        label(root, rule_of())


def test_an_unknown_rule_is_named(root):
    with pytest.raises(UnknownNameError, match="unknown rule 'yang2022-v1'; did you mean 'yang2021-v1'"):
        label(root, "yang2022-v1")


# calibrate


def test_a_zoo_gives_its_own_rule(root):
    z = zoo.open(root)
    fixed = {"train_loss": 1e9, "mode_connectivity": 0.0}
    found = calibrate(z, id="mine-v1", columns=READ, fixed=fixed)
    assert found.quantities["cka"].method == "otsu"
    assert z.cells["cka"].min() < found.rule.cka.threshold < z.cells["cka"].max()
    assert sum(found.phases.values()) == len(z.cells)
    labelled = label(root, found.rule)
    counts = labelled.cells["phase"].value_counts()
    assert {name: int(counts.get(name, 0)) for name in found.phases if name != "undefined"} == {
        name: count for name, count in found.phases.items() if name != "undefined"
    }


def test_a_rule_for_what_is_not_measured_is_refused(root):
    with pytest.raises(
        QueryError, match=r"would read fit_loss, nothing, cka; nothing is not measured: run `phasezoo"
    ):
        calibrate(zoo.open(root), id="mine-v1", columns={**READ, "mode_connectivity": "nothing"})


def run(*arguments):
    return CliRunner().invoke(build(), [str(argument) for argument in arguments])


def test_the_command_writes_a_rule_that_the_next_command_takes(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = [part for name, column in READ.items() for part in ("--column", f"{name}={column}")]
    cuts = ["--cut", "train_loss=1e9", "--cut", "mode_connectivity=0"]
    done = run("calibrate", root, "--id", "mine-v1", *columns, *cuts, "--figure", "cuts.png")
    assert done.exit_code == 0, done.output
    assert "rule mine-v1:" in done.output
    assert "Next: phasezoo label" in done.output
    assert get_rule(tmp_path / "mine-v1.json").id == "mine-v1"
    assert (tmp_path / "cuts.png").stat().st_size > 1000
    done = run("label", root, "--rule", "mine-v1")
    assert done.exit_code == 0, done.output
    assert "IV-B" in done.output
    assert "checkpoints have a phase" in done.output
    assert "(cells by the rule mine-v1)" in " ".join(run("info", root).output.split())
    done = run("calibrate", root, *columns, *cuts)
    assert "rule tiny-v1:" in done.output


def test_what_the_zoo_cannot_tell_is_said(root):
    threshold = rule_of().cka.model_copy(update={"threshold": 2.0})
    label(root, rule_of(cka=threshold))
    parts = [line for line in (root / "journal.jsonl").read_text().splitlines() if "parts/cka/" not in line]
    (root / "journal.jsonl").write_text("\n".join(parts) + "\n")
    missing = rule_of(train_loss=rule_of().train_loss.model_copy(update={"threshold": 1e9}))
    measure(root, metrics=["cka"], where="epoch == 0")
    (root / "rule-v1.json").write_text(missing.to_json())
    done = run("label", root, "--rule", root / "rule-v1.json")
    assert "cells: cka is missing" in done.output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--column", "cka"], "expected QUANTITY=VALUE, such as cka=cka_mixup, got 'cka'"),
        (["--cut", "cka=high"], "a cut is a number or otsu, got 'high'"),
        (["--cut", "cka=nan"], "a cut is a number or otsu, got 'nan'"),
        (["--figure", "cuts.gif"], "expected a name that ends with .png or .svg"),
    ],
)
def test_options_that_say_nothing_are_refused(root, option, message):
    done = run("calibrate", root, *option)
    assert message in str(done.exception)
