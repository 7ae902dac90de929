import pytest

from wsl_tasks.leaderboard import COLUMNS, leaderboard, to_markdown
from wsl_tasks.result import Result
from zoo.errors import FormatError

AVERAGING = "averaging/digits-mlp-demo/seeds@v1"
GENERATION = "weight-generation/digits-mlp-demo/unconditional@v1"
STAMP = {"name": "z", "recipe_hash": "a", "split": "iid-v1", "split_sha256": "b"}


def save(folder, method, value, *, task=AVERAGING, file=None, **changes):
    main = {AVERAGING: "accuracy_gain", GENERATION: "novel_accuracy"}.get(task, "x")
    score = (
        {"reason": "no ranking"} if value is None else {"value": value, "low": value - 1, "high": value + 1}
    )
    fields = {"task": task, "method": method, "scores": {main: score}, "breakdown": {}, "n": 4, "n_cells": 2}
    fields |= {"seeds": [0], "wall_seconds": 0.5, "versions": {}, "zoo": STAMP}
    Result.model_validate(fields | changes).save(folder / (file or f"{task.split('/')[0]}-{method}.json"))


def test_best_first_within_each_task(tmp_path):
    for method, value in (("a", 1.0), ("b", 3.0), ("c", None), ("d", 2.0), ("e", 3.0)):
        save(tmp_path, method, value)
    save(tmp_path, "z", 0.5, task=GENERATION)
    board = leaderboard(tmp_path)
    assert tuple(board.columns) == COLUMNS
    assert board["method"].tolist() == ["b", "e", "d", "a", "c", "z"]
    assert board["rank"].fillna(0).tolist() == [1, 1, 3, 4, 0, 1]
    assert board["score"].tolist() == ["accuracy_gain"] * 5 + ["novel_accuracy"]
    assert board.loc[0, ["low", "high"]].tolist() == [2.0, 4.0]
    assert board["file"].iloc[0] == "averaging-b.json"


def test_reference_rows_have_no_rank(tmp_path):
    save(tmp_path, "mine", 1.0)
    save(tmp_path, "real", 2.0, reference=True)
    assert leaderboard(tmp_path)["rank"].fillna(0).tolist() == [0, 1]


def test_markdown(tmp_path):
    save(tmp_path, "mine|yours", 1.0, file="1.json")
    save(tmp_path, "real", 2.0, reference=True)
    save(tmp_path, "none", None)
    assert to_markdown(leaderboard(tmp_path)) == (
        "### `averaging/digits-mlp-demo/seeds@v1`\n\n"
        "| rank | method | accuracy_gain | 95 % interval |\n"
        "|---:|---|---:|---|\n"
        "| ref | real | 2.000 | [1.000, 3.000] |\n"
        "| 1 | mine\\|yours | 1.000 | [0.000, 2.000] |\n"
        "| - | none | undefined | - |\n"
    )


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(
        FormatError, match=r"there is no result in .*; write some with `phasezoo evaluate TASK"
    ):
        leaderboard(tmp_path)


def test_a_broken_file_is_named(tmp_path):
    save(tmp_path, "mine", 1.0)
    (tmp_path / "broken.json").write_text('{"task": 1}')
    with pytest.raises(FormatError, match=r"broken\.json is not a result"):
        leaderboard(tmp_path)


def test_an_unknown_task_is_refused(tmp_path):
    save(tmp_path, "mine", 1.0, task="averaging/other/seeds@v1")
    with pytest.raises(
        FormatError, match=r"mine\.json is a result of 'averaging/other.*no task here; see `phasezoo"
    ):
        leaderboard(tmp_path)


def test_a_result_without_the_main_score_is_refused(tmp_path):
    save(tmp_path, "mine", 1.0, scores={"accuracy": {"reason": "x"}})
    with pytest.raises(
        FormatError, match=r"mine\.json lacks the main score 'accuracy_gain' .*\['accuracy'\]"
    ):
        leaderboard(tmp_path)


def test_the_same_method_twice_is_refused_with_both_files(tmp_path):
    save(tmp_path, "mine", 1.0)
    save(tmp_path, "mine", 2.0, file="later.json")
    with pytest.raises(
        FormatError, match=r"averaging-mine\.json and .*later\.json both hold 'mine' .*delete one"
    ):
        leaderboard(tmp_path)


def test_results_on_different_zoos_are_not_compared(tmp_path):
    save(tmp_path, "mine", 1.0)
    save(tmp_path, "yours", 2.0, zoo=STAMP | {"split_sha256": "c"})
    with pytest.raises(
        FormatError, match=r"mine\.json and .*yours\.json are results of .* on different zoos or splits"
    ):
        leaderboard(tmp_path)
