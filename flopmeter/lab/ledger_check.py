"""Whether a ledger is whole, and whether everything derived comes out of it again.

Owns: the checks of `flopmeter ledger verify` and `rebuild`, and one sentence for each finding.
May touch: one ledger, opened for reading.
Called by `flopmeter ledger`; docs/ledger.md.

A ledger's state is a function of its newest vectors, hourly vectors and declarations. So `rebuild`
adds everything up twice, by two ways that share no order, and holds both against each other and
against the states that were recorded when they changed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from flopmeter.lab.ledger_totals import load_totals
from flopmeter_collector import backends
from flopmeter_collector.admit import refusal
from flopmeter_collector.custody import names_in
from flopmeter_collector.evaluate import evaluate, previous_states
from flopmeter_collector.ledger.base import Ledger, StoredVector, audit_link
from flopmeter_collector.presentation import totals_document
from flopmeter_collector.quarantine import is_released
from flopmeter_collector.quarantine_acts import QUARANTINE_KIND, released_by
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_core.allocations import boundary_parties
from flopmeter_core.catalogue import State, Threshold
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.kernels.merge import ABOVE, APART, EQUAL, compare
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_core.writers import mark_of

MAXIMUM_FINDINGS = 1_000
"""Findings told one by one; a ledger with more is to be restored, not read."""


def verify(url: str) -> list[str]:
    """Check a ledger; nothing in it is changed.

    Returns:
        One sentence for each finding, at most MAXIMUM_FINDINGS; empty when it is whole.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read at all.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        damaged = list(ledger.damage())
        if damaged:
            # What follows would fall over the same damage.
            return damaged[:MAXIMUM_FINDINGS]
        return list(itertools.islice(_findings(ledger), MAXIMUM_FINDINGS))


def _findings(ledger: Ledger) -> Iterator[str]:
    records = ledger.records()
    branches: dict[Key, list[StoredVector]] = {}
    for stored in ledger.vectors():
        branches.setdefault(stored.key, []).append(stored)
    released = released_by(ledger.declarations())
    for key, rows in branches.items():
        yield from _register_findings(key, rows, records)
        yield from _untrue_findings(key, rows, records.get(key.record), released)
    for allocation in ledger.allocations():
        for key, hours in itertools.groupby(ledger.hours(allocation), key=lambda row: row.key):
            yield from _hour_findings(key, hours, branches.get(key, []))
    yield from _quarantine_findings(ledger)
    yield from _sequence_findings(ledger)
    yield from _audit_findings(ledger)


def _register_findings(
    key: Key, rows: Sequence[StoredVector], records: Mapping[str, DeviceRecord]
) -> Iterator[str]:
    of = f"the register of device {key.device}, allocation {key.allocation},"
    record = records.get(key.record)
    if record is None or record.device != key.device:
        yield f"{of} has no device record of its device; restore a backup"
    elif record.record_id != key.record:
        yield f"{of} has a device record whose content is not what its name says"
    if [row.branch for row in rows] != list(range(len(rows))):
        yield f"{of} has branches that are not numbered from 0"
    for row in rows:
        if not 1 <= row.sequence < REGISTER_LIMIT:
            yield f"{of} has the sequence {row.sequence}, which no agent sends"
        if min(row.vector) < 0 or max(row.vector) >= REGISTER_LIMIT:
            yield f"{of} holds a component outside 0 .. 2^62 - 1"
    for one, other in itertools.combinations(rows, 2):
        if mark_of(one.sequence) != mark_of(other.sequence):
            continue  # of two writers that were told apart: neither ever follows the other
        if one.sequence != other.sequence and compare(one.vector, other.vector) != APART:
            later, earlier = (one, other) if one.sequence > other.sequence else (other, one)
            if compare(later.vector, earlier.vector) in (ABOVE, EQUAL):
                yield f"{of} has a branch that another one follows"


def _untrue_findings(
    key: Key,
    rows: Sequence[StoredVector],
    record: DeviceRecord | None,
    released: Set[tuple[str, int]],
) -> Iterator[str]:
    """What a collector would have quarantined: a page has no checksum, so a bit can turn unseen."""
    boundary = boundary_parties(key.allocation) is not None
    for row in rows:
        reason = record and refusal(row.vector, record, boot_ns=None, boundary=boundary)
        if reason and not is_released(row, released):
            yield (
                f"the register of device {key.device}, allocation {key.allocation}, cannot be "
                f"true, and nobody released it from quarantine ({reason}); restore a backup"
            )


def _hour_findings(
    key: Key, hours: Iterable[HourlyVector], branches: Sequence[StoredVector]
) -> Iterator[str]:
    of = f"an hour of device {key.device}, allocation {key.allocation},"
    if not branches:
        yield f"{of} belongs to no register"
    before: HourlyVector | None = None
    for row in hours:
        if len(branches) == 1:
            newest = branches[0]
            if row.sequence > newest.sequence or compare(newest.vector, row.vector) not in (
                ABOVE,
                EQUAL,
            ):
                yield f"{of} ({row.hour}) lies above its register"
        if before is not None and row.sequence < before.sequence:
            yield f"{of} ({row.hour}) has a lower sequence than an earlier hour"
        before = row


def _quarantine_findings(ledger: Ledger) -> Iterator[str]:
    releases = {row.sequence for row in ledger.declarations() if row.kind == QUARANTINE_KIND}
    for row in ledger.quarantined():
        if row.released and row.released not in releases:
            yield (
                f"the quarantined vector of device {row.key.device} is released by declaration "
                f"{row.released}, which is no release"
            )


def _sequence_findings(ledger: Ledger) -> Iterator[str]:
    transitions = list(ledger.transitions())
    numbered = ledger.numbered()
    for what, sequences in (
        ("declaration", [row.sequence for row in ledger.declarations()]),
        ("transition", [row.sequence for row in transitions]),
        ("audit", [row.sequence for row in ledger.audit()]),
    ):
        given = range(1, max(numbered.get(what, 0), len(sequences)) + 1)
        for place, sequence in itertools.zip_longest(given, sequences):
            if sequence != place:
                named = what if what != "audit" else "audit row"
                yield f"{named} {place} is missing; somebody removed it"
                break
    states: dict[tuple[str, str, bool], str] = {}
    for row in transitions:
        # What is foreseen and what is the case are two lines of states.
        subject = (row.model, row.threshold, row.foresight)
        if states.get(subject, row.before) != row.before:
            yield (
                f"transition {row.sequence} leaves state {row.before}, but the one before it "
                f"entered {states[subject]}"
            )
        states[subject] = row.after


def _audit_findings(ledger: Ledger) -> Iterator[str]:
    link, linked = "", False
    for place, row in enumerate(ledger.audit(), start=1):
        if row.sequence != place:
            return  # a row is missing, and with it what the next one is chained to
        link = audit_link(link, row)
        if row.link not in ("", link) or (linked and not row.link):
            yield f"audit row {row.sequence} or one before it was changed; restore a backup"
            return
        linked = linked or bool(row.link)


def rebuild(
    url: str, thresholds: Iterable[Threshold], *, law_as_of_ns: int
) -> tuple[list[str], dict[str, Any]]:
    """Compute totals and states anew, and hold them against each other and what is recorded.

    Args:
        url: the ledger.
        thresholds: the catalogue.
        law_as_of_ns: Unix time in ns whose law applies.

    Returns:
        One sentence for each difference, and the totals document that was rebuilt.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    rows = tuple(thresholds)
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        position = ledger.position()
        snapshot = load_totals(ledger, law=rows).snapshot(0, position)
        backwards = load_totals(ledger, backwards=True, law=rows).snapshot(0, position)
        document, other = (
            totals_document(each, rows, law_as_of_ns=law_as_of_ns) for each in (snapshot, backwards)
        )
        recorded = previous_states(ledger.transitions())
        named = names_in(ledger)
    findings = []
    if json.dumps(document) != json.dumps(other):
        findings.append("totals depend on the order they are added up in; report this")
    findings += _state_findings(snapshot, rows, recorded, named, law_as_of_ns)
    return findings, document


def _state_findings(
    snapshot: TotalsSnapshot,
    thresholds: Sequence[Threshold],
    recorded: Mapping[tuple[str, str], State],
    named: frozenset[str],
    law_as_of_ns: int,
) -> Iterator[str]:
    """States that come out otherwise than the last transition says, and those of no model.

    A model whose runs were declared of another one since has a last state, and nothing is wrong.
    """
    for row in evaluate(snapshot, thresholds, recorded, law_as_of_ns=law_as_of_ns).transitions:
        yield (
            f"model {row.model} against {row.threshold} is recorded as {row.before} and comes out "
            f"as {row.after}; a collector that serves this ledger records it in its next round"
        )
    models = {model.model for model in snapshot.models}
    for model in sorted({model for model, _ in recorded} - models - named):
        yield f"a state of model {model} is recorded, but no run of it is in the ledger"
