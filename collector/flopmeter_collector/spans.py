"""Spans: parts of time and phases that something was declared for, and the cuts they make.

Owns: times as people write them, spans and their overlap, and the segments they cut time into.
May touch: nothing; pure functions of declarations.
Called by declarations and attribution (which declare spans), split (which cuts work at them) and
whatever shows them. Explained in docs/adr/0007-hourly-vectors-and-splits.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S

GREATEST_PHASE = (1 << 31) - 1
"""The wire's type of a phase."""

PLACE_FIELDS = ("from", "until", "phase")
"""The fields of a declaration that say which part of the time it is about."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the time of a run or an allocation; what holds there, its kinds say.

    Attributes:
        from_ns: Unix time in ns of its first instant; None: since the beginning.
        until_ns: Unix time in ns of the first instant after it; None: open.
        phase: the phase it holds for; None: every phase.
    """

    from_ns: int | None
    until_ns: int | None
    phase: int | None

    @property
    def place(self) -> tuple[int | None, int | None, int | None]:
        """What it is about; a later declaration of the same place corrects it."""
        return self.from_ns, self.until_ns, self.phase

    @property
    def dated(self) -> bool:
        """Whether it holds for a part of the time, and not for a whole phase."""
        return self.from_ns is not None or self.until_ns is not None

    def overlaps(self, other: Span) -> bool:
        """Whether both hold for an instant of one phase."""
        if None not in (self.phase, other.phase) and self.phase != other.phase:
            return False
        return before(self.from_ns, other.until_ns) and before(other.from_ns, self.until_ns)

    @property
    def text(self) -> str:
        """As people read it: ``from 2026-11-01T00:00:00Z on, phase 2``."""
        since = "" if self.from_ns is None else f"from {time_text(self.from_ns)}"
        until = "" if self.until_ns is None else f"until {time_text(self.until_ns)}"
        told = f"{since} {until or 'on'}" if since else until or "all of its time"
        return told + ("" if self.phase is None else f", phase {self.phase}")


Content = TypeVar("Content")
Other = TypeVar("Other")
AnySpan = TypeVar("AnySpan", bound=Span)


@dataclass(frozen=True, slots=True)
class Segment(Generic[Content]):
    """A piece of a phase's time, and what holds in all of it."""

    from_ns: int | None
    until_ns: int | None
    content: Content

    def meets(self, from_ns: int | None, until_ns: int | None) -> bool:
        """Whether it has an instant in common with `from_ns` .. `until_ns`."""
        return before(self.from_ns, until_ns) and before(from_ns, self.until_ns)


def parse_time(text: str, *, what: str) -> int:
    """Read a declared time as Unix time in ns.

    Raises:
        DataError: no ISO 8601 time, one without an offset from UTC, or outside of all years.
    """
    try:
        instant = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{what} {text!r} is no time; write it as 2026-11-22T10:00:00Z") from error
    if instant.tzinfo is None:
        raise DataError(f"{what} {text!r} does not say its time zone; add Z for UTC, or an offset")
    try:
        # What no calendar has in UTC could not be shown again.
        instant = instant.astimezone(datetime.UTC)
    except OverflowError as error:
        raise DataError(
            f"{what} {text!r} lies outside the years 1 to 9999 in UTC; leave it out for an open end"
        ) from error
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    since = instant - epoch
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000


def time_text(unix_ns: int) -> str:
    """Unix time in ns as ISO 8601 in UTC."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    instant = epoch + datetime.timedelta(microseconds=unix_ns // 1_000)
    return instant.isoformat().replace("+00:00", "Z")


def parse_span(body: Mapping[str, str]) -> Span:
    """Read ``from``, ``until`` and ``phase``, each optional.

    Raises:
        DataError: no time, no phase, or an end that does not lie after the beginning.
    """
    from_ns = parse_time(body["from"], what="from") if "from" in body else None
    until_ns = parse_time(body["until"], what="until") if "until" in body else None
    if from_ns is not None and until_ns is not None and until_ns <= from_ns:
        raise DataError(f"until {body['until']} does not lie after from {body['from']}")
    phase = None
    if "phase" in body:
        text = body["phase"]
        if not (text.isascii() and text.isdigit() and len(text) < 11):
            raise DataError(f"phase {text!r} is no number from 0 to {GREATEST_PHASE}")
        phase = int(text)
        if phase > GREATEST_PHASE:
            raise DataError(f"phase {text!r} is no number from 0 to {GREATEST_PHASE}")
    return Span(from_ns, until_ns, phase)


def with_span(spans: Sequence[AnySpan], later: AnySpan) -> tuple[AnySpan, ...]:
    """Add a span, or put it in the place of the one it corrects.

    Raises:
        DataError: it overlaps another one.
    """
    kept = [span for span in spans if span.place != later.place]
    for span in kept:
        if span.overlaps(later):
            raise DataError(
                f"the span ({later.text}) overlaps the declared span ({span.text}); declare spans "
                "side by side, or exactly the same span to correct it"
            )
    return (*kept, later)


def segments_of(spans: Iterable[AnySpan], phase: int) -> tuple[Segment[AnySpan | None], ...]:
    """Cut all time into segments for one phase: its spans, and None for what lies between them."""
    fitting = sorted(
        (span for span in spans if span.phase in (None, phase)),
        key=lambda span: (span.from_ns is not None, span.from_ns or 0),
    )
    segments: list[Segment[AnySpan | None]] = []
    until: int | None = None
    for span in fitting:
        if span.from_ns is not None and (not segments or until != span.from_ns):
            segments.append(Segment(until, span.from_ns, None))
        segments.append(Segment(span.from_ns, span.until_ns, span))
        until = span.until_ns
    if not segments or until is not None:
        segments.append(Segment(until, None, None))
    return tuple(segments)


def clipped(
    segments: Iterable[Segment[Content]], from_ns: int | None, until_ns: int | None
) -> list[Segment[Content]]:
    """What of some segments lies in `from_ns` .. `until_ns`."""
    return [
        Segment(_later(each.from_ns, from_ns), _earlier(each.until_ns, until_ns), each.content)
        for each in segments
        if each.meets(from_ns, until_ns)
    ]


def overlay(
    one: Iterable[Segment[Content]], other: Sequence[Segment[Other]]
) -> list[Segment[tuple[Content, Other]]]:
    """Cut all time at the cuts of both."""
    return [
        Segment(piece.from_ns, piece.until_ns, (each.content, piece.content))
        for each in one
        for piece in clipped(other, each.from_ns, each.until_ns)
    ]


def joined(segments: Iterable[Segment[Content]]) -> tuple[Segment[Content], ...]:
    """The same with neighbours of equal content made one: where nothing changes is no cut."""
    found: list[Segment[Content]] = []
    for segment in segments:
        if found and found[-1].content == segment.content:
            found[-1] = Segment(found[-1].from_ns, segment.until_ns, segment.content)
        else:
            found.append(segment)
    return tuple(found)


def before(from_ns: int | None, until_ns: int | None) -> bool:
    """Whether a beginning lies before an end; None is open."""
    return from_ns is None or until_ns is None or from_ns < until_ns


def _later(one: int | None, other: int | None) -> int | None:
    """The later of two beginnings."""
    return one if other is None else other if one is None else max(one, other)


def _earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two ends."""
    return one if other is None else other if one is None else min(one, other)
