"""A scripted NVIDIA driver for tests: a real shared library under the real Python binding.

Owns: building fake_nvml.c once a process, and the script a test rewrites while code runs.
May touch: gcc, a temporary folder, and the dynamic linker of this process.
Called by tests of the sensor `nvml` and of everything above it.

Nothing is patched in Python. The library carries the soname libnvidia-ml.so.1: once it is loaded
by its path, the binding's own search finds it in this process; a child process finds it through
LD_LIBRARY_PATH (`environment`).

Keys of the script (`set` replaces one, None removes it):
    driver                    version text
    order                     the places on the bus, in the order the driver lists them: "0 2 1"
    error.<call>, sleep_ms.<call>            of calls without a device, such as nvmlInitWithFlags
    call_us                   the least that every call takes of the processor
    gpuN.error.<call>, gpuN.error.*          what calls on that device return
    gpuN.sleep_ms.<call>                     how long a call on that device takes
    gpuN.uuid name pci address cores cc max_clock_mhz memory_mib virtualization mig
    gpuN.mig.<place>, with gpuN.mig 1        an instance: `instance_of`
    gpuN.mig_name.<place>     the name of that MIG device
    gpuN.giK.gpm.<id>, gpuN.giK.gpm_return.<id>   as gpuN.gpm, of GPU instance K
    gpuN.processes, gpuN.mps  process ids with a context, and clients of MPS: "4711 4712"
    gpuN.giK.processes, gpuN.giK.mps   those of GPU instance K; in MIG mode the GPU refuses its own
    gpuN.process_busy         the buffer of per-process utilisation: "stamp:pid:percent ..."
    gpuN.clock_mhz clock_samples energy_mj power_mw busy_percent
    gpuN.gpm                                 1 where GPM is supported
    gpuN.gpm.<id>, gpuN.gpm_return.<id>      a metric's value and its own nvmlReturn; -1 leaves
                                             the answer's entry as it was
A key that is missing reads as "not supported".
"""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path

from support.requirements import require

_SOURCE = Path(__file__).with_name("fake_nvml.c")
_SONAME = "libnvidia-ml.so.1"

H100_CORES = 132 * 128
H100_PCI_DEVICE_ID = 0x233010DE


@functools.cache
def build(*, without_gpm: bool = False) -> Path:
    """Compile the library once a process; ends the test where there is no compiler."""
    gcc = require("gcc", "install a C compiler")
    library = Path(tempfile.mkdtemp(prefix="fake-nvml-")) / _SONAME
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{_SONAME}"]
    flags += ["-DWITHOUT_GPM"] if without_gpm else []
    command = [str(gcc), *flags, str(_SOURCE), "-o", str(library), "-lm", "-lpthread"]
    subprocess.run(command, check=True)
    return library


class FakeDriver:
    """The driver of one test: `devices` H100s that answer everything, to be changed by `set`."""

    def __init__(self, folder: Path, *, devices: int = 1) -> None:
        """Build and load the library, and write a script with `devices` devices."""
        self.library = build()
        self.script = folder / "fake-nvml.txt"
        self._lines: dict[str, str] = {"driver": "580.105.08"}
        for place in range(devices):
            self._lines |= _h100(place)
        self.set("order", " ".join(str(place) for place in range(devices)))
        self._loaded = ctypes.CDLL(str(self.library))
        self._loaded.fake_nvml_calls.restype = ctypes.c_long
        self._loaded.fake_nvml_gpm_span.restype = ctypes.c_long
        self._loaded.fake_nvml_script(str(self.script).encode())

    def set(self, key: str, value: object) -> None:
        """Change one line of the script; None removes it."""
        self.update({key: value})

    def update(self, lines: dict[str, object]) -> None:
        """Change several lines of the script at once; None removes a line."""
        for key, value in lines.items():
            self._lines.pop(key, None)
            if value is not None:
                self._lines[key] = str(value)
        partial = self.script.with_suffix(".new")
        partial.write_text("".join(f"{key} {value}\n" for key, value in self._lines.items()))
        partial.replace(self.script)

    def close(self) -> None:
        """Unload the driver, as far as that goes: the process's next test has none."""
        self.script.unlink(missing_ok=True)

    def calls(self, name: str) -> int:
        """How often a function was called since this driver was made."""
        return int(self._loaded.fake_nvml_calls(name.encode()))

    @property
    def gpm_span(self) -> int:
        """How many GPM samples, of all devices, lie between the two compared last."""
        return int(self._loaded.fake_nvml_gpm_span())

    @property
    def references(self) -> int:
        """How many initialisations were not yet shut down."""
        return int(self._loaded.fake_nvml_references())

    def environment(self, *, without_gpm: bool = False) -> dict[str, str]:
        """The environment in which a child process loads this driver."""
        library = build(without_gpm=without_gpm)
        return os.environ | {
            "LD_LIBRARY_PATH": str(library.parent),
            "FAKE_NVML_SCRIPT": str(self.script),
        }


def uuid_of(place: int) -> str:
    """The UUID of the device at a place."""
    return f"GPU-00000000-0000-0000-0000-{place:012d}"


def instance_of(
    number: int,
    *,
    sm_count: int = 16,
    compute: str = "0",
    creation: int = 0,
    slices: int = 1,
    computing: int | None = None,
) -> str:
    """One line gpuN.mig.<place>: a MIG device, which is one compute instance of a GPU instance."""
    computing = slices if computing is None else computing
    uuid = f"MIG-00000000-0000-5000-{creation:04d}-{number:012d}"
    return f"{number} {compute} {sm_count} {slices} {computing} 9856 {uuid}"


def _h100(place: int) -> dict[str, str]:
    """A Hopper device on a driver before R595: GPM intervals, no cumulative counters."""
    gpm = dict.fromkeys((2, 4, 5, 6, 7, 8, 9, 11, 12, 13), "0")
    lines = {
        "uuid": uuid_of(place),
        "name": "NVIDIA H100 80GB HBM3",
        "pci": hex(H100_PCI_DEVICE_ID),
        "address": f"00000000:{place + 0x1B:02X}:00.0",
        "cores": str(H100_CORES),
        "cc": "9.0",
        "max_clock_mhz": "1980",
        "memory_mib": "81559",
        "virtualization": "0",
        "mig": "0",
        "clock_mhz": "1700",
        "energy_mj": "1000000",
        "power_mw": "700000",
        "busy_percent": "0",
        "gpm": "1",
    } | {f"gpm.{metric}": value for metric, value in gpm.items()}
    return {f"gpu{place}.{key}": value for key, value in lines.items()}
