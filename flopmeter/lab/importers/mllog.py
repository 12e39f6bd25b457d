"""The lines of MLPerf logs: what happened in a run, and the power of a node.

Owns: the syntax of :::MLLOG, :::DLPAL and :::SYSJSON lines, and the limits on what they say.
May touch: nothing; texts in, values out.
Called by importers.mlperf_power. Each refusal names file and line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from flopmeter_core.errors import DataError

POWER_W_MAXIMUM = 100_000
"""Power of one node that is believed, in W: eight accelerators draw at most 15 kW in 2026."""

DEVICE_COUNT_MAXIMUM = 1_024

_MLLOG, _DLPAL, _SYSJSON = ":::MLLOG ", ":::DLPAL ", ":::SYSJSON "

# Nearly every line of a power file is exactly this; parsing its JSON takes ten times as long.
_POWER_LINE = re.compile(
    r':::MLLOG \{"namespace": "", "time_ms": (\d{1,15}), "event_type": "POINT_IN_TIME", '
    r'"key": "power_reading", "value": (\d{1,9}), "metadata": ""\}',
    re.ASCII,
)


class PowerSample(NamedTuple):
    """One reading of a power file: Unix time in ms, power of the node in mW."""

    unix_ms: int
    power_mw: int


@dataclass(frozen=True, slots=True)
class RunLog:
    """What the run's own log says.

    Attributes:
        benchmark: as submitted; empty when not said.
        start_unix_ms, stop_unix_ms: run_start and run_stop.
        node_count: of the job.
        hosts: names of the job's nodes as written; may be fewer than nodes.
        device_count: accelerators of one node, or None when not said.
        accelerator_model_name: as the system's description spells it.
    """

    benchmark: str
    start_unix_ms: int
    stop_unix_ms: int
    node_count: int
    hosts: tuple[str, ...]
    device_count: int | None
    accelerator_model_name: str


def parse_power(text: str, *, name: str) -> list[PowerSample]:
    """Read the power file of one node.

    Args:
        text: the file's content.
        name: of the file, for errors.

    Returns:
        At least one sample, in time order.

    Raises:
        DataError: empty, garbled, time going backwards, or a power no node draws.
    """
    samples: list[PowerSample] = []
    latest_ms = 0
    for number, line in enumerate(text.splitlines(), start=1):
        match = _POWER_LINE.fullmatch(line)
        if match is not None:
            sample = PowerSample(int(match[1]), _power_mw(int(match[2]), name, number))
        else:
            unusual = _unusual_power(line, name, number)
            if unusual is None:
                continue
            sample = unusual
        if sample.unix_ms < latest_ms:
            raise DataError(
                f"{name} line {number} is earlier than the reading before it; "
                "the file is out of order or its clock was set back"
            )
        latest_ms = sample.unix_ms
        samples.append(sample)
    if not samples:
        raise DataError(f"{name} holds no power reading; fetch the file again")
    return samples


def _unusual_power(line: str, name: str, number: int) -> PowerSample | None:
    """A line that is not in the common spelling; None when it is no reading."""
    if not line.strip():
        return None
    place = f"{name} line {number}"
    event = _event(line, place)
    if event is None:
        raise DataError(f"{place} is no :::MLLOG line; fetch the file again")
    if event.get("key") != "power_reading":
        return None
    power_w = event.get("value")
    if isinstance(power_w, bool) or not isinstance(power_w, int | Decimal):
        raise DataError(f"{place} gives no power in W: {power_w!r}")
    return PowerSample(_time_ms(event, place), _power_mw(power_w, name, number))


def _power_mw(power_w: int | Decimal, name: str, number: int) -> int:
    """Power in whole mW; refused before it is converted, because 1e999999 W would not fit."""
    if not 0 <= power_w <= POWER_W_MAXIMUM:
        raise DataError(
            f"{name} line {number} says {power_w} W for one node; "
            f"a node draws 0 to {POWER_W_MAXIMUM} W"
        )
    return int(power_w * 1_000)


def parse_run_log(text: str, *, name: str) -> RunLog:
    """Read the log of a run; lines that are no MLPerf record are the training program's own.

    Args:
        text: the file's content.
        name: of the file, for errors.

    Raises:
        DataError: garbled, no single run_start and run_stop, stop before start, no node count.
    """
    times: dict[str, list[int]] = {"run_start": [], "run_stop": []}
    benchmark = ""
    job: list[str] = []
    system: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{name} line {number}"
        if _DLPAL in line:
            job = line.partition(_DLPAL)[2].split()
        elif _SYSJSON in line:
            system = _json(line.partition(_SYSJSON)[2], place)
        event = _event(line, place)
        if event is None:
            continue
        key = event.get("key")
        if key in times:
            times[key].append(_time_ms(event, place))
        elif key == "submission_benchmark":
            benchmark = str(event.get("value", ""))
    start_ms, stop_ms = _run_period(times, name)
    node_count, hosts = _job(job, system, name)
    return RunLog(
        benchmark=benchmark,
        start_unix_ms=start_ms,
        stop_unix_ms=stop_ms,
        node_count=node_count,
        hosts=hosts,
        device_count=_device_count(system, name),
        accelerator_model_name=str(system.get("accelerator_model_name", "")),
    )


def _run_period(times: dict[str, list[int]], name: str) -> tuple[int, int]:
    for key, found in times.items():
        if len(found) != 1:
            raise DataError(
                f"{name} holds {len(found)} {key} events; the log of one whole run has one"
            )
    start_ms, stop_ms = times["run_start"][0], times["run_stop"][0]
    if stop_ms <= start_ms:
        raise DataError(f"{name} says that the run stopped before it started")
    return start_ms, stop_ms


def _job(job: list[str], system: dict[str, Any], name: str) -> tuple[int, tuple[str, ...]]:
    """Node count and host names: container, job id, node count, hosts, cluster, configuration."""
    if len(job) >= 4:
        stated, hosts = job[2], tuple(host for host in job[3].split(",") if host)
    elif job:
        raise DataError(f"{name} has a :::DLPAL line without node count and hosts")
    else:
        stated, hosts = str(system.get("number_of_nodes", "")), ()
    if not (stated.isascii() and stated.isdigit() and int(stated) > 0):
        raise DataError(
            f"{name} does not say on how many nodes the run was (:::DLPAL or :::SYSJSON), "
            "so a missing node could not be seen"
        )
    return int(stated), hosts


def _device_count(system: dict[str, Any], name: str) -> int | None:
    if not system:
        return None
    stated = str(system.get("accelerators_per_node", ""))
    known = stated.isascii() and stated.isdigit() and 1 <= int(stated) <= DEVICE_COUNT_MAXIMUM
    if not known:
        raise DataError(
            f"the :::SYSJSON line of {name} gives accelerators_per_node = {stated!r}; "
            f"it must be 1 to {DEVICE_COUNT_MAXIMUM}"
        )
    return int(stated)


def _event(line: str, place: str) -> dict[str, Any] | None:
    """The record of an :::MLLOG line, whatever rank prefix it has; None for another line."""
    _, marker, record = line.partition(_MLLOG)
    return _json(record, place) if marker else None


def _json(text: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is garbled or cut off: its record is no JSON") from error
    if not isinstance(record, dict):
        raise DataError(f"{place} is garbled: its record is no JSON object")
    return record


def _time_ms(event: dict[str, Any], place: str) -> int:
    time_ms = event.get("time_ms")
    if isinstance(time_ms, bool) or not isinstance(time_ms, int) or not 0 <= time_ms < 1 << 50:
        raise DataError(f"{place} gives no Unix time in ms: {time_ms!r}")
    return time_ms
