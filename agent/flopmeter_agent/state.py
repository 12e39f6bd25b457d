"""What an agent writes at every sample: open registers, hardware baselines, and where it stands.

Owns: the spelling of the agent's state in its journal.
May touch: nothing; pure translation.
Called by the loop. It holds what the running incarnation may still change and nothing else, so that
it is small: final vectors are in a journal of their own (closed). The first format was one JSON
text with both, and is still read.
Explained in docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flopmeter_agent import packing
from flopmeter_agent.accumulate import DeviceState
from flopmeter_agent.faults import START_AGAIN
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence, Key, Register
from flopmeter_core.reports import LedgerPosition

STATE_FORMAT = 3
"""Written: JSON head, packed rows, and with each row the boot time its vector was read at."""

TIMELESS_FORMAT = 2
"""Rows without that; as the first format it is only read."""

FIRST_FORMAT = 1


@dataclass(slots=True)
class StoredRegister:
    """A register with what became of it outside.

    Attributes:
        key: whose it is.
        register: as far as it has come.
        acknowledged: the newest sequence a collector has acknowledged.
        sent: whether any of it may have been handed to a collector.
    """

    key: Key
    register: Register
    acknowledged: int = 0
    sent: bool = False


@dataclass(slots=True)
class AgentState:
    """Everything an agent must remember over a restart.

    Attributes:
        incarnation: the incarnation that wrote it.
        boot_id: the boot its baselines belong to.
        simulated: whether its readings are made up.
        records: device records by id, as far as a key refers to them.
        registers: registers of the incarnation; in the first format also closed ones of earlier
            incarnations.
        position: where the collector's ledger stood at its last answer.
        devices: how far the time of each device is registered, and from which reading.
        instant: boot time and Unix time of the last sample in ns, and how many hours were closed
            before it; None in an older state.
        phases: what `phases.PhaseBook` keeps; empty in an older state.
        shown: how often it was noted here that something new may leave (witness).
        up_ns: how long this host was seen up since the state folder was made, in ns: boot time,
            added up over boots, so that no step of the wall clock ages anything.
    """

    incarnation: str
    boot_id: str
    simulated: bool
    records: Mapping[str, DeviceRecord] = field(default_factory=dict)
    registers: list[StoredRegister] = field(default_factory=list)
    devices: list[DeviceState] = field(default_factory=list)
    position: LedgerPosition | None = None
    instant: tuple[int, int, int] | None = None
    phases: Mapping[str, Any] = field(default_factory=dict)
    up_ns: int = 0
    shown: int = 0


class StateWriter:
    """Makes the bytes of one incarnation's state; what did not change is not spelled again."""

    def __init__(self) -> None:
        """Begin with nothing spelled."""
        self._names = packing.Names()
        self._rows: dict[Key, tuple[int, int, bool, bytes]] = {}
        self._spelled_records: tuple[set[str], str] | None = None

    def encode(self, state: AgentState) -> bytes:
        """The state as bytes; its registers are those of one incarnation."""
        rows = [self._row(stored) for stored in state.registers]
        position = state.position
        head = {
            "format": STATE_FORMAT,
            "incarnation": state.incarnation,
            "boot_id": state.boot_id,
            "simulated": state.simulated,
            "devices": [
                [
                    device.record.record_id,
                    device.allocation,
                    device.classified_monotonic_ns,
                    device.classified_boottime_ns,
                    None if device.baseline is None else _reading_out(device.baseline),
                ]
                for device in state.devices
            ],
            "device_phases": {
                device.record.device: device.phase for device in state.devices if device.phase
            },
            "phases": state.phases,
            "instant": state.instant,
            "position": position
            and [position.ledger_id, position.generation, position.commit_number],
            "up_ns": state.up_ns,
            "shown": state.shown,
            "names": self._names.texts,
        }
        if self._spelled_records is None or self._spelled_records[0] != state.records.keys():
            text = packing.spelled({name: r.to_json() for name, r in state.records.items()})
            self._spelled_records = (set(state.records), text)
        return packing.join(head, rows, records=self._spelled_records[1])

    def _row(self, stored: StoredRegister) -> bytes:
        register = stored.register
        known = self._rows.get(stored.key)
        if known is not None:
            sequence, acknowledged, sent, row = known
            if (
                sequence == register.sequence
                and acknowledged == stored.acknowledged
                and sent == stored.sent
            ):
                return row
        row = b"".join(
            (
                self._names.key(stored.key),
                packing.numbers_out(
                    register.sequence, stored.acknowledged, stored.sent, register.boot_ns
                ),
                packing.vector_out(register.units),
                packing.vector_out(register.carry),
            )
        )
        self._rows[stored.key] = (register.sequence, stored.acknowledged, stored.sent, row)
        return row


def decode(payload: bytes) -> AgentState:
    """Read a state back.

    Raises:
        DataError: not a state this version understands.
    """
    try:
        packed = None if payload.startswith(b"{") else packing.Packed(payload)
        tree = json.loads(payload) if packed is None else packed.head
        if tree["format"] not in (FIRST_FORMAT, TIMELESS_FORMAT, STATE_FORMAT):
            raise DataError(
                f"the journal has format {tree['format']}, this agent reads up to {STATE_FORMAT}; "
                "upgrade the agent"
            )
        instant = _instant_in(tree.get("instant"))
        if packed is None:
            registers = [_register_in(row) for row in tree["registers"]]
        else:
            timed = tree["format"] == STATE_FORMAT
            registers = [_packed_register(key, packed, timed=timed) for key in packed.rows()]
        if tree["format"] != STATE_FORMAT and instant is not None:
            # Nobody noted when each was read; none of them was read after the last sample.
            for stored in registers:
                if stored.key.incarnation == tree["incarnation"]:
                    stored.register.boot_ns = instant[0]
        records = {name: DeviceRecord.from_json(fields) for name, fields in tree["records"].items()}
        phases = tree.get("device_phases", {})
        return AgentState(
            incarnation=tree["incarnation"],
            boot_id=tree["boot_id"],
            simulated=tree["simulated"],
            records=records,
            registers=registers,
            devices=[
                DeviceState(
                    records[record],
                    allocation,
                    monotonic_ns,
                    boottime_ns,
                    None if fields is None else _reading_in(fields),
                    phase=int(phases.get(records[record].device, 0)),
                )
                for record, allocation, monotonic_ns, boottime_ns, fields in tree["devices"]
            ],
            position=LedgerPosition(*tree["position"]) if tree["position"] else None,
            instant=instant,
            phases=tree.get("phases", {}),
            up_ns=tree.get("up_ns", 0),
            shown=tree.get("shown", 0),
        )
    except packing.MALFORMED as error:
        raise DataError(f"the journal's state cannot be read: {error}; {START_AGAIN}") from error


def _instant_in(row: Any) -> tuple[int, int, int] | None:
    if row is None:
        return None
    boot_ns, wall_ns, closings = row
    return boot_ns, wall_ns, closings


def _register_in(row: Any) -> StoredRegister:
    (device, incarnation, allocation, phase, evidence, record), units, carry, sequence, acked = row
    key = Key(device, incarnation, allocation, phase, Evidence(evidence), record)
    missing = [0] * (len(Component) - len(units))
    # Nobody noted then what was sent: it counts as sent.
    return StoredRegister(
        key, Register(units + missing, carry + missing, sequence), acked, sent=True
    )


def _packed_register(key: Key, packed: packing.Packed, *, timed: bool) -> StoredRegister:
    sequence, acknowledged, sent = packed.numbers(3)
    (boot_ns,) = packed.numbers(1) if timed else (0,)
    register = Register(packed.vector(), packed.vector(), sequence, boot_ns)
    return StoredRegister(key, register, acknowledged, bool(sent))


def _reading_out(reading: Reading) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "device": reading.device,
        "evidence": int(reading.evidence),
        "monotonic_ns": reading.monotonic_ns,
        "boottime_ns": reading.boottime_ns,
        "cycles": {int(component): count for component, count in reading.cycles.items()},
    }
    for name in ("counter_unit", "energy_mj", "clock_khz", "power_mw"):
        if (said := getattr(reading, name)) is not None:
            fields[name] = said
    return fields


def _reading_in(fields: Any) -> Reading:
    return Reading(
        device=fields["device"],
        evidence=Evidence(fields["evidence"]),
        monotonic_ns=fields["monotonic_ns"],
        boottime_ns=fields["boottime_ns"],
        cycles={Component(int(place)): count for place, count in fields["cycles"].items()},
        counter_unit=fields.get("counter_unit"),
        energy_mj=fields.get("energy_mj"),
        clock_khz=fields.get("clock_khz"),
        power_mw=fields.get("power_mw"),
    )
