"""What the code offers is in the documents, and nothing in the documents is missing from the code.

A document is read for its tables and headings only; its sentences are a person's to check.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import os
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping

import click
import pytest

from flopmeter import cli
from flopmeter_agent import scenario
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.counters import ClosedSummary, LoopCounters
from flopmeter_agent.exposition import AgentMetrics
from flopmeter_collector.alerts import transitions
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.http import metrics as collector_metrics
from flopmeter_collector.http.app import Sources, build_app
from flopmeter_collector.http.relay import RelayStatus
from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.totals import Totals
from flopmeter_core import errors
from flopmeter_core.activities import Activity, DataVisibility, Disposition
from flopmeter_core.catalogue import State
from flopmeter_core.counting import Verdict
from flopmeter_core.kernels.render import Family
from flopmeter_core.legal_status import Status
from flopmeter_core.registers import COMPONENT_COUNT
from flopmeter_proto import wire
from flopmeter_proto.daemon.settings import SettingField, fields_of
from flopmeter_proto.link import LinkState
from support.documents import CODE, differences, document, sections
from support.requirements import ROOT
from support.threshold_page import counting_blocks, filled, threshold_blocks
from support.totals import IDS, POSITION, table, thresholds

# --- metrics -------------------------------------------------------------------------------------


def collector_families(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Name and kind of each family the collector renders, those without a sample included."""
    seen: list[Family] = []

    def keep(families: Iterable[Family]) -> str:
        seen.extend(families)
        return ""

    monkeypatch.setattr(collector_metrics, "render", keep)
    snapshot = Totals(table()).snapshot(0, POSITION)
    status = collector_metrics.ServiceStatus(relay=RelayStatus())
    collector_metrics.exposition(snapshot, thresholds(), status)
    return {family.name: family.kind for family in seen}


class _Loop:
    """As much of an agent's loop as its metrics read."""

    counters = LoopCounters()

    def closed_summary(self) -> ClosedSummary:
        return ClosedSummary(0, False, {"overflow": 0})

    def device_totals(self) -> dict[str, list[int]]:
        return {"GPU-0": [0] * COMPONENT_COUNT}


def agent_families() -> dict[str, str]:
    """Name, as Prometheus reads it, and kind of each family the agent renders."""
    families = AgentMetrics(_Loop(), LinkState()).families()  # type: ignore[arg-type]
    return {family.name: family.kind for family in families}


def metric_findings(text: str, families: Mapping[str, str], *, section: str) -> list[str]:
    """Compare one part of docs/metrics.md with the families of a daemon."""
    rows = [row for row in sections(text)[section].rows() if len(row) >= 2]
    documented = {row[0].strip("`"): row[1] for row in rows}
    where = f"docs/metrics.md ({section})"
    return differences(families, (row[0].strip("`") for row in rows), where=where) + [
        f"{where} calls {name} a {documented[name]}; it is a {kind}"
        for name, kind in families.items()
        if documented.get(name, kind) != kind
    ]


def test_metrics_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each family of the collector is documented with its kind, and no other."""
    families = collector_families(monkeypatch)
    assert len(families) > 20
    assert metric_findings(document("metrics.md"), families, section="Collector") == []


def test_metrics_agent() -> None:
    """Each family of the agent is documented with its kind, and no other."""
    assert metric_findings(document("metrics.md"), agent_families(), section="Agent") == []


def test_one_name_is_one_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """No family of the agent is one of the collector: a sum over all jobs would add two things."""
    families = collector_families(monkeypatch)
    assert sorted(families.keys() & agent_families().keys()) == []


# --- settings ------------------------------------------------------------------------------------


def _default_text(entry: SettingField) -> str:
    if entry.default is dataclasses.MISSING:
        return "required"
    if entry.default in (None, "", ()):
        return "-"
    written = str(entry.default)
    return f"`{written.lower() if isinstance(entry.default, bool) else written}`"


def setting_findings(text: str, schema: type[object], *, section: str) -> list[str]:
    """Compare one table of docs/configuration.md with a daemon's keys and defaults."""
    rows = {row[0].strip("`"): row for row in sections(text)[section].rows()}
    where = f"docs/configuration.md ({section})"
    entries = fields_of(schema)
    found = differences((entry.key for entry in entries), rows, where=where)
    for entry in entries:
        row = rows.get(entry.key)
        if row is None:
            continue
        if row[2] != _default_text(entry):
            found.append(f"{where}: the default of {entry.key} is {_default_text(entry)}")
        if issubclass(entry.kind.base, enum.StrEnum) and not set(entry.kind.base) <= set(
            CODE.findall(row[1])
        ):
            found.append(f"{where}: {entry.key} lacks one of {', '.join(entry.kind.base)}")
    return found


@pytest.mark.parametrize(
    ("schema", "section"), [(AgentConfig, "Agent"), (CollectorConfig, "Collector")]
)
def test_settings(schema: type[object], section: str) -> None:
    """Each key of a daemon is documented with its default, and no other."""
    assert setting_findings(document("configuration.md"), schema, section=section) == []


# --- the command line ----------------------------------------------------------------------------


def commands(group: click.Command, path: str = "flopmeter") -> Iterator[tuple[str, click.Command]]:
    """Every command and group below `flopmeter`, by its full name."""
    if isinstance(group, click.Group):
        context = click.Context(group, info_name=path)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield f"{path} {name}", command
            yield from commands(command, f"{path} {name}")


DAEMONS = ("flopmeter agent", "flopmeter collector")
"""Their flags are the keys of docs/configuration.md."""


def command_findings(text: str, root: click.Command) -> list[str]:
    """Compare the sections of docs/cli.md with the commands and their flags."""
    known = dict(commands(root))
    parts = sections(text)
    documented = [name for name in parts if name.startswith("flopmeter ")]
    found = differences(known, documented, where="docs/cli.md")
    for name in known.keys() & parts.keys() - set(DAEMONS):
        flags = [
            option.opts[0] for option in known[name].params if isinstance(option, click.Option)
        ]
        found += differences(flags, parts[name].flags(), where=f"docs/cli.md ({name})")
    return found


def exit_codes() -> set[int]:
    """Every code a command can end with."""

    def below(family: type[errors.FlopmeterError]) -> Iterator[int]:
        yield family.exit_code
        for child in family.__subclasses__():
            yield from below(child)

    spelled = {number for name, number in vars(cli).items() if name.startswith("EXIT_")}
    return {0} | spelled | set(below(errors.FlopmeterError))


def exit_code_findings(text: str, codes: Iterable[int]) -> list[str]:
    """Compare the table of exit codes with the code."""
    rows = sections(text)["The command line"].rows()
    return differences(map(str, codes), (row[0] for row in rows), where="docs/cli.md (codes)")


def test_commands() -> None:
    """Each command is documented with its flags, and no other."""
    assert command_findings(document("cli.md"), cli.group) == []


def test_exit_codes() -> None:
    """Each exit code is documented, and no other."""
    assert exit_code_findings(document("cli.md"), exit_codes()) == []


# --- scenario, thresholds, wire, HTTP, alerts, dependencies --------------------------------------

SCENARIO_TABLES = {
    "Top level": scenario._TOP_FIELDS,
    "node": scenario._NODE_FIELDS,
    "run": scenario._RUN_FIELDS,
}


def scenario_findings(text: str) -> list[str]:
    """Compare the tables of docs/simulation.md with the keys a scenario may have."""
    parts = sections(text)
    found = []
    for heading, keys in SCENARIO_TABLES.items():
        where = f"docs/simulation.md ({heading})"
        found += differences(keys, parts[heading].first_codes(), where=where)
    return found


def threshold_findings(text: str) -> list[str]:
    """Compare docs/thresholds.md with the catalogue it is generated from, and its words."""
    where = "docs/thresholds.md"
    parts = sections(text)
    found = differences(State, parts["What a state means"].first_codes(), where=where)
    told = CODE.findall("\n".join(row[0] for row in parts["Status on a day"].rows()))
    found += differences(Status, told, where=where)
    if text != filled(text, threshold_blocks()):
        found.append(f"{where} is stale; write it with FLOPMETER_DOCS=write")
    return found


def counting_findings(text: str) -> list[str]:
    """Compare docs/counting.md with the profiles it is generated from, and its words."""
    where = "docs/counting.md"
    parts = sections(text)
    words = CODE.findall("\n".join(row[1] for row in parts["The words for work"].rows()))
    found = differences([*Activity, *Disposition, *DataVisibility], words, where=where)
    found += differences(Verdict, parts["The verdicts"].first_codes(), where=where)
    if text != filled(text, counting_blocks()):
        found.append(f"{where} is stale; write it with FLOPMETER_DOCS=write")
    return found


def limit_findings(text: str) -> list[str]:
    """Compare the table of limits in docs/wire.md with the constants."""
    rooms = [
        importlib.import_module(f"{wire.__name__}.{room.name}")
        for room in pkgutil.iter_modules(wire.__path__)
    ]
    limits = {
        name: number
        for room in rooms
        for name, number in vars(room).items()
        if isinstance(number, int) and name.startswith(("MAXIMUM_", "INCARNATION_BYTES"))
    }
    rows = {row[1].strip("`"): row[2] for row in sections(text)["Limits"].rows()}
    return differences(limits, rows, where="docs/wire.md") + [
        f"docs/wire.md: {name} is {number}, not {rows[name]}"
        for name, number in limits.items()
        if name in rows and rows[name].split()[0] != str(number)
    ]


def route_findings(text: str) -> list[str]:
    """Compare the paths of docs/api.md with the collector's routes."""
    nothing = Sources(
        snapshot=lambda: None,
        status=collector_metrics.ServiceStatus,
        not_ready=lambda: "",
        thresholds=tuple,
        nodes=dict,
    )
    paths = [str(getattr(route, "path", route)) for route in build_app(nothing).routes]
    return differences(paths, sections(text)["HTTP and JSON"].first_codes(), where="docs/api.md")


def alert_findings(text: str) -> list[str]:
    """Compare the labels and annotations of docs/alerts.md with an alert."""
    row = Transition(
        1, "m", "demo-line", "below", "above", True, 0, 1,
        figures={
            "lower": "2", "best": "3", "upper": "4", "threshold_value": "1",
            "method_version": "1", "simulated": "true",
        },
    )  # fmt: skip
    alert = transitions.words_of(row, {}, IDS)
    told = sections(text)["Labels and annotations"].first_codes()
    return differences([*alert.labels, *alert.annotations], told, where="docs/alerts.md")


def dependency_findings(text: str, project: str) -> list[str]:
    """Compare the table of docs/adr/0006 with what pyproject.toml asks for."""
    wanted = tomllib.loads(project)["project"]
    extras: dict[str, set[str]] = {}
    for extra, lines in {
        "always": wanted["dependencies"],
        **wanted["optional-dependencies"],
    }.items():
        for line in lines:
            extras.setdefault(re.split(r"[\[<>=!~ ]", line)[0], set()).add(extra)
    rows = {row[0].strip("`"): row[1] for row in sections(text)["Decision"].rows()}
    where = "docs/adr/0006-dependencies.md"
    return differences(extras, rows, where=where) + [
        f"{where}: {name} is of {', '.join(sorted(extras[name]))}, not {rows[name]}"
        for name in extras.keys() & rows.keys()
        if set(rows[name].split(", ")) != extras[name]
    ]


CHECKS: Mapping[str, Callable[[str], list[str]]] = {
    "simulation.md": scenario_findings,
    "thresholds.md": threshold_findings,
    "counting.md": counting_findings,
    "wire.md": limit_findings,
    "api.md": route_findings,
    "alerts.md": alert_findings,
    "adr/0006-dependencies.md": lambda text: dependency_findings(
        text, (ROOT / "pyproject.toml").read_text("utf-8")
    ),
}


GENERATED = {"thresholds.md": threshold_blocks, "counting.md": counting_blocks}


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_document(name: str) -> None:
    """A document's tables hold what the code offers, and nothing else."""
    if name in GENERATED and os.environ.get("FLOPMETER_DOCS") == "write":
        path = ROOT / "docs" / name
        path.write_text(filled(path.read_text("utf-8"), GENERATED[name]()), "utf-8")
    assert CHECKS[name](document(name)) == []


# --- each check is seen to fail ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("| `flopmeter_nodes` | gauge |", "| `flopmeter_hosts` | gauge |", "names flopmeter_hosts"),
        (
            "| `flopmeter_nodes` | gauge |",
            "| `flopmeter_nodes` | counter |",
            "calls flopmeter_nodes",
        ),
        ("| `flopmeter_nodes` ", "| `flopmeter_registers` ", "lacks flopmeter_nodes"),
    ],
)
def test_planted_metric(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str, finding: str
) -> None:
    """A family that is missing, made up, doubled or of the wrong kind is named."""
    text = document("metrics.md")
    assert before in text
    found = metric_findings(
        text.replace(before, after), collector_families(monkeypatch), section="Collector"
    )
    assert any(finding in entry for entry in found)


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("| `cluster` |", "| `clutser` |", "lacks cluster"),
        ("| `1.0` |", "| `2.0` |", "default of sample_period_s"),
        ("`warning`, `error`", "`warning`", "log_level lacks"),
    ],
)
def test_planted_setting(before: str, after: str, finding: str) -> None:
    """A key that is missing, or whose default or choices drifted, is named."""
    text = document("configuration.md")
    assert before in text
    found = setting_findings(text.replace(before, after), AgentConfig, section="Agent")
    assert any(finding in entry for entry in found)


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("## `flopmeter totals`", "## `flopmeter sums`", "lacks flopmeter totals"),
        ("## `flopmeter totals`", "## `flopmeter sums`", "names flopmeter sums"),
        ("- `--author`:", "- `--writer`:", "lacks --author"),
        ("- `--author`:", "- `--writer`:", "names --writer"),
    ],
)
def test_planted_command(before: str, after: str, finding: str) -> None:
    """A command or a flag that is missing or made up is named."""
    text = document("cli.md")
    assert before in text
    found = command_findings(text.replace(before, after), cli.group)
    assert any(finding in entry for entry in found)


def test_planted_exit_code() -> None:
    """An exit code that is missing or made up is named."""
    text = document("cli.md").replace("| 74 |", "| 75 |")
    assert len(exit_code_findings(text, exit_codes())) == 2


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("simulation.md", "| `power_w` |", "| `watts` |"),
        ("thresholds.md", "| `ca-sb53` |", "| `ca-sb54` |"),
        ("thresholds.md", "above 10^25 FLOP |", "above 10^24 FLOP |"),
        ("thresholds.md", "| 2026-11-21 |", "| 2026-11-20 |"),
        ("thresholds.md", "| `unknown` |", "| `unclear` |"),
        ("thresholds.md", "| `not_enforced` |", "| `dormant` |"),
        ("counting.md", "| `rollout` | unaddressed |", "| `rollout` | exclude |"),
        ("counting.md", "| `may_exclude` |", "| `might_exclude` |"),
        ("counting.md", "`rolled_back`", "`undone`"),
        ("wire.md", "4194304 bytes", "4194305 bytes"),
        ("wire.md", "`MAXIMUM_KEYS_PER_STREAM`", "`MAXIMUM_KEYS`"),
        ("api.md", "| `/readyz` |", "| `/ready` |"),
        ("alerts.md", "| `severity` |", "| `level` |"),
        ("adr/0006-dependencies.md", "| `starlette` |", "| `numpy` |"),
        ("adr/0006-dependencies.md", "| `uvicorn` | collector |", "| `uvicorn` | agent |"),
    ],
)
def test_planted_document(name: str, before: str, after: str) -> None:
    """A row of a document that parted from the code is named."""
    text = document(name)
    assert before in text
    assert CHECKS[name](text.replace(before, after)) != []
