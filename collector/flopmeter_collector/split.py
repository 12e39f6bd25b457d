"""A declaration that holds for a part of the time: which of a key's work it holds for.

Owns: spans and the segments they cut time into, the fold of a key's hourly vectors into them, and
the outer coefficients of what straddles a cut.
May touch: nothing; pure functions of declarations and vectors.
Called by declarations (spans), totals (folds) and presentation (what straddles).
Explained in docs/adr/0007-hourly-vectors-and-splits.md.

Nothing is added up twice and nothing is left out: the increments of a key's hourly vectors and
what its newest vector has beyond the last of them make exactly that newest vector.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flopmeter_core.errors import DataError
from flopmeter_core.formats import FormatMix
from flopmeter_core.methods.base import Coefficients
from flopmeter_core.registers import ZERO_VECTOR, Vector
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S

GREATEST_PHASE = (1 << 31) - 1
"""The wire's type of a phase."""


@dataclass(frozen=True, slots=True)
class Span:
    """A number format declared for a part of a run.

    Attributes:
        from_ns: Unix time in ns of its first instant; None: since the beginning.
        until_ns: Unix time in ns of the first instant after it; None: open.
        phase: the phase it holds for; None: every phase.
        formats: the declared mix.
    """

    from_ns: int | None
    until_ns: int | None
    phase: int | None
    formats: FormatMix = field(hash=False)

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
        return _before(self.from_ns, other.until_ns) and _before(other.from_ns, self.until_ns)

    @property
    def text(self) -> str:
        """As people read it: ``2026-11-01T00:00:00+00:00 until now, phase 2``."""
        since = "the beginning" if self.from_ns is None else time_text(self.from_ns)
        until = "now" if self.until_ns is None else time_text(self.until_ns)
        return f"{since} until {until}" + ("" if self.phase is None else f", phase {self.phase}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a phase's time under one format; `span` is None where only the run's holds."""

    from_ns: int | None
    until_ns: int | None
    span: Span | None

    def meets(self, from_ns: int | None, until_ns: int | None) -> bool:
        """Whether it has an instant in common with `from_ns` .. `until_ns`."""
        return _before(self.from_ns, until_ns) and _before(from_ns, self.until_ns)


def parse_time(text: str, *, what: str) -> int:
    """Read a declared time as Unix time in ns.

    Raises:
        DataError: no ISO 8601 time, or one without an offset from UTC.
    """
    try:
        instant = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{what} {text!r} is no time; write it as 2026-11-22T10:00:00Z") from error
    if instant.tzinfo is None:
        raise DataError(f"{what} {text!r} does not say its time zone; add Z for UTC, or an offset")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    since = instant - epoch
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000


def time_text(unix_ns: int) -> str:
    """Unix time in ns as ISO 8601 in UTC."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    instant = epoch + datetime.timedelta(microseconds=unix_ns // 1_000)
    return instant.isoformat().replace("+00:00", "Z")


def with_span(spans: Sequence[Span], later: Span) -> tuple[Span, ...]:
    """Add a span, or put it in the place of the one it corrects.

    Raises:
        DataError: it overlaps another one.
    """
    kept = [span for span in spans if span.place != later.place]
    for span in kept:
        if span.overlaps(later):
            raise DataError(
                f"the span {later.text} overlaps the declared span {span.text}; declare spans "
                "side by side, or exactly the same span to correct it"
            )
    return (*kept, later)


def segments_of(spans: Iterable[Span], phase: int) -> tuple[Segment, ...]:
    """Cut all time into segments for one phase: its spans, and what lies between them."""
    fitting = sorted(
        (span for span in spans if span.phase in (None, phase)),
        key=lambda span: (span.from_ns is not None, span.from_ns or 0),
    )
    segments: list[Segment] = []
    until: int | None = None
    for span in fitting:
        if span.from_ns is not None and (not segments or until != span.from_ns):
            segments.append(Segment(until, span.from_ns, None))
        segments.append(Segment(span.from_ns, span.until_ns, span))
        until = span.until_ns
    if not segments or until is not None:
        segments.append(Segment(until, None, None))
    return tuple(segments)


Places = tuple[int, ...]
"""Numbers of segments; several where work straddles the cuts between them."""


@dataclass(slots=True)
class Fold:
    """What the hourly vectors of one key say of its segments, row by row.

    Attributes:
        segments: of the key's phase.
        sums: the increments by the segments they may lie in.
        last: the newest row so far; None before the first.
    """

    segments: tuple[Segment, ...]
    sums: dict[Places, list[int]] = field(default_factory=dict)
    last: HourlyVector | None = None

    def add(self, row: HourlyVector) -> bool:
        """Take the next row.

        Returns:
            False when it is not the next one: the rows have to be read again from the first.
        """
        before = self.last
        if before is not None:
            if row == before:
                return True
            if row.hour <= before.hour or row.sequence < before.sequence:
                return False
        older = before.vector if before is not None else ZERO_VECTOR
        increment = [new - old for new, old in zip(row.vector, older, strict=True)]
        if min(increment) < 0:
            return False
        first_hour = row.first_hour
        offsets = [row.wall_ns - row.boot_ns]
        if before is not None:
            first_hour = max(first_hour, before.hour + 1)
            # A wall clock that stepped inside the hour leaves both readings possible.
            offsets.append(before.wall_ns - before.boot_ns)
        places = self._places(
            first_hour * NS_PER_HOUR + min(offsets), row.boot_ns + 1 + max(offsets)
        )
        self._sum(places, increment)
        self.last = row
        return True

    def split(self, newest: Vector) -> dict[Places, Vector]:
        """The newest vector, cut into parts by the segments they may lie in.

        Where the newest vector does not follow the rows, all of it may lie anywhere.
        """
        last = self.last.vector if self.last is not None else ZERO_VECTOR
        tail = [new - old for new, old in zip(newest, last, strict=True)]
        if min(tail) < 0:
            return {tuple(range(len(self.segments))): newest}
        parts = {places: tuple(amounts) for places, amounts in self.sums.items()}
        if any(tail):
            since_ns = None
            if self.last is not None:
                offset_ns = self.last.wall_ns - self.last.boot_ns
                since_ns = (self.last.hour + 1) * NS_PER_HOUR + offset_ns
            places = self._places(since_ns, None)
            held = parts.get(places, ZERO_VECTOR)
            parts[places] = tuple(a + b for a, b in zip(held, tail, strict=True))
        return parts

    def _places(self, from_ns: int | None, until_ns: int | None) -> Places:
        return tuple(
            number
            for number, segment in enumerate(self.segments)
            if segment.meets(from_ns, until_ns)
        )

    def _sum(self, places: Places, increment: Sequence[int]) -> None:
        amounts = self.sums.setdefault(places, [0] * len(increment))
        for place, amount in enumerate(increment):
            amounts[place] += amount


def outer(weights: Sequence[Coefficients]) -> Coefficients:
    """Coefficients for work that was done under one of several: the outer side of each bound.

    Vectors are not negative, so the least coefficient gives the least figure. Best is the mean.
    """
    return Coefficients(
        floor=_least(each.floor for each in weights),
        lower=_least(each.lower for each in weights),
        best=tuple(sum(column) // len(weights) for column in _columns(w.best for w in weights)),
        upper=_greatest(each.upper for each in weights),
        ceiling=_greatest(each.ceiling for each in weights),
        unobserved=_greatest(each.unobserved for each in weights),
    )


def first_record_ns(hours: Iterable[HourlyVector]) -> int | None:
    """The earliest Unix time in ns that any hourly vector may speak of; None without one."""
    starts = (row.first_hour * NS_PER_HOUR + row.wall_ns - row.boot_ns for row in hours)
    return min(starts, default=None)


def _before(from_ns: int | None, until_ns: int | None) -> bool:
    """Whether a beginning lies before an end; None is open."""
    return from_ns is None or until_ns is None or from_ns < until_ns


def _columns(rows: Iterable[tuple[int, ...]]) -> Iterable[tuple[int, ...]]:
    return zip(*rows, strict=True)


def _least(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(min(column) for column in _columns(rows))


def _greatest(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(max(column) for column in _columns(rows))
