"""The columns of a recording: readings as rows and back.

Owns: the names of the columns and what each holds.
May touch: nothing; pure.
Called by lab.recorder, importers.recording and lab.score.

Columns of a reading: `evidence`, `monotonic_ns`, `boottime_ns`, `energy_mj`, `clock_khz`,
`power_mw`, `busy_ppm`, ... (as core.readings names them), `cycles.<component>`,
`activity_ppm.<component>`. What the driver said beside it: `gpm.<id>` (the bits of a double) and
`gpm_return.<id>`; `nvml.<what>`, `nvml_error.<what>` and `nvml_ns.<what>` (how long the call
took); `read_ns`, how long the sensor itself took for this device.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import fields

from flopmeter.lab.recording import Row
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence

GPM = "gpm."
GPM_RETURN = "gpm_return."
NVML = "nvml."
NVML_NS = "nvml_ns."
READ_NS = "read_ns"

_CYCLES = "cycles."
_ACTIVITY = "activity_ppm."

# What a reading may lack is a column of its own name: an absent one is absent, never 0.
_OPTIONAL = tuple(
    entry.name for entry in fields(Reading) if entry.default is None and entry.name != "allocation"
)


def double_of(bits: int) -> float:
    """The double with these bits."""
    (double,) = struct.unpack("<d", struct.pack("<q", bits))
    return float(double)


def row_of(reading: Reading) -> dict[str, int]:
    """A reading as columns; its user is not a column, because a mark says it."""
    row = {
        "evidence": int(reading.evidence),
        "monotonic_ns": reading.monotonic_ns,
        "boottime_ns": reading.boottime_ns,
    }
    for name in _OPTIONAL:
        said = getattr(reading, name)
        if said is not None:
            row[name] = said
    for component, count in reading.cycles.items():
        row[_CYCLES + component.name.lower()] = count
    for component, share_ppm in reading.activity_ppm.items():
        row[_ACTIVITY + component.name.lower()] = share_ppm
    return row


def reading_of(device: str, row: Row, *, allocation: str | None = None) -> Reading:
    """The reading of a row.

    Raises:
        ValueError, KeyError: a row that no reading makes.
    """
    return Reading(
        device=device,
        evidence=Evidence(row["evidence"]),
        monotonic_ns=row["monotonic_ns"],
        boottime_ns=row["boottime_ns"],
        cycles=_components(row, _CYCLES),
        activity_ppm=_components(row, _ACTIVITY),
        allocation=allocation,
        **{name: row[name] for name in _OPTIONAL if name in row},
    )


def gpm_metrics(row: Row) -> dict[int, float]:
    """The GPM metrics of a row that the driver answered without an error, by id."""
    return {
        int(name.removeprefix(GPM)): double_of(bits)
        for name, bits in row.items()
        if name.startswith(GPM) and row.get(GPM_RETURN + name.removeprefix(GPM)) == 0
    }


def _components(row: Row, prefix: str) -> Mapping[Component, int]:
    return {
        Component[name.removeprefix(prefix).upper()]: number
        for name, number in row.items()
        if name.startswith(prefix)
    }
