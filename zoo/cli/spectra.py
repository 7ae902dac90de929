"""The sub-command `spectra`: the spectrum of each layer in a file of anyone's weights."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.table import Column, Table
from rich.text import Text

from zoo.errors import FormatError, IntegrityError, SpecificationError

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "BOOL": "bool",
}
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_TOLD = 200
"""Signs of what the reader says, which can quote the file."""
_READ_IT = (
    "A small alpha is a heavy tail; one at its null, that of random matrices of its shape, is noise. "
    "FARMS alpha can be compared between layers of different shapes, alpha cannot."
)


def register(app: typer.Typer) -> None:
    """Add the sub-command.

    Args:
        app: The command that it belongs to.
    """
    app.command("spectra")(spectra)


def spectra(
    model: Annotated[Path, typer.Argument(metavar="MODEL.safetensors", help="File of weights.")],
    *,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all columns to this file, a row a layer.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(metavar="ROWS", help="Rows of the windows of FARMS; by default 100.")
    ] = None,
    aspect_ratio: Annotated[
        float, typer.Option(metavar="RATIO", help="Columns of a window over its rows.")
    ] = 1.0,
) -> None:
    """Measure the spectrum of each layer in a file of weights: exponents of the tail, norms, spikes.

    FARMS alpha: exponent of the eigenvalues of windows of one shape (Hu et al. 2025).

    alpha: that of the whole matrix, which drifts with its shape. null: both on random matrices of that shape.

    spikes: eigenvalues that stand out of the noise. Tensors are read one by one; nothing in the file is run.

    Example: [bold]phasezoo spectra model.safetensors --csv layers.csv[/bold]
    """
    from zoo.metrics.farms.layers import as_frame, layer_row
    from zoo.metrics.farms.weights import weight_of
    from zoo.report.progress import progress_bar
    from zoo.spectra import WINDOW, Windows

    windows = Windows(WINDOW if window is None else window, aspect_ratio).checked()
    if csv is not None:
        _check_target(csv, model)
    with _opened(model) as file, progress_bar() as progress:
        names = _weights(file)
        found = [
            layer_row(weight_of(name, file.get_tensor(name)), windows)
            for name in progress.track(names, description="measuring layers")
        ]
    _tell(as_frame(found), model, csv)


def _check_target(csv: Path, model: Path) -> None:
    """Refuse, before anything is computed, a table that could not be written."""
    if csv.is_dir():
        what = "a folder"
    elif csv.exists() and not csv.is_file():
        what = "a device or pipe"
    elif csv.exists() and model.exists() and csv.samefile(model):
        what = "the weights themselves"
    elif any(parent.is_file() for parent in csv.parents):
        what = "a place below a file"
    else:
        return
    raise SpecificationError(f"--csv: expected a file to write, got {what}, {csv}; try --csv layers.csv")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file of weights; say what else it is where it is none."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.safetensors"))
        hint = f"take one of those in it: {', '.join(inside[:4])}" if inside else "it holds no .safetensors"
        raise FormatError(f"{path}: expected a file of weights (.safetensors), got a folder; {hint}")
    if not path.is_file():
        raise IntegrityError(
            f"{path}: expected a file of weights (.safetensors), found no file; check the path"
        )
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> FormatError:
    with path.open("rb") as file:
        start = file.read(4)
    # a length, which safetensors begins with, has zeros where a pickle goes on
    if path.suffix in _PICKLES or start == _ZIP or (start[:1] == _PICKLE and start[2:3] != b"\0"):
        return FormatError(
            f"{path}: expected safetensors, got what looks like a pickle, which may run code when loaded; "
            'convert it where you trust it: weights = torch.load("model.pt", weights_only=True), then '
            'safetensors.torch.save_file(weights, "model.safetensors")'
        )
    return FormatError(
        f"{path}: expected safetensors, got a file that is damaged, cut off or of another format "
        f"({_printable(str(error)[:_TOLD])}); fetch or write it again"
    )


def _weights(file: Any) -> list[str]:
    """List the tensors that have a spectrum, from the head of the file alone."""
    from zoo.metrics.farms.weights import is_weight, no_weights

    heads = []
    for name in file.keys():  # noqa: SIM118 - a handle, not a dictionary
        head = file.get_slice(name)
        code = head.get_dtype()
        heads.append((name, head.get_shape(), _TYPES.get(code, code)))
    names = [name for name, shape, dtype in heads if is_weight(name, shape, dtype)]
    if not names:
        raise no_weights(heads)
    return sorted(names, key=_in_order)


def _in_order(name: str) -> list[tuple[int, str]]:
    """Sort layer 2 before layer 10: files have their tensors by the alphabet, not as the network has them."""
    # numbers by length, then digits: a name from elsewhere may have more digits than an integer may
    return [(len(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _tell(frame: pd.DataFrame, model: Path, csv: Path | None) -> None:
    from zoo.storage import write_file

    console = Console()
    console.print(_table(frame))
    console.print(_READ_IT, highlight=False)
    if csv is None:
        after = f"Next: phasezoo spectra {shlex.quote(str(model))} --csv layers.csv   (all columns)"
    else:
        write_file(csv, frame.to_csv(index=False).encode(), rows=len(frame))
        after = f"{len(frame)} layers, all columns: {csv}\nNext, in Python: pandas.read_csv({str(csv)!r})"
    console.print(f"\n{after}", soft_wrap=True, markup=False, highlight=False)


def _table(frame: pd.DataFrame) -> Group:
    """Lay the layers out, and below them why an exponent is missing, once for each reason."""
    # of two lines: at 80 columns there must be room for the names of layers
    numbers = ("FARMS\nalpha", "null", "alpha", "null", "stable\nrank", "spectral\nnorm", "spikes", "note")
    first = (Column("layer", overflow="fold", min_width=12), Column("shape", no_wrap=True))
    table = Table(*first, box=None, pad_edge=False, collapse_padding=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    notes = {reason: str(place) for place, reason in enumerate(frame["reason"].dropna().unique(), 1)}
    for row in frame.to_dict("records"):
        table.add_row(*(Text(cell) for cell in (*_cells(row), notes.get(row["reason"], ""))))
    return Group(table, *(Text(f"note {place}: {reason}") for reason, place in notes.items()))


def _cells(row: dict[Hashable, Any]) -> tuple[str, ...]:
    error = "" if math.isnan(row["farms_alpha"]) else f" ±{row['farms_alpha_sem']:.2f}"
    return (
        _printable(row["layer"]),
        row["shape"],
        _shown(row["farms_alpha"]) + error,
        *(_shown(row[name]) for name in ("farms_alpha_null", "alpha", "alpha_null", "stable_rank")),
        _shown(row["spectral_norm"], ".3g"),
        _shown(row["spikes"], ".0f"),
    )


def _shown(value: float, how: str = ".2f") -> str:
    return "-" if math.isnan(value) else format(value, how)


def _printable(name: str) -> str:
    """Show a name of a file from elsewhere, without what would move the cursor."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)
