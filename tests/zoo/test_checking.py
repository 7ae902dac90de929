"""`zoo.verify` finds every fault at once, each with its file and reason."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import zoo
from zoo.checking import verify
from zoo.errors import IntegrityError
from zoo.storage import sha256_of


def reasons(path: Path) -> dict[str, str]:
    return {fault.file: fault.reason for fault in verify(path)}


def shard_of(path: Path) -> Path:
    return sorted((path / "weights").glob("*.h5"))[0]


def edit_manifest(path: Path, change: dict[str, object]) -> None:
    manifest = path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))


def test_a_whole_zoo_has_no_fault(tiny_zoo: Path) -> None:
    assert zoo.verify(tiny_zoo) == []


def test_a_folder_without_a_manifest_is_no_zoo(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"holds no zoo: manifest.json is missing. Generate or fetch"):
        verify(tmp_path)


def test_all_faults_are_listed_at_once(zoo_copy: Path) -> None:
    shard = shard_of(zoo_copy)
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    (zoo_copy / "layers.parquet").unlink()
    table = zoo_copy / "models.parquet"
    table.write_bytes(table.read_bytes()[:-10])
    (zoo_copy / "weights" / ".tmp-x-1-2").write_bytes(b"")
    (zoo_copy / "notes.txt").write_text("hello")
    found = reasons(zoo_copy)
    assert "its content was changed" in found[shard.relative_to(zoo_copy).as_posix()]
    assert found["layers.parquet"] == "is missing"
    assert "truncated" in found["models.parquet"]
    assert "left over" in found["weights/.tmp-x-1-2"]
    assert found["notes.txt"] == "is not in the manifest"


def test_a_broken_manifest_is_the_one_fault(zoo_copy: Path) -> None:
    (zoo_copy / "manifest.json").write_text("{")
    assert "not valid JSON" in reasons(zoo_copy)["manifest.json"]


def test_a_path_that_climbs_is_refused(zoo_copy: Path) -> None:
    manifest = json.loads((zoo_copy / "manifest.json").read_text())
    manifest["files"]["../outside"] = {"sha256": "0" * 64, "bytes": 1, "rows": None}
    edit_manifest(zoo_copy, manifest)
    assert "stays inside the zoo" in reasons(zoo_copy)["manifest.json"]


def test_a_link_is_no_file(zoo_copy: Path, tmp_path: Path) -> None:
    shard = shard_of(zoo_copy)
    shard.rename(tmp_path / "elsewhere.h5")
    shard.symlink_to(tmp_path / "elsewhere.h5")
    assert "is a link" in reasons(zoo_copy)[shard.relative_to(zoo_copy).as_posix()]


def test_an_unfinished_zoo_says_how_to_finish(zoo_copy: Path) -> None:
    manifest = json.loads((zoo_copy / "manifest.json").read_text())
    edit_manifest(zoo_copy, {"counts": {**manifest["counts"], "planned": 99}})
    assert "of 99 models: run the same generate command again" in reasons(zoo_copy)["manifest.json"]
    edit_manifest(zoo_copy, {"journal_bytes": 0})
    assert "does not reflect the whole journal" in reasons(zoo_copy)["manifest.json"]


def test_a_table_that_disagrees_with_its_shard_is_a_fault(zoo_copy: Path) -> None:
    path = zoo_copy / "checkpoints.parquet"
    table = pd.read_parquet(path).iloc[::-1]
    table["row"] = table["row"].to_numpy()[::-1]
    table.to_parquet(path, index=False)
    _rehash(zoo_copy, "checkpoints.parquet")
    assert any("are not the" in reason or "column" in reason for reason in reasons(zoo_copy).values())


def test_a_split_that_leaks_is_a_fault(zoo_copy: Path) -> None:
    name = "splits/iid-v1.json"
    split = json.loads((zoo_copy / name).read_text())
    split["test"] = sorted(split["test"] + split["train"][:1])
    (zoo_copy / name).write_text(json.dumps(split))
    _rehash(zoo_copy, name)
    assert split["train"][0] in reasons(zoo_copy)[name]


def _rehash(root: Path, name: str) -> None:
    """Make the manifest believe a changed file, so that only the content can give it away."""
    manifest = json.loads((root / "manifest.json").read_text())
    record = manifest["files"][name]
    record.update(sha256=sha256_of(root / name), bytes=(root / name).stat().st_size)
    edit_manifest(root, manifest)
