"""What a ledger remembers of the law that its states were judged by.

Owns: the audit row that names the rows in force, and the rows of before as far as it tells them.
May touch: nothing; pure translation.
Called by judge (which rows were replaced) and publish (which writes and reads the row).
Explained in docs/adr/0033-rulings.md.

Not the law itself: of each row its number, and a digest of what else decides a state. That is
enough to hold the same figures against the number of before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from flopmeter_collector.evaluate import rules_of
from flopmeter_collector.law_effects import verdicts_text
from flopmeter_collector.ledger.base import AuditRow, Ledger
from flopmeter_core.catalogue import Threshold

ACTION = "law in force"
AUTHOR = "collector"

LawMemory = Mapping[str, str]
"""Id of each row in force -> its number in FLOP, and a digest of what else decides by it."""


def memory_of(in_force: Iterable[Threshold]) -> dict[str, str]:
    """What is remembered of rows."""
    told: _Told = {}
    return {row.id: f"{row.value_flop} {_rest(row, told)}" for row in in_force}


def law_row(memory: LawMemory, at_ns: int) -> AuditRow:
    """The audit row that says which law was in force when the rows beside it were recorded."""
    content = json.dumps(dict(sorted(memory.items())))
    return AuditRow(0, at_ns, AUTHOR, "", ACTION, content)


def newest_memory(ledger: Ledger) -> dict[str, str] | None:
    """What the newest such row of a ledger remembers; None where there is none."""
    found = ledger.newest_audit(AUTHOR, ACTION)
    return None if found is None else memory_in(found)


def memory_in(row: AuditRow) -> dict[str, str]:
    """What one such row remembers."""
    return {str(name): str(told) for name, told in json.loads(row.content).items()}


def replaced_rows(
    memory: LawMemory | None, in_force: Iterable[Threshold]
) -> dict[str, Threshold] | None:
    """The rows that were in force before, by id; None where they are the same, or nobody knows.

    A row that differs in more than its number is left out: nothing can be held against it.
    """
    rows = list(in_force)
    if memory is None or memory == memory_of(rows):
        return None
    before: dict[str, Threshold] = {}
    told: _Told = {}
    for row in rows:
        number, _, rest = memory.get(row.id, "").partition(" ")
        if rest == _rest(row, told):
            before[row.id] = replace(row, exact=Fraction(int(number)), value_text=number)
    return before


_Told = dict[int, str]
"""What counting profiles decide, by the identity of each: rows share a few of them."""


def _rest(row: Threshold, told: _Told) -> str:
    profile = rules_of(row)
    if id(profile) not in told:
        told[id(profile)] = verdicts_text(profile)
    conditions = [f"{each.role} {each.id}" for each in row.conditions]
    parts = [row.operator, *conditions, told[id(profile)]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
