"""Devices, keys and numbers on the wire: what streams and batches spell the same way.

Owns: the spelling of a device record and of a key, and what any text or number on the wire may be.
May touch: generated messages; no socket, no clock.
Called by the other modules of this package. docs/wire.md lists the limits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import WireError
from flopmeter_core.registers import COMPONENT_COUNT, INSTANCE_MARK, Evidence, Key, Vector
from flopmeter_core.reports import PROTOCOL_VERSION
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb

MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024
MAXIMUM_TEXT_LENGTH = 256
MAXIMUM_DEVICES_PER_NODE = 1_024
INCARNATION_BYTES = 16
MAXIMUM_DIGITS = 40
"""Of a FLOP figure that is told as text."""

MAXIMUM_COMPONENTS = 256
"""Of a vector that comes, whatever a newer sender counts: to build half a million integers takes
10 ms, in which no thread computes."""

T = TypeVar("T")

RECORDS_KEPT = 4_096
"""Device records that are known again when a stream begins anew, about 1 KiB each: to check one and
to make its identity, the SHA-256 of a text, costs as much as ten of its vectors."""

_SCOPES = {
    EnergyScope.NONE: pb.ENERGY_SCOPE_UNSPECIFIED,
    EnergyScope.GPU: pb.ENERGY_SCOPE_GPU,
    EnergyScope.MODULE: pb.ENERGY_SCOPE_MODULE,
    EnergyScope.NODE: pb.ENERGY_SCOPE_NODE,
}
_SCOPES_BACK = {number: scope for scope, number in _SCOPES.items()}


def key_out(key: Key, number: int, record_number: int) -> pb.KeyDescriptor:
    """Spell a key out under a number."""
    return pb.KeyDescriptor(
        key_number=number,
        record_number=record_number,
        incarnation=bytes.fromhex(key.incarnation),
        allocation=key.allocation,
        phase=key.phase,
        evidence=cast(pb.Evidence, key.evidence.value),
    )


def record_out(record: DeviceRecord, number: int) -> pb.DeviceRecord:
    """Spell a device record out under a number."""
    return pb.DeviceRecord(
        record_number=number,
        node=record.node,
        device=record.device,
        vendor=record.vendor,
        product_name=record.product_name,
        pci_device_id=record.pci_device_id,
        part=record.part,
        sm_count=record.sm_count,
        max_sm_clock_mhz=record.max_sm_clock_mhz,
        memory_mib=record.memory_mib,
        driver_version=record.driver_version,
        device_count=record.device_count,
        energy_scope=_SCOPES[record.energy_scope],
        tensor_classes=record.tensor_classes,
        simulated=record.simulated,
    )


def check_version(version: int) -> None:
    """Refuse a protocol this collector does not speak.

    Raises:
        WireError: with the version this side speaks.
    """
    if version != PROTOCOL_VERSION:
        raise WireError(
            f"protocol version {version} is not spoken here; "
            f"this collector speaks {PROTOCOL_VERSION}: upgrade the older side"
        )


def paused(items: Iterable[T], pause: Callable[[], None] | None) -> Iterator[T]:
    """The items of something long, with a pause after each; None where none is needed."""
    if pause is None:
        yield from items
        return
    for item in items:
        yield item
        pause()


def components_in(values: Sequence[int]) -> Vector:
    """Read the components of a vector.

    Raises:
        WireError: as `check_values`, or there are far too many.
    """
    if len(values) > MAXIMUM_COMPONENTS:
        raise WireError(f"a vector has 1 to {COMPONENT_COUNT} components, not {len(values)}")
    return check_values(tuple(values))


def check_values(values: tuple[int, ...]) -> Vector:
    """Refuse vectors a register cannot hold; a shorter one is filled with zeros.

    A newer sender's further components may pass while they are 0: nothing is lost with them.

    Raises:
        WireError: none, a component that is not known and not 0, or one outside 0 .. 2^62 - 1.
    """
    if len(values) > COMPONENT_COUNT and not any(values[COMPONENT_COUNT:]):
        values = values[:COMPONENT_COUNT]
    if not 0 < len(values) <= COMPONENT_COUNT:
        raise WireError(f"a vector has 1 to {COMPONENT_COUNT} components, not {len(values)}")
    if min(values) < 0 or max(values) >= REGISTER_LIMIT:
        raise WireError("a component lies outside 0 .. 2^62 - 1")
    return values + (0,) * (COMPONENT_COUNT - len(values))


def check_sequence(sequence: int) -> int:
    """Refuse a sequence that no register can have.

    Raises:
        WireError: below 1 or too large.
    """
    if not 1 <= sequence < REGISTER_LIMIT:
        raise WireError(f"sequence {sequence} lies outside 1 .. 2^62 - 1")
    return sequence


def record_in(message: pb.DeviceRecord) -> DeviceRecord:
    """Read a device record.

    Raises:
        WireError: a field that no device has.
    """
    return _record_in(
        message.node,
        message.device,
        message.vendor,
        message.product_name,
        message.pci_device_id,
        message.part,
        message.sm_count,
        message.max_sm_clock_mhz,
        message.memory_mib,
        message.driver_version,
        message.device_count,
        message.energy_scope,
        message.tensor_classes,
        message.simulated,
    )


@functools.lru_cache(maxsize=RECORDS_KEPT)
def _record_in(
    node: str,
    device: str,
    vendor: str,
    product_name: str,
    pci_device_id: int,
    part: str,
    sm_count: int,
    max_sm_clock_mhz: int,
    memory_mib: int,
    driver_version: str,
    device_count: int,
    energy_scope: pb.EnergyScope,
    tensor_classes: bool,
    simulated: bool,
) -> DeviceRecord:
    """Read what was said; the same record for the same words, so its identity is made once."""
    scope = _SCOPES_BACK.get(energy_scope)
    if scope is None:
        raise WireError(f"energy scope {energy_scope} is not known")
    if INSTANCE_MARK in device:
        if device_count != 0 or scope is not EnergyScope.NONE:
            raise WireError("a MIG instance has device_count 0 and no energy: they are its GPU's")
    elif not 1 <= device_count <= MAXIMUM_DEVICES_PER_NODE:
        raise WireError(f"device_count must be 1 to {MAXIMUM_DEVICES_PER_NODE}")
    return DeviceRecord(
        node=check_text(node, "node"),
        device=check_text(device, "device"),
        vendor=check_text(vendor, "vendor", required=False),
        product_name=check_text(product_name, "product_name", required=False),
        pci_device_id=check_number(pci_device_id, "pci_device_id"),
        part=check_text(part, "part", required=False),
        sm_count=check_number(sm_count, "sm_count"),
        max_sm_clock_mhz=check_number(max_sm_clock_mhz, "max_sm_clock_mhz"),
        memory_mib=check_number(memory_mib, "memory_mib"),
        driver_version=check_text(driver_version, "driver_version", required=False),
        device_count=device_count,
        energy_scope=scope,
        tensor_classes=tensor_classes,
        simulated=simulated,
    )


def evidence_in(number: int) -> Evidence:
    """The evidence level a number stands for."""
    try:
        return Evidence(number)
    except ValueError:
        raise WireError(f"evidence level {number} is not known") from None


def incarnation_in(raw: bytes) -> str:
    """An incarnation as 32 hexadecimal digits."""
    if len(raw) != INCARNATION_BYTES:
        raise WireError(f"an incarnation has {INCARNATION_BYTES} bytes, not {len(raw)}")
    return raw.hex()


def check_number(number: int, name: str) -> int:
    """Refuse a negative number."""
    if number < 0:
        raise WireError(f"{name} is negative")
    return number


def check_digits(text: str) -> int:
    """Read the FLOP of a display estimate.

    Raises:
        WireError: no decimal digits, or too many.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= MAXIMUM_DIGITS):
        raise WireError("compute_flop of a display estimate must be decimal digits")
    return int(text)


def check_text(
    text: str, name: str, *, required: bool = True, limit: int = MAXIMUM_TEXT_LENGTH
) -> str:
    """Refuse a text that is missing, too long, or holds characters a log cannot show."""
    if required and not text:
        raise WireError(f"{name} is empty")
    if len(text) > limit:
        raise WireError(f"{name} has {len(text)} characters; at most {limit} are allowed")
    if text and not text.isprintable():
        raise WireError(f"{name} holds control characters")
    return text
