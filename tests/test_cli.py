"""The command line: exit codes, messages without tracebacks, the next step named."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import zoo
from generators import LocalExecutor, Recipe
from generators.engine import TaskSettings
from generators.executors import Done
from generators.executors.inline import InlineExecutor
from zoo.cli import main as cli
from zoo.cli.demo import demo_commands
from zoo.training import StackTrainer

DEMO = Path("demo")
GENERATE = ["generate", "digits-mlp-demo", "--out", "x"]


@pytest.fixture
def recipe_file(tiny_recipe: Callable[[], Recipe], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe().model_dump(mode="json")))
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plot", "nowhere"], "unknown zoo 'nowhere'"),
        (["info", "https://example.org/zoo"], "this version opens folders"),
        (["verify", "nowhere"], "holds no zoo"),
        (["generate", "digits-mpl-demo", "--out", "x"], "did you mean 'digits-mlp-demo' or 'digits-mlp'?"),
        (["measure", "nowhere"], "holds no zoo"),
        (["evaluate", "property-prediction/digits-mlp-demo/accuracy@v1"], "phasezoo tasks"),
        (["leaderboard", "nowhere"], "nowhere"),
        (["plt"], "Did you mean 'plot'?"),
        (["plot"], "Missing argument"),
        (["info", "n" * 300], "check the path and its permissions"),
        (
            [*GENERATE, "--executor", "local:0"],
            "unknown executor 'local:0'; expected local, local:N with N from 1, or ray",
        ),
        ([*GENERATE, "--executor", "local:"], "unknown executor 'local:'"),
        ([*GENERATE, "--executor", "local:two"], "unknown executor 'local:two'"),
        ([*GENERATE, "--executor", "local:-1"], "unknown executor 'local:-1'"),
        ([*GENERATE, "--executor", "slurm"], "unknown executor 'slurm'"),
        ([*GENERATE, "--executor", "slurm:4"], "unknown executor 'slurm:4'"),
        (
            [*GENERATE, "--address", "localhost:6379"],
            "--address is of a Ray cluster, got --executor local; add --executor ray",
        ),
        (
            [*GENERATE, "--executor", "local:2", "--address", "x:1"],
            "got --executor local:2; add --executor ray",
        ),
        ([*GENERATE, "--strategy", "stackd"], "unknown strategy 'stackd'; did you mean 'stacked'?"),
        ([*GENERATE, "--strategy", "x", "--dry-run"], "unknown strategy 'x'; known: auto, loop, stacked"),
        ([*GENERATE, "--device", "gpuu"], "device 'gpuu' cannot be used here"),
    ],
)
def test_user_errors_exit_with_2_and_no_traceback(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_exits_with_130_and_says_what_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("generators.recipe.load_recipe", interrupt)
    assert cli.run(["generate", "digits-mlp-demo", "--out", "x"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("phasezoo ")
    assert cli.run(["generate", "--help"]) == 0
    assert "phasezoo generate digits-mlp-demo --out" in capsys.readouterr().out


def test_dry_run_says_how_much(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["generate", "digits-mlp-demo", "--out", str(tmp_path / "zoo"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "168" in shown
    assert "bytes free there" in shown
    assert not (tmp_path / "zoo").exists()


def test_dry_run_describes_the_file_that_was_given(
    recipe_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["generate", str(recipe_file), "--out", str(tmp_path / "zoo"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "tiny would make" in shown
    assert "168" not in shown


def test_every_look_works_on_a_zoo(
    tiny_zoo: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = tmp_path / "phases.svg"
    assert cli.run(["info", str(tiny_zoo)]) == 0
    assert cli.run(["plot", str(tiny_zoo), "--out", str(figure)]) == 0
    assert figure.exists()
    assert cli.run(["verify", str(tiny_zoo)]) == 0
    assert "every file is whole" in capsys.readouterr().out


def test_verify_exits_with_2_when_there_are_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "phasezoo"}))
    assert cli.run(["verify", str(tmp_path)]) == 2
    assert "1 faults" in capsys.readouterr().out


def test_generate_and_measure(recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "zoo")
    assert cli.run(["generate", str(recipe_file), "--out", out]) == 0
    assert "8 models (8 finished, 0 diverged, 0 failed)" in capsys.readouterr().out
    assert cli.run(["measure", out, "--metrics", "spectrum, norms"]) == 0
    said = capsys.readouterr()
    assert "all that was asked for is measured" in said.out
    assert "spectrum: 72 rows" in said.err
    assert cli.run(["measure", out, "--metrics", "spectrun"]) == 2
    assert "did you mean 'spectrum'" in capsys.readouterr().err


def test_a_dry_run_says_what_it_would_cost_and_makes_nothing(
    recipe_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["generate", str(recipe_file), "--out", str(tmp_path / "zoo"), "--dry-run", "--device", "cpu"]
    assert cli.run(words) == 0
    alone = capsys.readouterr().out
    for what in ("optimiser steps", "operations", "peak memory", "time to train", "bytes free there"):
        assert what in alone
    assert f"{2 * 8 * 16:,}" in alone
    assert cli.run([*words, "--executor", "local:3"]) == 0
    assert peak_memory(capsys.readouterr().out) > 2 * peak_memory(alone)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def peak_memory(shown: str) -> float:
    (row,) = (line for line in shown.splitlines() if "peak memory" in line)
    return float(row.split("about ")[1].split(" GB")[0])


def test_workers_and_strategy_are_options(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(_executor: LocalExecutor, tasks: object, settings: TaskSettings, watch: object) -> Iterator[Done]:
        asked.append((_executor.workers, settings.strategy))
        return InlineExecutor().run(tasks, settings, watch)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalExecutor, "run", run)
    words = ["generate", str(recipe_file), "--out", str(tmp_path / "zoo"), "--device", "cpu"]
    assert cli.run([*words, "--executor", "local:2", "--strategy", "loop"]) == 0
    assert asked == [(2, "loop")]
    assert zoo.open(tmp_path / "zoo").models["strategy"].tolist() == ["loop"] * 8


def test_other_code_is_refused_and_accepted(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["generate", str(recipe_file), "--out", str(tmp_path / "zoo"), "--device", "cpu"]

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr("generators.executors.base.train_task", fail)
        assert cli.run(words) == 2
    monkeypatch.setattr("generators.engine.provenance.ENGINE", 99)
    capsys.readouterr()
    assert cli.run(words) == 2
    assert "this is engine 99 and torch" in capsys.readouterr().err
    assert cli.run([*words, "--accept-other-code"]) == 0
    assert "8 models (8 finished, 0 diverged, 0 failed)" in capsys.readouterr().out


def test_an_interrupt_amid_a_stack_exits_with_130_and_the_same_command_goes_on(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SIGINT arrives in the first epoch: the epoch ends, its state is saved."""
    words = ["generate", str(recipe_file), "--out", str(tmp_path / "zoo"), "--device", "cpu"]
    real = StackTrainer.run_epoch

    def run_epoch(trainer: StackTrainer) -> object:
        if trainer.epoch == 0:
            signal.raise_signal(signal.SIGINT)
        return real(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(StackTrainer, "run_epoch", run_epoch)
        assert cli.run(words) == 130
    shown = capsys.readouterr().err
    assert (
        "stopping after this epoch, what is in training is saved first; Ctrl-C again stops at once" in shown
    )
    assert "the same command goes on from there" in shown
    assert len(list((tmp_path / "zoo" / "state").iterdir())) == 1
    assert cli.run(words) == 0
    assert not (tmp_path / "zoo" / "state").exists()


def test_recipes_lists_what_comes_with_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recipes"]) == 0
    assert "168" in capsys.readouterr().out


def test_failed_models_are_an_error_with_a_way_out(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("generators.executors.base.train_task", fail)
    assert cli.run(["generate", str(recipe_file), "--out", str(tmp_path / "zoo")]) == 2
    shown = capsys.readouterr().err
    assert "8 models failed: RuntimeError: no memory; the same command tries them again" in shown


def test_demo_stops_at_the_first_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoo.cli.demo.demo_commands", lambda out: [["recipes"], ["info", str(out / "zoo")]])
    assert cli.run(["demo", "--out", str(tmp_path)]) == 2
    assert "unknown zoo" in capsys.readouterr().err


def test_demo_takes_the_path_of_a_user() -> None:
    words = [command[0] for command in demo_commands(DEMO)]
    begin = ["generate", "measure", "label", "info", "plot", "plot", "plot"]
    assert words == [*begin, "evaluate", "evaluate", "evaluate", "leaderboard"]
