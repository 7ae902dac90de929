import pytest
import typer
from typer.testing import CliRunner

from wsl_tasks import Result
from wsl_tasks.cli import register
from zoo.errors import UnknownNameError

TASK = "averaging/digits-mlp-demo/seeds@v1"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    register(app)

    def invoke(*words):
        outcome = CliRunner().invoke(app, list(map(str, words)))
        if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
            raise outcome.exception
        return outcome

    return invoke


def test_tasks_are_listed_with_their_baselines(run):
    shown = run("tasks").output
    assert TASK in shown
    assert "greedy-soup" in shown
    assert "Next: phasezoo evaluate" in shown


def test_evaluate_writes_a_result_for_each_baseline(run, zoo, tmp_path):
    outcome = run("evaluate", TASK, "--zoo", zoo.root, "--out", tmp_path / "r")
    assert outcome.exit_code == 0
    assert "accuracy_gain (main)" in outcome.output
    assert "Next: phasezoo leaderboard" in outcome.output
    methods = {Result.load(file).method for file in (tmp_path / "r").iterdir()}
    assert methods == {"best-member", "uniform-soup", "greedy-soup", "logit-ensemble"}


def test_one_baseline_then_the_leaderboard(run, zoo, tmp_path):
    run("evaluate", TASK, "--method", "best-member", "--zoo", zoo.root)
    assert [file.name for file in (tmp_path / "results").iterdir()] == [
        "averaging.digits-mlp-demo.seeds@v1.best-member.json"
    ]
    shown = run("leaderboard").output
    assert "best-member" in shown
    assert "[0.000, 0.000]" in shown
    markdown = run("leaderboard", "results", "--markdown", "--out", "board.md").output
    assert markdown.startswith(f"### `{TASK}`\n")
    assert (tmp_path / "board.md").read_text() == markdown


def test_an_unknown_baseline_is_refused(run, zoo):
    with pytest.raises(UnknownNameError, match="unknown baseline 'greedy'; did you mean 'greedy-soup'"):
        run("evaluate", TASK, "--method", "greedy", "--zoo", zoo.root)


@pytest.mark.parametrize("command", ["tasks", "evaluate", "leaderboard"])
def test_help_shows_an_example(run, command):
    assert f"phasezoo {command}" in run(command, "--help").output
