"""truth.toml of a calibration: what each workload really did, and when.

Owns: the file's fields, both directions.
May touch: nothing; texts and values.
Called by lab.calibrate (writing) and lab.rescore (reading).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flopmeter_core.errors import DataError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TimedTruth:
    """One workload that ran, or did not.

    Attributes:
        workload: its name.
        family: what is held out together when constants are set.
        start_ns, stop_ns: CLOCK_MONOTONIC of the recorded node; both 0 where it did not run.
        steps: how often the work was done.
        flop_model, flop_issued: of all steps.
        integer_operations: of all steps; no FLOP.
        source: of the formula.
        not_run: why it did not run; empty where it did.
        declared: what its runner would declare.
    """

    workload: str
    family: str
    start_ns: int = 0
    stop_ns: int = 0
    steps: int = 0
    flop_model: int = 0
    flop_issued: int = 0
    integer_operations: int = 0
    source: str = ""
    not_run: str = ""
    declared: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return (self.stop_ns - self.start_ns) / 1e9


_FIELDS: Mapping[str, type] = {
    "workload": str,
    "family": str,
    "start_ns": int,
    "stop_ns": int,
    "steps": int,
    "flop_model": int,
    "flop_issued": int,
    "integer_operations": int,
    "source": str,
    "not_run": str,
}


def truth_text(truths: Iterable[TimedTruth]) -> str:
    """The file's text."""
    lines = [
        "# What each workload of the recording beside this file did, by formula.",
        "# Times are CLOCK_MONOTONIC of the recorded node, in ns; FLOP are of all steps together.",
        f"schema = {SCHEMA}",
    ]
    for truth in truths:
        lines += ["", "[[workload]]"]
        # A JSON string or integer is a TOML string or integer too.
        lines += [f"{name} = {json.dumps(getattr(truth, name))}" for name in _FIELDS]
        declared = ", ".join(f"{k} = {json.dumps(v)}" for k, v in truth.declared.items())
        lines.append(f"declared = {{ {declared} }}" if declared else "declared = {}")
    return "\n".join(lines) + "\n"


def parse_truths(text: str, *, name: str) -> list[TimedTruth]:
    """Read the file.

    Args:
        text: its content.
        name: of the file, for errors.

    Raises:
        DataError: no TOML, another schema, a field that is missing, of the wrong kind or
            impossible, or a workload stated twice.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{name} is no TOML: {error}") from error
    if content.get("schema") != SCHEMA:
        raise DataError(f"{name} has schema {content.get('schema')!r}; this flopmeter reads 1")
    rows = content.get("workload")
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{name} lists no workload")
    truths = [_truth(row, f"{name}, workload {place}") for place, row in enumerate(rows, start=1)]
    names = [truth.workload for truth in truths]
    doubled = next((each for each in names if names.count(each) > 1), None)
    if doubled is not None:
        raise DataError(f"{name} states {doubled} twice; one has to go")
    return truths


def _truth(row: object, place: str) -> TimedTruth:
    if not isinstance(row, dict):
        raise DataError(f"{place} is no table")
    for field_name, kind in _FIELDS.items():
        if type(row.get(field_name)) is not kind:
            raise DataError(f"{place} lacks {field_name}, or it is no {kind.__name__}")
    declared = row.get("declared", {})
    if not isinstance(declared, dict) or not all(isinstance(v, str) for v in declared.values()):
        raise DataError(f"{place} has a declaration that is no table of texts")
    truth = TimedTruth(**{name: row[name] for name in _FIELDS}, declared=declared)
    if min(truth.flop_model, truth.flop_issued, truth.integer_operations, truth.steps) < 0:
        raise DataError(f"{place} ({truth.workload}) states less than no work")
    if not truth.not_run and truth.stop_ns <= truth.start_ns:
        raise DataError(f"{place} ({truth.workload}) stops before it starts")
    return truth
