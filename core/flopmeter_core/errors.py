"""The exception tree of flopmeter.

Owns: one root and one family for each thing that can fail, each with its documented exit code.
May touch: nothing; pure definitions.
Called by every package; the command line turns a family into an exit code (docs/cli.md).
"""

from __future__ import annotations


class FlopmeterError(Exception):
    """Root of every error flopmeter raises on purpose: one clear sentence saying what to do."""

    exit_code = 1


class UsageError(FlopmeterError):
    """A command or a setting is wrong; the caller has to change it (EX_USAGE)."""

    exit_code = 64


class DataError(FlopmeterError):
    """Input data is malformed, truncated or contradicts itself (EX_DATAERR)."""

    exit_code = 65


class UnreachableError(FlopmeterError):
    """A peer or a service cannot be reached; a retry may help (EX_UNAVAILABLE)."""

    exit_code = 69


class StorageError(FlopmeterError):
    """A disk or a database failed; nothing was acknowledged (EX_IOERR)."""

    exit_code = 74


class NotPermittedError(FlopmeterError):
    """The operation is refused by a rule of the ledger or of the host (EX_NOPERM)."""

    exit_code = 77


class WireError(FlopmeterError):
    """A message of the wire protocol breaks the contract; the sender has to change it."""

    exit_code = 65


class SensorError(FlopmeterError):
    """A sensor cannot read its devices; the time stays unobserved."""

    exit_code = 69


class InvariantError(FlopmeterError):
    """A programmer's error inside flopmeter; please report it."""

    exit_code = 70


def invariant(holds: bool, sentence: str) -> None:
    """Stop when a rule of the program itself is broken; always on, unlike ``assert``.

    Raises:
        InvariantError: when `holds` is false, with `sentence`.
    """
    if not holds:
        raise InvariantError(f"internal rule broken: {sentence}; please report this")
