"""The residual: enrolled device time that no agent classified and nobody declared.

Owns: which devices are enrolled since when, what their agents classified, and what is left.
May touch: memory only; no clock: the instant comes with each question.
Called by totals, whose registers say how much was classified; publish brings what reports say of
when. Nothing of the residual is stored: it is derived anew, and shrinks when a late report comes.
Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from flopmeter_collector.back_clock import Boot
from flopmeter_collector.boots import Boots
from flopmeter_collector.classified import Classified, ClassifiedRows
from flopmeter_collector.device_declarations import DeviceDeclaration, DeviceState
from flopmeter_collector.device_time import DeviceTime, Growing
from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.neighbours import Neighbours
from flopmeter_collector.placing import Agents, boot_of, least, placed
from flopmeter_collector.presence import Charge, Presence, Standing
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.timeline import (
    Classes,
    Down,
    Period,
    classes_at,
    divide,
)
from flopmeter_core.allocations import is_single, user_of
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key
from flopmeter_core.units import NS_PER_S

DEFAULT_SILENCE_NS = 300 * NS_PER_S
"""A device that reported less long ago misses nothing yet: time on its way is not missing."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that is or was enrolled, for display.

    Attributes:
        device, node: names.
        device_count: accelerators behind it.
        periods: enrolled, in order; the last may be open.
        classes: its enrolled time up to the instant asked for.
        doubled_ns: time that two agents classified.
        named: whether it is a place on the bus that has ended because its board has a name.
    """

    device: str
    node: str
    device_count: int
    periods: tuple[Period, ...]
    classes: Classes
    doubled_ns: int
    named: bool = False


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
        self._devices: dict[str, DeviceTime] = {}
        self.classified = ClassifiedRows()
        self.agents = Agents(self.classified)
        self.boots = Boots()
        self._neighbours = Neighbours(self._devices, self.boots)
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
        return _newest_of([*rows, *self.place(news, self.boots.doubted(news, steady_ns))])

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
        self._dirty |= self._neighbours.look(self._dirty)
        for name in sorted(self._dirty):
            device = self._devices[name]
            if device.newest:
                device.writers[device.newest].quiet = False
            device.division = divide(
                device.periods(),
                device.stretches(self.boots),
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
                periods=device.periods(),
                classes=classes_at(device.division, as_of_ns, silence_ns=self._silence_ns),
                doubled_ns=sum(device.division.doubled_ns.values()),
                named=device.division.tail_until_ns is not None
                and device.declared_periods()[-1].until_ns is None,
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

    def _device(self, name: str) -> DeviceTime:
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = DeviceTime(name)
        return device

    def _enrol(self, device: DeviceTime, key: Key) -> Classified:
        """Make room for what an incarnation classifies of a device."""
        number = self.classified.open()
        writer = Classified(self.classified, number, user=_user(key.allocation))
        writer.row = device.rows.get(key.incarnation)
        device.writers[key.incarnation] = writer
        self.agents.add(key, writer)
        return writer

    def _stand(self, device: DeviceTime, node: str) -> None:
        """Take the node that a device's newest vector names, where none of its agents is placed.

        Which vector came last is not kept: after a restart another one would be the newest.
        """
        if device.home is not None:
            node = device.home.node
        if node != device.node:
            device.node = node
            self._listen(device.name)

    def _went_on(self, device: DeviceTime, incarnation: str, *, usual: bool = True) -> None:
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

    def _put(self, row: Coverage) -> Coverage:
        """Take a row in the place of an older one."""
        device = self._device(row.device)
        device.put(row)
        writer = device.writers.get(row.incarnation)
        if writer is not None:
            writer.row = row
        self._stand(device, device.node or row.node)
        self._dirty.add(row.device)
        self._dirty.update(self.boots.put(row))
        self._neighbours.put(row)
        return row


def _newest_of(rows: Iterable[Coverage]) -> list[Coverage]:
    """Of each incarnation and device the last row."""
    return list({(row.incarnation, row.device): row for row in rows}.values())


def _user(allocation: str) -> str | None:
    """The one user that an allocation names, by whatever means; None for nobody or several."""
    return user_of(allocation) if is_single(allocation) else None
