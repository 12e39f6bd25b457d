"""Importer of logs of Megatron-LM and Megatron-DeepSpeed.

Owns: the argument dump and the iteration lines of such a log, and what they cannot mean.
May touch: nothing; a text in, a training log out.
Called by lab.training_log through importers.log_table.

An iteration line stands for as many iterations as the argument log_interval says (one without the
dump) and gives their mean time. The architecture is that of the dump, else of the file beside the
log. `TFLOPs` is per device and counts recomputation (Convention.MEGATRON).
Newer versions print another rate, `throughput per GPU`, by a formula that changed from version to
version; it is not reproduced, and the log says so in a remark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from flopmeter.lab.importers.base import LoggedStep, TrainingLog
from flopmeter.lab.importers.megatron_arguments import natural, setup_of
from flopmeter_core.architecture.conventions import Convention, PrintedRate, Quantity
from flopmeter_core.architecture.parse import Setup
from flopmeter_core.errors import DataError

_ITERATION = re.compile(r"\biteration\s+(\d{1,12})/\s*(\d{1,12})\s*\|", re.ASCII)
_FIELD = re.compile(r"\s*([A-Za-z][A-Za-z \-]*?(?: \((?:s|ms)\))?):\s*(\S+)\s*", re.ASCII)
_ARGUMENT = re.compile(r"^ {2}([a-z]\w{0,63}) \.{3,} (\S.*?)\s*$", re.ASCII)
_PADDED = re.compile(r"padded vocab .*\(new size: (\d{1,9})\)", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,9})?", re.ASCII)

TIMES = {"elapsed time per iteration (s)": 1, "elapsed time per iteration (ms)": 1_000}
"""Field -> its unit as a part of a second."""

NEWER_RATE = "throughput per GPU (TFLOP/s/GPU)"

SAME_RATIO = Fraction(101, 100)
"""Samples a second and batch over time may differ by their rounding, not by more."""


class MegatronLogImporter:
    """Reads one log."""

    @property
    def name(self) -> str:
        """The format's name."""
        return "megatron"

    def recognises(self, text: str) -> bool:
        """Whether an iteration line is in it."""
        return _ITERATION.search(text) is not None

    def load(self, text: str, *, name: str, setup: Setup | None) -> tuple[TrainingLog, ...]:
        """Read a log.

        Raises:
            DataError: garbled or contradictory, or without an architecture.
        """
        lines = text.splitlines()
        arguments = _arguments(lines, name)
        if setup is None:
            setup = _setup(arguments, lines, name)
        elif arguments:
            _refuse_other(setup, _setup(arguments, lines, name), name)
        interval = natural(arguments, "log_interval", name) if arguments else 1
        steps, remarks = _steps(lines, setup, interval, name)
        return (TrainingLog(name=name, setup=setup, steps=steps, remarks=tuple(remarks)),)


def _arguments(lines: list[str], name: str) -> dict[str, str]:
    """The argument dump: key -> text; empty where the log has none."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _ARGUMENT.match(line)
        if match is None:
            continue
        if found.setdefault(match[1], match[2]) != match[2]:
            raise DataError(
                f"{name} line {number} gives {match[1]} = {match[2]}, but {found[match[1]]} "
                "before; one log holds one run"
            )
    return found


def _setup(arguments: Mapping[str, str], lines: list[str], name: str) -> Setup:
    """The architecture of the dump."""
    if not arguments:
        raise DataError(
            f"{name} has no argument dump, so its architecture is not known; put it into a file "
            f"named {name}.toml beside it, or name one with --architecture"
        )
    padded = next((match for line in lines if (match := _PADDED.search(line))), None)
    if padded is None:
        raise DataError(f"{name} does not say its padded vocabulary; it may be cut off before")
    return setup_of(arguments, int(padded[1]), name)


def _refuse_other(given: Setup, dumped: Setup, name: str) -> None:
    """A file beside the log may add to its dump, not contradict it."""
    same = replace(dumped.training, kernel=given.training.kernel)
    if given.shape != dumped.shape or given.training != same:
        raise DataError(f"the architecture given for {name} is not that of its argument dump")
    for key in ("sequences_per_step", "devices"):
        if getattr(given, key) not in (0, getattr(dumped, key)):
            raise DataError(f"{key} given for {name} is not that of its argument dump")


def _steps(
    lines: list[str], setup: Setup, interval: int, name: str
) -> tuple[list[LoggedStep], list[str]]:
    steps: list[LoggedStep] = []
    cut, again, skipped = 0, 0, 0
    totals = set()
    before: Mapping[str, Fraction] = {}
    latest = 0
    found = [
        (number, match, line[match.end() :])
        for number, line in enumerate(lines, start=1)
        if (match := _ITERATION.search(line))
    ]
    for number, match, rest in found:
        place = f"{name} line {number}"
        fields = _fields(rest, place)
        cut += not rest.rstrip().endswith("|")
        if not _is_whole(fields):
            if number == found[-1][0]:
                break
            raise DataError(f"{place} has no time or batch size; the log is cut off or garbled")
        iteration, total = int(match[1]), int(match[2])
        if iteration > total:
            raise DataError(f"{place} is iteration {iteration} of {total}, which cannot be")
        again += iteration <= latest
        skipped += iteration > latest + interval
        totals.add(total)
        _refuse_contradiction(
            fields, before if iteration == latest + interval else {}, setup, interval, place
        )
        steps.append(_step(iteration, interval, fields, setup, place))
        before, latest = fields, iteration
    if not steps:
        raise DataError(f"{name} has no whole iteration line; it is cut off")
    remarks = []
    if any(NEWER_RATE in rest for _, _, rest in found):
        remarks.append(f"'{NEWER_RATE}' is not reproduced: its formula depends on the version")
    if cut:
        remarks.append(f"{cut} of {len(found)} iteration lines are cut off at their end")
    if skipped or len(totals) > 1:
        remarks.append("iterations are missing: the figures are of the lines here, not of a run")
    if again:
        remarks.append(f"{again} lines go back: those iterations were executed more than once")
    return steps, remarks


def _fields(rest: str, place: str) -> dict[str, Fraction]:
    """The numbers of a line; the last field of a cut line may be a piece and is not read."""
    pieces = rest.split("|")
    found: dict[str, Fraction] = {}
    for piece in pieces[:-1]:
        match = _FIELD.fullmatch(piece)
        if match is None:
            continue
        if match[1] in found:
            raise DataError(f"{place} says {match[1]} twice")
        if _NUMBER.fullmatch(match[2]):
            found[match[1]] = Fraction(match[2])
    return found


def _is_whole(fields: Mapping[str, Fraction]) -> bool:
    return "global batch size" in fields and any(key in fields for key in TIMES)


def _refuse_contradiction(
    fields: Mapping[str, Fraction],
    before: Mapping[str, Fraction],
    setup: Setup,
    interval: int,
    place: str,
) -> None:
    """Refuse a line whose fields cannot all be true."""
    samples, batch = fields.get("consumed samples"), fields["global batch size"]
    tokens = fields.get("consumed tokens")
    length = setup.training.sequence
    if samples is not None and tokens is not None and tokens != samples * length:
        raise DataError(
            f"{place}: {tokens} tokens are not {samples} samples of {length}; the sequence of the "
            "architecture is another"
        )
    earlier = before.get("consumed samples")
    same_batch = before.get("global batch size") == batch
    grown = None if samples is None or earlier is None else samples - earlier
    if grown is not None and same_batch and grown != batch * interval:
        raise DataError(
            f"{place}: {grown} samples since the line before are not {interval} x global batch "
            f"size {batch}"
        )
    rate = fields.get("samples per second")
    if rate is not None:
        said = rate * _elapsed_s(fields, place)
        if not batch / SAME_RATIO <= said <= batch * SAME_RATIO:
            raise DataError(
                f"{place}: samples per second x time is {float(said):.4g}, not the global batch "
                f"size {batch}"
            )


def _elapsed_s(fields: Mapping[str, Fraction], place: str) -> Fraction:
    """Time of one iteration."""
    elapsed_s = next(fields[key] / unit for key, unit in TIMES.items() if key in fields)
    if elapsed_s <= 0:
        raise DataError(f"{place} says that an iteration took no time")
    return elapsed_s


def _step(
    iteration: int, interval: int, fields: Mapping[str, Fraction], setup: Setup, place: str
) -> LoggedStep:
    batch = fields["global batch size"]
    if batch.denominator != 1 or batch < 1:
        raise DataError(f"{place} has a global batch size of {batch}, which cannot be")
    stated: tuple[PrintedRate, ...] = ()
    if "TFLOPs" in fields:
        stated = (PrintedRate(Quantity.TFLOP_PER_S, fields["TFLOPs"], Convention.MEGATRON, place),)
    return LoggedStep(
        number=iteration,
        steps=interval,
        tokens=int(batch) * interval * setup.training.sequence,
        elapsed_s=_elapsed_s(fields, place) * interval,
        stated=stated,
    )
