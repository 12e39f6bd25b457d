"""What the demo shows while it runs: a live table on a terminal, plain lines in a pipe.

Owns: the layout of both forms, and the memory of which lines were crossed when.
May touch: nothing; makes rich renderables and text of the state it is given.
Called by lab.demo twice a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.text import Text

from flopmeter.lab.figure_text import (
    Document,
    best_text,
    evidence_text,
    format_text,
    has_readings,
    observed_text,
    range_text,
    standing_text,
    time_text,
)
from flopmeter.lab.supervisor import Child
from flopmeter.lab.totals_view import (
    SIMULATED,
    models_table,
    runs_table,
    standings_alike,
    warnings,
)
from flopmeter_collector.alike import name_of
from flopmeter_collector.rounding import percent_text
from flopmeter_core.catalogue import State

BAR_COLUMNS = 40

TROUBLE_AFTER_FAILURES = 2
"""From this many failures in a row a child's own words are shown."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the demo's collector serves."""

    http: str
    grpc: str

    @property
    def page(self) -> str:
        """The page's URL."""
        return f"http://{self.http}/"

    @property
    def metrics(self) -> str:
        """The URL Prometheus would scrape."""
        return f"http://{self.http}/metrics"


@dataclass(frozen=True, slots=True)
class Moment:
    """All a view shows at one instant.

    Attributes:
        scenario_ns: scenario time in ns.
        duration_ns: end of the scenario in ns.
        document: the newest totals, or None before there are any.
        fresh: whether the collector answered this time.
        children: the demo's processes.
    """

    scenario_ns: int
    duration_ns: int
    document: Document | None
    fresh: bool
    children: Sequence[Child]

    @property
    def restarts(self) -> int:
        """How often a process was started again."""
        return sum(child.restarts for child in self.children)


@dataclass(slots=True)
class Crossings:
    """Which model was first seen above which threshold, and when."""

    _seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, document: Document, scenario_ns: int) -> None:
        """Look for models that are above a threshold they were not above before."""
        for model in document["models"]:
            for row in model["thresholds"]:
                if row["state"] == State.ABOVE:
                    self._seen.setdefault((model["model"], row["id"]), scenario_ns)

    def lines(self) -> list[str]:
        """One sentence a crossing, oldest first."""
        return [
            f"{model} crossed {threshold} at about {time_text(at_ns)}"
            for (model, threshold), at_ns in self._seen.items()
        ]


def head_view(addresses: Addresses) -> RenderableType:
    """What stays above the table: the mark and the three addresses."""
    head = Text.assemble(SIMULATED, ("  flopmeter demo", "bold"), "  every figure is made up")
    rows = (
        ("page", addresses.page),
        ("metrics", addresses.metrics),
        ("agents", f"{addresses.grpc} (gRPC)"),
    )
    lines = [Text.assemble((f"{name:9}", "dim"), address) for name, address in rows]
    return Group(head, Text(), *lines, Text())


def live_view(moment: Moment, crossings: Crossings) -> RenderableType:
    """The table that replaces itself on a terminal."""
    parts: list[RenderableType] = [progress_text(moment), Text()]
    if moment.document is None:
        parts.append(Text("waiting for the first report ...", style="dim"))
    else:
        parts.append(runs_table(moment.document))
        if moment.document["models"]:
            parts += [Text(), models_table(moment.document)]
        parts += warnings(moment.document)
    parts.append(Text())
    parts += [Text(line, style="bold red") for line in crossings.lines()]
    return Group(*parts, *_processes(moment))


def progress_text(moment: Moment) -> Text:
    """How far the scenario is in its own time."""
    filled = BAR_COLUMNS * moment.scenario_ns // moment.duration_ns
    return Text.assemble(
        ("━" * filled, "cyan"),
        ("━" * (BAR_COLUMNS - filled), "bright_black"),
        f"  {time_text(moment.scenario_ns)} of {time_text(moment.duration_ns)}",
    )


def plain_lines(moment: Moment) -> Iterator[str]:
    """One line a run, for a pipe."""
    head = f"SIMULATED {time_text(moment.scenario_ns)} of {time_text(moment.duration_ns)}"
    tail = f"restarts {moment.restarts}" if moment.restarts else ""
    document = moment.document
    runs = [run for run in document["runs"] if has_readings(run)] if document else []
    if document is None or not runs:
        yield _joined(head, "waiting for the first figure", tail)
        return
    standings = {model["model"]: model for model in document["models"]}
    for run in runs:
        values = [row["value_flop"] for row in run["thresholds"]]
        figures = run["compute_flop"]
        yield _joined(
            head,
            f"{run['run']} {best_text(figures, values)} FLOP ({range_text(figures, values)})",
            _standings(standings.get(run["model"] or run["run"])),
            f"format {format_text(run) or 'undeclared'}",
            evidence_text(run),
            f"{run['nodes']} node{'s' if run['nodes'] != 1 else ''}",
            f"observed {observed_text(run)}",
            tail,
        )


def _standings(model: Document | None) -> str:
    """The ratio and state of a run's model against every threshold."""
    if model is None:
        return ""
    best = model["compute_flop"]["best"]
    return f"{model['model']}: " + ", ".join(
        f"{name_of([row['id'] for row in rows])} {percent_text(best, rows[0]['value_flop'])} "
        f"{standing_text(rows[0])}"
        for rows in standings_alike(model)
    )


def _processes(moment: Moment) -> Iterator[Text]:
    """How the demo's processes are, and what a failing one says."""
    living = sum(child.alive for child in moment.children)
    times = "once" if moment.restarts == 1 else f"{moment.restarts} times"
    words = Text(f"{living} of {len(moment.children)} processes alive", style="dim")
    if moment.restarts:
        words.append(f", restarted {times}")
    if not moment.fresh and moment.document is not None:
        words.append("; collector silent, last figures shown", "not dim yellow")
    yield words
    for child in moment.children:
        if child.failures >= TROUBLE_AFTER_FAILURES:
            last = child.stderr_tail().splitlines()
            yield Text(f"{child.name}: {last[-1] if last else 'ended in silence'}", style="red")


def _joined(*parts: str) -> str:
    return " | ".join(part for part in parts if part)
