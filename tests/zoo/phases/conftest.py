from pathlib import Path

import pandas as pd
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"


def _cell_ids(table):
    return table["width"].astype(str) + "-" + table["batch_size"].astype(str)


@pytest.fixture
def published():
    """The 169 cells of width 2 to 128 of Yang et al.; with width 1 there are 182."""
    cells = pd.read_csv(DATA / "yang2021_cells.csv")
    assert len(cells) == 182
    return cells[cells["width"] >= 2].reset_index(drop=True).assign(cell_id=_cell_ids)


@pytest.fixture
def published_losses(published):
    """Train loss of each of the five seeds of these cells."""
    wide = pd.read_csv(DATA / "yang2021_train_losses.csv").assign(cell_id=_cell_ids)
    long = wide.melt(id_vars="cell_id", value_vars=[f"seed{n}" for n in range(5)], value_name="train_loss")
    return long[long["cell_id"].isin(published["cell_id"])]
