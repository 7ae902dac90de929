"""Which models share a row: siblings of a fork are one network until they part."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from generators.grid import PlannedModel
from zoo.spec import canonical_json


def trunk_key(model: PlannedModel) -> str:
    """Name the trunk of a model: equal for those that are the same network until they fork.

    Args:
        model: The model.

    Returns:
        Its specification without its branch.
    """
    fields = model.spec.model_dump(mode="json")
    fields.pop("fork", None)
    fields["seeds"].pop("fork_seed", None)
    return canonical_json(fields)


class Members:
    """The models of a task that are still trained, by the row that they share.

    Args:
        models: All models of the task; a place is a place in this list.
        rows: Places of the models that share each row, if training goes on; else they are found.
    """

    def __init__(self, models: Sequence[PlannedModel], rows: Sequence[Sequence[int]] | None = None) -> None:
        self._models = models
        self._trunks = {i: trunk_key(m) for i, m in enumerate(models) if m.spec.fork is not None}
        self.rows = [list(row) for row in rows] if rows is not None else self._group(range(len(models)), 1)

    def _key(self, place: int, epoch: int) -> Hashable:
        fork = self._models[place].spec.fork
        return self._trunks[place] if fork is not None and epoch <= fork.epoch else place

    def _group(self, places: Sequence[int], epoch: int) -> list[list[int]]:
        groups: dict[Hashable, list[int]] = {}
        for place in places:
            groups.setdefault(self._key(place, epoch), []).append(place)
        return list(groups.values())

    def regroup(self, epoch: int, ended: set[int]) -> list[int] | None:
        """Let models leave, and trunks fork, before an epoch.

        Args:
            epoch: The epoch that comes, from 1.
            ended: Places of the models that are trained no longer.

        Returns:
            Place of the old row that each new row continues; nothing where all stays as it is.
        """
        before = {place: number for number, row in enumerate(self.rows) for place in row}
        alive = [place for row in self.rows for place in row if place not in ended]
        rows = self._group(alive, epoch)
        if rows == self.rows:
            return None
        self.rows = rows
        return [before[row[0]] for row in rows]
