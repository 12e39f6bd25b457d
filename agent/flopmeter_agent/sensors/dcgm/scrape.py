"""What one exposition says of each device.

Owns: which line belongs to which device, what of a device is said at all, and what is blank.
May touch: nothing; pure functions of a text.
Called by sensor.

A device is what the label UUID names. With MIG the exporter repeats it in one line for each
instance (label GPU_I_ID): what they say of power, energy and clock is the whole board's and is
taken once; their activity is that of a part of the SMs, so it is kept by instance. Several pods
that share a device repeat its lines too (dcgm-exporter 587): equal ones are one, and lines that
contradict each other are nobody's measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flopmeter_agent.sensors.dcgm.exposition import Sample, parse
from flopmeter_agent.sensors.dcgm.fields import (
    BUSY,
    ENGINE,
    FIELDS,
    Quantity,
    converted,
    unit_of,
)
from flopmeter_core.errors import DataError
from flopmeter_core.registers import Component

GREATEST_DEVICES = 256
"""Devices of one exporter; it is one node's."""

_LONGEST_LABEL = 128


@dataclass(slots=True)
class Part:
    """One MIG instance of a device.

    Attributes:
        profile: as the exporter names it, such as ``1g.10gb``.
        quantities: its activities in ppm; blanks and contradictions are absent.
        offered: the activities there is a line for.
    """

    profile: str
    quantities: dict[Component, int] = field(default_factory=dict)
    offered: set[Component] = field(default_factory=set)


@dataclass(slots=True)
class Seen:
    """One device in one exposition.

    Attributes:
        device: its UUID.
        labels: of one of its lines.
        quantities: what is said of it, in our units; blanks are absent.
        offered: the quantities there is a line for, blank or not.
        blanks: families that figures are made of and whose value is blank.
        contradictions: families with lines that contradict each other.
        parts: the MIG instances by their number, where no line speaks of the whole device.
        stamp_ms: the newest of the lines' own time stamps; None where they have none.
        content: every value as written, to tell a new collection from an old one.
    """

    device: str
    labels: Mapping[str, str]
    quantities: dict[Quantity, int] = field(default_factory=dict)
    offered: set[Quantity] = field(default_factory=set)
    blanks: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    stamp_ms: int | None = None
    content: tuple[tuple[str, str, str], ...] = ()


def devices_in(text: str) -> dict[str, Seen]:
    """Read an exposition.

    Returns:
        What it says of each device, by UUID, in order of UUID.

    Raises:
        DataError: it is not whole, or no exposition, or of more devices than a node has.
    """
    exposition = parse(text)
    lines: dict[str, list[Sample]] = {}
    for sample in exposition.samples:
        device = sample.labels.get("UUID") or sample.labels.get("uuid") or ""
        # Lines without a UUID are of switches, links and processors; a MIG- one has no board.
        if device.startswith("GPU-") and len(device) <= _LONGEST_LABEL:
            lines.setdefault(device, []).append(sample)
    if len(lines) > GREATEST_DEVICES:
        raise DataError(
            f"the exposition has {len(lines)} devices; name the page of one node's exporter"
        )
    return {device: _seen(device, lines[device], exposition.helps) for device in sorted(lines)}


def _seen(device: str, samples: Iterable[Sample], helps: Mapping[str, str]) -> Seen:
    samples = list(samples)
    seen = Seen(device, samples[0].labels)
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
        if sample.stamp_ms is not None:
            seen.stamp_ms = max(sample.stamp_ms, seen.stamp_ms or sample.stamp_ms)
    for name, known in FIELDS.items():
        if known.quantity in seen.offered or name not in by_name:
            continue
        lines = _lines_of_board(by_name[name], activity=isinstance(known.quantity, Component))
        if not lines:
            _take_parts(seen, name, by_name[name], helps.get(name, ""))
            continue
        seen.offered.add(known.quantity)
        values = {converted(line.stated, unit_of(known, helps.get(name, ""))) for line in lines}
        if known.quantity is ENGINE and all(line.labels.get("GPU_I_ID") for line in lines):
            # Engines of several instances: the device worked if one of them did.
            values = {max((value for value in values if value is not None), default=None)}
        if len(values) > 1:
            seen.contradictions.append(name)
        elif (stated := values.pop()) is None:
            # Utilisation and engine activity only cross-check, and some devices never have them.
            if known.quantity not in (BUSY, ENGINE):
                seen.blanks.append(name)
        else:
            seen.quantities[known.quantity] = stated
    seen.content = tuple(sorted((s.name, s.labels.get("GPU_I_ID", ""), s.stated) for s in samples))
    return seen


def _take_parts(seen: Seen, name: str, lines: list[Sample], told: str) -> None:
    """Note an activity of each instance."""
    known = FIELDS[name]
    assert isinstance(known.quantity, Component)
    values: dict[str, set[int | None]] = {}
    for line in lines:
        number = line.labels["GPU_I_ID"]
        seen.parts.setdefault(number, Part(line.labels.get("GPU_I_PROFILE", "")))
        values.setdefault(number, set()).add(converted(line.stated, unit_of(known, told)))
    for number, stated in values.items():
        part = seen.parts[number]
        if known.quantity in part.offered:
            continue  # both generations of the name are shown
        part.offered.add(known.quantity)
        if len(stated) > 1:
            seen.contradictions.append(name)
        elif (share := stated.pop()) is not None:
            part.quantities[known.quantity] = share


def _lines_of_board(lines: list[Sample], *, activity: bool) -> list[Sample]:
    """The lines that speak of the whole device."""
    whole = [line for line in lines if not line.labels.get("GPU_I_ID")]
    if whole:
        return whole
    return [] if activity else lines
