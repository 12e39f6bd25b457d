"""Importer of the step logs of modded-nanogpt and llm.c.

Owns: their step lines, and what they cannot mean.
May touch: nothing; a text in, a training log out.
Called by lab.training_log through importers.log_table.

modded-nanogpt: ``step:I/N train_loss:.. train_time:<ms>ms step_avg:<ms>ms``; the time is
cumulative, leaves out validation and compilation, and begins anew after step 10, so the first ten
steps have no time. step_avg is the time over the steps since; a line where it is not is refused.
llm.c: ``s:I trl:..``; no times. Neither holds the architecture: a file beside the log gives it.
A log may be thinned out: a line stands for all steps since the line before it.
"""

from __future__ import annotations

import re
from fractions import Fraction

from flopmeter.lab.importers.base import LoggedStep, TrainingLog
from flopmeter_core.architecture.parse import Setup
from flopmeter_core.errors import DataError

UNTIMED_STEPS = 10
"""Steps before the clock begins anew (the training script: warm-up and compilation)."""

_STEP = re.compile(
    r"step:(\d{1,9})/(\d{1,9}) (train|val)_loss:\S+ train_time:(\d{1,12})ms "
    r"step_avg:(nan|\d{1,9}\.\d{2})ms",
    re.ASCII,
)
_LLMC = re.compile(r"s:(\d{1,9}) (trl|tel):\S+.*", re.ASCII)


class StepLogImporter:
    """Reads one log."""

    @property
    def name(self) -> str:
        """The format's name."""
        return "step-log"

    def recognises(self, text: str) -> bool:
        """Whether a line of it is a step line."""
        return any(_STEP.fullmatch(line) or _LLMC.fullmatch(line) for line in text.splitlines())

    def load(self, text: str, *, name: str, setup: Setup | None) -> tuple[TrainingLog, ...]:
        """Read a log.

        Raises:
            DataError: garbled or contradictory, or without an architecture.
        """
        if setup is None:
            raise DataError(
                f"{name} does not hold its architecture; put it into a file named {name}.toml "
                "beside it, or name one with --architecture"
            )
        if not setup.sequences_per_step:
            raise DataError(f"the architecture given for {name} lacks run.sequences_per_step")
        lines = text.splitlines()
        timed = any(_STEP.fullmatch(line) for line in lines)
        steps, remarks = (_timed if timed else _untimed)(lines, setup, name)
        return (TrainingLog(name=name, setup=setup, steps=steps, remarks=tuple(remarks)),)


def _timed(lines: list[str], setup: Setup, name: str) -> tuple[list[LoggedStep], list[str]]:
    """Steps of modded-nanogpt: those before the clock began anew have no time."""
    batch = setup.sequences_per_step * setup.training.sequence
    steps: list[LoggedStep] = []
    latest, latest_ms, total = 0, 0, 0
    for number, line in enumerate(lines, start=1):
        if not line.startswith("step:"):
            continue
        place = f"{name} line {number}"
        match = _STEP.fullmatch(line)
        if match is None:
            if number == len(lines):
                break
            raise DataError(f"{place} is cut off or garbled: {line[:40]!r}")
        step, time_ms = int(match[1]), int(match[4])
        _refuse_impossible(step, int(match[2]), latest, total, place)
        total = int(match[2])
        _refuse_wrong_mean(step, time_ms, match[5], place)
        if step > UNTIMED_STEPS:
            if latest < UNTIMED_STEPS:
                steps.append(
                    LoggedStep(
                        UNTIMED_STEPS,
                        UNTIMED_STEPS - latest,
                        batch * (UNTIMED_STEPS - latest),
                        None,
                    )
                )
                latest = UNTIMED_STEPS
            if latest == UNTIMED_STEPS:
                latest_ms = 0
            if time_ms < latest_ms:
                raise DataError(f"{place}: the time goes back from {latest_ms} to {time_ms} ms")
        count = step - latest
        if count and match[3] == "train":
            elapsed_s = Fraction(time_ms - latest_ms, 1_000) if step > UNTIMED_STEPS else None
            steps.append(LoggedStep(step, count, batch * count, elapsed_s))
            latest, latest_ms = step, time_ms
    return _ended(steps, latest, total, name)


def _refuse_impossible(step: int, of: int, latest: int, total: int, place: str) -> None:
    if step > of:
        raise DataError(f"{place} is step {step} of {of}, which cannot be")
    if total and of != total:
        raise DataError(f"{place} says {of} steps in all, but {total} were said before")
    if step < latest:
        raise DataError(f"{place} goes back from step {latest} to {step}; one log holds one run")


def _refuse_wrong_mean(step: int, time_ms: int, printed: str, place: str) -> None:
    """step_avg is the time over the timed steps, both rounded."""
    since = step - UNTIMED_STEPS
    if printed == "nan" or since < 1:
        return
    slack = Fraction(1, 2) / since + Fraction(1, 100)
    if abs(Fraction(printed) - Fraction(time_ms, since)) > slack:
        raise DataError(
            f"{place}: step_avg {printed} ms is not train_time {time_ms} ms over {since} steps"
        )


def _ended(
    steps: list[LoggedStep], latest: int, total: int, name: str
) -> tuple[list[LoggedStep], list[str]]:
    if not steps:
        raise DataError(f"{name} has no whole training step; it is cut off")
    remarks = [f"the first {UNTIMED_STEPS} steps have no time of their own: compilation is in it"]
    if latest < total:
        remarks.append(f"ends at step {latest} of {total}: cut off, or stopped there")
    return steps, remarks


def _untimed(lines: list[str], setup: Setup, name: str) -> tuple[list[LoggedStep], list[str]]:
    """Steps of llm.c, counted from 0."""
    done = 0
    for number, line in enumerate(lines, start=1):
        match = _LLMC.fullmatch(line)
        if match is None:
            if number == len(lines) or not line.strip():
                continue
            raise DataError(f"{name} line {number} is cut off or garbled: {line[:40]!r}")
        if match[2] != "trl":
            continue
        if int(match[1]) < done:
            raise DataError(f"{name} line {number} goes back to step {match[1]}")
        done = int(match[1]) + 1
    if not done:
        raise DataError(f"{name} has no training step; it is cut off")
    tokens = done * setup.sequences_per_step * setup.training.sequence
    return [LoggedStep(done - 1, done, tokens, None)], [
        "the log holds no times: FLOP can be counted, rates cannot"
    ]
