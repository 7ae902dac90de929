"""Label a zoo: choose the rule that tells the phases of its checkpoints and cells."""

from __future__ import annotations

from pathlib import Path

from zoo import Zoo
from zoo import open as open_zoo
from zoo.assembly import read_manifest, write_assembly
from zoo.errors import FormatError, QueryError, SpecificationError
from zoo.labelling import RULE_FILE
from zoo.phases import PhaseRule, get_rule, list_rules
from zoo.phases import label as label_rows
from zoo.storage import Entry, commit, read_journal, write_file, writer_lock


def label(out: str | Path, rule: str | Path | PhaseRule) -> Zoo:
    """Label every checkpoint and cell of a zoo by a rule; an earlier rule is replaced.

    Labels are derived from what is measured: they follow whenever more of it is.

    Args:
        out: Folder of the zoo.
        rule: Id of a rule of the package, path of a rule's JSON file, or a rule.

    Returns:
        The zoo with the columns `phase`, memberships and `phase_reason`.

    Raises:
        UnknownNameError: There is no such rule.
        QueryError: A column that the rule reads was not measured.
        SpecificationError: A column was measured by a protocol that the rule was not made for, or the rule
            goes by the id of another.
        IntegrityError: The folder holds no zoo.
        FormatError: The zoo was published: its tables are final; or the file is no rule.
        StorageError: The disk is full, or another process writes to the folder.
    """
    root = Path(out)
    chosen = rule if isinstance(rule, PhaseRule) else get_rule(rule)
    if chosen.id in list_rules() and chosen != get_rule(chosen.id):
        raise SpecificationError(
            f"the rule {chosen.id} of the package has other thresholds, and what an id means never changes; "
            "give yours another id, such as my-zoo-v1"
        )
    read_manifest(root)
    with writer_lock(root):
        if read_journal(root) is None:
            raise FormatError(f"{root} has no journal: it was published, and its tables are final")
        _check(open_zoo(root), chosen)
        record = write_file(root / RULE_FILE, chosen.to_json().encode())
        commit(root, Entry(kind="rule", path=RULE_FILE, shard=RULE_FILE, record=record))
        write_assembly(root)
    return open_zoo(root)


def _check(zoo: Zoo, rule: PhaseRule) -> None:
    cells = zoo.cells
    missing = [column for column in rule.cuts if column not in cells]
    if missing:
        raise QueryError(
            f"the rule {rule.id} reads {', '.join(rule.cuts)}; {zoo.root} lacks {', '.join(missing)}: "
            f"measure it first, `phasezoo measure {zoo.root}` (--metrics yang2021 for those of that paper), "
            "or make a rule for what is measured, `phasezoo calibrate`"
        )
    label_rows(cells, rule)
