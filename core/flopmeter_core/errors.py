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


class BusyError(NotPermittedError):
    """Another process holds what this one needs: later it may be free (EX_TEMPFAIL)."""

    exit_code = 75


class WireError(FlopmeterError):
    """A message of the wire protocol breaks the contract; the sender has to change it."""

    exit_code = 65


class SensorError(FlopmeterError):
    """A sensor cannot read its devices; the time stays unobserved."""

    exit_code = 69


class InvariantError(FlopmeterError):
    """A programmer's error inside flopmeter; please report it."""

    exit_code = 70


def unreadable(
    what: object, error: OSError, hint: str = "check the path and who may read it"
) -> UsageError:
    """The error for a file or folder that a person named and that is not there to be read.

    Whichever command it was named to, the code is that of a wrong command: what the file says
    was never seen, and no disk of flopmeter's own failed.

    Args:
        what: the path, with what it is where that is not plain.
        error: what the system said.
        hint: what to do.
    """
    return UsageError(f"{what} cannot be read: {error.strerror or error}; {hint}")


def not_text(what: object) -> DataError:
    """The error for a file that a person named and that is no UTF-8 text."""
    return DataError(f"{what} is no UTF-8 text; save it as UTF-8, or name another file")


def invariant(holds: bool, sentence: str) -> None:
    """Stop when a rule of the program itself is broken; always on, unlike ``assert``.

    Raises:
        InvariantError: when `holds` is false, with `sentence`.
    """
    if not holds:
        raise InvariantError(f"internal rule broken: {sentence}; please report this")
