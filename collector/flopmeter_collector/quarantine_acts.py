"""What people said of quarantined vectors: accepted into the totals, or found untrue.

Owns: the two kinds of declaration, their fields, what stands after all of them, and what is logged
where a serving collector takes one.
May touch: the register table it is given.
Called by publish and loading (in a collector), and by the lab's ledger commands and totals.
Explained in docs/adr/0013-operating-a-ledger.md and docs/adr/0047-found-untrue.md.

Either word is of one vector, by its name and its sequence. What was accepted stays accepted: a
register takes nothing back. What was found untrue may still be accepted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from flopmeter_collector.custody import check_reason
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.errors import DataError
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

QUARANTINE_KIND = "quarantine"
"""A release. Subject: the vector's name; body: ``sequence`` and ``reason``."""

REJECTION_KIND = "rejection"
"""The same of a vector that is untrue. An older collector sets a kind aside that it does not know;
a field more in the other kind it would have taken for a release."""

_COMMANDS = {QUARANTINE_KIND: "release", REJECTION_KIND: "reject"}

KINDS = frozenset(_COMMANDS)


@dataclass(frozen=True, slots=True)
class Word:
    """What a person said of one quarantined vector.

    Attributes:
        accepts: whether it counts; otherwise it is untrue.
        name: the vector's (`quarantine.quarantine_name`).
        sequence: the vector's.
    """

    accepts: bool
    name: str
    sequence: int


def parse_word(declaration: Declaration) -> Word:
    """Read a declaration of one of the KINDS.

    Raises:
        DataError: no sequence, or no reason.
    """
    text = declaration.body.get("sequence", "")
    if not (text.isascii() and text.isdigit()):
        raise DataError(
            f"declaration {declaration.sequence} names no sequence; write it with "
            f"`flopmeter ledger quarantine {_COMMANDS[declaration.kind]}`"
        )
    check_reason(declaration.body.get("reason", ""))
    return Word(declaration.kind == QUARANTINE_KIND, declaration.subject, int(text))


def words_in(declarations: Iterable[Declaration]) -> dict[Word, int]:
    """Every word that can be read, with the sequence of the last declaration that says it."""
    found = {}
    for declaration in declarations:
        if declaration.kind in KINDS:
            with contextlib.suppress(DataError):
                found[parse_word(declaration)] = declaration.sequence
    return found


def released_by(declarations: Iterable[Declaration]) -> frozenset[tuple[str, int]]:
    """Names and sequences of the vectors that declarations accept out of quarantine."""
    return frozenset((word.name, word.sequence) for word in words_in(declarations) if word.accepts)


def rejected_by(declarations: Iterable[Declaration]) -> dict[tuple[str, int], int]:
    """Names and sequences of the vectors that are said to be untrue, with the declaration."""
    return {
        (word.name, word.sequence): sequence
        for word, sequence in words_in(declarations).items()
        if not word.accepts
    }


def take_word(declaration: Declaration, table: RegisterTable, *, restored: bool) -> None:
    """Do in a serving collector what a person said of a quarantined vector.

    Args:
        declaration: of one of the KINDS.
        table: merges what is accepted.
        restored: whether every register of the ledger was in the table when this was declared;
            what came to nothing is not told again at each start.

    Raises:
        DataError: it cannot be read; nothing is changed.
    """
    word, quarantine = parse_word(declaration), table.quarantine
    told = fields(name=word.name, author=declaration.author)
    if not word.accepts:
        if quarantine.reject(word.name, word.sequence):
            if restored:
                logger.warning("a quarantined vector was found untrue", extra=told)
        elif restored:
            logger.error(
                "a vector was found untrue that is not in quarantine any more: it was released, "
                "or a newer one of its register took its place; look at that one",
                extra=told,
            )
    elif table.release(word.name, word.sequence, declaration.sequence):
        logger.warning("a quarantined vector was released", extra=told)
    elif restored and not quarantine.knows(declaration.sequence):
        logger.error(
            "a vector was released after a newer one of its register took its place in "
            "quarantine; look at that one",
            extra=told,
        )
