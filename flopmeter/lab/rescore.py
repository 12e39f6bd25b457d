"""A recording and its truth.toml, scored rung by rung.

Owns: what each rung would have read of a recorded row, and the rows of the score.
May touch: nothing; pure.
Called by lab.calibrate; the scoring itself is lab.score's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from flopmeter.lab.importers.base import Recording
from flopmeter.lab.importers.recording import NothingRecordedError, as_run
from flopmeter.lab.recording import Recorded, Row
from flopmeter.lab.recording_rows import NVML, gpm_metrics, reading_of
from flopmeter.lab.score import RUNGS, ScoreRow, Truth, score_recording, within
from flopmeter.lab.truths import TimedTruth
from flopmeter_agent.sensors.nvml.gpm import activity_ppm
from flopmeter_core.devices import DeviceTable
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence

_PPM_PER_PERCENT = 10_000


def reading_at(device: str, row: Row, evidence: Evidence) -> Reading | None:
    """What a rung would have read; None where the row has nothing for it.

    Raises:
        ValueError, KeyError: a row that no reading makes.
    """
    taken = reading_of(device, row)
    bare = Reading(device, evidence, taken.monotonic_ns, taken.boottime_ns)
    match evidence:
        case Evidence.CYCLES:
            return dataclasses.replace(taken, evidence=evidence) if taken.cycles else None
        case Evidence.GPM:
            activity = activity_ppm(gpm_metrics(row))
            if Component.TENSOR_MEGACYCLES not in activity or taken.clock_khz is None:
                return None
            return dataclasses.replace(bare, activity_ppm=activity, clock_khz=taken.clock_khz)
        case Evidence.ENERGY:
            energy_mj = row.get("energy_mj", row.get(NVML + "energy_mj"))
            return None if energy_mj is None else dataclasses.replace(bare, energy_mj=energy_mj)
        case Evidence.BUSY_SAMPLED:
            percent = row.get(NVML + "busy_percent")
            if percent is None or taken.clock_khz is None:
                return None
            busy_ppm = percent * _PPM_PER_PERCENT
            return dataclasses.replace(bare, busy_ppm=busy_ppm, clock_khz=taken.clock_khz)
        case _:
            return bare


def at_rung(recorded: Recorded, rung: str, *, name: str) -> Recording | None:
    """The recording as one rung would have taken it; None where no device has anything for it.

    Raises:
        DataError: as `as_run`.
    """
    evidence = RUNGS[rung]
    try:
        return as_run(
            recorded,
            run="calibration",
            name=name,
            read=lambda device, row: reading_at(device, row, evidence),
        )
    except NothingRecordedError:
        return None


def score_truths(
    recorded: Recorded, truths: Iterable[TimedTruth], parts: DeviceTable, *, name: str
) -> list[ScoreRow]:
    """One row for each workload that ran, rung and declaration.

    Args:
        recorded: the recording.
        truths: of its workloads.
        parts: the device table.
        name: of the recording's file, for errors.

    Raises:
        DataError: a recording that does not enclose its workloads, or a refused declaration.
    """
    rungs = {rung: at_rung(recorded, rung, name=name) for rung in RUNGS}
    rows: list[ScoreRow] = []
    for truth in truths:
        if truth.not_run:
            continue
        known = Truth(truth.workload, truth.flop_model, truth.flop_issued)
        declared = dict(truth.declared)
        for rung, recording in rungs.items():
            if recording is None:
                rows.append(ScoreRow(known, rung, declared, None))
                continue
            epoch_ns = recorded.header.monotonic_ns
            stretch = within(
                recording, truth.start_ns - epoch_ns, truth.stop_ns - epoch_ns, run=truth.workload
            )
            rows += score_recording(stretch, known, parts, rung=rung, declarations=[declared])
    return rows
