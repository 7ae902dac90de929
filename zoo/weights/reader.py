"""Rows of weights from many shards, through memory maps that stay open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from zoo.spec import FileRecord
from zoo.storage.weights import read_weights


class WeightReader:
    """Reads rows of weights; each shard is checked and mapped when it is first touched.

    It can be sent to other processes: the maps stay behind and are made anew there.

    Args:
        root: The zoo's folder.
        files: Record of each file, from the manifest.
    """

    def __init__(self, root: Path, files: Mapping[str, FileRecord]) -> None:
        self._root = root
        self._files = files
        self._maps: dict[str, NDArray[np.float32]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory maps behind."""
        return {**self.__dict__, "_maps": {}}

    def map(self, shard: str) -> NDArray[np.float32]:
        """Map a shard's weights into memory.

        Args:
            shard: Its path in the zoo.

        Returns:
            `(n_checkpoints, n_params)`, read-only.

        Raises:
            IntegrityError: The shard is missing or truncated.
        """
        if shard not in self._maps:
            self._maps[shard] = read_weights(self._root / shard, self._files.get(shard)).weights
        return self._maps[shard]

    def rows(self, shards: Sequence[str], rows: Sequence[int]) -> Float[np.ndarray, "checkpoints params"]:
        """Gather rows of equal length.

        Args:
            shards: Shard of each row.
            rows: Place of each row in its shard.

        Returns:
            `(n_rows, n_params)`: a view where the rows stand one after another in one shard, else a copy.
        """
        first, start = shards[0], rows[0]
        if all(shard == first for shard in shards) and list(rows) == list(range(start, start + len(rows))):
            return self.map(first)[start : start + len(rows)]
        gathered = np.empty((len(rows), self.map(first).shape[1]), np.float32)
        # plain arrays over the same pages: indexing a memmap makes an object for each row
        maps = {shard: np.asarray(self.map(shard)) for shard in set(shards)}
        for place, (shard, row) in enumerate(zip(shards, rows, strict=True)):
            gathered[place] = maps[shard][row]
        return gathered
