import json
import os
import pickle
import re

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.cli import main as cli
from zoo.metrics import farms
from zoo.spectra import WINDOW


def weights(**more):
    generator = torch.Generator().manual_seed(0)
    return {
        "hidden.weight": torch.randn(60, 40, generator=generator),
        "hidden.bias": torch.randn(60, generator=generator),
        "conv.weight": torch.randn(8, 16, 3, 3, generator=generator).bfloat16(),
        "positions": torch.arange(40).reshape(1, 40),
        **more,
    }


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def saved(tmp_path):
    """Writes tensors to a file and gives its path."""

    def save(tensors, name="model.safetensors"):
        save_file(tensors, tmp_path / name)
        return tmp_path / name

    return save


def test_the_table_has_a_line_a_layer_and_says_how_to_read_it(saved, capsys):
    path = saved(weights())
    assert cli.run(["spectra", str(path)]) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    expected = farms.report(load_file(path)).set_index("layer")
    for name in ("hidden.weight", "conv.weight"):
        row = expected.loc[name]
        shown = next(line for line in lines if line[:1] == [name])
        assert shown == [
            name,
            row["shape"],
            f"{row['farms_alpha']:.2f}",
            f"±{row['farms_alpha_sem']:.2f}",
            f"{row['farms_alpha_null']:.2f}",
            f"{row['alpha']:.2f}",
            f"{row['alpha_null']:.2f}",
            f"{row['stable_rank']:.2f}",
            f"{row['spectral_norm']:.3g}",
            f"{row['spikes']:.0f}",
        ]
    assert "positions" not in captured.out
    assert "hidden.bias" not in captured.out
    assert "A small alpha is a heavy tail; one at its null" in captured.out
    assert f"Next: phasezoo spectra {path} --csv layers.csv" in captured.out
    assert "measuring layers" in captured.err


def test_a_table_file_has_every_column_of_the_report(saved, tmp_path, capsys):
    path, table = saved(weights()), tmp_path / "new" / "layers.csv"
    words = ["spectra", str(path), "--csv", str(table), "--window", "8", "--aspect-ratio", "2"]
    assert cli.run(words) == 0
    found = pd.read_csv(table)
    expected = farms.report(load_file(path), window=8, aspect_ratio=2.0)
    order = expected.set_index("layer").loc[found["layer"]].reset_index()
    pd.testing.assert_frame_equal(found, order[found.columns], check_dtype=False, rtol=1e-14)
    assert found.columns.tolist() == expected.columns.tolist()
    out = capsys.readouterr().out
    assert f"2 layers, all columns: {table}" in out
    assert f"Next, in Python: pandas.read_csv({str(table)!r})" in out


def test_missing_exponents_are_noted_once_for_each_reason(saved, capsys):
    path = saved({"a": torch.zeros(30, 30), "b": torch.zeros(9, 9), "c": torch.eye(30) * 2, **weights()})
    assert cli.run(["spectra", str(path)]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    notes = {line[0]: line[-1] for line in lines if line[:1] in (["a"], ["b"], ["c"])}
    assert notes == {"a": "1", "b": "1", "c": "2"}
    assert "\nnote 1: the matrix is zero\nnote 2: all eigenvalues of the tail are equal\n" in out
    zero = next(line for line in lines if line[:1] == ["a"])
    assert zero == ["a", "30x30", "-", "-", "-", "-", "-", "0", "0", "1"]


def test_layers_come_in_the_order_of_their_numbers(saved, tmp_path):
    names = ["a1", "a.2.w", "a.10.w", "a.b", "b.0.w"]
    path = saved({name: 2 * torch.eye(2) for name in reversed(names)})
    assert cli.run(["spectra", str(path), "--csv", str(tmp_path / "layers.csv")]) == 0
    assert pd.read_csv(tmp_path / "layers.csv")["layer"].tolist() == names


def test_the_table_fits_a_narrow_terminal(saved, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "model.layers.10.mlp.down_proj.weight"
    path = saved({name: torch.randn(64, 32, 3, 3, generator=torch.Generator().manual_seed(0))})
    assert cli.run(["spectra", str(path)]) == 0
    out = capsys.readouterr().out
    table = out[: out.index("A small alpha")].splitlines()
    assert all(len(line) <= 80 for line in table)
    assert "".join(line.split(" ")[0] for line in table[2:]) == name
    assert re.search(r"\d\.\d\d ±\d\.\d\d", out)


def test_names_from_elsewhere_neither_move_the_cursor_nor_colour_the_text(saved, capsys):
    name = "\x1b[31m[bold]w\r"
    path = saved({name: torch.randn(30, 30, generator=torch.Generator().manual_seed(0))})
    assert cli.run(["spectra", str(path)]) == 0
    out = capsys.readouterr().out
    assert "?[31m[bold]w?" in out
    assert "\x1b" not in out


def test_help_teaches(capsys):
    assert cli.run(["spectra", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("phasezoo spectra model.safetensors --csv layers.csv", "null:", f"by default {WINDOW}"):
        assert words in out


def cut_off(path, data):
    path.write_bytes(data[:-10])


def no_head(path, data):
    path.write_bytes((1 << 60).to_bytes(8, "little") + data)


def other_json(path, data):
    path.write_bytes((2).to_bytes(8, "little") + b"[]")


def outside(path, data):
    head = json.dumps({"w": {"dtype": "F32", "shape": [30, 30], "data_offsets": [0, 1 << 40]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)


def hostile_type(path, data):
    kind = "\x1b[31m" + 10_000 * "x"
    head = json.dumps({"w": {"dtype": kind, "shape": [30, 30], "data_offsets": [0, 3600]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(3600))


def empty(path, data):
    path.write_bytes(b"")


def head_like_a_pickle(path, data):
    """A head of 640 bytes begins as a pickle does."""
    path.write_bytes((640).to_bytes(8, "little") + data[:100])


@pytest.mark.parametrize(
    "spoil", [cut_off, no_head, other_json, outside, hostile_type, empty, head_like_a_pickle]
)
def test_damaged_files_are_refused(spoil, saved, capsys):
    path = saved(weights())
    spoil(path, path.read_bytes())
    assert cli.run(["spectra", str(path)]) == 2
    error = capsys.readouterr().err
    assert "expected safetensors, got a file that is damaged, cut off or of another format" in error
    assert "fetch or write it again" in error
    assert "\x1b" not in error
    assert len(error) < 1000


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.pth", "model.ckpt", "model.safetensors"])
@pytest.mark.parametrize("how", ["zip", "plain"])
def test_pickles_are_refused_unread_with_the_way_to_convert_them(name, how, tmp_path, capsys):
    path = tmp_path / name
    if how == "zip":
        torch.save({"w": Harmful()}, path)
    else:
        path.write_bytes(pickle.dumps({"w": Harmful()}))
    assert cli.run(["spectra", str(path)]) == 2
    error = capsys.readouterr().err
    assert "got what looks like a pickle, which may run code when loaded" in error
    assert 'torch.load("model.pt", weights_only=True)' in error
    assert "safetensors.torch.save_file(weights" in error


def test_weights_are_read_whatever_the_name_of_their_file(saved):
    assert cli.run(["spectra", str(saved(weights(), "pytorch_model.bin"))]) == 0


def test_a_table_never_takes_the_place_of_a_pipe(saved, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert cli.run(["spectra", str(saved(weights())), "--csv", str(tmp_path / "pipe")]) == 2
    assert "--csv: expected a file to write, got a device or pipe" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_refused_with_what_is_in_it(saved, tmp_path, capsys):
    assert cli.run(["spectra", str(tmp_path)]) == 2
    assert "got a folder; it holds no .safetensors" in capsys.readouterr().err
    saved(weights())
    assert cli.run(["spectra", str(tmp_path)]) == 2
    assert "got a folder; take one of those in it: model.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"bias": torch.zeros(3)}, "expected at least one weight matrix, got 1 tensors: 'bias' float32 (3,)"),
        ({}, "expected at least one weight matrix, got 0 tensors"),
        (
            weights(packed=torch.zeros(4, 4, dtype=torch.int32)),
            "'packed': expected weights of float16, bfloat16, float32 or float64, got I32",
        ),
        (weights(small=torch.zeros(4, 4).to(torch.float8_e4m3fn)), "'small': expected weights of float16"),
    ],
)
def test_files_without_weights_are_refused_before_anything_is_measured(tensors, message, saved, capsys):
    assert cli.run(["spectra", str(saved(tensors))]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "100%" not in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["nowhere.safetensors"],
            "nowhere.safetensors: expected a file of weights (.safetensors), found no file",
        ),
        (["--window", "0"], "a window has at least 1 row"),
        (["--aspect-ratio", "-1"], "aspect_ratio: expected columns over rows, above 0, got -1.0"),
        (["--csv", "."], "--csv: expected a file to write, got a folder, .; try --csv layers.csv"),
        (["--csv", "model.safetensors"], "--csv: expected a file to write, got the weights themselves"),
        (["--csv", "model.safetensors/x/y.csv"], "--csv: expected a file to write, got a place below a file"),
        ([], "Missing argument"),
    ],
)
def test_user_errors_exit_with_2(words, message, saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = saved(weights()).read_bytes()
    given = words if not words or words[0].startswith("nowhere") else ["model.safetensors", *words]
    assert cli.run(["spectra", *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == before
