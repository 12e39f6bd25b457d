"""The residual: enrolled device time that no agent classified and nobody declared.

Owns: which devices are enrolled since when, what their agents classified, and what is left.
May touch: memory only; no clock: the instant comes with each question.
Called by totals, whose registers say how much was classified; publish brings what reports say of
when. Nothing of the residual is stored: it is derived anew, and shrinks when a late report comes.
Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from flopmeter_collector.back_clock import EARLY_NS, BackClock, Boot
from flopmeter_collector.classified import NO_ACCOUNT, Classified, ClassifiedRows
from flopmeter_collector.device_declarations import DeviceDeclaration, DeviceState
from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.placing import Agents, boot_in, boot_of, least, placed
from flopmeter_collector.presence import Charge, Presence, Standing
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.timeline import (
    Classes,
    Division,
    Down,
    Period,
    Stretch,
    classes_at,
    divide,
)
from flopmeter_core.allocations import is_single, user_of
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key
from flopmeter_core.units import NS_PER_S

DEFAULT_SILENCE_NS = 300 * NS_PER_S
"""A device that reported less long ago misses nothing yet: time on its way is not missing."""

ENROLMENT_NS = 600 * NS_PER_S
"""Closed incarnations that come this soon after a device's first report ran before it."""


@dataclass(slots=True)
class _Device:
    """One physical device, or one node of a sensor that sees a whole node."""

    name: str
    node: str = ""
    device_count: int = 1
    ceiling_flop_per_ns: int = 0
    declared_ceiling_flop_per_ns: int = 0
    simulated: bool = False
    writers: dict[str, Classified] = field(default_factory=dict)
    rows: dict[str, Coverage] = field(default_factory=dict)
    home: Coverage | None = None
    """Of the incarnations that are placed the one that began last: where it is the device is."""
    declared: list[DeviceDeclaration] = field(default_factory=list)
    division: Division | None = None
    newest: str = ""
    divided_ns: int = 0
    """What the newest incarnation had classified when the division last heard of it."""
    doubled_ns: Mapping[str, int] = field(default_factory=dict)

    def catch_up(self) -> None:
        """Let the division hear of what nobody was told."""
        if self.division is not None and (more_ns := self.unheard_ns()):
            self.division.go_on(more_ns)

    def put(self, row: Coverage) -> None:
        """Take a row in the place of an older one."""
        self.rows[row.incarnation] = row
        home = self.home
        if row.anchor_ns is not None and home is not None and home.incarnation == row.incarnation:
            self.home = max(
                (each for each in self.rows.values() if each.anchor_ns is not None), key=_began
            )
        elif row.anchor_ns is not None and (home is None or _began(row) > _began(home)):
            self.home = row

    def unheard_ns(self) -> int:
        """What its newest incarnation classified since the division last heard of it."""
        writer = self.writers.get(self.newest)
        covered_ns = self.divided_ns if writer is None else writer.covered_ns
        more_ns, self.divided_ns = covered_ns - self.divided_ns, covered_ns
        return more_ns


@dataclass(frozen=True, slots=True)
class Growing:
    """Where the time of a key goes that is known; its `record` said nothing new."""

    device: _Device
    writer: Classified
    incarnation: str
    node: str

    @property
    def account(self) -> int:
        """The number of the row that a kernel may add to; `NO_ACCOUNT` where none may."""
        return self.writer.number if self.node == self.writer.node else NO_ACCOUNT


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that is or was enrolled, for display.

    Attributes:
        device, node: names.
        device_count: accelerators behind it.
        periods: enrolled, in order; the last may be open.
        classes: its enrolled time up to the instant asked for.
        doubled_ns: time that two agents classified.
    """

    device: str
    node: str
    device_count: int
    periods: tuple[Period, ...]
    classes: Classes
    doubled_ns: int


@dataclass(frozen=True, slots=True)
class Residual:
    """The residual of all devices at one instant.

    Attributes:
        charges: by the allocation that was confirmed at both ends; None for none.
        declared_down_ns: device time declared down, in ns.
        silent_device_count: devices whose enrolled time goes on without reports.
        enrolled_device_count: devices whose enrolled time goes on.
        doubled_device_count: devices that two agents measured at the same time.
        doubled_ns: that time, counted once, in ns.
        down: devices and nodes that are declared down now, by name.
    """

    charges: Mapping[str | None, Charge]
    declared_down_ns: int
    silent_device_count: int
    enrolled_device_count: int
    doubled_device_count: int
    doubled_ns: int
    down: frozenset[str] = frozenset()


NO_RESIDUAL = Residual({}, 0, 0, 0, 0, 0)


class ResidualAccounts:
    """Every device's enrolled time. One thread updates."""

    def __init__(self, silence_ns: int = DEFAULT_SILENCE_NS) -> None:
        """Start empty.

        Args:
            silence_ns: a device silent for less misses nothing yet.
        """
        self._silence_ns = silence_ns
        self._devices: dict[str, _Device] = {}
        self.classified = ClassifiedRows()
        self.agents = Agents(self.classified)
        self._anchors: dict[tuple[str, str], int] = {}
        self._back_clock = BackClock()
        self._by_boot: dict[tuple[str, str], set[str]] = {}
        self._downs: list[Down] = []
        self._dirty: set[str] = set()
        self._presence = Presence(silence_ns, self._standing, self._listen)

    # --- what comes in ---------------------------------------------------------------------------

    def grow(
        self,
        key: Key,
        record: DeviceRecord,
        *,
        covered_ns: int,
        lower_flop: int,
        ceiling_flop_per_ns: int,
    ) -> None:
        """Take the difference of a key.

        Args:
            key: whose register.
            record: the device record of the key.
            covered_ns: difference of the time it classifies.
            lower_flop: difference of its lower bound.
            ceiling_flop_per_ns: what the device could do at most in a ns.
        """
        if not record.device_count:
            return  # a MIG instance, whose time is its GPU's
        device = self._device(key.device)
        if (
            record.device_count > device.device_count
            or ceiling_flop_per_ns > device.ceiling_flop_per_ns
            or record.simulated > device.simulated
        ):
            device.device_count = max(device.device_count, record.device_count)
            device.ceiling_flop_per_ns = max(device.ceiling_flop_per_ns, ceiling_flop_per_ns)
            device.simulated |= record.simulated
            self._presence.changed(key.device)
        self._stand(device, record.node)
        writer = device.writers.get(key.incarnation)
        if writer is None:
            writer = self._enrol(device, key)
        writer.grow(covered_ns, lower_flop)
        mixed = writer.user is None or user_of(key.allocation) != writer.user
        more_mixed = mixed > writer.mixed
        writer.mixed |= mixed
        self._went_on(device, key.incarnation, usual=not more_mixed)

    def growing(self, key: Key, record: DeviceRecord) -> Growing | None:
        """Where a key's time goes that was given to `grow` before; None for a MIG instance."""
        device = self._devices.get(key.device) if record.device_count else None
        if device is None:
            return None
        writer = device.writers[key.incarnation]
        if not writer.node:
            writer.node = record.node
            self._listen(key.device)
        return Growing(device, writer, key.incarnation, record.node)

    def go_on(self, growing: Growing, covered_ns: int, lower_flop: int, read_ns: int) -> bool:
        """Take the difference of a known key, as `grow` does, and up to when it was read.

        Of a quiet account (`Classified.quiet`) the kernel that counts rows does it by itself.

        Args:
            growing: of the key.
            covered_ns: difference of the time it classifies.
            lower_flop: difference of its lower bound.
            read_ns: up to when since its boot it was read; 0 where that is told elsewhere.

        Returns:
            Whether nobody has to tell `sighted` when it was read.
        """
        device, writer = growing.device, growing.writer
        self._stand(device, growing.node)
        writer.grow(covered_ns, lower_flop)
        self._went_on(device, growing.incarnation)
        if writer.row is None:
            return read_ns <= writer.read_ns
        writer.read(read_ns)
        return True

    def enrol_key(self, key: Key) -> None:
        """Remember a new key of its incarnation, after the first `grow` of it."""
        device = self._devices.get(key.device)
        if device is not None and key.incarnation in device.writers:
            device.writers[key.incarnation].keys.append(key)

    def restore(self, rows: Iterable[Coverage]) -> None:
        """Take what a ledger holds, or another collector of it wrote; of each number the least."""
        for row in rows:
            held = self._device(row.device).rows.get(row.incarnation)
            better = row if held is None else least(held, row)
            # Half of what comes of a shared ledger is known: its device need not be divided anew.
            if better != held:
                self._put(better)

    def sighted(self, sightings: Sightings, now_ns: int, *, steady_ns: int) -> list[Coverage]:
        """Take what reports say of when, in one piece."""
        rows = self.note(sightings, now_ns)
        news = self.agents.news(sightings.live)
        return _newest_of([*rows, *self.place(news, self.doubted(news, steady_ns))])

    def note(self, sightings: Sightings, now_ns: int) -> list[Coverage]:
        """Take whose vectors came, and up to when they were read.

        Args:
            sightings: a part of a round's, of registers that were given to `grow` already.
            now_ns: Unix time in ns by the collector's clock.

        Returns:
            The rows that are new, to be committed.
        """
        self.restore(sightings.enrolled)
        unplaced: list[tuple[str, str]] = []
        for (incarnation, name), read_ns in sightings.reported.items():
            known = self._devices.get(name)
            if known is None or incarnation not in known.writers:
                continue
            known.writers[incarnation].read(read_ns)
            if incarnation not in known.rows:
                unplaced.append((incarnation, name))
        rows = []
        for incarnation, name in sorted(unplaced):
            device = self._devices[name]
            covered_ns = device.writers[incarnation].covered_ns
            row = Coverage(incarnation, name, device.node, "", None, None, now_ns, covered_ns)
            rows.append(self._put(row))
        return rows

    def doubted(self, news: Mapping[str, Sighting], steady_ns: int) -> Set[Boot]:
        """The boots that a round does not place.

        Args:
            news: all of the round: whether the clock went back shows in several boots.
            steady_ns: monotonic time in ns, which no step of that clock moves.
        """
        doubted = self._back_clock.doubted(self._early(news), steady_ns)
        if not self._back_clock.stands_behind(steady_ns):
            return doubted
        # What is met now is placed by the next report to a clock that is right again.
        return doubted | {boot_of(*each) for each in news.items()}.difference(self._anchors)

    def place(self, news: Mapping[str, Sighting], doubted: Set[Boot]) -> list[Coverage]:
        """Place what running incarnations classified.

        Args:
            news: a part of a round's.
            doubted: the boots that the round does not place.

        Returns:
            The rows that changed, to be committed.
        """
        changed = []
        for incarnation, sighting in news.items():
            if doubted and boot_of(incarnation, sighting) in doubted:
                continue
            for writer in self.agents.parts(incarnation):
                better = placed(writer, incarnation, sighting)
                if better is not None:
                    changed.append(self._put(better))
        return changed

    def declare(self, declaration: DeviceDeclaration) -> None:
        """Apply a declaration; those of one device in the order of the ledger."""
        if declaration.state is DeviceState.DOWN:
            self._downs.append(Down(declaration.subject, declaration.from_ns, declaration.until_ns))
            self._dirty.update(self._devices)
            return
        device = self._device(declaration.subject)
        device.declared.append(declaration)
        device.node = device.node or declaration.node
        self._dirty.add(declaration.subject)

    def declare_ceiling(self, device: str, flop_per_ns: int) -> None:
        """What a device could do at most in a ns by its declared part, until it reports."""
        self._device(device).declared_ceiling_flop_per_ns = flop_per_ns
        self._presence.changed(device)

    # --- what comes out --------------------------------------------------------------------------

    @property
    def moved_count(self) -> int:
        """Devices whose time is divided anew when somebody looks: of a new fleet all of them."""
        return len(self._dirty)

    def take_doubled(self) -> list[tuple[Key, int, int]]:
        """Keys whose time another agent classified too, as far as that changed since last asked.

        Returns:
            Key, how much time of its incarnation is doubled, and all time of its incarnation,
            in ns.
        """
        found: list[tuple[Key, int, int]] = []
        for name in sorted(self._dirty):
            device = self._devices[name]
            if device.newest:
                device.writers[device.newest].quiet = False
            device.division = divide(
                self._periods(device),
                self._stretches(device),
                self._downs,
                names=(name, device.node),
            )
            device.newest = device.division.newest
            doubled_ns = device.division.doubled_ns
            for incarnation in sorted({*doubled_ns, *device.doubled_ns}):
                writer = device.writers[incarnation]
                amount_ns = doubled_ns.get(incarnation, 0)
                found += [(key, amount_ns, writer.covered_ns) for key in writer.keys]
            device.doubled_ns = doubled_ns
            device.unheard_ns()  # the division knows all of it
            self._presence.changed(name)
            self._listen(name)
        self._dirty.clear()
        return found

    def at(self, as_of_ns: int) -> Residual:
        """The residual of all devices; `take_doubled` comes before.

        Args:
            as_of_ns: Unix time in ns.
        """
        found = self._presence.at(as_of_ns)
        now_down = frozenset(
            down.subject for down in self._downs if down.from_ns <= as_of_ns < down.until_ns
        )
        return Residual(
            found.charges,
            found.down_ns,
            found.silent,
            found.enrolled,
            found.doubled,
            found.doubled_ns,
            now_down,
        )

    def enrolled(self, as_of_ns: int) -> list[Enrolled]:
        """Every device that is or was enrolled, by name; `take_doubled` comes before."""
        for device in self._devices.values():
            device.catch_up()
        return [
            Enrolled(
                device=device.name,
                node=device.node,
                device_count=device.device_count,
                periods=self._periods(device),
                classes=classes_at(device.division, as_of_ns, silence_ns=self._silence_ns),
                doubled_ns=sum(device.division.doubled_ns.values()),
            )
            for _, device in sorted(self._devices.items())
            if device.division is not None and device.division.tail_from_ns is not None
        ]

    def rows(self) -> list[Coverage]:
        """All rows, by device and incarnation."""
        return [
            row
            for _, device in sorted(self._devices.items())
            for _, row in sorted(device.rows.items())
        ]

    # --- inside ----------------------------------------------------------------------------------

    def _device(self, name: str) -> _Device:
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = _Device(name)
        return device

    def _enrol(self, device: _Device, key: Key) -> Classified:
        """Make room for what an incarnation classifies of a device."""
        number = self.classified.open()
        writer = Classified(self.classified, number, user=_user(key.allocation))
        writer.row = device.rows.get(key.incarnation)
        device.writers[key.incarnation] = writer
        self.agents.add(key, writer)
        return writer

    def _stand(self, device: _Device, node: str) -> None:
        """Take the node that a device's newest vector names, where none of its agents is placed.

        Which vector came last is not kept: after a restart another one would be the newest.
        """
        if device.home is not None:
            node = device.home.node
        if node != device.node:
            device.node = node
            self._listen(device.name)

    def _went_on(self, device: _Device, incarnation: str, *, usual: bool = True) -> None:
        """Note that an incarnation classified more of a device."""
        division = device.division
        if division is None or device.newest != incarnation or not usual:
            self._dirty.add(device.name)
        elif (
            device.name not in self._dirty
            and division.told_silent
            and division.go_on(device.unheard_ns())
        ):
            self._presence.changed(device.name)
            self._listen(device.name)

    def _listen(self, name: str) -> None:
        """Decide whether a kernel may write down what a device's newest agent classifies.

        The usual case: nothing else moves by it, and whoever looks at the device asks (`catch_up`).
        """
        device = self._devices[name]
        writer = device.writers.get(device.newest)
        if writer is not None and device.division is not None:
            heard = device.division.told_silent or writer.row is None
            writer.quiet = not heard and writer.node == device.node

    def _standing(self, name: str) -> Standing | None:
        """What its presence is made of."""
        device = self._devices.get(name)
        if device is None or device.division is None:
            return None
        device.catch_up()
        return Standing(
            device.division,
            device.device_count,
            device.ceiling_flop_per_ns or device.declared_ceiling_flop_per_ns,
            device.simulated,
        )

    def _early(self, live: Mapping[str, Sighting]) -> dict[Boot, int]:
        """Boots that would begin much earlier by these reports than is known, by how many ns."""
        early_ns = {}
        for incarnation, sighting in live.items():
            boot = boot_of(incarnation, sighting)
            known_ns = self._anchors.get(boot)
            back_ns = (known_ns or 0) - sighting.received_ns + sighting.boot_ns
            if known_ns is not None and back_ns > EARLY_NS:
                early_ns[boot] = back_ns
        return early_ns

    def _put(self, row: Coverage) -> Coverage:
        """Take a row in the place of an older one."""
        device = self._device(row.device)
        device.put(row)
        writer = device.writers.get(row.incarnation)
        if writer is not None:
            writer.row = row
        self._stand(device, device.node or row.node)
        self._dirty.add(row.device)
        if row.anchor_ns is not None:
            boot = boot_in(row)
            self._by_boot.setdefault(boot, set()).add(row.device)
            if row.anchor_ns < self._anchors.get(boot, row.anchor_ns + 1):
                self._anchors[boot] = row.anchor_ns
                self._dirty.update(self._by_boot[boot])
        return row

    def _periods(self, device: _Device) -> tuple[Period, ...]:
        """When a device is enrolled: from its first report on, as declarations correct it."""
        periods: list[Period] = []
        if device.rows:
            periods.append(Period(min(row.first_seen_ns for row in device.rows.values())))
        for declared in device.declared:
            going_on = bool(periods) and periods[-1].until_ns is None
            if declared.state is DeviceState.RETIRED:
                if periods:
                    last = periods[-1]
                    periods[-1] = Period(last.from_ns, max(last.from_ns, declared.from_ns))
            elif going_on:
                before_ns = (periods[-2].until_ns or 0) if len(periods) > 1 else 0
                periods[-1] = Period(max(before_ns, declared.from_ns))
            else:
                before_ns = (periods[-1].until_ns or 0) if periods else 0
                periods.append(Period(max(before_ns, declared.from_ns)))
        return tuple(periods)

    def _stretches(self, device: _Device) -> Sequence[Stretch]:
        first_ns = min((row.first_seen_ns for row in device.rows.values()), default=0)
        stretches = []
        for incarnation, writer in device.writers.items():
            row = device.rows.get(incarnation)
            boot, start_ns, before_ns = incarnation, None, writer.covered_ns
            if row is not None:
                boot = "\n".join(boot_in(row))
                enrolling = row.first_seen_ns - first_ns < ENROLMENT_NS
                before_ns = row.first_covered_ns if enrolling else 0
                if row.since_ns is not None:
                    start_ns = self._anchors[boot_in(row)] + row.since_ns
            stretches.append(
                Stretch(
                    writer=incarnation,
                    boot=boot,
                    node=row.node if row is not None else device.node,
                    user=None if writer.mixed else writer.user,
                    covered_ns=writer.covered_ns,
                    start_ns=start_ns,
                    before_ns=before_ns,
                    rank=writer.lower_flop,
                )
            )
        return stretches


def _began(row: Coverage) -> tuple[int, str]:
    """When an incarnation that is placed began, in Unix time in ns; of two at once one is later."""
    return (row.anchor_ns or 0) + (row.since_ns or 0), row.incarnation


def _newest_of(rows: Iterable[Coverage]) -> list[Coverage]:
    """Of each incarnation and device the last row."""
    return list({(row.incarnation, row.device): row for row in rows}.values())


def _user(allocation: str) -> str | None:
    """The one user that an allocation names, by whatever means; None for nobody or several."""
    return user_of(allocation) if is_single(allocation) else None
