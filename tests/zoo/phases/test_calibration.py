import numpy as np
import pandas as pd
import pytest

from zoo.errors import SpecificationError, UnknownNameError
from zoo.phases import calibrate, get_rule, label

PROTOCOLS = {
    "fit_loss": "evaluation/clean-v1",
    "mode_connectivity": "bezier/quadratic-v1",
    "cka": "cka/other-v1",
}
COLUMNS = {"train_loss": "fit_loss"}
GIVEN = {"train_loss": 0.2, "mode_connectivity": 0.3, "cka": 0.01}


def make_zoo(generator, n=60):
    """A zoo whose CKA lies at 0.92 or 0.98 where loss is low: tables of cells, of seeds and of pairs."""
    ids = [f"cell{number}" for number in range(n)]
    low, alike = np.arange(n) % 3 > 0, np.arange(n) % 2 > 0
    centre = {
        "fit_loss": np.where(low, 0.004, 0.4) * np.exp(generator.normal(0, 0.3, n)),
        "mode_connectivity": np.where(np.arange(n) % 5 > 0, -0.1, -6.0) + generator.normal(0, 0.05, n),
        "cka": np.where(alike, 0.98, 0.92) + generator.normal(0, 0.004, n),
    }
    seeds = pd.DataFrame({"cell_id": np.repeat(ids, 5)})
    seeds["fit_loss"] = np.repeat(centre["fit_loss"], 5) * np.exp(generator.normal(0, 0.2, 5 * n))
    pairs = pd.DataFrame({"cell_id": np.repeat(ids, 6)})
    for name, spread in (("mode_connectivity", 0.3), ("cka", 0.01)):
        pairs[name] = np.repeat(centre[name], 6) + generator.normal(0, spread, 6 * n)
    return pd.DataFrame({"cell_id": ids, **centre}), seeds, pairs


@pytest.fixture
def zoo_tables():
    return make_zoo(np.random.default_rng(0))


def test_cka_is_cut_between_its_two_humps_and_spreads_are_those_of_the_seeds(zoo_tables):
    cells, *seeds = zoo_tables
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds)
    rule = found.rule
    assert (rule.train_loss.threshold, rule.mode_connectivity.threshold) == (0.05, -1.0)
    assert 0.935 < rule.cka.threshold < 0.965
    assert found.quantities["cka"].explained > 0.9
    # 15 cells of 5 seeds, or of 6 pairs: standard errors of 9 and 8 %
    assert rule.train_loss.spread == pytest.approx(0.2, rel=0.3)
    assert rule.mode_connectivity.spread == pytest.approx(0.3, rel=0.3)
    assert rule.cka.spread == pytest.approx(0.01, rel=0.3)
    assert rule.cuts.keys() == {"fit_loss", "mode_connectivity", "cka"}
    assert rule.cka.protocols == ("cka/other-v1",)


def test_the_new_rule_labels_the_zoo_and_refuses_other_protocols(zoo_tables):
    cells, *seeds = zoo_tables
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds)
    phase = label(cells, found.rule, protocols=PROTOCOLS)["phase"]
    assert found.phases == {**phase.value_counts().to_dict(), "undefined": 0}
    four = (np.arange(60) % 3 > 0) & (np.arange(60) % 5 > 0)
    assert phase[four].tolist() == np.where(np.arange(60) % 2 > 0, "IV-B", "IV-A")[four].tolist()
    with pytest.raises(
        SpecificationError, match=r"rule 'mine-v1' was made for 'cka' under protocol cka/other-v1"
    ):
        label(cells, found.rule, protocols={**PROTOCOLS, "cka": "cka/logits-test-v1"})


def test_the_published_cells_give_the_published_rule_back(published, published_losses):
    protocols = dict.fromkeys(["train_loss", "mode_connectivity", "cka"], "theirs")
    fixed = {"train_loss": 0.05, "mode_connectivity": -1.0, "cka": 0.65}
    spreads = {"mode_connectivity": 0.22, "cka": 0.034}
    found = calibrate(
        published, id="x-v1", protocols=protocols, seeds=[published_losses], fixed=fixed, spreads=spreads
    )
    assert found.phases == {"I": 42, "II": 25, "III": 34, "IV-A": 23, "IV-B": 45, "undefined": 0}
    assert round(found.rule.train_loss.spread, 2) == get_rule("yang2021-v1").train_loss.spread
    del fixed["cka"]
    derived = calibrate(
        published, id="x-v1", protocols=protocols, seeds=[published_losses], fixed=fixed, spreads=spreads
    )
    # one hump: the cut is within a spread of the one that was chosen by eye
    assert derived.rule.cka.threshold == pytest.approx(0.65, abs=0.034)
    assert 0.6 < derived.quantities["cka"].explained < 0.75


def test_a_loss_that_is_not_given_is_cut_on_its_logarithm(zoo_tables):
    cells, *seeds = zoo_tables
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds, fixed={})
    assert found.quantities["train_loss"].method == "otsu"
    # midway between the humps' neighbouring members, by their geometric mean
    ordered = np.sort(cells["fit_loss"])
    below = (ordered < found.rule.train_loss.threshold).sum()
    assert below == 40
    assert found.rule.train_loss.threshold == pytest.approx(np.sqrt(ordered[39] * ordered[40]))
    assert -6 < found.rule.mode_connectivity.threshold < 0


def test_the_report_shows_histograms_and_cuts(zoo_tables):
    cells, *seeds = zoo_tables
    cells.loc[0, "fit_loss"] = 0.0
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds)
    edges, counts, cut = found.histograms["fit_loss"]
    np.testing.assert_allclose(edges[1:] / edges[:-1], edges[1] / edges[0])
    assert cut == 0.05
    assert counts.sum() == 59  # a loss of 0 has no logarithm
    edges, counts, _ = found.histograms["cka"]
    low = (cells["fit_loss"] <= 0.05) & (cells["mode_connectivity"] >= -1)
    assert counts.tolist() == np.histogram(cells.loc[low, "cka"], edges)[0].tolist()
    table = found.to_frame()
    assert table.index.tolist() == ["train_loss", "mode_connectivity", "cka"]
    assert table["cells"].tolist() == [59, 60, low.sum()]
    assert table["method"].tolist() == ["fixed", "fixed", "otsu"]
    assert table.loc["cka", "cut"] == found.rule.cka.threshold


def test_the_report_reads_well(zoo_tables):
    cells, *seeds = zoo_tables
    text = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds).text
    assert text.startswith("rule mine-v1: I ")
    assert "train_loss (fit_loss, evaluation/clean-v1): cut at 0.05, as given; spread 0." in text
    assert "of the variance between both sides; spread 0.0" in text
    assert text.count(" cut\n") == 3
    bars = [line for line in text.splitlines() if "#" in line]
    assert max(line.count("#") for line in bars) == 40
    assert "when a threshold moves by one spread" in text
    assert max(map(len, text.splitlines())) < 120


def test_sensitivity_moves_one_threshold_at_a_time(zoo_tables):
    cells, *_ = zoo_tables
    spreads = {"train_loss": 3.0, "mode_connectivity": 6.0, "cka": 0.05}
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, spreads=spreads)
    table = found.sensitivity.set_index(["moved", "by"])
    assert table.index.tolist() == [("none", 0)] + [(name, by) for name in spreads for by in (-1, 1)]
    assert (table.drop(columns="threshold").sum(axis=1) == 60).all()
    assert table.loc[("train_loss", 1), "threshold"] == pytest.approx(0.05 * np.exp(3))
    assert table.loc[("train_loss", 1), ["I", "II"]].sum() == 0
    assert table.loc[("mode_connectivity", -1), ["I", "III"]].sum() == 0
    assert table.loc[("mode_connectivity", 1), ["II", "IV-A", "IV-B"]].sum() == 0
    assert table.loc[("cka", 1), "IV-B"] == 0


def test_cells_without_values_are_counted_and_cut_nothing(zoo_tables):
    cells, *seeds = zoo_tables
    whole = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds)
    values = {"fit_loss": [np.nan, -1.0, 0.01], "mode_connectivity": [0.0, 0.0, np.nan], "cka": [0.5] * 3}
    more = pd.concat([cells, pd.DataFrame({"cell_id": list("abc"), **values})])
    found = calibrate(more, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=seeds)
    assert found.phases == {**whole.phases, "undefined": 3}
    assert found.rule.cuts == whole.rule.cuts


def test_a_given_cut_may_have_all_cells_on_one_side(zoo_tables):
    cells, *_ = zoo_tables
    fixed = {"train_loss": 100.0, "mode_connectivity": 100.0, "cka": 0.9}
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, fixed=fixed, spreads=GIVEN)
    assert found.phases == {"I": 0, "II": 0, "III": 60, "IV-A": 0, "IV-B": 0, "undefined": 0}
    edges, counts, _ = found.histograms["cka"]
    assert (len(edges), len(counts)) == (0, 0)
    assert "cka (cka, cka/other-v1): cut at 0.9" in found.text


def test_what_the_table_says_of_its_protocols_is_enough(zoo_tables):
    cells, *_ = zoo_tables
    cells.attrs["protocols"] = {**PROTOCOLS, "cka": "old"}
    found = calibrate(cells, id="mine-v1", columns=COLUMNS, spreads=GIVEN)
    assert found.rule.cka.protocols == ("old",)
    told = calibrate(cells, id="mine-v1", columns=COLUMNS, protocols={"cka": "new"}, spreads=GIVEN)
    assert told.rule.cka.protocols == ("new",)


def test_ids_that_exist_or_are_none_are_refused(zoo_tables):
    with pytest.raises(SpecificationError, match=r"the rule 'yang2021-v1' exists, .*; give a new one"):
        calibrate(zoo_tables[0], id="yang2021-v1")
    with pytest.raises(SpecificationError, match=r"expected the id of a rule, .*, got 'Mine'; write it as"):
        calibrate(zoo_tables[0], id="Mine")


def change(**columns):
    return lambda cells: cells.assign(**columns)


@pytest.mark.parametrize(
    ("of_cells", "options", "error", "message"),
    [
        (change(), {"fixed": {"ckaa": 0.6}}, UnknownNameError, "unknown quantity 'ckaa'; did you mean 'cka'"),
        (
            change(),
            {"columns": {**COLUMNS, "cka": "cka_mix"}},
            UnknownNameError,
            "unknown column 'cka_mix'; .*measure it first",
        ),
        (
            change(),
            {"protocols": {}},
            SpecificationError,
            r"protocol of column 'fit_loss' is not known.*give prot",
        ),
        (
            change(fit_loss=1.0),
            {},
            SpecificationError,
            r"0 cells in phase IV \(low loss, no barrier\) have a finite 'cka', expected at least 8 .*fixed=",
        ),
        (
            change(cka=0.9),
            {},
            SpecificationError,
            r"all \d+ cells in phase IV .* have the same 'cka', .*fixed=",
        ),
        (
            change(fit_loss=0.3),
            {"fixed": {}},
            SpecificationError,
            r"all 60 cells have the same 'fit_loss', expected two values to cut between; give the cut as",
        ),
        (
            change(),
            {"fixed": {"train_loss": -1.0, "mode_connectivity": 0.0, "cka": 0.5}},
            SpecificationError,
            r"what was given makes no rule; .* got\n .*threshold of train_loss must be above 0",
        ),
        (
            change(),
            {"spreads": {**GIVEN, "cka": 0.0}},
            SpecificationError,
            r"what was given makes no rule; .* got\n  cka.spread",
        ),
    ],
)
def test_what_gives_no_cut_is_refused(zoo_tables, of_cells, options, error, message):
    cells = of_cells(zoo_tables[0])
    chosen = {"columns": COLUMNS, "protocols": PROTOCOLS, "spreads": GIVEN, **options}
    with pytest.raises(error, match=message):
        calibrate(cells, id="mine-v1", **chosen)


@pytest.mark.parametrize(
    ("of_pairs", "error", "message"),
    [
        (
            lambda pairs: pairs.drop(columns="cka"),
            SpecificationError,
            "no table of `seeds` has a column 'cka'; give",
        ),
        (
            lambda pairs: pairs.drop(columns="cell_id"),
            UnknownNameError,
            "unknown column 'cell_id'; .*seeds need it",
        ),
        (
            lambda pairs: pairs.drop_duplicates("cell_id"),
            SpecificationError,
            r"values of 'mode_connectivity' give no spread across seeds: no cell has two that differ; give",
        ),
        (
            lambda pairs: pairs.assign(mode_connectivity=0.0),
            SpecificationError,
            r"give no spread across seeds: no cell has two that differ; .*spreads=",
        ),
    ],
)
def test_seeds_that_give_no_spread_are_refused(zoo_tables, of_pairs, error, message):
    cells, seeds, pairs = zoo_tables
    tables = [seeds, of_pairs(pairs)]
    with pytest.raises(error, match=message):
        calibrate(cells, id="mine-v1", columns=COLUMNS, protocols=PROTOCOLS, seeds=tables)
