"""The enrolled time of one device, divided: every instant belongs to one class.

Owns: the division of enrolled time into what agents classified, what was declared down, and the
residual that nobody classified; and what two agents classified twice.
May touch: nothing; pure functions of intervals on the collector's clock.
Called by residual, which keeps what the division is made of.
Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter_core.errors import invariant
from flopmeter_core.units import NS_PER_S
from flopmeter_core.values import value_class

SAME_BOOT_TOLERANCE_NS = 60 * NS_PER_S
"""Two agents of one boot are placed on the same axis; each start is known to a report period."""

OTHER_BOOT_TOLERANCE_NS = 600 * NS_PER_S
"""Two boots are placed by when their reports came: a report may have been stuck for minutes."""

ENROLMENT_NS = 600 * NS_PER_S
"""Closed incarnations that come this soon after a device's first report ran before it."""


@value_class(frozen=True, slots=True)
class Stretch:
    """What one agent incarnation classified of a device: one interval without a hole.

    Attributes:
        writer: the incarnation.
        boot: the boot it ran in; two stretches of one boot are placed by the same clock.
        node: the node's name.
        user: the only allocation its registers name; None for none or several.
        covered_ns: how long it is.
        start_ns: Unix time in ns of its beginning on the collector's clock; None where nothing
            tells, and only its length counts.
        before_ns: how much of an unplaced stretch lies before the device was enrolled.
        rank: of two stretches of the same time the higher rank counts in full.
    """

    writer: str
    boot: str
    node: str
    user: str | None
    covered_ns: int
    start_ns: int | None
    before_ns: int = 0
    rank: int = 0


@value_class(frozen=True, slots=True)
class Period:
    """Time for which a device is enrolled, in Unix ns; `until_ns` None: still."""

    from_ns: int
    until_ns: int | None = None

    def meets(self, other: Period) -> bool:
        """Whether they have an instant in common."""
        return (self.until_ns is None or self.until_ns > other.from_ns) and (
            other.until_ns is None or other.until_ns > self.from_ns
        )


@dataclass(frozen=True, slots=True)
class Down:
    """Time for which a node (or a device) was declared down, in Unix ns; the end is exclusive."""

    subject: str
    from_ns: int
    until_ns: int


@dataclass(slots=True)
class Division:
    """Enrolled time up to `tail_from_ns`, and what goes on from there.

    Attributes:
        classified_ns: by agents; an instant that two of them classified counts once.
        declared_down_ns: declared down, and not classified by any agent.
        residual_ns: what is left, by the allocation that was confirmed at both ends; None
            for none.
        doubled_ns: by incarnation, how much of its time another one had classified too.
        tail_from_ns: from when on no agent has classified time; None for a device without an
            enrolled period.
        tail_until_ns: when the enrolled time ends; None while it goes on.
        tail_downs: declared down times that reach into the tail, in order, disjoint.
        newest: the incarnation whose time ends where the tail begins; empty where more than its
            growth would move, and the division has to be made anew.
        told_silent: whether somebody counts on its silence, and has to hear when it goes on.
    """

    classified_ns: int = 0
    declared_down_ns: int = 0
    residual_ns: dict[str | None, int] = field(default_factory=dict)
    doubled_ns: dict[str, int] = field(default_factory=dict)
    tail_from_ns: int | None = None
    tail_until_ns: int | None = None
    tail_downs: tuple[tuple[int, int], ...] = ()
    newest: str = ""
    told_silent: bool = False

    def go_on(self, covered_ns: int) -> bool:
        """The newest incarnation classified more, in ns; whether it was told to be silent."""
        invariant(self.tail_from_ns is not None, "only enrolled time goes on")
        self.tail_from_ns = (self.tail_from_ns or 0) + covered_ns
        self.classified_ns += covered_ns
        told, self.told_silent = self.told_silent, False
        return told


@value_class(frozen=True, slots=True)
class Classes:
    """A device's enrolled time up to one instant; the parts add up to `enrolled_ns` exactly.

    Attributes:
        enrolled_ns: all of it.
        classified_ns, declared_down_ns, residual_ns: as in `Division`.
        in_flight_ns: time since the newest report, too short to be missing.
    """

    enrolled_ns: int
    classified_ns: int
    declared_down_ns: int
    in_flight_ns: int
    residual_ns: Mapping[str | None, int]


@dataclass(slots=True)
class _Gap:
    start_ns: int
    end_ns: int
    left: Stretch | None
    right: Stretch | None


def divide(
    periods: Sequence[Period],
    stretches: Sequence[Stretch],
    downs: Sequence[Down],
    *,
    names: tuple[str, str],
) -> Division:
    """Divide a device's enrolled time.

    Args:
        periods: enrolled, in order and disjoint; only the last may be open.
        stretches: what agents classified, in any order.
        downs: declared down, of any node or device.
        names: of the device, and of the node it was declared to stand in, for `downs`.
    """
    placed = sorted(
        (s for s in stretches if s.start_ns is not None and s.covered_ns > 0),
        key=lambda s: (s.start_ns, s.writer),
    )
    division = Division(doubled_ns=_doubled(placed))
    if not periods:
        return division
    gaps, enrolled_ns = _gaps(periods, placed)
    tail = gaps.pop()
    left_ns = _fill(gaps, [s for s in stretches if s.start_ns is None])
    tail.start_ns += left_ns
    division.tail_from_ns, division.tail_until_ns = tail.start_ns, periods[-1].until_ns
    if division.tail_until_ns is not None:
        division.tail_from_ns = min(tail.start_ns, division.tail_until_ns)
    unclassified_ns = _take_gaps(division, gaps, downs, names)
    # Of a period that has ended no more can be classified than it has.
    beyond_ns = tail.start_ns - division.tail_from_ns
    division.classified_ns = enrolled_ns + left_ns - unclassified_ns - beyond_ns
    endless = _Gap(division.tail_from_ns, 1 << 63, tail.left, None)
    division.tail_downs = tuple(_downs_within(endless, downs, names))
    alone = not division.doubled_ns and division.tail_until_ns is None and not left_ns
    if alone and tail.left is not None and tail.left.start_ns is not None:
        division.newest = tail.left.writer
    return division


def _take_gaps(
    division: Division, gaps: Sequence[_Gap], downs: Sequence[Down], names: tuple[str, str]
) -> int:
    """Divide the gaps into declared down and residual; returns their length in ns."""
    unclassified_ns = 0
    for gap in gaps:
        length_ns = gap.end_ns - gap.start_ns
        unclassified_ns += length_ns
        down_ns = sum(end - start for start, end in _downs_within(gap, downs, names))
        division.declared_down_ns += down_ns
        both = gap.left is not None and gap.right is not None and gap.left.user == gap.right.user
        user = gap.left.user if gap.left is not None and both else None
        if length_ns > down_ns:
            division.residual_ns[user] = division.residual_ns.get(user, 0) + length_ns - down_ns
    return unclassified_ns


def classes_at(division: Division, as_of_ns: int, *, silence_ns: int) -> Classes:
    """What a division says at an instant.

    Args:
        division: of the device.
        as_of_ns: Unix time in ns; nothing the division was made of is younger.
        silence_ns: a device that reported less long ago misses nothing yet.
    """
    tail_from_ns = division.tail_from_ns
    if tail_from_ns is None:
        return Classes(0, 0, 0, 0, {})
    until_ns = as_of_ns
    ended = division.tail_until_ns is not None and division.tail_until_ns <= as_of_ns
    if ended and division.tail_until_ns is not None:
        until_ns = division.tail_until_ns
    tail_ns = max(0, until_ns - tail_from_ns)
    down_ns = in_flight_ns = 0
    residual_ns: Mapping[str | None, int] = division.residual_ns
    if tail_ns and not ended and tail_ns < silence_ns:
        in_flight_ns = tail_ns
    elif tail_ns:
        down_ns = sum(
            max(0, min(end_ns, until_ns) - max(start_ns, tail_from_ns))
            for start_ns, end_ns in division.tail_downs
        )
        residual_ns = dict(division.residual_ns)
        residual_ns[None] = residual_ns.get(None, 0) + tail_ns - down_ns
    return Classes(
        enrolled_ns=division.classified_ns
        + division.declared_down_ns
        + sum(division.residual_ns.values())
        + tail_ns,
        classified_ns=division.classified_ns,
        declared_down_ns=division.declared_down_ns + down_ns,
        in_flight_ns=in_flight_ns,
        residual_ns=residual_ns,
    )


def _gaps(periods: Sequence[Period], placed: Sequence[Stretch]) -> tuple[list[_Gap], int]:
    """Where no placed stretch lies, by time; the last is the tail, empty when it has no length.

    Returns:
        The gaps, and the enrolled time before the tail.
    """
    gaps: list[_Gap] = []
    enrolled_ns = 0
    for number, period in enumerate(periods):
        last = number == len(periods) - 1
        at_ns, left = period.from_ns, None
        for stretch in placed:
            assert stretch.start_ns is not None
            start_ns, end_ns = stretch.start_ns, stretch.start_ns + stretch.covered_ns
            if period.until_ns is not None:
                start_ns, end_ns = min(start_ns, period.until_ns), min(end_ns, period.until_ns)
            if start_ns > at_ns:
                gaps.append(_Gap(at_ns, start_ns, left, stretch))
            if end_ns >= at_ns:
                at_ns, left = end_ns, stretch
        if last:
            gaps.append(_Gap(at_ns, at_ns, left, None))
        elif period.until_ns is not None:
            if period.until_ns > at_ns:
                gaps.append(_Gap(at_ns, period.until_ns, left, None))
            at_ns = period.until_ns
        enrolled_ns += at_ns - period.from_ns
    return gaps, enrolled_ns


def _fill(gaps: Sequence[_Gap], unplaced: Sequence[Stretch]) -> int:
    """Take the length of unplaced stretches from the gaps, the oldest first.

    Returns:
        What no gap had room for: it lies in the tail.
    """
    left_ns = 0
    following = iter(gaps)
    gap = next(following, None)
    for stretch in sorted(unplaced, key=lambda s: s.writer):
        amount_ns = max(0, stretch.covered_ns - stretch.before_ns)
        while amount_ns and gap is not None:
            taken_ns = min(amount_ns, gap.end_ns - gap.start_ns)
            gap.start_ns += taken_ns
            gap.left = stretch
            amount_ns -= taken_ns
            if gap.start_ns == gap.end_ns:
                gap = next(following, None)
        left_ns += amount_ns
    return left_ns


def _downs_within(
    gap: _Gap, downs: Sequence[Down], names: tuple[str, str]
) -> list[tuple[int, int]]:
    """The parts of a gap that were declared down, in order and disjoint."""
    device, home = names
    ends = {stretch.node for stretch in (gap.left, gap.right) if stretch}
    subjects = {device, *(ends or {home})}
    parts: list[tuple[int, int]] = []
    at_ns = gap.start_ns
    for down in sorted(downs, key=lambda d: (d.from_ns, d.until_ns)):
        start_ns, end_ns = max(down.from_ns, at_ns), min(down.until_ns, gap.end_ns)
        if down.subject in subjects and start_ns < end_ns:
            parts.append((start_ns, end_ns))
            at_ns = end_ns
    return parts


def _doubled(placed: Sequence[Stretch]) -> dict[str, int]:
    """Time of each stretch that one of a higher rank classified too; sorted by start."""
    doubled: dict[str, int] = {}
    cluster: list[Stretch] = []
    furthest: Stretch | None = None
    for stretch in placed:
        if furthest is not None and _overlaps(furthest, stretch):
            cluster.append(stretch)
        else:
            _count_doubled(cluster, doubled)
            cluster = [stretch]
        if furthest is None or _end(stretch) > _end(furthest):
            furthest = stretch
    _count_doubled(cluster, doubled)
    return doubled


def _count_doubled(cluster: Sequence[Stretch], doubled: dict[str, int]) -> None:
    if len(cluster) < 2:
        return
    counted: list[Stretch] = []
    for stretch in sorted(cluster, key=lambda s: (-s.rank, s.writer)):
        others = [other for other in counted if _overlaps(*_in_order(other, stretch))]
        shared_ns = _shared(stretch, others)
        if shared_ns:
            doubled[stretch.writer] = shared_ns
        counted.append(stretch)


def _shared(stretch: Stretch, others: Sequence[Stretch]) -> int:
    """How much of a stretch lies in the union of others."""
    shared_ns = 0
    at_ns = stretch.start_ns or 0
    for other in sorted(others, key=lambda s: s.start_ns or 0):
        start_ns = max(at_ns, other.start_ns or 0)
        end_ns = min(_end(stretch), _end(other))
        if end_ns > start_ns:
            shared_ns += end_ns - start_ns
            at_ns = end_ns
    return shared_ns


def _in_order(one: Stretch, other: Stretch) -> tuple[Stretch, Stretch]:
    return (one, other) if (one.start_ns or 0) <= (other.start_ns or 0) else (other, one)


def _overlaps(earlier: Stretch, later: Stretch) -> bool:
    """Whether two stretches share more time than their placing may be off."""
    same = earlier.boot == later.boot
    tolerance_ns = SAME_BOOT_TOLERANCE_NS if same else OTHER_BOOT_TOLERANCE_NS
    assert later.start_ns is not None
    return min(_end(earlier), _end(later)) - later.start_ns > tolerance_ns


def _end(stretch: Stretch) -> int:
    return (stretch.start_ns or 0) + stretch.covered_ns
