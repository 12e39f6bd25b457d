"""Names of allocations: what an agent can see of who uses a device.

Owns: the spelling of allocations on the wire and in the ledger, and the boundary of two of them.
May touch: nothing; pure text.
Called by the agent's increments and by the collector's totals; docs/glossary.md has the words.
"""

from __future__ import annotations

from flopmeter_core.errors import DataError

NONE = "none"
"""Nobody the agent can see uses the device; its work is unattributed."""

OVERFLOW = "overflow"
"""Where an agent has no room for one more name: the work of all further users of a device together.
Its sum is exact, and it is unattributed."""

RUN_PREFIX = "run:"
"""An explicit handle: the process, the scenario or the recording named its run itself."""

MAXIMUM_LENGTH = 512
"""Characters of an allocation's name; a boundary holds two names."""

MAXIMUM_RUN_NAME_LENGTH = 200


def for_run(run: str) -> str:
    """Spell the allocation of an explicitly named run.

    Raises:
        DataError: a name that is empty, too long, or holds characters a table cannot show.
    """
    check_name(run, what="run")
    return RUN_PREFIX + run


def check_name(name: str, *, what: str) -> None:
    """Refuse names that would confuse a reader or a parser.

    Raises:
        DataError: empty, over 200 characters, unprintable, or with one of ``(`` ``)`` ``,``.
    """
    if not name or len(name) > MAXIMUM_RUN_NAME_LENGTH:
        raise DataError(
            f"the name of a {what} has 1 to {MAXIMUM_RUN_NAME_LENGTH} characters; "
            f"this one has {len(name)}"
        )
    if not name.isprintable() or any(c in "()," for c in name):
        raise DataError(
            f"the name of a {what} may hold printable characters except '(', ')' and ','; "
            f"rename {name!r}"
        )


def boundary(before: str, after: str) -> str:
    """Name the allocation of a period at whose two ends different users were seen.

    Such a period is unattributed in every bound and widens the upper of both neighbours.
    """
    return f"boundary({before},{after})"


def boundary_parties(allocation: str) -> tuple[str, str] | None:
    """The two users of a boundary period, or None when the allocation is not one."""
    if not (allocation.startswith("boundary(") and allocation.endswith(")")):
        return None
    before, separator, after = allocation[len("boundary(") : -1].partition(",")
    return (before, after) if separator else None


def named_run(allocation: str) -> str | None:
    """The run an explicit handle names, or None."""
    return allocation[len(RUN_PREFIX) :] if allocation.startswith(RUN_PREFIX) else None
