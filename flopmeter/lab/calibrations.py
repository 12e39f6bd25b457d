"""The committed calibrations: each folder of them is scored, and said of which hardware it is.

Owns: where calibrations lie, what a folder must hold, and which of its workloads are no test.
May touch: files under tests/data/calibrations (reading).
Called by lab.scoreboard; the scoring is lab.rescore's, docs/calibration.md says what to drop where.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flopmeter.lab.calibrate import RECORDING, SCORE, TRUTH, only_device
from flopmeter.lab.importers.recording import load_recorded
from flopmeter.lab.rescore import score_truths
from flopmeter.lab.score import ScoreRow
from flopmeter.lab.truths import parse_truths
from flopmeter_core.devices import DeviceTable
from flopmeter_core.errors import DataError

FOLDER = Path("tests/data/calibrations")
FITTED = "fitted.toml"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One scored folder.

    Attributes:
        name: of the folder.
        hardware: the recognised parts, in words.
        driver_version: of the recording.
        simulated: whether its readings are made up; then it says nothing of hardware.
        workloads: how many ran.
        rows: of workloads that set no constant.
        fitted_rows: of workloads that did; no test of the constants.
    """

    name: str
    hardware: str
    driver_version: str
    simulated: bool
    workloads: int
    rows: Sequence[ScoreRow]
    fitted_rows: Sequence[ScoreRow]


def score_calibrations(
    root: Path, parts: DeviceTable, *, told: Callable[[str], object]
) -> list[Calibration]:
    """Score every folder that was dropped, in the order of their names.

    Raises:
        DataError: a folder that lacks a file, or a file that cannot be read.
    """
    folder = root / FOLDER
    fitted = _fitted(folder / FITTED)
    found = []
    for path in sorted(each for each in folder.glob("*") if each.is_dir()):
        told(str(path.relative_to(root)))
        found.append(_scored(path, parts, fitted.get(path.name, frozenset())))
    unknown = fitted.keys() - {each.name for each in found}
    if unknown:
        raise DataError(f"{folder / FITTED} names {min(unknown)}, which is no folder beside it")
    return found


def _scored(path: Path, parts: DeviceTable, fitted: frozenset[str]) -> Calibration:
    for name in (RECORDING, TRUTH):
        if not (path / name).is_file():
            raise DataError(f"{path} has no {name}; commit the whole folder calibrate has left")
    recorded = only_device(load_recorded(path / RECORDING), _uuid(path / SCORE))
    truths = parse_truths(_text(path / TRUTH), name=str(path / TRUTH))
    families = {truth.workload: truth.family for truth in truths}
    unknown = fitted - set(families.values())
    if unknown:
        raise DataError(f"{FITTED} names the family {min(unknown)}, which {path} does not have")
    rows = score_truths(recorded, truths, parts, name=str(path / RECORDING))
    (device,) = recorded.rows
    record = next(each for each in recorded.records[0] if each.device == device)
    return Calibration(
        name=path.name,
        hardware=parts.recognise(record).name,
        driver_version=recorded.header.driver_version,
        simulated=recorded.header.simulated,
        workloads=sum(not truth.not_run for truth in truths),
        rows=[row for row in rows if families[row.truth.workload] not in fitted],
        fitted_rows=[row for row in rows if families[row.truth.workload] in fitted],
    )


def _fitted(path: Path) -> Mapping[str, frozenset[str]]:
    """Folder -> families of workloads that constants were set from."""
    try:
        tables = tomllib.loads(_text(path)).get("calibration", {})
        return {name: frozenset(map(str, row["families"])) for name, row in tables.items()}
    except (tomllib.TOMLDecodeError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no list of families by folder ({error})") from error


def _uuid(path: Path) -> str:
    """The device that did the work, where score.json is there and says it."""
    if not path.is_file():
        return ""
    try:
        return str(json.loads(_text(path))["runner"].get("uuid", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no score of a calibration ({error!r})") from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
