import json

import numpy as np
import pytest

from zoo.errors import FormatError, UnknownNameError
from zoo.phases import PHASES, PhaseRule, get_rule, list_rules
from zoo.phases.cuts import typical_spread

YANG = get_rule("yang2021-v1")


def test_the_published_rule_has_its_thresholds():
    assert "yang2021-v1" in list_rules()
    assert [criterion.threshold for criterion in YANG.criteria.values()] == [0.05, -1.0, 0.65]
    assert list(YANG.criteria) == ["train_loss", "mode_connectivity", "cka"]
    assert PHASES == ("I", "II", "III", "IV-A", "IV-B")


@pytest.mark.parametrize("name", list_rules())
def test_a_rule_of_the_package_has_the_id_that_its_file_is_called_by(name):
    assert get_rule(name).id == name


def test_the_spread_of_the_loss_is_that_of_the_published_seeds(published_losses):
    logarithms = np.log(published_losses["train_loss"].to_numpy())
    cells = published_losses["cell_id"].to_numpy(str)
    assert round(typical_spread(logarithms, cells, near=np.log(0.05)), 2) == YANG.train_loss.spread


def test_the_spread_of_mode_connectivity_is_what_neighbours_scatter(published):
    grid = published.pivot_table(index="width", columns="batch_size", values="mode_connectivity").to_numpy()
    triples = np.stack([grid[:, :-2], grid[:, 1:-1], grid[:, 2:]])
    near = ((triples >= -4) & (triples <= -0.25)).all(axis=0)
    assert near.sum() == 11
    bends = (triples[0] - 2 * triples[1] + triples[2])[near] / np.sqrt(6)
    assert round(float(np.sqrt((bends**2).mean())), 2) == YANG.mode_connectivity.spread


def test_a_rule_comes_back_from_its_file(tmp_path):
    path = tmp_path / "mine.json"
    mine = YANG.model_copy(update={"id": "mine-v1"})
    path.write_text(mine.to_json(), encoding="utf-8")
    assert get_rule(path) == get_rule(str(path)) == mine
    assert mine.to_json().endswith("}\n")


def test_a_name_that_no_rule_has_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown rule 'yang2021-v2'; did you mean 'yang2021-v1'\?"):
        get_rule("yang2021-v2")
    with pytest.raises(UnknownNameError, match=r"no rule file .*gone\.json; expected JSON that PhaseRule"):
        get_rule(tmp_path / "gone.json")
    with pytest.raises(UnknownNameError, match=r"no rule file .*rules; expected JSON"):
        get_rule(tmp_path / "rules")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "yang2021"}, "id: "),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"train_loss": {"threshold": 0}}, "the whole: .*threshold of train_loss must be above 0, got 0"),
        ({"cka": {"column": "fit_loss"}}, "the whole: .*three different columns, got fit_loss, .*, fit_loss"),
        ({"cka": {"protocols": []}}, r"cka.protocols: .*at least 1 item"),
        ({"cka": {"spread": 0}}, "cka.spread: .*greater than 0"),
        ({"cka": {"unit": "nats"}}, "cka.unit: Extra inputs"),
    ],
)
def test_a_file_that_is_no_rule_is_refused(change, message):
    raw = json.loads(YANG.to_json())
    for key, value in change.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
    with pytest.raises(FormatError, match=rf"x\.json is not a rule of phases:\n  {message}"):
        PhaseRule.from_json(json.dumps(raw), source="x.json")


def test_text_that_is_no_json_is_refused():
    with pytest.raises(FormatError, match=r"x\.json is not valid JSON"):
        PhaseRule.from_json("{", source="x.json")


def test_a_rule_of_labels_is_refused():
    raw = YANG.model_dump(mode="json")
    raw["cka"]["column"] = "phase_I"
    with pytest.raises(FormatError, match="a rule reads measurements, not labels; got the columns"):
        PhaseRule.from_json(json.dumps(raw), source="a rule")
