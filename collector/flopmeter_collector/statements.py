"""Statements about whose work is whose: the ledger rows, read and checked by themselves.

Owns: the kinds ``attach``, ``merge``, ``split`` and ``rename``, and the fields of their bodies.
May touch: nothing; pure functions of ledger rows.
Called by book, which holds a statement against what stands, and by the lab (checking before it
writes). Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_collector.attribution import check_attachable
from flopmeter_collector.spans import PLACE_FIELDS, Span, parse_span
from flopmeter_core.allocations import MAXIMUM_LENGTH, check_name
from flopmeter_core.errors import DataError
from flopmeter_core.patterns import check_pattern

ATTACH_KIND = "attach"
"""Subject: a run; body: ``state``, ``allocation`` or ``match``, and ``from``, ``until``."""

MERGE_KIND = "merge"
"""Subject: a run; body: ``state`` and ``into``, the run that it is a part of."""

SPLIT_KIND = "split"
"""Subject: a run; body: ``state``, ``into``, and at least one of ``from``, ``until``, ``phase``."""

RENAME_KIND = "rename"
"""Subject: a run; body: ``name``, by which people know it from now on."""

STANDS = "stands"
UNDONE = "undone"

MAXIMUM_REASON_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class Attachment:
    """An allocation, or all that fit a pattern, and the run they belong to."""

    run: str
    stands: bool
    allocation: str | None
    pattern: str | None
    from_ns: int | None
    until_ns: int | None


@dataclass(frozen=True, slots=True)
class Merging:
    """A run that is a part of another one."""

    run: str
    into: str
    stands: bool


@dataclass(frozen=True, slots=True)
class Splitting:
    """A part of a run that is a run of its own."""

    run: str
    into: str
    span: Span
    stands: bool


def parse_attachment(run: str, body: Mapping[str, str]) -> Attachment:
    """Read a declaration of kind ``attach``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    check_name(run, what="run")
    _only(run, body, ("allocation", "match", "from", "until"))
    allocation, pattern = body.get("allocation"), body.get("match")
    if (allocation is None) == (pattern is None):
        raise DataError(
            f"what is attached to run {run!r} is one allocation or one pattern; give one of the two"
        )
    if allocation is not None:
        if not 0 < len(allocation) <= MAXIMUM_LENGTH or not allocation.isprintable():
            raise DataError(
                f"an allocation's name has 1 to {MAXIMUM_LENGTH} printable characters; "
                f"this one has {len(allocation)}"
            )
        check_attachable(allocation)
    if pattern is not None:
        check_pattern(pattern)
        if pattern.startswith("run:"):
            raise DataError(
                f"allocations that begin with run: name their run themselves, so {pattern!r} "
                "matches nothing; use `flopmeter run merge`"
            )
    span = parse_span(body)
    return Attachment(run, stands(body), allocation, pattern, span.from_ns, span.until_ns)


def parse_merging(run: str, body: Mapping[str, str]) -> Merging:
    """Read a declaration of kind ``merge``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read, or a run into itself.
    """
    _only(run, body, ("into",))
    return Merging(run, _other(run, body), stands(body))


def parse_splitting(run: str, body: Mapping[str, str]) -> Splitting:
    """Read a declaration of kind ``split``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read, or a run off itself.
    """
    _only(run, body, ("into", *PLACE_FIELDS))
    if not body.keys() & set(PLACE_FIELDS):
        raise DataError(
            f"a split of run {run!r} needs the part that goes: --from, --until or --phase"
        )
    return Splitting(run, _other(run, body), parse_span(body), stands(body))


def parse_renaming(run: str, body: Mapping[str, str]) -> tuple[str, str]:
    """Read a declaration of kind ``rename``; returns the run and the name it is shown by.

    Raises:
        DataError: no name that a run may have.
    """
    check_name(run, what="run")
    unknown = sorted(body.keys() - {"name", "reason"})
    if unknown or "name" not in body:
        raise DataError(f"a renaming of run {run!r} takes a name and a reason, and nothing else")
    check_name(body["name"], what="run")
    return run, body["name"]


def check_fields(of: str, body: Mapping[str, str], fields: tuple[str, ...]) -> None:
    """Refuse fields that a statement does not have.

    Args:
        of: what it is about, for the sentence.
        body: its fields; ``state`` and ``reason`` are everybody's.
        fields: those it may have.

    Raises:
        DataError: an unknown field, or a reason that is too long.
    """
    if unknown := sorted(body.keys() - {*fields, "state", "reason"}):
        raise DataError(
            f"a declaration of {of} has the unknown field {', '.join(unknown)}; "
            f"it may have {', '.join(fields)}"
        )
    if len(body.get("reason", "")) > MAXIMUM_REASON_LENGTH:
        raise DataError(f"a reason has at most {MAXIMUM_REASON_LENGTH} characters; shorten it")


def _only(run: str, body: Mapping[str, str], fields: tuple[str, ...]) -> None:
    check_name(run, what="run")
    check_fields(f"run {run!r}", body, fields)


def _other(run: str, body: Mapping[str, str]) -> str:
    other = body.get("into", "")
    check_name(other, what="run")
    if other == run:
        raise DataError(f"run {run!r} cannot be its own part; name another run")
    return other


def stands(body: Mapping[str, str]) -> bool:
    """Whether a statement stands from now on, or is taken back.

    Raises:
        DataError: neither.
    """
    state = body.get("state", STANDS)
    if state not in (STANDS, UNDONE):
        raise DataError(f"a statement {STANDS} or is {UNDONE}, not {state!r}")
    return state == STANDS
