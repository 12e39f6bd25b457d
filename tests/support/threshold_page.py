"""The generated tables of docs/thresholds.md and docs/counting.md, from the built-in data.

The tests hold the pages to them; `FLOPMETER_DOCS=write` writes them anew.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

from flopmeter_core.activities import Activity, Edge, WorkLabel
from flopmeter_core.catalogue import Subject, Threshold, Unit
from flopmeter_core.counting import Entry, Profile
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.legal_status import Event
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.threshold_files import parse_catalogue

GROUPS = {
    "A model's own compute": ((Unit.FLOP, Subject.MODEL),),
    "A modification's compute": (
        (Unit.FLOP, Subject.MODIFICATION),
        (Unit.RATIO, Subject.MODIFICATION),
    ),
    "Clusters": ((Unit.FLOP_PER_S, Subject.CLUSTER),),
    "Money": ((Unit.USD, Subject.COST), (Unit.USD, Subject.DEVELOPER)),
}
"""Title of a table -> the units and subjects of its rows."""


def filled(page: str, blocks: dict[str, str]) -> str:
    """A page with its generated blocks as they have to be."""
    for name, block in blocks.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end of {name} -->)"
        found = re.search(pattern, page, flags=re.S)
        assert found is not None, f"the page has no block {name}"
        page = page[: found.end(1)] + block + page[found.start(2) :]
    return page


def threshold_blocks() -> dict[str, str]:
    """The blocks of docs/thresholds.md."""
    rows = parse_catalogue(builtin_thresholds())
    tables = {
        title: [row for row in rows if (row.unit, row.subject) in kinds]
        for title, kinds in GROUPS.items()
    }
    assert sum(map(len, tables.values())) == len(rows), "a row is in no table"
    return {"rows": "\n".join(_table(title, found) for title, found in tables.items())}


def counting_blocks() -> dict[str, str]:
    """The blocks of docs/counting.md."""
    return {"profiles": "\n".join(map(_profile, builtin_profiles().values()))}


def _table(title: str, rows: Iterable[Threshold]) -> str:
    lines = [
        f"### {title}",
        "",
        "| id | number | law | what happened | verified | source | checked |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        operator = row.operator.replace("_", " ")
        conditions = "".join(f"<br>{c.role}: {c.text}" for c in row.conditions)
        lines.append(
            f"| `{row.id}` | {operator} {row.value_text} {row.unit}{conditions} "
            f"| {row.jurisdiction}: {row.instrument} ({row.kind.replace('_', ' ')}) "
            f"| {'<br>'.join(map(_event, row.events)) or '-'} "
            f"| {row.verification} | {row.source} | {row.checked_on.isoformat()} |"
        )
    return "\n".join([*lines, "", ""])


def _event(event: Event) -> str:
    name = event.kind.replace("_", " ")
    if event.date is not None:
        return f"{name} {event.date.isoformat()}"
    by = f", by {_day(event.known_by)}" if event.known_by else ""
    return f"{name} unknown{by}: {event.reason}"


def _day(day: datetime.date) -> str:
    return day.isoformat()


def _profile(profile: Profile) -> str:
    lines = [
        f"### `{profile.id}`",
        "",
        f"{profile.title}.",
        f"Quantity: {profile.quantity}; verified: {profile.verification}; "
        f"checked on {profile.checked_on.isoformat()}; version {profile.version}.",
        "",
        f"Source: {profile.source}.",
        "",
        "| work | verdict | where it says so |",
        "|---|---|---|",
    ]
    lines += [_line(work, entry) for work, entry in _works(profile)]
    lines += [_line(f"parent by `{edge}`", profile.inherited[edge]) for edge in Edge]
    lines += [
        _line("external compute", profile.external),
        _line("activations computed again", profile.recomputation),
        _line("work of no known run", profile.unattributed),
    ]
    return "\n".join([*lines, "", ""])


def _works(profile: Profile) -> list[tuple[str, Entry]]:
    """Each activity with its usual verdict, and what dispositions and visibility change."""
    found = []
    for activity in Activity:
        labels = [label for label in profile.entries if label.activity is activity]
        usual = profile.entry(WorkLabel(activity))
        found.append((f"`{activity}`", usual))
        others: dict[Entry, list[WorkLabel]] = {}
        for label in labels:
            if profile.entry(label) != usual:
                others.setdefault(profile.entry(label), []).append(label)
        for entry, changed in others.items():
            found.append((f"`{activity}`, {_when(changed)}", entry))
    return found


def _when(labels: list[WorkLabel]) -> str:
    dispositions = list(dict.fromkeys(label.disposition for label in labels))
    visibilities = list(dict.fromkeys(label.visibility for label in labels))
    words = [str(word) for word in dispositions] if len(dispositions) < 4 else []
    words += [f"data {word}" for word in visibilities] if len(visibilities) < 3 else []
    return ", ".join(f"`{word}`" if " " not in word else word for word in words)


def _line(work: str, entry: Entry) -> str:
    note = f" ({entry.note})" if entry.note else ""
    return f"| {work} | {entry.verdict} | {entry.citation}{note} |"
