"""The sensors there are, and which one a node gets.

Owns: the explicit list, the choice of ``--sensor``, and the file that remembers accelerators.
May touch: the PCI bus (reading), one file in the state folder, and the sensors it builds.
Called by app at start. Sensors are imported when they are chosen: a node without NVIDIA devices
never loads their library.

The rule of ``auto``: nothing is ever made up on a node where an accelerator is or was. A driver
that fails at boot would otherwise turn a training node into a simulated one.
Where the driver works, the rung decides: activity that the driver gives (GPM, cycles) goes before
that of an exporter, and that before the driver's busy time and energy. An exporter is asked only
where its address is set, and taken only where it shows just the devices the driver lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flopmeter_agent.sensors.base import Sensor
from flopmeter_agent.sensors.pci import PCI_FOLDER, accelerators, bus_is_visible
from flopmeter_core.devices import DeviceRecord, builtin_parts
from flopmeter_core.errors import (
    DataError,
    NotPermittedError,
    SensorError,
    StorageError,
    UsageError,
)
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

if TYPE_CHECKING:
    from flopmeter_agent.sensors.dcgm import DcgmSensor
    from flopmeter_agent.sensors.nvml import NvmlSensor

SENSORS: Mapping[str, str] = {
    "auto": "nvml where it works, or dcgm where only that sees activity; none where an "
    "accelerator has no driver; else cpu",
    "nvml": "NVIDIA devices through their driver",
    "dcgm": "NVIDIA devices through a dcgm-exporter that already runs",
    "none": "accelerators without a working driver: their time is unobserved",
    "cpu": "simulated: this host's processor drives one made-up device",
    "simulated": "simulated: a scripted fleet, with --scenario FILE",
    "replay": "a recording, with flopmeter replay FILE",
}
"""What can be asked for, with one line of explanation each."""

SEEN_FILE = "accelerators-seen.json"
"""Name of the file in the state folder that remembers which accelerators were ever here."""

_SEEN_SCHEMA = 1


class Choice(NamedTuple):
    """A sensor and why it was chosen, in one sentence."""

    sensor: Sensor
    reason: str


EXPORTER_URL = "http://127.0.0.1:9400/metrics"
"""Where a dcgm-exporter of this host is unless told otherwise (its own default)."""


class DcgmSource(NamedTuple):
    """Where sensor ``dcgm`` reads.

    Attributes:
        url: the exporter's page; empty where none is set: then auto asks none, and sensor dcgm
            `EXPORTER_URL`.
        part: id of the device table's row for devices whose PCI id cannot be read; may be empty.
        period_s: the exporter's own collection period.
    """

    url: str = ""
    part: str = ""
    period_s: float = 30.0


class _Request(NamedTuple):
    """What a sensor may need to be built."""

    node: str
    clock: Clock
    state_folder: Path
    pci_folder: Path
    library_path: Path | None
    dcgm: DcgmSource
    ask_processes: bool

    def on_bus(self) -> Mapping[str, DeviceRecord]:
        """The accelerators on the bus as it is now."""
        return accelerators(self.node, self.pci_folder)


def choose(
    name: str,
    *,
    node: str,
    clock: Clock,
    state_folder: Path,
    require_real: bool = False,
    pci_folder: Path = PCI_FOLDER,
    library_path: Path | None = None,
    dcgm: DcgmSource | None = None,
    ask_processes: bool = False,
) -> Choice:
    """Build the sensor of a node.

    Args:
        name: one of `SENSORS`.
        node: the node's name.
        clock: stamps the readings.
        state_folder: where it is remembered that an accelerator was here.
        require_real: refuse a sensor that makes readings up.
        pci_folder: the PCI bus in sysfs.
        library_path: the NVIDIA driver's library, where the dynamic linker does not find it.
        dcgm: where sensor dcgm reads, and auto may; an exporter of this host when None.
        ask_processes: whether the driver is asked at each reading who is on a device.

    Returns:
        The sensor, not yet read, and the reason for it.

    Raises:
        UsageError: no such sensor, or one that is not started by this setting.
        NotPermittedError: `require_real` and nothing real could be chosen.
        StorageError: the state folder cannot be read or written.
        SensorError: the PCI bus cannot be read.
    """
    if name not in SENSORS:
        raise UsageError(
            f"there is no sensor {name!r}; use one of {', '.join(_BUILDERS)}; "
            "or simulated with --scenario FILE"
        )
    if name not in _BUILDERS:
        raise UsageError(f"sensor {name} is {SENSORS[name]}; it is not started by its name alone")
    if name == "cpu" and require_real:
        raise NotPermittedError(
            "sensor cpu makes its readings up and --require-real forbids that; use --sensor auto"
        )
    request = _Request(
        node, clock, state_folder, pci_folder, library_path, dcgm or DcgmSource(), ask_processes
    )
    choice = _BUILDERS[name](request)
    if choice.sensor.simulated and require_real:
        choice.sensor.close()
        raise NotPermittedError(
            "no accelerator is on the PCI bus, so only made-up readings could be had, and "
            "--require-real forbids those; run the agent on a node with an accelerator"
        )
    return choice


def _auto(request: _Request) -> Choice:
    found, seen = request.on_bus(), _recall(request)
    sensor = _open_nvml(request)
    try:
        # Tried without a device on the bus too: a virtual machine may hide its bus.
        devices = sensor.devices()
    except SensorError as error:
        if found or seen is not None:
            _remember(request, seen, found)
            return _without_driver(request, sensor, found, seen or {}, problem=str(error))
        sensor.close()
        if not bus_is_visible(request.pci_folder):
            raise SensorError(
                f"nobody can tell whether an accelerator is on this node: {error}, and "
                f"{request.pci_folder} is not there to look at; let the agent see /sys, or name a "
                "sensor with --sensor"
            ) from error
        reason = "no accelerator is or was on this node: its processor drives a simulated one"
        return Choice(_cpu(request).sensor, reason)
    _remember(request, seen, {**found, **sensor.addresses})
    listed = f"the NVIDIA driver works and lists {len(devices)} device(s)"
    try:
        exporter = _exporter(request, sensor.addresses) if request.dcgm.url else None
        against = _against(exporter, devices, sensor.without_activity)
    except UsageError:
        sensor.close()
        raise
    if exporter is None or against:
        return Choice(sensor, f"{listed}; {against}")
    sensor.close()
    return Choice(
        exporter,
        f"{listed} without activity counters, which the exporter {request.dcgm.url} shows of all",
    )


def _against(
    exporter: DcgmSensor | None, devices: Sequence[DeviceRecord], without: Mapping[str, str]
) -> str:
    """Why the driver's own sensor goes before an exporter; empty where it does not."""
    if not without:
        return "none of them can be read yet"
    lacking = [reason for reason in without.values() if reason]
    if len(lacking) < len(without):
        return f"{len(without) - len(lacking)} of them give activity counters"
    if exporter is None:
        return f"no activity counters ({lacking[0]}), and no dcgm_url is set"
    try:
        shown = {record.device for record in exporter.devices()}
    except SensorError as error:
        return f"no activity counters ({lacking[0]}), but {error}"
    if shown != {record.device for record in devices}:
        return f"no activity counters ({lacking[0]}), but the exporter shows other devices"
    short = next((reason for reason in exporter.shortfalls.values() if reason), "")
    return f"no activity counters ({lacking[0]}), but of the exporter: {short}" if short else ""


def _without_driver(
    request: _Request,
    successor: Sensor,
    found: Mapping[str, DeviceRecord],
    seen: Mapping[str, DeviceRecord],
    *,
    problem: str,
) -> Choice:
    """Sensor none, which steps aside when the driver appears."""
    from flopmeter_agent.sensors.none import NoneSensor

    if found:
        if all(record.vendor != "nvidia" for record in found.values()):
            problem = "this release reads NVIDIA devices only"
        reason = f"{len(found)} accelerator(s) on the PCI bus, but {problem}"
    else:
        reason = (
            "accelerators were once on this node and none is on its PCI bus now; if they were "
            f"taken out for good, remove {request.state_folder / SEEN_FILE}"
        )
    records = tuple({**seen, **_identified(found, seen)}.values())
    return Choice(NoneSensor(records, reason, successor=successor), reason)


def _open_nvml(request: _Request) -> NvmlSensor:
    from flopmeter_agent.sensors.nvml import NvmlSensor

    seen = _recall(request) or {}
    return NvmlSensor(
        request.node,
        request.clock,
        library_path=request.library_path,
        on_bus=lambda: _identified(request.on_bus(), seen),
        ask_processes=request.ask_processes,
    )


def _nvml(request: _Request) -> Choice:
    _remember(request, _recall(request), request.on_bus())
    return Choice(_open_nvml(request), "sensor nvml was asked for")


def _dcgm(request: _Request) -> Choice:
    sensor = _exporter(request, {})
    _remember(request, _recall(request), request.on_bus())
    url = request.dcgm.url or EXPORTER_URL
    return Choice(sensor, f"sensor dcgm was asked for; it reads {url}")


def _exporter(request: _Request, listed: Mapping[str, DeviceRecord]) -> DcgmSensor:
    """Sensor dcgm, not yet read; `listed` is what the driver says of each place on the bus.

    Raises:
        UsageError: an address that is none, or a part that is in no table.
    """
    from flopmeter_agent.sensors.dcgm import DcgmSensor, Endpoint

    source = request.dcgm
    parts = builtin_parts()
    if source.part and source.part not in parts.by_id:
        raise UsageError(
            f"dcgm_part {source.part!r} is no part of the device table; "
            "flopmeter device list shows them"
        )
    endpoint = Endpoint(source.url or EXPORTER_URL, request.clock)
    return DcgmSensor(
        request.node,
        request.clock,
        endpoint.fetch,
        collect_period_ns=round(source.period_s * NS_PER_S),
        part=source.part,
        # Another host's addresses say nothing of this host's bus.
        on_bus=lambda: {**(request.on_bus() if endpoint.on_this_host else {}), **listed},
        profile_known=parts.has_profile,
    )


def _none(request: _Request) -> Choice:
    from flopmeter_agent.sensors.none import NoneSensor

    found, seen = request.on_bus(), _recall(request)
    _remember(request, seen, found)
    records = tuple({**(seen or {}), **_identified(found, seen or {})}.values())
    reason = "sensor none was asked for"
    return Choice(NoneSensor(records, reason), reason)


def _cpu(request: _Request) -> Choice:
    from flopmeter_agent.sensors.cpu import CpuSensor

    # An accelerator beside it is remembered, so that auto does not forget it.
    _remember(request, _recall(request), request.on_bus())
    return Choice(CpuSensor(request.node, request.clock), "sensor cpu was asked for")


_BUILDERS: Mapping[str, Callable[[_Request], Choice]] = {
    "auto": _auto,
    "nvml": _nvml,
    "dcgm": _dcgm,
    "none": _none,
    "cpu": _cpu,
}


def _identified(
    found: Mapping[str, DeviceRecord], seen: Mapping[str, DeviceRecord]
) -> dict[str, DeviceRecord]:
    """What is on the bus, with the identity a driver once gave the same part in that place."""
    return {
        address: seen[address]
        if address in seen and seen[address].pci_device_id == record.pci_device_id
        else record
        for address, record in found.items()
    }


def _recall(request: _Request) -> dict[str, DeviceRecord] | None:
    """What the state folder remembers; None where no accelerator was ever seen.

    A file that cannot be understood still says that there was one.
    """
    path = request.state_folder / SEEN_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read ({error}); make it readable") from error
    try:
        content = json.loads(text)
        return {
            str(address): DeviceRecord.from_json(fields)
            for address, fields in content["accelerators"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, DataError):
        return {}


def _remember(
    request: _Request,
    seen: Mapping[str, DeviceRecord] | None,
    found: Mapping[str, DeviceRecord],
) -> None:
    """Write down what was seen; a place keeps what its driver once said of it."""
    known = dict(seen or {})
    for address, record in found.items():
        before = known.get(address)
        same_part = before is not None and before.pci_device_id == record.pci_device_id
        if not same_part or record.driver_version:
            known[address] = record
    if not known or known == seen:
        return
    content = {
        "schema": _SEEN_SCHEMA,
        "accelerators": {address: record.to_json() for address, record in known.items()},
    }
    path = request.state_folder / SEEN_FILE
    partial = path.with_suffix(".new")
    try:
        request.state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error.strerror}); the agent needs a folder of its own"
        ) from error
