"""The NVIDIA sensor: all devices of a node, through losses, returns and stuck calls.

Owns: the driver's life, the list of devices by UUID, when to look for devices again.
May touch: the driver (through its siblings), threads (through workers), the clock it was given.
Called by the agent's loop, from one thread.

Every driver call runs in a worker thread. A device that was seen once is listed for ever, so that
its time stays unobserved, not uncounted, until it is back. Looking again is of two kinds: listing,
which disturbs nobody, and opening the driver anew, which a device that returns with another place
on the bus needs, and which costs the others one period; the latter backs off.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pynvml

from flopmeter_agent.sensors.base import Baseline, Failure, Readout
from flopmeter_agent.sensors.nvml.device import NvmlDevice
from flopmeter_agent.sensors.nvml.driver import DriverError, ask, close_driver, open_driver
from flopmeter_agent.workers import Done, Stuck, Workers
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import DeviceProcess, Reading
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

_log = logging.getLogger(__name__)

# Opening a driver without persistence mode starts up every GPU, which takes seconds.
_START_PATIENCE_S = 20.0

# GPM refreshes its samples every 100 ms (NVML API reference, nvmlGpmSampleGet).
_PROBE_GAP_S = 0.15

_LISTING_PERIOD_NS = 60 * NS_PER_S
_REOPEN_PERIOD_MIN_NS = 10 * NS_PER_S
_REOPEN_PERIOD_MAX_NS = 600 * NS_PER_S

_SURVEY = "the driver"

_FOUND_NOW = "it was found just now; it is read once it is listed"


@dataclass(slots=True)
class _Survey:
    """What one look at the driver found."""

    devices: dict[str, NvmlDevice] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Note what is wrong with one device; the others are looked at all the same."""
        try:
            yield
        except DriverError as error:
            self.refused.append(str(error))
        except Exception as error:  # a text that is none, a number out of its type
            _log.error("a device cannot be taken in", exc_info=error)
            self.refused.append(f"flopmeter failed to take it in ({error!r}); please report this")


def _nothing_on_bus() -> Mapping[str, DeviceRecord]:
    return {}


class NvmlSensor:
    """Reads NVIDIA devices through the driver's management library."""

    name = "nvml"
    simulated = False
    device_type = NvmlDevice

    def __init__(
        self,
        node: str,
        clock: Clock,
        *,
        library_path: Path | None = None,
        on_bus: Callable[[], Mapping[str, DeviceRecord]] = _nothing_on_bus,
        patience_s: float = 0.5,
        pause: Callable[[float], None] = time.sleep,
        ask_processes: bool = False,
    ) -> None:
        """Touch nothing yet: the driver is opened by the first call.

        Args:
            node: the node's name, for the records.
            clock: stamps every reading.
            library_path: the driver's library, where the dynamic linker does not find it.
            on_bus: the accelerators on the PCI bus by address; one that the driver does not
                list is reported as a failure, so that its time is unobserved.
            patience_s: how long one device's calls may take before it gets its own thread.
            pause: waits between the two samples of the probe, in seconds.
            ask_processes: whether each reading also asks who is on the device.
        """
        self._node = node
        self._clock = clock
        self._library_path = library_path
        self._on_bus = on_bus
        self._pause = pause
        self._ask_processes = ask_processes
        self._workers: Workers[object] = Workers("flopmeter-nvml", patience_s=patience_s)
        self._records: dict[str, DeviceRecord] = {}
        self._addresses: dict[str, str] = {}
        self._devices: dict[str, NvmlDevice] = {}
        self._lost: dict[str, str] = {}
        self._baselines: dict[str, Baseline] = {}
        self._unseen: dict[str, DeviceRecord] = {}
        self._announced: dict[str, DeviceRecord] = {}
        self._driver_version = ""
        self._found: _Survey | DriverError | None = None
        self._problem = "the driver was not opened yet"
        self._open = False
        self._reopening = False
        self._closed = False
        self._listing_due_ns: int | None = None
        self._reopen_due_ns = 0
        self._reopen_period_ns = _REOPEN_PERIOD_MIN_NS

    @property
    def remarks(self) -> Mapping[str, str]:
        """For each device that is read, why it is not on a better rung; "" on the best."""
        return {device: handled.remark for device, handled in self._devices.items()}

    @property
    def without_activity(self) -> Mapping[str, str]:
        """For each device that is read, why it has no activity counters; "" where it has them."""
        return {device: handled.without_activity for device, handled in self._devices.items()}

    @property
    def addresses(self) -> Mapping[str, DeviceRecord]:
        """The devices the driver has listed so far, by PCI address."""
        return {self._addresses[device]: record for device, record in self._records.items()}

    def devices(self) -> Sequence[DeviceRecord]:
        """All devices seen so far, lost ones included.

        Raises:
            SensorError: the driver cannot be opened, or lists no device.
        """
        self._look()
        if not self._records:
            raise SensorError(f"the NVIDIA driver lists no device: {self._problem}")
        self._announced = dict(self._records)
        slices: list[DeviceRecord] = []
        for handled in self._devices.values():
            records = handled.slices.records
            handled.slices.announced = {record.device: record for record in records}
            slices += records
        return (*self._records.values(), *slices, *self._unseen.values())

    def resume(self, baselines: Mapping[str, Baseline]) -> None:
        """Take the last readings of an earlier agent, from which counters since boot go on."""
        self._baselines |= baselines
        for device, handled in self._devices.items():
            handled.resume(self._baselines.get(device))

    def read(self) -> Readout:
        """One reading of each device that answers, a failure of each other one.

        Raises:
            SensorError: no device can be read.
        """
        self._look()
        outcomes = {} if self._reopening else self._workers.run(self._calls())
        readings: list[Reading] = []
        failures: list[Failure] = []
        unlisted: list[str] = []
        processes: dict[str, tuple[DeviceProcess, ...]] = {}
        for device in self._records:
            reading = self._settle(device, outcomes.get(device))
            if isinstance(reading, Reading):
                handled = self._devices[device]
                readings += [reading, *handled.slices.readings]
                unlisted += handled.slices.unlisted
                if handled.processes is not None:
                    processes[device] = handled.processes
            else:
                failures.append(Failure(device, reading))
        if not readings:
            reason = failures[0].reason if failures else self._problem
            raise SensorError(f"no NVIDIA device can be read: {reason}")
        if not failures:
            self._reopen_period_ns = _REOPEN_PERIOD_MIN_NS
        failures += [Failure(device, _FOUND_NOW) for device in unlisted]
        failures += [
            Failure(device, "it is on the PCI bus, but the NVIDIA driver does not list it")
            for device in self._unseen
        ]
        return Readout(tuple(readings), tuple(failures), processes=processes)

    def close(self) -> None:
        """Free the samples and the driver; a stuck call keeps what it holds."""
        if self._closed:
            return
        self._closed = True
        if self._open and not self._workers.any_stuck:
            self._workers.run({_SURVEY: self._release})
        self._workers.close()

    # --- reading ------------------------------------------------------------------------------

    def _calls(self) -> dict[str, Callable[[], object]]:
        return {
            device: handled.read
            for device, handled in self._devices.items()
            if self._announced.get(device) == handled.record
        }

    def _settle(self, device: str, outcome: Done[object] | Stuck | None) -> Reading | str:
        """The reading of a device, or why there is none; a device that is gone is marked lost."""
        if outcome is None:
            if self._reopening:
                return "the driver is being opened again after a device was lost"
            return self._lost.get(device, _FOUND_NOW)
        if isinstance(outcome, Stuck):
            self._devices[device].drop(self._baselines.get(device))
            return "a call of the driver does not return; the other devices are read on"
        if isinstance(outcome.returned, Reading):
            self._baselines[device] = Baseline(self._records[device], outcome.returned)
            return outcome.returned
        error = outcome.error
        if isinstance(error, DriverError):
            if error.fatal:
                self._lose(device, str(error))
            return str(error)
        _log.error("a reading failed inside flopmeter", exc_info=error)
        return f"flopmeter failed to read it ({error!r}); please report this"

    def _lose(self, device: str, reason: str) -> None:
        _log.warning("a device is lost", extra=fields(device=device, reason=reason))
        self._lost[device] = reason
        self._devices.pop(device).close()
        self._listing_due_ns = 0

    # --- looking for devices ------------------------------------------------------------------

    def _look(self) -> None:
        """Take what an earlier look found, and look again when it is time.

        Raises:
            SensorError: the sensor is closed.
        """
        if self._closed:
            raise SensorError("the sensor nvml is closed")
        self._take()
        now_ns = self._clock.monotonic_ns()
        due = self._listing_due_ns is None or now_ns >= self._listing_due_ns
        if not due or self._workers.stuck(_SURVEY):
            return
        missing = bool(self._lost) or not self._records or not self._open
        reopen = missing and now_ns >= self._reopen_due_ns and not self._workers.any_stuck
        if not self._open and not reopen:
            return
        if reopen:
            self._reopen_due_ns = now_ns + self._reopen_period_ns
            if self._open:  # else nobody is disturbed
                self._reopen_period_ns = min(2 * self._reopen_period_ns, _REOPEN_PERIOD_MAX_NS)
        first = self._listing_due_ns is None
        self._listing_due_ns = now_ns + (_REOPEN_PERIOD_MIN_NS if missing else _LISTING_PERIOD_NS)
        self._survey(reopen=reopen, patience_s=_START_PATIENCE_S if first else None)

    def _survey(self, *, reopen: bool, patience_s: float | None) -> None:
        known = dict(self._devices)
        if reopen:
            self._reopening = True
            self._problem = "the driver does not answer; it is waited for"

        def look() -> None:
            # Kept here, not returned: what comes after the patience must not be lost.
            try:
                if reopen:
                    self._open_again()
                self._found = self._list({} if reopen else known)
            except DriverError as error:
                self._found = error
            except Exception as error:
                _log.exception("listing the devices failed inside flopmeter")
                self._found = DriverError("flopmeter", -1, f"{error!r}; please report this")

        self._workers.run({_SURVEY: look}, patience_s=patience_s)
        self._take()

    def _open_again(self) -> None:
        """Close the driver if it is open, and open it; runs in a worker thread.

        Raises:
            DriverError: it cannot be opened.
        """
        if self._open:
            self._release()
        self._driver_version = open_driver(self._library_path)
        self._open = True

    def _list(self, known: Mapping[str, NvmlDevice]) -> _Survey:
        """List the devices and probe those to be probed; runs in a worker thread.

        A known device without activity counters is probed again each time, through a handle of
        its own: what was refused may be allowed by now, and a reading may be under way.

        Raises:
            DriverError: the driver cannot be asked.
        """
        survey = _Survey()
        fresh: dict[str, NvmlDevice] = {}
        for place in range(ask(pynvml.nvmlDeviceGetCount)):
            with survey.refusing():
                self._find(place, known, survey, fresh)
        if fresh:
            self._pause(_PROBE_GAP_S)
        for device, handled in fresh.items():
            with survey.refusing():
                handled.probe()
                if device in known and handled.without_activity:
                    handled.close()
                else:
                    survey.devices[device] = handled
                continue
            handled.close()  # refused: what it holds of the driver is given back
        return survey

    def _find(
        self,
        place: int,
        known: Mapping[str, NvmlDevice],
        survey: _Survey,
        fresh: dict[str, NvmlDevice],
    ) -> None:
        """Look at one place of the driver's list, and begin to probe what has to be probed.

        Raises:
            DriverError: the device cannot be asked.
        """
        handle = ask(pynvml.nvmlDeviceGetHandleByIndex, place)
        device = str(ask(pynvml.nvmlDeviceGetUUID, handle))
        if device in known:
            survey.devices[device] = known[device]
            if not known[device].without_activity:
                return
        fresh[device] = self.device_type(handle, self._node, self._driver_version, self._clock)
        fresh[device].ask_processes = self._ask_processes
        fresh[device].start()

    def _take(self) -> None:
        """Make what a look found the state of the sensor."""
        found, self._found = self._found, None
        if found is None:
            return
        self._reopening = False
        if isinstance(found, DriverError):
            self._problem = str(found)
            self._lose_all(self._problem)
            return
        refusal = found.refused[0] if found.refused else "it is not among the driver's devices"
        self._problem = refusal
        # One that was lost while the driver was being listed is lost all the same.
        alive = {device: handled for device, handled in found.devices.items() if not handled.closed}
        for device, handled in alive.items():
            before = self._devices.get(device)
            if before is not handled:
                handled.resume(self._baselines.get(device))
                if before is not None and not self._workers.stuck(device):
                    before.close()
            self._records[device] = handled.record
            self._addresses[device] = handled.address
            self._lost.pop(device, None)
        for device in self._records.keys() - alive.keys():
            self._lost.setdefault(device, f"the driver lists it no more: {refusal}")
            gone = self._devices.get(device)
            if gone is not None and not self._workers.stuck(device):
                gone.close()
        self._devices = alive
        listed = set(self._addresses.values())
        self._unseen = {
            record.device: record
            for address, record in self._on_bus().items()
            if address not in listed
        }

    def _lose_all(self, reason: str) -> None:
        for device in self._records:
            self._lost.setdefault(device, reason)
        for device, handled in self._devices.items():
            if not self._workers.stuck(device):
                handled.close()
        self._devices = {}

    def _release(self) -> None:
        """Free the samples, then the driver."""
        for handled in self._devices.values():
            handled.close()
        close_driver()
        self._open = False
