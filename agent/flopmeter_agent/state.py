"""What the journal holds, as bytes: registers, closed registers and hardware baselines.

Owns: the spelling of the agent's state in its journal.
May touch: nothing; pure translation.
Called by the loop. JSON, because a person may have to read it after a disaster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flopmeter_agent.accumulate import DeviceState
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence, Key, Register
from flopmeter_core.reports import LedgerPosition

STATE_FORMAT = 1


@dataclass(slots=True)
class StoredRegister:
    """A register with how far the collector has acknowledged it at the root."""

    key: Key
    register: Register
    acknowledged: int = 0


@dataclass(slots=True)
class AgentState:
    """Everything an agent must remember over a restart.

    Attributes:
        incarnation: the incarnation that wrote it.
        boot_id: the boot its baselines belong to.
        simulated: whether its readings are made up.
        records: device records by id, as far as a key refers to them.
        registers: open registers of the incarnation and closed ones of earlier incarnations.
        position: where the collector's ledger stood at its last answer.
        devices: how far the time of each device is registered, and from which reading.
        instant: boot time and Unix time of the last sample in ns, and how many hours were closed
            before it; None in an older state.
        phases: what `phases.PhaseBook` keeps; empty in an older state.
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


def encode(state: AgentState) -> bytes:
    """The state as JSON bytes."""
    return json.dumps(
        {
            "format": STATE_FORMAT,
            "incarnation": state.incarnation,
            "boot_id": state.boot_id,
            "simulated": state.simulated,
            "records": {name: record.to_json() for name, record in state.records.items()},
            "registers": [
                [
                    [k.device, k.incarnation, k.allocation, k.phase, int(k.evidence), k.record],
                    stored.register.units,
                    stored.register.carry,
                    stored.register.sequence,
                    stored.acknowledged,
                ]
                for stored in state.registers
                for k in (stored.key,)
            ],
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
            "position": None
            if state.position is None
            else [
                state.position.ledger_id,
                state.position.generation,
                state.position.commit_number,
            ],
        },
        separators=(",", ":"),
    ).encode()


def decode(payload: bytes) -> AgentState:
    """Read a state back.

    Raises:
        DataError: not a state this version understands.
    """
    try:
        tree = json.loads(payload)
        if tree["format"] != STATE_FORMAT:
            raise DataError(
                f"the journal has format {tree['format']}, this agent reads {STATE_FORMAT}; "
                "upgrade the agent"
            )
        records = {name: DeviceRecord.from_json(fields) for name, fields in tree["records"].items()}
        phases = tree.get("device_phases", {})
        return AgentState(
            incarnation=tree["incarnation"],
            boot_id=tree["boot_id"],
            simulated=tree["simulated"],
            records=records,
            registers=[_register_in(row) for row in tree["registers"]],
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
            instant=_instant_in(tree.get("instant")),
            phases=tree.get("phases", {}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the journal's state cannot be read: {error}") from error


def _instant_in(row: Any) -> tuple[int, int, int] | None:
    if row is None:
        return None
    boot_ns, wall_ns, closings = row
    return boot_ns, wall_ns, closings


def _register_in(row: Any) -> StoredRegister:
    (device, incarnation, allocation, phase, evidence, record), units, carry, sequence, acked = row
    key = Key(device, incarnation, allocation, phase, Evidence(evidence), record)
    missing = [0] * (len(Component) - len(units))
    return StoredRegister(key, Register(units + missing, carry + missing, sequence), acked)


def _reading_out(reading: Reading) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "device": reading.device,
        "evidence": int(reading.evidence),
        "monotonic_ns": reading.monotonic_ns,
        "boottime_ns": reading.boottime_ns,
        "cycles": {int(component): count for component, count in reading.cycles.items()},
    }
    for name in ("counter_unit", "energy_mj", "clock_khz", "power_mw"):
        if getattr(reading, name) is not None:
            fields[name] = getattr(reading, name)
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
