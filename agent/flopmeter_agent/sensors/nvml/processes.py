"""The processes on one device: owners of contexts, clients of MPS, and which of them worked.

Owns: which of the driver's lists are asked, and how one list is made of them.
May touch: the driver's calls for one device handle.
Called by device, once a reading, in the device's worker thread. docs/allocations.md has the rules.

Under MPS the compute list holds the server, which has the context, and the clients stand in a list
of their own (NVML API reference, nvmlDeviceGetMPSComputeRunningProcesses). In MIG mode the list of
the GPU as a whole needs privileges, those of its MIG devices do not. Utilisation of processes is
asked only where two or more share the device; on a MIG GPU it does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pynvml

from flopmeter_agent.sensors.nvml.clocks import EMPTY_ANSWERS
from flopmeter_agent.sensors.nvml.driver import DriverError, Query, ask, count_or_none
from flopmeter_core.readings import DeviceProcess

MAXIMUM_LISTED = 512
"""Processes of one device that are told apart."""

_NO_INSTANCE = 0xFFFFFFFF  # what the driver gives outside MIG mode (nvml.h, nvmlProcessInfo_t)


class ProcessList:
    """Asks one device who is on it."""

    def __init__(self, handle: Any) -> None:
        """Remember the device."""
        self._handle = handle
        self._compute = Query(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
        self._mps = Query(pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3, handle)
        self._places = Query(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle)
        self._seen_us = 0
        self._empty = 0
        self._anew = False

    def read(self, *, mig: bool) -> tuple[DeviceProcess, ...] | None:
        """The processes now; None where the driver does not tell.

        Args:
            mig: whether the device is in MIG mode.

        Raises:
            DriverError: the device is gone.
        """
        if mig:
            return self._of_instances()
        owners = self._compute()
        if owners is not None and not owners:
            return ()  # no context, so no server of MPS has one either: a call is saved
        clients = self._mps()
        if owners is None and clients is None:
            return None
        found = _merged(owners or (), clients or ())
        return self._with_work(found) if len(found) > 1 else found

    def _of_instances(self) -> tuple[DeviceProcess, ...] | None:
        """The processes of each MIG device; None where none of them tells."""
        found: dict[int, DeviceProcess] = {}
        told = False
        for place in range(self._places() or 0):
            try:
                mig = ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, self._handle, place)
                number = int(ask(pynvml.nvmlDeviceGetGpuInstanceId, mig))
                owners = ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, mig)
                clients = Query(pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3, mig)() or ()
            except DriverError as error:
                if error.fatal:
                    raise
                continue  # no MIG device in this place, or it tells nothing
            told = True
            for process in _merged(owners, clients):
                found[process.pid] = replace(process, instance=number)
        return tuple(found.values()) if told else None

    def _with_work(self, found: tuple[DeviceProcess, ...]) -> tuple[DeviceProcess, ...]:
        """The processes with the share of time their kernels ran since the reading before."""
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(self._handle, self._seen_us)
        except pynvml.NVMLError:
            # NotFound where nothing is newer, success (0) where there are no samples at all: that
            # nobody worked, or that nobody was asked, is not told apart.
            self._empty += 1
            if self._empty >= EMPTY_ANSWERS:  # as with clocks: what follows may be stamped lower
                self._empty, self._seen_us, self._anew = 0, 0, True
            return found
        self._empty, anew = 0, self._anew
        self._anew = False
        busy: dict[int, int] = {}
        for sample in samples:
            self._seen_us = max(self._seen_us, int(sample.timeStamp))
            percent = count_or_none(sample.smUtil)
            if percent is not None and percent <= 100:
                busy[sample.pid] = max(busy.get(sample.pid, 0), percent)
        if not busy or anew:  # all that is buffered, most of it of before this reading
            return found
        # A process without a sample had no kernel in any window: the driver leaves it out.
        return tuple(replace(each, busy_percent=busy.get(each.pid, 0)) for each in found)


def _merged(owners: Iterable[Any], clients: Iterable[Any]) -> tuple[DeviceProcess, ...]:
    """One entry a process; a client of MPS is one, whatever the other list says."""
    found: dict[int, DeviceProcess] = {}
    for mps, listed in ((False, owners), (True, clients)):
        for each in listed:
            if len(found) >= MAXIMUM_LISTED:
                break
            number = count_or_none(getattr(each, "gpuInstanceId", _NO_INSTANCE))
            instance = None if number in (None, _NO_INSTANCE) else number
            found[int(each.pid)] = DeviceProcess(int(each.pid), instance, mps)
    return tuple(found.values())
