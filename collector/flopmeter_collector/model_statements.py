"""Statements about models: the ledger rows, read and checked by themselves.

Owns: the kinds ``parent``, ``external``, ``party``, ``completeness`` and ``plan``, and the fields
of their bodies.
May touch: nothing; pure functions of ledger rows.
Called by model_book, which holds a statement against what stands, and by the lab (checking before
it writes). Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from flopmeter_collector.declarations import LabelFields, label_fields
from flopmeter_collector.spans import parse_time
from flopmeter_collector.statements import check_fields, stands
from flopmeter_core.activities import Edge
from flopmeter_core.allocations import check_name
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Interval

PARENT_KIND = "parent"
"""Subject: a model; body: ``parent``, ``edge``, ``state``."""

EXTERNAL_KIND = "external"
"""Subject: a model; body: ``entry``, bounds, period, party, source, the label, ``state``."""

PARTY_KIND = "party"
"""Subject: a model; body: ``party``, ``role``, ``state``."""

COMPLETENESS_KIND = "completeness"
"""Subject: a model; body: ``complete`` (yes, no, unknown) and ``statement``."""

PLAN_KIND = "plan"
"""Subject: a model; body: bounds, ``from``, ``until``, ``state``."""

MODEL_KINDS = (PARENT_KIND, EXTERNAL_KIND, PARTY_KIND, COMPLETENESS_KIND, PLAN_KIND)

_Member = TypeVar("_Member", bound=enum.StrEnum)

GREATEST_FLOP = 10**32
"""More than anybody has computed: a larger number is a slip of the pen."""

MAXIMUM_TEXT = 2_000


class Complete(enum.StrEnum):
    """Whether a model's runs, parents and external entries are all there are."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class PartyRole(enum.StrEnum):
    """What a party did for a model, in words of the AI Act where it has one."""

    PROVIDER = "provider"
    DEVELOPER = "developer"
    MODIFIER = "modifier"
    COMPUTE_PROVIDER = "compute_provider"
    DATA_PROVIDER = "data_provider"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ParentStatement:
    """That a model came from another one, or did not."""

    model: str
    parent: str
    edge: Edge
    stands: bool


@dataclass(frozen=True, slots=True)
class External:
    """Compute that no agent saw, as somebody entered it.

    Attributes:
        entry: its name within the model.
        compute: FLOP; floor is 0 and ceiling the upper, because a declaration proves nothing.
        from_ns: Unix time in ns at which it began.
        until_ns: Unix time in ns at which it had ended.
        party: who computed.
        source: name of the file that says so.
        sha256: of that file.
        label: what the work was, as the entry says; a claim like any label.
        author: who entered it.
        sequence: of the declaration.
    """

    entry: str
    compute: Interval
    from_ns: int
    until_ns: int
    party: str
    source: str
    sha256: str
    label: LabelFields
    author: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """Compute that somebody means to use.

    Attributes:
        compute: FLOP in all, what was used already included; floor 0, ceiling the upper.
        from_ns: Unix time in ns at which it begins.
        until_ns: Unix time in ns at which it is to end.
        sequence: of the declaration.
        declared_at_ns: Unix time in ns of the declaration: a label.
    """

    compute: Interval
    from_ns: int
    until_ns: int
    sequence: int = 0
    declared_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Completeness:
    """What somebody stated about whether a model's total holds everything."""

    complete: Complete
    statement: str
    author: str = ""
    sequence: int = 0


def parse_parent(model: str, body: Mapping[str, str]) -> ParentStatement:
    """Read a declaration of kind ``parent``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    _check(model, body, ("parent", "edge"))
    check_name(body.get("parent", ""), what="model")
    return ParentStatement(model, body["parent"], _member(Edge, body, "edge"), stands(body))


def parse_external(model: str, body: Mapping[str, str]) -> tuple[str, External | None]:
    """Read a declaration of kind ``external``; returns its name, and None where it is taken back.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    label = ("activity", "disposition", "data_visibility")
    fields = ("entry", "lower", "best", "upper", "from", "until", "party", "source", "sha256")
    _check(model, body, (*fields, *label))
    check_name(body.get("entry", ""), what="external entry")
    if not stands(body):
        return body["entry"], None
    for name in fields:
        if not body.get(name, "").strip():
            raise DataError(f"an external entry of model {model!r} needs {name}")
    check_name(body["party"], what="party")
    check_name(body["source"], what="source")
    if not re.fullmatch("[0-9a-f]{64}", body["sha256"]):
        raise DataError("sha256 of a source has 64 hexadecimal digits")
    from_ns, until_ns = _period(body)
    entry = External(
        body["entry"],
        parse_bounds(body),
        from_ns,
        until_ns,
        body["party"],
        body["source"],
        body["sha256"],
        label_fields(body),
    )
    return entry.entry, entry


def parse_party(model: str, body: Mapping[str, str]) -> tuple[str, PartyRole, bool]:
    """Read a declaration of kind ``party``; returns the party, its role, and whether it stands.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    _check(model, body, ("party", "role"))
    check_name(body.get("party", ""), what="party")
    return body["party"], _member(PartyRole, body, "role"), stands(body)


def parse_completeness(model: str, body: Mapping[str, str]) -> Completeness:
    """Read a declaration of kind ``completeness``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    _check(model, body, ("complete", "statement"))
    statement = body.get("statement", "")
    if not statement.strip() or len(statement) > MAXIMUM_TEXT or not statement.isprintable():
        raise DataError(
            f"a completeness statement has 1 to {MAXIMUM_TEXT} printable characters that say what "
            "is in the total and what is not"
        )
    return Completeness(_member(Complete, body, "complete"), statement)


def parse_plan(model: str, body: Mapping[str, str]) -> Planned | None:
    """Read a declaration of kind ``plan``; None where the plan is given up.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    _check(model, body, ("lower", "best", "upper", "from", "until"))
    if not stands(body):
        return None
    from_ns, until_ns = _period(body)
    return Planned(parse_bounds(body), from_ns, until_ns)


def parse_bounds(body: Mapping[str, str]) -> Interval:
    """Read ``lower``, ``best`` and ``upper``, in FLOP.

    Raises:
        DataError: no whole number of FLOP, or bounds out of order.
    """
    lower, best, upper = (_flop(body.get(name, ""), name) for name in ("lower", "best", "upper"))
    if not lower <= best <= upper:
        raise DataError(
            f"lower {body['lower']}, best {body['best']} and upper {body['upper']} are not in order"
        )
    return Interval(0, lower, best, upper, upper)


def _flop(text: str, name: str) -> int:
    try:
        if len(text) > 64:
            raise ValueError(name)
        number = Decimal(text)
        if not number.is_finite() or not 0 <= number <= GREATEST_FLOP:
            raise ValueError(name)
        flop = int(number)
    except (InvalidOperation, ValueError) as error:
        raise DataError(
            f"{name} {text[:64]!r} is no number of FLOP from 0 to 1e32; write it as 3.8e24"
        ) from error
    if flop != number:
        raise DataError(f"{name} {text} is no whole number of FLOP")
    return flop


def _period(body: Mapping[str, str]) -> tuple[int, int]:
    """``from`` and ``until``: times, or days in UTC."""
    from_ns, until_ns = (_instant(body.get(name, ""), name) for name in ("from", "until"))
    if until_ns <= from_ns:
        raise DataError(f"until {body['until']} does not lie after from {body['from']}")
    return from_ns, until_ns


def _instant(text: str, name: str) -> int:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return parse_time(text, what=name)
    return parse_time(f"{day.isoformat()}T00:00:00Z", what=name)


def _check(model: str, body: Mapping[str, str], fields: tuple[str, ...]) -> None:
    check_name(model, what="model")
    check_fields(f"model {model!r}", body, fields)


def _member(kind: type[_Member], body: Mapping[str, str], field: str) -> _Member:
    try:
        return kind(body.get(field, ""))
    except ValueError as error:
        raise DataError(
            f"{body.get(field, '')!r} is no {field}; use one of {', '.join(sorted(kind))}"
        ) from error
