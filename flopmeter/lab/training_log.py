"""What a training's own log amounts to: model and executed FLOP, and whether its rates add up.

Owns: reading the files, and the figures and the document made of a log.
May touch: the log it is given and the architecture file beside it, read only.
Called by the `import-log` command. docs/architecture-flop.md explains the figures.

Two things are kept apart: what the log prints, done again by the log's own formula, and what the
architecture says, which is flopmeter's figure. The first shows that the log was understood; where
the two differ, `differences` says why.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from flopmeter.lab.importers.base import LoggedStep, TrainingLog
from flopmeter.lab.importers.log_table import importer_of
from flopmeter_core.annex import HardwareReport, Period
from flopmeter_core.architecture.conventions import (
    Convention,
    PrintedRate,
    Quantity,
    differences,
    printed_flop,
)
from flopmeter_core.architecture.count import Bounds, SequenceFlop, train_flop
from flopmeter_core.architecture.parse import Setup, parse_setup
from flopmeter_core.architecture.six_pd import objections
from flopmeter_core.desk.names import find_part
from flopmeter_core.devices import DeviceTable, Part, builtin_parts
from flopmeter_core.errors import DataError, unreadable

FILE_BYTES_MAX = 256 << 20
TERA = 10**12
TOLERANCE = Fraction(2, 100)
"""How near a printed rate has to be reproduced for the log to count as understood."""


@dataclass(frozen=True, slots=True)
class Reproduced:
    """A printed rate and what the log's own formula gives for it.

    Attributes:
        printed: as the log has it.
        computed: by the formula, in the same unit; None where time or peak is not known.
    """

    printed: PrintedRate
    computed: Fraction | None

    @property
    def relative_error(self) -> Fraction | None:
        """Computed over printed, less 1."""
        if self.computed is None or not self.printed.figure:
            return None
        return self.computed / self.printed.figure - 1


@dataclass(frozen=True, slots=True)
class LogFigures:
    """The figures of one log.

    Attributes:
        log: as read.
        flop: of one sequence.
        sequences: of the whole log.
        timed_sequences, timed_s: those with a time, and that time.
        devices: accelerators, or 0 where nobody says.
        part: the accelerator, or None.
        peak_flop_per_s: dense peak of one device in the declared format, or None.
        reproduced: the printed rates.
    """

    log: TrainingLog
    flop: SequenceFlop
    sequences: int
    timed_sequences: int
    timed_s: Fraction
    devices: int
    part: Part | None
    peak_flop_per_s: int | None
    reproduced: tuple[Reproduced, ...]

    @property
    def executed(self) -> Bounds:
        """Executed FLOP of the whole log."""
        return self.flop.executed * self.sequences

    @property
    def mean_step_ms(self) -> Fraction | None:
        """Time of one step over the timed ones, in ms."""
        steps = sum(step.steps for step in self.log.steps if step.elapsed_s is not None)
        return self.timed_s * 1_000 / steps if steps else None

    def per_device(self, flop_per_sequence: int) -> Fraction | None:
        """FLOP/s of one device over the timed steps."""
        if not self.timed_s or not self.devices:
            return None
        return Fraction(flop_per_sequence * self.timed_sequences) / self.timed_s / self.devices

    def share_of_peak(self, flop_per_sequence: int) -> Fraction | None:
        """The same over the peak."""
        rate = self.per_device(flop_per_sequence)
        return None if rate is None or not self.peak_flop_per_s else rate / self.peak_flop_per_s

    def annex(self) -> HardwareReport | None:
        """N, L, H and U of the timed steps; None where one of them is not known or above 1."""
        share = self.share_of_peak(self.flop.model)
        if share is None or self.peak_flop_per_s is None or not 0 < share <= 1:
            return None
        peak = Fraction(self.peak_flop_per_s)
        return HardwareReport((Period(self.devices, self.timed_s, peak, share),))


def read_logs(path: Path, architecture: Path | None = None) -> list[LogFigures]:
    """Read a log, or a table of several runs.

    Args:
        path: the log.
        architecture: a file that describes the training; the one named like the log with
            ``.toml`` added unless given, where there is one.

    Raises:
        UsageError: a file cannot be read.
        DataError: a format nobody knows, or as the importer or the architecture says.
    """
    text = _text(path)
    setup = None
    beside = path.with_name(path.name + ".toml")
    if architecture is None and beside.is_file():
        architecture = beside
    if architecture is not None:
        setup = parse_setup(_text(architecture), name=architecture.name)
    logs = importer_of(text, name=path.name).load(text, name=path.name, setup=setup)
    table = builtin_parts()
    return [figures_of(log, table) for log in logs]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DataError(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB; split it")
        # Logs carry progress bars and names of any encoding; figures are ASCII.
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise unreadable(path, error) from error


def figures_of(log: TrainingLog, table: DeviceTable) -> LogFigures:
    """The figures of one log.

    Raises:
        DataError: an accelerator or format that the device table does not have, no whole number
            of sequences, or more than the peak.
    """
    setup = log.setup
    part = None
    if setup.accelerator:
        part, _ = find_part(table, setup.accelerator, place=f"the setup of {log.name}")
    peak = None
    if part is not None and setup.number_format:
        peak = part.peak_flop_per_s(setup.number_format)
    sequence = setup.training.sequence
    sequences, rest = divmod(sum(step.tokens for step in log.steps), sequence)
    if rest:
        raise DataError(f"{log.name} has no whole number of sequences of {sequence} tokens")
    timed = [step for step in log.steps if step.elapsed_s is not None]
    figures = LogFigures(
        log=log,
        flop=train_flop(setup.shape, setup.training),
        sequences=sequences,
        timed_sequences=sum(step.tokens for step in timed) // sequence,
        timed_s=sum((step.elapsed_s for step in timed if step.elapsed_s), Fraction(0)),
        devices=setup.devices,
        part=part,
        peak_flop_per_s=peak,
        reproduced=tuple(_reproduced(log, timed, peak)),
    )
    share = figures.share_of_peak(figures.flop.model)
    if share is not None and share > 1:
        raise DataError(
            f"{log.name} comes to {float(share):.2f} times the dense {setup.number_format} peak of "
            f"{setup.devices} {setup.accelerator}, which cannot be; correct its time, devices, "
            "format or architecture"
        )
    return figures


def _reproduced(
    log: TrainingLog, timed: list[LoggedStep], peak_flop_per_s: int | None
) -> list[Reproduced]:
    """Every printed rate, done again by the formula it follows."""
    found = [
        Reproduced(
            printed, _again(printed, step.tokens, step.elapsed_s, log.setup, peak_flop_per_s)
        )
        for step in log.steps
        for printed in step.stated
    ]
    if log.setup.stated and timed:
        # A rate of the whole run leaves the warm-up out; the median does so without a choice.
        tokens_per_s = statistics.median(
            step.tokens / step.elapsed_s for step in timed if step.elapsed_s
        )
        found += [
            Reproduced(printed, _again(printed, 1, 1 / tokens_per_s, log.setup, peak_flop_per_s))
            for printed in log.setup.stated
        ]
    return found


def _again(
    printed: PrintedRate,
    tokens: int,
    elapsed_s: Fraction | None,
    setup: Setup,
    peak_flop_per_s: int | None,
) -> Fraction | None:
    if not elapsed_s or not setup.devices:
        return None
    flop = printed_flop(printed.convention, setup.shape, setup.training, tokens=tokens)
    rate = flop / elapsed_s / setup.devices
    if printed.quantity is Quantity.TFLOP_PER_S:
        return rate / TERA
    return None if peak_flop_per_s is None else rate / peak_flop_per_s


def document(figures: LogFigures) -> dict[str, object]:
    """The figures as JSON: whole FLOP with decimal strings, rates as numbers."""
    log, setup, flop = figures.log, figures.log.setup, figures.flop
    model = flop.model * figures.sequences
    executed = figures.executed
    bounds = {"lower": executed.lower, "best": executed.best, "upper": executed.upper}
    annex = figures.annex()
    shape, training = setup.shape, setup.training
    return {
        "name": log.name,
        "architecture": {
            "layers": shape.layers,
            "width": shape.width,
            "parameters": shape.parameters(),
            "parameters_active": shape.parameters(active=True),
            "sequence": training.sequence,
            "recompute": str(training.recompute),
            "attention_kernel": str(training.kernel),
            "source": setup.source,
        },
        "devices": figures.devices,
        "part": figures.part.id if figures.part is not None else None,
        "number_format": setup.number_format or None,
        "steps": sum(step.steps for step in log.steps),
        "tokens": sum(step.tokens for step in log.steps),
        "timed_s": float(figures.timed_s) if figures.timed_s else None,
        "mean_step_ms": float(figures.mean_step_ms) if figures.mean_step_ms else None,
        "model_flop": model,
        "model_flop_str": str(model),
        "model_square_flop": flop.model_square * figures.sequences,
        "model_square_flop_str": str(flop.model_square * figures.sequences),
        "executed_flop": bounds,
        "executed_flop_str": {name: str(figure) for name, figure in bounds.items()},
        "executed_per_model": float(flop.recompute_ratio),
        "rates_per_device": _rates(figures),
        "six_pd_objections": list(objections(shape, training)),
        "annex": annex.lines() if annex is not None else None,
        "stated": [_stated(each) for each in figures.reproduced],
        "differences": _differences(figures),
        "remarks": list(log.remarks),
    }


def _rates(figures: LogFigures) -> Mapping[str, float | None]:
    """Rates over the timed steps; the square beside the masked figure, as logs print it."""
    flop = figures.flop
    rates: dict[str, Fraction | None] = {}
    for name, each in (
        ("model", flop.model),
        ("model_square", flop.model_square),
        ("executed", flop.executed.best),
    ):
        rate = figures.per_device(each)
        rates[f"{name}_tflop_per_s"] = None if rate is None else rate / TERA
        rates[f"{name}_share_of_peak"] = figures.share_of_peak(each)
    return {name: None if rate is None else float(rate) for name, rate in rates.items()}


def _stated(each: Reproduced) -> dict[str, object]:
    error = each.relative_error
    return {
        "quantity": str(each.printed.quantity),
        "stands_for": "executed" if each.printed.convention.is_executed else "model",
        "convention": str(each.printed.convention),
        "place": each.printed.place,
        "stated": float(each.printed.figure),
        "computed": None if each.computed is None else float(each.computed),
        "relative_error": None if error is None else float(error),
        "reproduced": error is not None and abs(error) <= TOLERANCE,
    }


def _differences(figures: LogFigures) -> list[dict[str, object]]:
    """Each formula that the log follows, against the count of the same quantity."""
    setup = figures.log.setup
    shape, training = setup.shape, setup.training
    found: list[dict[str, object]] = []
    for convention in Convention:
        if all(each.printed.convention is not convention for each in figures.reproduced):
            continue
        printed = printed_flop(convention, shape, training, tokens=training.sequence)
        counted = figures.flop.executed.best if convention.is_executed else figures.flop.model
        found.append(
            {
                "convention": str(convention),
                "stands_for": "executed" if convention.is_executed else "model",
                "printed_over_counted": float(printed / counted),
                "because": list(differences(convention, shape, training)),
            }
        )
    return found
