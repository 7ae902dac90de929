"""A zoo, or a lazy view of one: tables, weights and models of whatever a query has left."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo import architectures, datasets
from zoo.assembly import assemble, read_manifest
from zoo.cells import average_cells
from zoo.errors import (
    AmbiguousLayoutError,
    FormatError,
    IntegrityError,
    QueryError,
    unknown_name,
)
from zoo.places import find_zoo
from zoo.query import parse
from zoo.spec import LABEL_COLUMNS, LABELS, Layout, Manifest, ModelSpecification, TableName
from zoo.splits import SplitFile, check_leakage
from zoo.storage import Arrays, read_parquet, sha256_of
from zoo.store import Store
from zoo.weights import WeightDataset, unflatten


class Split(NamedTuple):
    """Three views of a zoo that share no cell.

    Attributes:
        train: What methods may learn from.
        val: What choices may be made on.
        test: What is scored, once.
    """

    train: Zoo
    val: Zoo
    test: Zoo


class Zoo:
    """A population of trained networks, or the part of it that a query has left.

    Open one with `zoo.open`. Tables are read when first asked for, weights when touched.

    Args:
        root: The zoo's folder.
        manifest: Its manifest.
        tables: Tables that are not on disk yet, because generation goes on.
    """

    def __init__(self, root: Path, manifest: Manifest, tables: dict[TableName, pd.DataFrame] | None) -> None:
        self.root = root
        self.manifest = manifest
        self._store = Store(root, manifest, tables)
        self._chosen: frozenset[str] | None = None

    def __repr__(self) -> str:
        """Say what it holds."""
        part = "" if self._chosen is None else f" of {len(self._store.table('checkpoints'))}"
        return f"<Zoo {self.manifest.name}: {len(self)}{part} checkpoints, {len(self.layouts)} layouts>"

    def __len__(self) -> int:
        """Return the number of checkpoints."""
        return self.manifest.counts.checkpoints if self._chosen is None else len(self._chosen)

    # query

    def where(self, expression: str) -> Zoo:
        """Keep the checkpoints for which an expression holds.

        Args:
            expression: Over the columns of checkpoints and models, such as
                `"width >= 32 and epoch == last_epoch"`; it is parsed, never executed.

        Returns:
            A view of the same type; nothing is copied.

        Raises:
            QueryError: The expression has a typo, an unknown column, or more than comparisons in it.
        """
        query = parse(expression)
        frame = self.checkpoints
        if query.columns - set(frame.columns):
            frame = frame.merge(self._store.table("models"), on="model_id", how="left")
        return self._view(frame.loc[query.evaluate(frame), "checkpoint_id"])

    def _view(self, checkpoint_ids: pd.Series[str]) -> Zoo:
        view = object.__new__(Zoo)
        view.root, view.manifest, view._store = self.root, self.manifest, self._store
        view._chosen = frozenset(checkpoint_ids)
        return view

    def split(self, split_id: str) -> Split:
        """Open a standard split.

        Args:
            split_id: Such as `iid-v1`; all seeds and checkpoints of a cell fall on one side.

        Returns:
            Views `.train`, `.val` and `.test` of what this view holds.

        Raises:
            UnknownNameError: The zoo has no such split.
            IntegrityError: Its file is missing, or not the one that the manifest promises.
            FormatError: A cell falls on two sides.
        """
        if split_id not in self.manifest.splits:
            raise unknown_name("split", split_id, self.manifest.splits, way_out=f"in {self.root}")
        name = self.manifest.splits[split_id]
        path = self.root / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; fetch the zoo again, or generate it again")
        expected = self.manifest.files[name].sha256
        if (found := sha256_of(path)) != expected:
            raise IntegrityError(
                f"{path} was changed: the manifest promises sha256 {expected[:12]}..., "
                f"it has {found[:12]}...; generate the zoo again, or fetch it again"
            )
        file = SplitFile.from_json(path.read_text(encoding="utf-8", errors="replace"), source=str(path))
        leaks = check_leakage(file, self._store.table("models"))
        if leaks:
            raise FormatError(f"{path} leaks: {'; '.join(leaks[:3])}. Do not report results on this split")
        cell_of = self._store.table("models").set_index("model_id")["cell_id"]
        cells = self.checkpoints["model_id"].map(cell_of)
        sides = [cells.isin(side) for side in (file.train, file.val, file.test)]
        return Split(*(self._view(self.checkpoints.loc[side, "checkpoint_id"]) for side in sides))

    # tables

    @cached_property
    def checkpoints(self) -> pd.DataFrame:
        """One row a checkpoint: ids, epoch, place of the weights, metrics."""
        table = self._store.table("checkpoints")
        return self._keep(table, table["checkpoint_id"])

    @cached_property
    def models(self) -> pd.DataFrame:
        """One row a model: ids, axes, specification, status; a view keeps those it has checkpoints of."""
        table = self._store.table("models")
        if self._chosen is None:
            return table.copy()
        return table[table["model_id"].isin(self.checkpoints["model_id"])].reset_index(drop=True)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row a checkpoint and layer: shape, spectral metrics."""
        table = self._store.table("layers")
        return self._keep(table, table["checkpoint_id"])

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row a pair of models in a cell: similarity, distance; a view keeps pairs it has both of."""
        table = self._store.table("pairs")
        if self._chosen is None:
            return table.copy()
        both = table["checkpoint_a"].isin(self._chosen) & table["checkpoint_b"].isin(self._chosen)
        return table[both].reset_index(drop=True)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell: axes, counts, metrics averaged over the finished seeds' last epoch."""
        tables = {"models": self.models, "checkpoints": self.checkpoints, "pairs": self.pairs}
        return average_cells(self.manifest, **tables)

    def series(self, metric: str) -> dict[tuple[str, ...], Arrays]:
        """Read the arrays that a metric stores for each of its rows, such as `hessian_density`.

        Args:
            metric: Name of the metric.

        Returns:
            Arrays by name, by the values of the key columns: `(checkpoint_id,)`, for layers `(checkpoint_id,
            layer, shape)`, for pairs `(cell_id, checkpoint_a, checkpoint_b)`; empty arrays where the row's
            value is missing. Of rows in the view alone.

        Raises:
            UnknownNameError: The zoo has no arrays of this metric.
            IntegrityError: A file is missing or damaged.
        """
        whole = self._store.series(metric)
        if self._chosen is None:
            return whole
        table = next(p.table for p in self.manifest.protocols.values() if p.metric == metric)
        checkpoints = slice(1, 3) if table == "pairs" else slice(1)
        return {key: arrays for key, arrays in whole.items() if self._chosen.issuperset(key[checkpoints])}

    def _keep(self, table: pd.DataFrame, ids: pd.Series[str]) -> pd.DataFrame:
        return table.copy() if self._chosen is None else table[ids.isin(self._chosen)].reset_index(drop=True)

    # weights

    @property
    def layouts(self) -> list[str]:
        """Ids of the layouts in the view, sorted."""
        return sorted(self.models["layout"].unique())

    def layout(self, layout_id: str) -> Layout:
        """Look a layout up.

        Args:
            layout_id: Its id.

        Returns:
            The layout.

        Raises:
            UnknownNameError: The zoo has no such layout.
        """
        if layout_id not in self.manifest.layouts:
            raise unknown_name("layout", layout_id, self.manifest.layouts)
        return self.manifest.layouts[layout_id]

    def weights(self, layout: str | None = None) -> Float[np.ndarray, "checkpoints params"]:
        """Give the weights of one layout as a matrix.

        Args:
            layout: Which layout; needed where the view has several.

        Returns:
            `(n, n_params)` float32, rows in the order of `checkpoints`; mapped from disk where the rows stand
            one after another in a shard, else gathered into memory.

        Raises:
            AmbiguousLayoutError: The view has several layouts, or none.
            UnknownNameError: The view has no such layout.
        """
        chosen = self._choose_layout(layout)
        models = self.models.loc[self.models["layout"] == chosen, "model_id"]
        rows = self.checkpoints[self.checkpoints["model_id"].isin(models)]
        return self._store.reader.rows(rows["shard"].tolist(), rows["row"].tolist())

    def _choose_layout(self, layout: str | None) -> str:
        present = self.layouts
        if layout is not None:
            if layout not in present:
                raise unknown_name("layout", layout, present, way_out="in this view")
            return layout
        if len(present) != 1:
            raise AmbiguousLayoutError(
                f"one matrix needs one layout, this view has {len(present)} ({', '.join(present)}); "
                "pass one of them as weights(layout=...), or change the view with where(...)"
            )
        return present[0]

    def state_dict(self, checkpoint_id: str) -> dict[str, Tensor]:
        """Read one checkpoint.

        Args:
            checkpoint_id: The checkpoint, `<model_id>@<epoch>`.

        Returns:
            Tensor by name, in the layout's order; ready for `load_state_dict`.

        Raises:
            UnknownNameError: The view has no such checkpoint.
        """
        row = self.checkpoints.iloc[self._position(checkpoint_id)]
        layout = str(self.models.set_index("model_id")["layout"][row["model_id"]])
        vector = torch.from_numpy(np.array(self._store.reader.map(row["shard"])[row["row"]]))
        return {name: tensor.clone() for name, tensor in unflatten(vector, self.layout(layout)).items()}

    def load_model(self, checkpoint_id: str) -> nn.Module:
        """Build one network with its trained weights.

        Args:
            checkpoint_id: The checkpoint, `<model_id>@<epoch>`.

        Returns:
            The module, in eval mode.

        Raises:
            UnknownNameError: The view has no such checkpoint.
        """
        spec = self.specification(self.checkpoints["model_id"].iloc[self._position(checkpoint_id)])
        module = architectures.build(spec.architecture, datasets.shape(spec.dataset))
        module.load_state_dict(self.state_dict(checkpoint_id))
        return module.eval()

    def _position(self, checkpoint_id: str) -> int:
        found = np.flatnonzero(self.checkpoints["checkpoint_id"].to_numpy() == checkpoint_id)
        if not len(found):
            known = self.checkpoints["checkpoint_id"]
            raise unknown_name("checkpoint", checkpoint_id, known, way_out="see .checkpoints.checkpoint_id")
        return int(found[0])

    def specification(self, model_id: str) -> ModelSpecification:
        """Read the full specification of a model.

        Args:
            model_id: The model.

        Returns:
            Everything that decided what it became.

        Raises:
            UnknownNameError: The view has no such model.
        """
        rows = self.models.loc[self.models["model_id"] == model_id, "specification"]
        if rows.empty:
            raise unknown_name("model", model_id, self.models["model_id"], way_out="see .models.model_id")
        return ModelSpecification.model_validate_json(rows.iloc[0])

    def wrong_labels(self, model_id: str) -> pd.DataFrame:
        """List the training items whose label was replaced by a wrong one for a model.

        Args:
            model_id: The model.

        Returns:
            A row an item: `item` (its place in the whole training set), `label`, `trained_label`; none
            without label noise. With a `fraction` some of them were not seen at all.

        Raises:
            UnknownNameError: The view has no such model.
        """
        key = self.specification(model_id).dataset.labels_key
        if LABELS not in self.manifest.files:
            return pd.DataFrame(columns=[c.name for c in LABEL_COLUMNS[1:]])
        record = self.manifest.files[LABELS]
        table = read_parquet(self.root / LABELS, LABEL_COLUMNS, rows=record.rows)
        return table[table["dataset"] == key].drop(columns="dataset").reset_index(drop=True)

    def dataset(self, target: str | None = None) -> WeightDataset:
        """Give the view as a torch dataset.

        Args:
            target: A numeric column of `checkpoints` or `models`, such as `test_accuracy`.

        Returns:
            Items are `(WeightSample, target)`, or a `WeightSample` alone where no target is asked for.

        Raises:
            QueryError: There is no such column, it is not numeric, or it has missing values.
        """
        frame = self.checkpoints.merge(self.models, on="model_id", how="left")
        return WeightDataset(
            self._store.reader,
            frame["checkpoint_id"].tolist(),
            places=(frame["shard"].tolist(), frame["row"].to_numpy()),
            layouts=[self.manifest.layouts[layout] for layout in frame["layout"]],
            targets=None if target is None else _targets(frame, target),
        )


def _targets(frame: pd.DataFrame, target: str) -> Float[np.ndarray, " checkpoints"]:
    numeric = [str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    if target not in numeric:
        raise QueryError(str(unknown_name("numeric column", target, numeric)))
    missing = frame[target].isna()
    if missing.any():
        example = frame.loc[missing, "checkpoint_id"].iloc[0]
        raise QueryError(
            f"target {target!r} is missing for {missing.sum()} of {len(frame)} checkpoints, such as "
            f"{example}; leave them out with where('{target} is not None')"
        )
    return frame[target].to_numpy(np.float64)


def open_zoo(source: str | Path) -> Zoo:
    """Open a zoo.

    Args:
        source: A folder; or the name of a zoo in `./zoos`, in `./demo` (where `phasezoo demo` writes), or in
            the cache (`PHASEZOO_HOME`, else the platform's cache folder).

    Returns:
        The zoo. Where generation goes on or was cut off, it holds the checkpoints committed so far.

    Raises:
        UnknownNameError: No folder and no zoo goes by this name.
        IntegrityError: The folder holds no zoo, or files are missing.
        FormatError: The manifest is broken.
    """
    root = find_zoo(source)
    assembly = assemble(root, read_manifest(root))
    return Zoo(root, assembly.manifest, assembly.tables)
