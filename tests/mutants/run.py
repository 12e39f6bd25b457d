"""The tester is tested: planted defects and mutants, and which test finds them.

Owns: the order of both, standard output, and docs/mutants.md.
May touch: build/mutants and docs/mutants.md.
Called by ``make mutants`` (``PART=defects``, ``PART=journal`` or a defect: that alone). Exit 1 when
a defect survives or a module falls short. What a run does not measure stays as the page has it.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from mutants.defects import Found, find_all, load  # noqa: E402
from mutants.scores import HELD, LEAST_SCORE_PERCENT, Score, score  # noqa: E402

ROOT = TESTS.parent
BUILD = ROOT / "build" / "mutants"
PAGE = ROOT / "docs" / "mutants.md"

DEFECTS = "defects"

HEAD = """# What the tests find

`make mutants` plants defects, makes mutants, and writes this page.
`make mutants PART=defects` plants all defects alone, `PART=journal` runs one module or defect.
Decided in [ADR 19](adr/0019-testing-the-tests.md).
"""


def defects(names: Sequence[str]) -> dict[str, Any]:
    """Plant these defects, every one where none is named; returns the figures."""
    began = time.monotonic()
    chosen = [each for each in load() if not names or each.name in names]

    def say(found: Found) -> None:
        print(f"{found.defect.name}: {found.failed or 'NOT FOUND, ' + found.told}", flush=True)

    found = find_all(ROOT, BUILD, Path(sys.executable), chosen, say)
    missed = sum(not each.failed for each in found)
    print(f"defects found: {len(found) - missed} of {len(found)}")
    return {
        "seconds": round(time.monotonic() - began),
        "where": _where(),
        "rows": [[each.defect.name, each.defect.file, each.failed] for each in found],
    }


def scores(names: Sequence[str]) -> dict[str, Any]:
    """Run the mutants of these modules; returns the figures."""
    figures: dict[str, Any] = {}
    for held in HELD:
        if held.name not in names:
            continue
        measured = score(ROOT, BUILD / "flat", Path(sys.executable), held, os.cpu_count() or 1)
        print(
            f"{held.name}: {measured.found} of {measured.made} mutants found "
            f"({measured.percent:.1f} %), {measured.covered_percent:.1f} % of branches, "
            f"tests {measured.seconds:.1f} s"
        )
        for survivor in measured.survivors:
            print(f"  {survivor}")
        figures[held.name] = dataclasses.asdict(measured) | {"survivors": ()}
    return figures


def joined(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Defects as they were found last: of those not planted now as the page has it.

    Args:
        before: the figures of the page.
        now: those of this run.
    """
    rows = {row[0]: row for row in (*before["rows"], *now["rows"])}
    return now | {
        "seconds": before["seconds"] + now["seconds"],
        "rows": [rows[each.name] for each in load() if each.name in rows],
        "waiting": sum(each.name not in rows for each in load()),
    }


def kept(figures: dict[str, Any]) -> bool:
    """Whether every defect was found and every module is as well tested as promised."""
    found = all(row[2] for row in figures.get(DEFECTS, {"rows": []})["rows"])
    return found and all(Score(**each).kept for name, each in figures.items() if name != DEFECTS)


def page(figures: dict[str, Any]) -> str:
    """docs/mutants.md."""
    rows = figures[DEFECTS]["rows"]
    found = sum(bool(row[2]) for row in rows)
    waiting = figures[DEFECTS].get("waiting", 0)
    lines = [HEAD, "## Planted defects", ""]
    lines += [
        f"{found} of {len(rows)} are found, each by itself in a copy of the tree, in "
        f"{figures[DEFECTS]['seconds']} s ({figures[DEFECTS]['where']}).",
        *([f"Not planted by then: {waiting} more of the table."] if waiting else []),
        "The simulator finds more while it runs: [fault-simulation.md](fault-simulation.md).",
        "",
        "| defect | in | found by |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | `{file}` | {f'`{test}`' if test else 'no test'} |" for name, file, test in rows
    ]
    return "\n".join([*lines, "", *_score_lines(figures)]) + "\n"


def _score_lines(figures: dict[str, Any]) -> Iterable[str]:
    yield "## Mutants"
    yield ""
    yield (
        "mutmut changes one place of a function at a time, and runs the tests of that module "
        f"alone; promised are {LEAST_SCORE_PERCENT:.0f} % found and 100 % of lines and branches."
    )
    yield (
        "It leaves decorated functions alone (properties, context managers, static methods; "
        "counted below), and everything outside of functions. SQL in other letters is no mutant."
    )
    yield "`tests` is the processor time of the module's own tests, with their start and counting."
    yield ""
    yield "| module | mutants | found | score | lines and branches | left alone | tests | on |"
    yield "|---|---|---|---|---|---|---|---|"
    for held in HELD:
        if held.name not in figures:
            yield f"| {held.name} | not measured yet |  |  |  |  |  |  |"
            continue
        each = Score(**figures[held.name])
        yield (
            f"| {each.name} | {each.made} | {each.found} | {each.percent:.1f} % | "
            f"{each.covered_percent:.1f} % | {each.unmutated_count} | {each.seconds:.1f} s | "
            f"{each.day} |"
        )
    yield ""
    yield "Of what is left, these change nothing a test can see:"
    yield ""
    for held in HELD:
        yield from (f"- {held.name}: {told}" for told in held.left)


_FOUND = re.compile(r"^\d+ of \d+ are found, .* in (\d+) s \((.*)\)\.$", re.MULTILINE)
_WAITING = re.compile(r"^Not planted by then: (\d+) more", re.MULTILINE)
_DEFECT = re.compile(r"^\| ([^|]+) \| `([^`]+)` \| (?:`([^`]+)`|no test) \|$", re.MULTILINE)
_SCORE = re.compile(
    r"^\| ([^|]+) \| (\d+) \| (\d+) \| [\d.]+ % \| ([\d.]+) % \| (\d+) \| ([\d.]+) s \| "
    r"([\d-]+) \|$",
    re.MULTILINE,
)


def told(text: str) -> dict[str, Any]:
    """The figures a page tells, which stay until they are measured again."""
    figures: dict[str, Any] = {}
    found = _FOUND.search(text)
    if found:
        rows = [[name, file, test or ""] for name, file, test in _DEFECT.findall(text)]
        figures[DEFECTS] = {"seconds": int(found[1]), "where": found[2], "rows": rows}
        if waiting := _WAITING.search(text):
            figures[DEFECTS]["waiting"] = int(waiting[1])
    for name, made, caught, covered, left_alone, seconds, day in _SCORE.findall(text):
        score_ = Score(
            name, int(made), int(caught), (), float(covered), int(left_alone), float(seconds), day
        )
        figures[name] = dataclasses.asdict(score_)
    return figures


def _where() -> str:
    day = datetime.datetime.now(datetime.UTC).date()
    return f"{day}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main(parts: list[str]) -> int:
    """Run the parts, print, and write the page."""
    names = [each.name for each in load() if each.name in parts]
    known = [DEFECTS, *(held.name for held in HELD)]
    for part in parts:
        if part not in known and part not in names:
            print(
                f"there is no part {part!r}; name a defect, or one of {', '.join(known)}",
                file=sys.stderr,
            )
            return 64
    wanted = parts or known
    fresh: dict[str, Any] = {}
    if DEFECTS in wanted:
        fresh[DEFECTS] = defects(())
    elif names:
        fresh[DEFECTS] = defects(names)
    fresh |= scores(wanted)
    # Read now: another run may have written it meanwhile.
    before = told(PAGE.read_text(encoding="utf-8"))
    if names and DEFECTS not in wanted:
        fresh[DEFECTS] = joined(before[DEFECTS], fresh[DEFECTS])
    PAGE.write_text(page(before | fresh), encoding="utf-8")
    return 0 if kept(fresh) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
