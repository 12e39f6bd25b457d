"""What the lines of a run or model begin with, kept from one scrape to the next.

Owns: the names of the families that every run or model has, and the starts of their lines.
May touch: nothing but its own memory; any thread may scrape.
Called by http.metrics; http.figures puts numbers behind them. Explained in docs/metrics.md.

All before the number says who is meant and hardly ever changes, while numbers change all the time.
To make it, or to look it up line by line, was most of a scrape; here it is looked up once a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flopmeter_core.catalogue import State
from flopmeter_core.kernels.render import Family, lines_of, with_label

BOUNDS = ("", "lower_", "upper_", "floor_", "ceiling_")
"""Of a figure, in the order of its families; ratios have the first three."""

TIMES = ("busy", "idle", "unobserved", "suspect", "residual")
"""Device time that a run, or the remainder, is told of."""

MAXIMUM_REMEMBERED = 4_096
"""Runs (or models) whose starts are kept, about 5 kB each: four times those with own series."""


UNDECLARED = "flopmeter_run_format_undeclared"

ALERTS = ("crossed", "foreseen")
"""What a model can be alerted of against a threshold."""


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts of the lines of one subject.

    Attributes:
        shown, simulated: what of it all this was made of, beside the name that never changes.
        labels: of the subject, as `labels` renders them.
        described: its whole line of what it is called.
        compute: a start a bound of its FLOP.
        amounts: those of `account_names`.
        undeclared: of what tells whether the number format was declared.
        held: its labels with each threshold's.
        ratios: for each bound a start a threshold.
        alerts: for each kind a start a threshold.
        decided: a start a threshold.
        scopes, levels: of energy by what it covers and of FLOP by evidence; filled as they come.
        states: of each threshold the state it was in last and the lines of that.
    """

    shown: str
    simulated: bool
    labels: str
    described: str
    compute: tuple[str, ...]
    amounts: tuple[str, ...]
    undeclared: str
    held: tuple[str, ...]
    ratios: tuple[tuple[str, ...], ...]
    alerts: tuple[tuple[str, ...], ...]
    decided: tuple[str, ...]
    scopes: dict[str, str]
    levels: dict[str, str]
    states: list[tuple[State | None, str]]


def compute_names(subject: str) -> list[str]:
    """The families of FLOP, a bound each."""
    return [f"flopmeter_{subject}_compute_{bound}flop" for bound in BOUNDS]


def account_names(subject: str) -> list[str]:
    """The families of device time, and of what a person has to look at."""
    return [
        *(f"flopmeter_{subject}_{time}_device_seconds" for time in TIMES),
        f"flopmeter_{subject}_forked_registers",
        f"flopmeter_{subject}_unknown_parts",
    ]


def ratio_names(subject: str) -> list[str]:
    """The families of a figure over a threshold."""
    return [f"flopmeter_{subject}_threshold_{bound}ratio" for bound in BOUNDS[:3]]


def threshold_name(what: str) -> str:
    """A family of a model against a threshold."""
    return f"flopmeter_model_threshold_{what}"


def starts_of(
    subject: str,
    marked: str,
    *,
    name: str = "",
    shown: str = "",
    simulated: bool = False,
    thresholds: Sequence[str] = (),
) -> Starts:
    """The starts of a subject.

    Args:
        subject: ``run``, ``model`` or ``unattributed``.
        marked: its labels.
        name: what stands as its name in the line of information.
        shown: the name that people know it by, which may change.
        simulated: whether any of it is made up, which may change.
        thresholds: ids of those it is held against.
    """
    held = tuple([with_label(marked, "threshold", threshold) for threshold in thresholds])

    def against(families: Iterable[str]) -> tuple[tuple[str, ...], ...]:
        return tuple([_lines(family, held) for family in families])

    return Starts(
        shown=shown,
        simulated=simulated,
        labels=marked,
        described=f"flopmeter_{subject}_info{with_label(marked, 'name', name)} 1\n",
        compute=tuple([f"{family}{marked} " for family in compute_names(subject)]),
        amounts=tuple([f"{family}{marked} " for family in account_names(subject)]),
        undeclared=f"{UNDECLARED}{marked} ",
        held=held,
        ratios=against(ratio_names(subject)),
        alerts=against([threshold_name(f"{kind}_alert") for kind in ALERTS]),
        decided=_lines(threshold_name("decided"), held),
        scopes={},
        levels={},
        states=[(None, "")] * len(held),
    )


def _lines(family: str, rendered: Sequence[str]) -> tuple[str, ...]:
    return tuple([f"{family}{each} " for each in rendered])


def state_lines(subjects: Iterable[Starts], states: Sequence[State]) -> list[str]:
    """The lines of the state of each model against each threshold: a fifth of all.

    Args:
        subjects: the models.
        states: one for each threshold of each, in their order.
    """
    lines: list[str] = []
    place = 0
    for subject in subjects:
        kept = subject.states
        for number in range(len(kept)):
            state = states[place]
            place += 1
            if kept[number][0] is not state:
                kept[number] = (state, _state_lines(subject.held[number], state))
            lines.append(kept[number][1])
    return lines


def _state_lines(rendered: str, state: State) -> str:
    samples = [(with_label(rendered, "state", each), str(int(each is state))) for each in State]
    return lines_of(Family(threshold_name("state"), "gauge", "", samples))


class KeptStarts:
    """The starts of the subjects that were shown last."""

    def __init__(self) -> None:
        """Start with none."""
        self._held: tuple[object, dict[str, Starts]] = (None, {})

    def among(self, beside: object) -> dict[str, Starts]:
        """The starts by the subject's name, to be looked at and filled.

        Args:
            beside: what all starts are made of, beside what a subject says of itself.
        """
        before, known = self._held
        if before != beside or len(known) > MAXIMUM_REMEMBERED:
            # In one step: another thread may be at it too.
            self._held = (beside, known := {})
        return known
