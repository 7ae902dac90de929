"""The leaderboard: every result in a folder, best first within each task."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from wsl_tasks.registry import list_tasks, metadata
from wsl_tasks.result import Result, ZooStamp
from zoo.errors import FormatError

COLUMNS = ("task", "rank", "method", "score", "value", "low", "high", "n", "n_cells", "reference", "file")


def leaderboard(folder: str | Path) -> pd.DataFrame:
    """Gather the results in a folder.

    Args:
        folder: Folder with `*.json` as `Result.save` writes them.

    Returns:
        One row a task and method, best first by the task's main score within each task; undefined scores and
        reference rows have no rank. Columns: `task`, `rank`, `method`, `score` (name of the main score),
        `value`, `low`, `high` (95 % interval), `n`, `n_cells`, `reference`, `file`.

    Raises:
        FormatError: There is no result, a file is no result of a known task, a method stands there twice, or
            results of one task were scored on different zoos or splits; the files are named.
    """
    found = _read(Path(folder))
    _check_once(found)
    _check_same_zoo(found)
    frame = pd.DataFrame([_row(file, result) for file, result in found], columns=list(COLUMNS))
    ordered = [_ranked(frame[frame["task"] == task]) for task in sorted(frame["task"].unique())]
    return pd.concat(ordered, ignore_index=True)


def _read(folder: Path) -> list[tuple[Path, Result]]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FormatError(
            f"there is no result in {folder}; write some with `phasezoo evaluate TASK --out {folder}`"
        )
    return [(file, _load(file)) for file in files]


def _load(file: Path) -> Result:
    result = Result.load(file)
    if result.task not in list_tasks():
        raise FormatError(
            f"{file} is a result of {result.task!r}, which is no task here; see `phasezoo tasks`"
        )
    main = metadata(result.task).main_score
    if main not in result.scores:
        raise FormatError(
            f"{file} lacks the main score {main!r} of {result.task}, it has {sorted(result.scores)}"
        )
    return result


def _check_once(found: list[tuple[Path, Result]]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for file, result in found:
        first = seen.setdefault((result.task, result.method), file)
        if first != file:
            raise FormatError(
                f"{first} and {file} both hold {result.method!r} on {result.task}; delete one, or evaluate "
                "under another name"
            )


def _check_same_zoo(found: list[tuple[Path, Result]]) -> None:
    seen: dict[str, tuple[Path, Result]] = {}
    for file, result in found:
        first, other = seen.setdefault(result.task, (file, result))
        if other.zoo != result.zoo:
            raise FormatError(
                f"{first} and {file} are results of {result.task} on different zoos or splits "
                f"({_text(other.zoo)} and {_text(result.zoo)}); they cannot be compared: keep each in a "
                "folder of its own"
            )


def _text(stamp: ZooStamp) -> str:
    return f"{stamp.name}, recipe {stamp.recipe_hash[:8]}, split {stamp.split_sha256[:8]}"


def _row(file: Path, result: Result) -> dict[str, object]:
    main = metadata(result.task).main_score
    score = result.scores[main]
    return {
        "task": result.task,
        "method": result.method,
        "score": main,
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "n": result.n,
        "n_cells": result.n_cells,
        "reference": result.reference,
        "file": file.name,
    }


def _ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """Order the rows of one task; equal scores share a rank."""
    ascending = metadata(str(rows["task"].iloc[0])).direction == "lower"
    rows = rows.astype({"value": float, "low": float, "high": float})
    competing = rows["value"].where(~rows["reference"].astype(bool))
    ranks = competing.rank(method="min", ascending=ascending).astype("Int64")
    return rows.assign(rank=ranks).sort_values(
        "value", ascending=ascending, na_position="last", kind="stable"
    )


def to_markdown(board: pd.DataFrame) -> str:
    """Write a leaderboard as Markdown, one table a task.

    Args:
        board: As `leaderboard` gives it.

    Returns:
        The text, a newline at its end.
    """
    parts = []
    for task, rows in board.groupby("task", sort=False):
        lines = [f"### `{task}`", "", f"| rank | method | {rows['score'].iloc[0]} | 95 % interval |"]
        lines += ["|---:|---|---:|---|", *(f"| {' | '.join(cells(row))} |" for _, row in rows.iterrows())]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def cells(row: pd.Series) -> list[str]:
    """Write one row of a leaderboard as text.

    Args:
        row: A row as `leaderboard` gives it.

    Returns:
        Rank, method, score and interval; a dash where there is none.
    """
    rank = "ref" if row["reference"] else "-" if pd.isna(row["rank"]) else str(row["rank"])
    value = "undefined" if pd.isna(row["value"]) else f"{row['value']:.3f}"
    span = "-" if pd.isna(row["low"]) else f"[{row['low']:.3f}, {row['high']:.3f}]"
    return [rank, str(row["method"]).replace("|", "\\|"), value, span]
