"""Rows of a ledger's tables and the objects they stand for, the same on every backend.

Owns: how a vector, a record, a key, a declaration, a transition, a claim become columns and back.
May touch: nothing; pure functions.
Called by ledger.tables and by the backends, which own the SQL around them.

A vector is one string of little-endian int64 rather than a column a component: a component that
is appended later needs no migration, a row is written 2 to 4 times as fast, and no component is
ever searched for or summed in SQL (an SQL sum of 64-bit integers overflows at 2^63).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from flopmeter_collector.ledger.base import (
    Coverage,
    Declaration,
    HistoryRow,
    QuarantinedVector,
    Transition,
)
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimQuantity, ClaimScope
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key, Vector

Row = Sequence[Any]
"""One row as a database module returns it."""

_EVIDENCE = {int(each): each for each in Evidence}
"""Rungs by their numbers: a restart looks up one for each key."""

_PACKER = struct.Struct(f"<{COMPONENT_COUNT}q")

CLAIM_KEY_COLUMNS = (
    "run, attempt, scope, rank, writer, pass_number, first_step, model, format_mix, activity,"
    " quantity"
)
CLAIM_COLUMNS = CLAIM_KEY_COLUMNS + (", last_step, step_count, token_count, compute_flop, sequence")
KEY_COLUMNS = "incarnation, device, allocation, phase, evidence, record"
QUARANTINE_COLUMNS = "sequence, components, boot_ns, reason, quarantined_at_ns, released"
AUDIT_COLUMNS = "sequence, recorded_at_ns, author, reason, action, content, link"
COVERAGE_COLUMNS = (
    "incarnation, device, node, boot_id, since_ns, anchor_ns, first_seen_ns, first_covered_ns"
)
DECLARATION_COLUMNS = "declared_at_ns, author, source, kind, subject, body"
TRANSITION_COLUMNS = (
    "model, threshold, state_before, state_after, decided, occurred_at_ns, commit_number,"
    " figures, delivered"
)


def pack(vector: Vector) -> bytes:
    """The components of a vector as one string of bytes."""
    return _PACKER.pack(*vector)


def unpack(components: bytes, ledger: str) -> Vector:
    """The vector of a row; components that came later than the row are 0.

    Raises:
        UsageError: the row was written by a newer flopmeter; `ledger` names where.
    """
    count = len(components) // 8
    if count > COMPONENT_COUNT:
        raise UsageError(
            f"the ledger {ledger} holds vectors of {count} components, this flopmeter "
            f"knows {COMPONENT_COUNT}: upgrade flopmeter"
        )
    values = struct.unpack(f"<{count}q", components)
    return values + (0,) * (COMPONENT_COUNT - count)


def key_row(key: Key, record: int) -> tuple[bytes, str, str, int, int, int]:
    """The columns of a key; its record is named by that one's row."""
    return (
        bytes.fromhex(key.incarnation),
        key.device,
        key.allocation,
        key.phase,
        int(key.evidence),
        record,
    )


def key_of(row: Row) -> Key:
    """The key of incarnation, device, allocation, phase, evidence and the record's id."""
    incarnation, device, allocation, phase, evidence, record_id = row
    return Key(
        device=device,
        incarnation=incarnation.hex(),
        allocation=allocation,
        phase=phase,
        evidence=_EVIDENCE.get(evidence) or Evidence(evidence),
        record=record_id,
    )


def record_text(record: DeviceRecord) -> str:
    """A device record as the text that is stored."""
    return json.dumps(record.to_json(), sort_keys=True)


def record_of(text: str, ledger: str) -> DeviceRecord:
    """The device record of a stored text.

    Raises:
        DataError: the text is damaged.
    """
    content = _object(text, ledger)
    try:
        return DeviceRecord.from_json(content)
    except DataError as error:
        raise DataError(f"in the ledger {ledger} {error}; restore it from a backup") from error


def quarantine_row(held: QuarantinedVector) -> tuple[object, ...]:
    """The columns of a quarantined vector, but for its key."""
    return (
        held.sequence,
        pack(held.vector),
        held.boot_ns,
        held.reason,
        held.quarantined_at_ns,
        held.released,
    )


def quarantined_of(key: Key, row: Row, ledger: str) -> QuarantinedVector:
    """The quarantined vector of a key and its columns."""
    sequence, components, boot_ns, reason, at_ns, released = row
    vector = unpack(components, ledger)
    return QuarantinedVector(key, sequence, vector, boot_ns, reason, at_ns, released)


def declaration_row(declaration: Declaration) -> tuple[object, ...]:
    """The columns of a declaration, but for its sequence."""
    return (
        declaration.declared_at_ns,
        declaration.author,
        declaration.source,
        declaration.kind,
        declaration.subject,
        json.dumps(dict(declaration.body), sort_keys=True),
    )


def declaration_of(row: Row, ledger: str) -> Declaration:
    """The declaration of its sequence and columns.

    Raises:
        DataError: its text is damaged.
    """
    sequence, at_ns, author, source, kind, subject, body = row
    return Declaration(sequence, at_ns, author, source, kind, subject, _texts(body, ledger))


def transition_row(transition: Transition, commit_number: int) -> tuple[object, ...]:
    """The columns of a transition; one without a commit number gets the one given."""
    return (
        transition.model,
        transition.threshold,
        transition.before,
        transition.after,
        int(transition.decided),
        transition.occurred_at_ns,
        transition.commit_number or commit_number,
        json.dumps(dict(transition.figures), sort_keys=True),
        int(transition.delivered),
    )


def transition_of(row: Row, ledger: str) -> Transition:
    """The transition of its sequence and columns.

    Raises:
        DataError: its text is damaged.
    """
    sequence, model, threshold, before, after, decided, at_ns, number, figures, delivered = row
    return Transition(
        sequence=sequence,
        model=model,
        threshold=threshold,
        before=before,
        after=after,
        decided=bool(decided),
        occurred_at_ns=at_ns,
        commit_number=number,
        figures=_texts(figures, ledger),
        delivered=bool(delivered),
    )


HISTORY_COLUMNS = "model, at_ns, totals, revalued, basis"


def history_row(row: HistoryRow) -> tuple[object, ...]:
    """The columns of a model's totals at one time; FLOP pass 2^63, so they are digits."""
    totals = {profile: str(flop) for profile, flop in row.totals.items()}
    return (row.model, row.at_ns, json.dumps(totals, sort_keys=True), int(row.revalued), row.basis)


def history_of(row: Row, ledger: str) -> HistoryRow:
    """The totals of their columns.

    Raises:
        DataError: its text is damaged.
    """
    model, at_ns, totals, revalued, basis = row
    try:
        told = {profile: int(text) for profile, text in _texts(totals, ledger).items()}
    except ValueError as error:
        raise DataError(f"the ledger {ledger} is damaged; restore it from a backup") from error
    return HistoryRow(model, at_ns, told, bool(revalued), basis)


def claim_key_row(key: ClaimKey) -> tuple[Any, ...]:
    """The columns of a claim's key."""
    return (
        key.run,
        key.attempt,
        int(key.scope),
        key.rank,
        bytes.fromhex(key.writer),
        key.pass_number,
        key.first_step,
        key.model,
        key.format_mix,
        key.activity,
        int(key.quantity),
    )


def claim_row(claim: Claim) -> tuple[Any, ...]:
    """The columns of a claim; its FLOP pass 2^63, so they are digits."""
    counts = claim.counts
    return (
        *claim_key_row(claim.key),
        counts.last_step,
        counts.step_count,
        counts.token_count,
        str(counts.compute_flop),
        claim.sequence,
    )


def claim_of(row: Row) -> Claim:
    """The claim of its columns."""
    run, attempt, scope, rank, writer, pass_number, first, model, formats, activity = row[:10]
    quantity, last, steps, tokens, flop, sequence = row[10:]
    key = ClaimKey(
        run=run,
        attempt=attempt,
        scope=ClaimScope(scope),
        rank=rank,
        writer=writer.hex(),
        pass_number=pass_number,
        first_step=first,
        model=model,
        format_mix=formats,
        activity=activity,
        quantity=ClaimQuantity(quantity),
    )
    return Claim(key, ClaimCounts(last, steps, tokens, int(flop)), sequence)


def coverage_row(coverage: Coverage) -> tuple[object, ...]:
    """The columns of when an incarnation began to classify a device."""
    return (
        bytes.fromhex(coverage.incarnation),
        coverage.device,
        coverage.node,
        coverage.boot_id,
        coverage.since_ns,
        coverage.anchor_ns,
        coverage.first_seen_ns,
        coverage.first_covered_ns,
    )


def coverage_of(row: Row) -> Coverage:
    """The coverage of its columns."""
    incarnation, *columns = row
    return Coverage(incarnation.hex(), *columns)


def _object(text: str, ledger: str) -> dict[str, object]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"the ledger {ledger} holds text that is not JSON; restore it from a backup"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"the ledger {ledger} is damaged; restore it from a backup")
    return content


def _texts(text: str, ledger: str) -> Mapping[str, str]:
    return {name: str(content) for name, content in _object(text, ledger).items()}
