"""Reading the registers of a ledger part by part: some keys in their order, or those of a node.

Owns: the queries of a part, and how its rows become records and vectors.
May touch: nothing; the queries are run by ledger.tables, for every backend.
Explained in docs/adr/0038-serving-before-all-is-read.md.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import Part, StoredVector
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key

_COLUMNS = (
    "SELECT k.id, v.branch, v.sequence, v.components, r.id, r.record_id, r.content,"
    " k.incarnation, k.device, k.allocation, k.phase, k.evidence"
)
_VECTORS = " LEFT JOIN vector AS v ON v.key = k.id ORDER BY k.id, v.branch"

NEXT_KEYS = (
    f"{_COLUMNS} FROM (SELECT * FROM register_key WHERE id > ? ORDER BY id LIMIT ?) AS k"
    f" JOIN record AS r ON r.id = k.record{_VECTORS}"
)
"""Keys in their order; one without a vector is among them, for the next part begins after it."""

KEYS_OF_NODE = (
    f"{_COLUMNS} FROM (SELECT * FROM record WHERE node = ?) AS r"
    f" JOIN register_key AS k ON k.record = r.id{_VECTORS}"
)

QUARANTINED_NODES = (
    "SELECT DISTINCT r.node FROM quarantine AS q JOIN register_key AS k ON k.id = q.key"
    " JOIN record AS r ON r.id = k.record"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A part, and the numbers that its keys and records have in the ledger."""

    part: Part
    key_ids: dict[Key, int]
    record_ids: dict[str, int]


def found_of(found: Iterable[rows.Row], known: Container[str], ledger: str) -> Found:
    """The registers of a part's rows.

    Args:
        found: rows of one of the queries above.
        known: ids of records that whoever asks has already.
        ledger: its name, for messages.
    """
    key_ids: dict[Key, int] = {}
    record_ids: dict[str, int] = {}
    records: dict[str, DeviceRecord] = {}
    vectors: list[StoredVector] = []
    last: int | None = None
    for row_id, branch, sequence, components, record_row, record_id, content, *columns in found:
        if row_id != last:
            last = row_id
            key = rows.key_of((*columns, record_id))
            key_ids[key] = row_id
            if record_id not in record_ids:
                record_ids[record_id] = record_row
                if record_id not in known:
                    records[record_id] = rows.record_of(content, ledger)
        if branch is not None:
            vector = rows.unpack(components, ledger)
            vectors.append(StoredVector(key, branch, sequence, vector))
    return Found(Part(records, vectors, last), key_ids, record_ids)
