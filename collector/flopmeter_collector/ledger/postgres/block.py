"""The usual case of a commit, all keys at a time: one branch here, one there, and one follows.

Owns: which given vectors plainly follow, equal or are followed by what the ledger has.
May touch: nothing; pure. Bytes of rows go to the kernel as they are, without a vector of each.
Called by merge; docs/adr/0031-kernels-compiled-by-the-block.md. Every other key is left to the
rule of the merge, which also is what this is tested against.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.kernels.merge_block import ASK, LATE, WON, merge_rows
from flopmeter_core.registers import COMPONENT_COUNT


@dataclass(slots=True)
class Settled:
    """What became of the keys whose case is plain.

    Attributes:
        keys: their ids.
        written: rows to write: key, branch, sequence, components.
        alone: whether each of them now has exactly the branch that was given.
    """

    keys: set[int] = field(default_factory=set)
    written: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    alone: bool = True


def settle(given: Mapping[int, Sequence[StoredVector]], found: Sequence[Sequence[Any]]) -> Settled:
    """Settle every key whose case is plain.

    Args:
        given: the branches that come, by the id of their key.
        found: what the ledger has of these keys: key, branch, sequence, components.
    """
    settled = Settled()
    there: dict[int, Sequence[Any]] = {}
    several: set[int] = set()
    for row in found:
        if row[0] in there:
            several.add(row[0])
        there[row[0]] = row
    for key, branches in given.items():
        if key not in there and len(branches) == 1 and branches[0].branch == 0:
            settled.keys.add(key)
            settled.written.append(_row(key, branches[0]))
    pairs = [
        (_row(key, given[key][0]), there[key])
        for key in there
        if key not in several and len(given[key]) == 1 and _is_plain(given[key][0], there[key])
    ]
    if not pairs:
        return settled
    outcomes = bytearray(len(pairs))
    merge_rows(
        _block(held[3] for _, held in pairs),
        array("q", [held[2] for _, held in pairs]),
        array("q", range(len(pairs))),
        _block(coming[3] for coming, _ in pairs),
        array("q", [coming[2] for coming, _ in pairs]),
        outcomes,
        COMPONENT_COUNT,
    )
    for (coming, _), outcome in zip(pairs, outcomes, strict=True):
        if outcome == ASK:
            continue
        settled.keys.add(coming[0])
        if outcome == WON:
            settled.written.append(coming)
        elif outcome == LATE:
            settled.alone = False
    return settled


def _is_plain(coming: StoredVector, held: Sequence[Any]) -> bool:
    """Whether both are the only branch, and the ledger's row has the components of today."""
    return coming.branch == 0 == held[1] and len(held[3]) == 8 * COMPONENT_COUNT


def _row(key: int, stored: StoredVector) -> tuple[int, int, int, bytes]:
    return key, stored.branch, stored.sequence, rows.pack(stored.vector)


def _block(components: Iterable[bytes]) -> array[int]:
    """Rows as a ledger keeps them, one after the other, as integers of this machine."""
    block = array("q", b"".join(components))
    if sys.byteorder == "big":
        block.byteswap()
    return block
