"""What training processes on this node claim: checked, kept, journaled, sent until acknowledged.

Owns: the form of a client's message, the node's claim registers, and their journal.
May touch: the journal it is given; no socket, no clock.
Called by claim_socket (messages come in) and by claim_report (registers go out).
Explained in docs/sdk.md. A claim never touches a register of the meter.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from flopmeter_agent.faults import START_AGAIN
from flopmeter_agent.journal import Journal
from flopmeter_agent.phases import PhaseBook
from flopmeter_core.claims import (
    MAXIMUM_LABEL_LENGTH,
    Claim,
    ClaimCounts,
    ClaimKey,
    ClaimQuantity,
    ClaimScope,
    check_claim,
    check_key,
)
from flopmeter_core.errors import DataError, FlopmeterError
from flopmeter_core.reports import ClaimAcknowledgement, Durability, LedgerPosition
from flopmeter_core.run_file import RunFile
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

STATE_FORMAT = 1
MESSAGE_VERSION = 1

MAXIMUM_MESSAGE_BYTES = 16 * 1024
MAXIMUM_STRETCHES = 64
MAXIMUM_REGISTERS = 8_192
"""Of a node; acknowledged ones make room for new ones, the oldest first."""
MAXIMUM_REGISTERS_PER_WRITER = 256
MAXIMUM_CLAIMS_PER_REPORT = 512

_EXEC_WRITER = "exec"
"""Stands for the processes of ``flopmeter exec``; the node's name is not in it: a start of a run is
the same on all of its nodes."""

_SCOPES = {"global": ClaimScope.GLOBAL, "rank": ClaimScope.RANK}
_QUANTITIES = {quantity.text: quantity for quantity in ClaimQuantity}


REFUSALS: tuple[str, ...] = (
    "oversized",
    "garbled",
    "contents",
    "too_many",
    "connections",
    "collector",
)
"""Why something of a client is not taken."""


@dataclass(slots=True)
class ClaimCounters:
    """What became of clients and their messages since the start, for the agent's metrics."""

    messages: int = 0
    throttled: int = 0
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))

    def refuse(self, reason: str) -> None:
        """Count one refusal."""
        self.refused[reason] += 1


class ClaimBook:
    """The claim registers of a node. Safe to use from several threads."""

    def __init__(self, journal: Journal, *, run: str = "", phases: PhaseBook | None = None) -> None:
        """Take over what the journal holds.

        Args:
            journal: the claims' own.
            run: the run of a client that names none; empty refuses such a client.
            phases: is told the phases that messages name; one of its own when None.

        Raises:
            DataError: the journal's state cannot be read.
        """
        self.counters = ClaimCounters()
        self.phases = phases if phases is not None else PhaseBook()
        self._journal = journal
        self._run = run
        self._claims: dict[ClaimKey, Claim] = {}
        self._acknowledged: dict[ClaimKey, int] = {}
        self._per_writer: dict[str, int] = {}
        self._position: LedgerPosition | None = None
        self._turn = 0
        self._dirty = False
        self._failing = False
        self._lock = threading.Lock()
        if journal.payload is not None:
            self._resume(journal.payload)

    def __len__(self) -> int:
        """Registers held."""
        return len(self._claims)

    @property
    def unsaved(self) -> bool:
        """Whether anything is not on the disk yet."""
        return self._dirty

    def take(self, message: bytes, writer: str, *, connection: int = 0, user: int = 0) -> bool:
        """Take one message of a process; returns whether all of it was.

        Args:
            message: what the process sent.
            writer: 32 hexadecimal digits that stand for the process the kernel says it is.
            connection: the one it came by.
            user: the process' user id as the kernel says it.
        """
        try:
            claims, stated = parse_message(message, writer, run=self._run)
        except DataError as error:
            self._refuse("garbled" if isinstance(error, GarbledError) else "contents", str(error))
            return False
        self.phases.state_phase(
            stated.run,
            stated.attempt,
            stated.phase,
            connection=connection,
            user=user,
            age_ns=stated.age_ns,
        )
        with self._lock:
            self.counters.messages += 1
            taken = [self._merge(claim) for claim in claims]
        return all(taken)

    def take_labels(self, said: RunFile) -> None:
        """Take what a run file says its run is: a claim of labels that counts no work.

        Every process of one start says the same, so all of them are one claim.
        """
        if not (said.model or said.activity or said.format):
            return
        attempt = said.attempt[:MAXIMUM_LABEL_LENGTH] or "0"
        text = "\0".join((_EXEC_WRITER, said.run, attempt))
        key = ClaimKey(
            run=said.run,
            attempt=attempt,
            scope=ClaimScope.GLOBAL,
            rank=0,
            writer=hashlib.sha256(text.encode()).hexdigest()[:32],
            pass_number=0,
            first_step=0,
            model=said.model,
            format_mix=said.format,
            activity=said.activity,
        )
        claim = Claim(key, ClaimCounts(0, 0, 0, 0))
        try:
            check_claim(claim)
        except DataError as error:
            self._refuse("contents", str(error))
            return
        with self._lock:
            self.counters.messages += 1
            self._merge(claim)

    def pending(self) -> tuple[Claim, ...]:
        """What the collector has not acknowledged, durable on this node's disk.

        A part of it where there is much; the next call goes on behind it.
        """
        if not self.save():
            return ()
        with self._lock:
            waiting = [
                claim
                for key, claim in self._claims.items()
                if claim.sequence > self._acknowledged.get(key, 0)
            ]
            if len(waiting) > MAXIMUM_CLAIMS_PER_REPORT:
                self._turn %= len(waiting)
                waiting = waiting[self._turn :] + waiting[: self._turn]
                self._turn += MAXIMUM_CLAIMS_PER_REPORT
            return tuple(waiting[:MAXIMUM_CLAIMS_PER_REPORT])

    def acknowledge(
        self, answers: Sequence[ClaimAcknowledgement], position: LedgerPosition
    ) -> None:
        """Note what is durable at the collector; what it refused is not sent again unchanged."""
        with self._lock:
            before, self._position = self._position, position
            if before is not None and position.went_back(before):
                self._acknowledged.clear()
            for answer in answers:
                key, sequence = answer.claim.key, answer.claim.sequence
                if answer.durability is Durability.REFUSED:
                    self._refuse("collector", answer.reason)
                if key in self._claims:
                    self._acknowledged[key] = max(sequence, self._acknowledged.get(key, 0))
                    self._dirty = True

    def save(self) -> bool:
        """Make everything taken so far durable; returns whether it is.

        A disk that fails stops claims, never the meter: that one has its own journal, and says so.
        """
        with self._lock:
            if self._dirty:
                try:
                    self._journal.write(self._encoded())
                    self._journal.sync()
                except (FlopmeterError, OSError) as error:
                    if not self._failing:
                        logger.error("claims cannot be kept", extra=fields(reason=str(error)))
                    self._failing = True
                    return False
                self._dirty = self._failing = False
            return True

    # --- inside -----------------------------------------------------------------------------------

    def _merge(self, claim: Claim) -> bool:
        known = self._claims.get(claim.key)
        if known is None:
            writers = self._per_writer.get(claim.key.writer, 0)
            if writers >= MAXIMUM_REGISTERS_PER_WRITER or not self._room():
                self._refuse("too_many", f"run {claim.key.run}")
                return False
            self._per_writer[claim.key.writer] = writers + 1
            self._claims[claim.key] = claim
            self._dirty = True
            return True
        joined = known.counts.joined(claim.counts)
        if joined != known.counts:
            self._claims[claim.key] = Claim(claim.key, joined, known.sequence + 1)
            self._dirty = True
        return True

    def _room(self) -> bool:
        """Make room for one register more; only what a collector keeps is let go."""
        if len(self._claims) < MAXIMUM_REGISTERS:
            return True
        for key, claim in self._claims.items():
            if self._acknowledged.get(key, 0) >= claim.sequence:
                del self._claims[key], self._acknowledged[key]
                left = self._per_writer[key.writer] - 1
                self._per_writer[key.writer] = left
                if not left:
                    del self._per_writer[key.writer]
                return True
        return False

    def _refuse(self, reason: str, sentence: str) -> None:
        first = not self.counters.refused[reason]
        self.counters.refuse(reason)
        logger.log(
            logging.WARNING if first else logging.DEBUG,
            "a claim is not taken",
            extra=fields(kind=reason, reason=sentence),
        )

    def _encoded(self) -> bytes:
        position = self._position
        return json.dumps(
            {
                "format": STATE_FORMAT,
                "position": position
                and [position.ledger_id, position.generation, position.commit_number],
                "claims": [
                    [
                        *_key_out(claim.key),
                        *_counts_out(claim.counts),
                        int(claim.key.quantity),
                        claim.sequence,
                        self._acknowledged.get(claim.key, 0),
                    ]
                    for claim in self._claims.values()
                ],
            },
            separators=(",", ":"),
        ).encode()

    def _resume(self, payload: bytes) -> None:
        try:
            tree = json.loads(payload)
            if tree["format"] != STATE_FORMAT:
                raise DataError(
                    f"the journal of claims has format {tree['format']}, this agent reads "
                    f"{STATE_FORMAT}; upgrade the agent"
                )
            if tree["position"]:
                self._position = LedgerPosition(*tree["position"])
            for row in tree["claims"]:
                *parts, sequence, acknowledged = row
                run, attempt, scope, *others = parts[:10]
                # An older agent knew no quantity.
                others.append(ClaimQuantity(parts[14] if len(parts) > 14 else 1))
                key = ClaimKey(run, attempt, ClaimScope(scope), *others)
                self._claims[key] = Claim(key, ClaimCounts(*parts[10:14]), sequence)
                self._acknowledged[key] = acknowledged
                self._per_writer[key.writer] = self._per_writer.get(key.writer, 0) + 1
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the journal of claims cannot be read: {error}; {START_AGAIN}"
            ) from error


class GarbledError(DataError):
    """A message that is none of ours."""


class StatedPhase(NamedTuple):
    """What a message says of its run's phase: its number, and since how many ns."""

    run: str
    attempt: str
    phase: int
    age_ns: int


def parse_message(message: bytes, writer: str, *, run: str = "") -> tuple[list[Claim], StatedPhase]:
    """Read a client's message; one that names a phase may be without a claim.

    Args:
        message: UTF-8 JSON of at most `MAXIMUM_MESSAGE_BYTES`.
        writer: stands for the sending process.
        run: the run of a message that names none.

    Raises:
        GarbledError: it is no message of this protocol.
        DataError: a claim in it that no honest process can make.
    """
    try:
        tree = json.loads(message, parse_constant=_no_constant)
        fewest = 0 if "phase" in tree else 1
        count = len(tree["stretches"])
        if tree["v"] != MESSAGE_VERSION or not fewest <= count <= MAXIMUM_STRETCHES:
            raise GarbledError("a message of another version, or of too many stretches")
        key = ClaimKey(
            run=_text(tree["run"]) or run,
            attempt=_text(tree["attempt"]),
            scope=_SCOPES[tree["scope"]],
            rank=_integer(tree["rank"]),
            writer=writer,
            pass_number=0,
            first_step=0,
            model=_text(tree.get("model", "")),
            format_mix=_text(tree.get("format", "")),
            activity=_text(tree.get("activity", "")),
            quantity=_QUANTITIES[tree.get("quantity", "model")],
        )
        stated = StatedPhase(
            key.run, key.attempt, _integer(tree.get("phase", 0)), _integer(tree.get("age_ns", 0))
        )
        claims = []
        for stretch in tree["stretches"]:
            number, first, *counts = map(_integer, stretch)
            claims.append(
                Claim(replace(key, pass_number=number, first_step=first), ClaimCounts(*counts))
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GarbledError(f"a message that is no claim ({type(error).__name__})") from error
    check_key(key)
    if stated.phase < 0 or stated.age_ns < 0:
        raise DataError("a phase is a number from 0, and began before it was told")
    for claim in claims:
        check_claim(claim)
    return claims, stated


def _key_out(key: ClaimKey) -> list[Any]:
    return [
        key.run,
        key.attempt,
        int(key.scope),
        key.rank,
        key.writer,
        key.pass_number,
        key.first_step,
        key.model,
        key.format_mix,
        key.activity,
    ]


def _counts_out(counts: ClaimCounts) -> list[int]:
    return [counts.last_step, counts.step_count, counts.token_count, counts.compute_flop]


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("a text is expected")
    return found


def _integer(found: object) -> int:
    # JSON's true is an int to Python.
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError("a whole number is expected")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)
