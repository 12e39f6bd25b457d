"""Places on the bus whose boards have a name by now.

Owns: the rule by which a device that a driver names is the board of a place, and for what time.
May touch: nothing; pure functions of intervals on the collector's clock.
Called by neighbours, for the nodes that have such places.
Explained in docs/adr/0054-a-place-whose-board-has-a-name.md.

What stands at a place has no other name until a driver gives it one. Nothing says which board was
where, so a name stands for one place at a time, and never for one that was classified beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from flopmeter_collector.timeline import (
    ENROLMENT_NS,
    OTHER_BOOT_TOLERANCE_NS,
    SAME_BOOT_TOLERANCE_NS,
    Period,
)
from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True)
class Sight:
    """What one incarnation classified of a device of a node, in Unix ns.

    Attributes:
        boot: the boot it ran in; empty where it was never heard live.
        start_ns, end_ns: from when until when; as near as it is known where it was never heard.
        first_seen_ns: when the first vector of it was accepted.
        told: whether anything says when it was; nothing does of what came once and never grew.
    """

    boot: str
    start_ns: int
    end_ns: int
    first_seen_ns: int
    told: bool


@value_class(frozen=True, slots=True)
class _Silence:
    """Time in which nobody classified a place.

    Attributes:
        place: which.
        number: how many times it was classified before; 0 where nothing says when it was.
        last: what of it ended last before.
        from_ns, until_ns: Unix ns; until None: to this day.
    """

    place: str
    number: int
    last: Sight | None
    from_ns: int
    until_ns: int | None

    def begins_in(self, sight: Sight) -> bool:
        """Whether what was classified of another device begins in it."""
        if self.last is None:
            return sight.first_seen_ns >= self.from_ns
        after = sight.start_ns >= self.from_ns - _tolerance_ns(sight, self.last)
        return after and (self.until_ns is None or sight.start_ns < self.until_ns)


def named(
    places: Mapping[str, Sequence[Sight]], devices: Mapping[str, Sequence[Sight]]
) -> dict[str, tuple[Period, ...]]:
    """For what time the boards of places have a name.

    Args:
        places: what was classified of each place of a node.
        devices: what was classified of each device that has a name, in the same node.

    Returns:
        By place, in order; until the place is classified again, or None.
    """
    told = {name: _told(sights) for name, sights in (*places.items(), *devices.items())}
    begins = sorted(
        ((sight.start_ns, name, sight) for name in devices for sight in told[name]),
        key=lambda each: each[:2],
    )
    apart: dict[tuple[str, str], int] = {}
    taken: dict[str, list[Period]] = {}
    found: dict[str, list[Period]] = {}
    silences = [each for place in places for each in _silences(place, told[place], places[place])]
    for silence in sorted(silences, key=_turn):
        earliest_ns = silence.from_ns - OTHER_BOOT_TOLERANCE_NS
        first = bisect_left(begins, earliest_ns, key=_first) if silence.number else 0
        for start_ns, name, sight in islice(begins, first, None):
            if not silence.begins_in(sight):
                continue
            span = Period(max(start_ns, silence.from_ns), silence.until_ns)
            if any(map(span.meets, taken.get(name, ()))):
                continue
            pair = silence.place, name
            if pair not in apart:
                apart[pair] = _apart_count(told[silence.place], told[name])
            if apart[pair] < silence.number:
                continue
            taken.setdefault(name, []).append(span)
            found.setdefault(silence.place, []).append(span)
            break
    return {place: tuple(sorted(spans, key=_since)) for place, spans in found.items()}


def without(periods: Iterable[Period], spans: Iterable[Period]) -> tuple[Period, ...]:
    """Periods without the time in spans; what is left of one may have no length."""
    left = list(periods)
    for span in spans:
        left = [part for period in left for part in _cut(period, span)]
    return tuple(left)


def _told(sights: Iterable[Sight]) -> list[Sight]:
    """Those of which anything says when they were, in order."""
    return sorted(
        (each for each in sights if each.told), key=lambda e: (e.start_ns, e.end_ns, e.boot)
    )


def _silences(place: str, told: Sequence[Sight], sights: Sequence[Sight]) -> Iterator[_Silence]:
    """When nobody classified a place; the last one has no end."""
    if not told:
        seen_ns = min(each.first_seen_ns for each in sights)
        yield _Silence(place, 0, None, seen_ns - ENROLMENT_NS, None)
        return
    last = told[0]
    for number, sight in enumerate(told, start=1):
        last = sight if sight.end_ns > last.end_ns else last
        until_ns = told[number].start_ns if number < len(told) else None
        # Less than that between two agents may be none.
        if until_ns is None or until_ns - last.end_ns > OTHER_BOOT_TOLERANCE_NS:
            yield _Silence(place, number, last, last.end_ns, until_ns)


def _apart_count(told: Sequence[Sight], others: Sequence[Sight]) -> int:
    """How many times a place was classified before it was beside a device: two boards then.

    Args:
        told: of the place, by their beginning.
        others: of the device, by their beginning.
    """
    first = 0
    for number, place in enumerate(told):
        while first < len(others) and others[first].end_ns <= place.start_ns:
            first += 1
        for other in islice(others, first, None):
            if other.start_ns >= place.end_ns:
                break
            shared_ns = min(other.end_ns, place.end_ns) - max(other.start_ns, place.start_ns)
            if shared_ns > _tolerance_ns(other, place):
                return number
    return len(told)


def _tolerance_ns(sight: Sight, place: Sight) -> int:
    """How far the two may lie wrong to each other; in one boot less than half of the place's."""
    if not sight.boot or sight.boot != place.boot:
        return OTHER_BOOT_TOLERANCE_NS
    return min(SAME_BOOT_TOLERANCE_NS, (place.end_ns - place.start_ns) // 2)


def _cut(period: Period, span: Period) -> list[Period]:
    """A period without a span."""
    if not period.meets(span):
        return [period]
    parts = [Period(period.from_ns, max(period.from_ns, span.from_ns))]
    if span.until_ns is not None and (period.until_ns is None or span.until_ns < period.until_ns):
        parts.append(Period(span.until_ns, period.until_ns))
    return parts


def _turn(silence: _Silence) -> tuple[bool, int, str]:
    """Those without an end choose first: what they are charged has none either."""
    return silence.until_ns is not None, silence.from_ns, silence.place


def _since(span: Period) -> int:
    return span.from_ns


def _first(begins: tuple[int, str, Sight]) -> int:
    return begins[0]
