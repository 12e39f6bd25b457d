"""docs/scoreboard.md is what the code says, and the code says what a replay says."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import pytest

from flopmeter.lab import desk_score, scoreboard
from flopmeter.lab.desk_fit import lessons_of
from flopmeter.lab.importers.mlperf_power import MlperfPowerImporter
from flopmeter.lab.live_widths import live_widths
from flopmeter.lab.published import read_published
from flopmeter.lab.replay import replay
from flopmeter.lab.score import ScoreRow, interval_of, vectors_of
from flopmeter.lab.score_text import row_table
from flopmeter_core.errors import DataError
from support.documents import document
from support.requirements import ROOT
from support.totals import table

TRUTHS = scoreboard.mlperf_truths(ROOT)
SMALL = [path for path, truth in TRUTHS.items() if truth["node_count"] == 1]
REPLAYED = next(path for path in SMALL if "llama2" in path)


@pytest.fixture(scope="module")
def small_rows() -> list[ScoreRow]:
    """The rows of the runs on one node."""
    parts = table()
    return [row for path in SMALL for row in scoreboard.score_mlperf(ROOT, TRUTHS[path], parts)]


def findings(text: str, rows: list[ScoreRow]) -> list[str]:
    """Rows a page lacks or shows otherwise, and counts that are not those of its rows."""
    text, _, _ = text.partition("## Simulated")  # what is counted nowhere
    lines = text.splitlines()
    found = [line for line in row_table(rows)[2:] if line not in lines]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| ")
    ]
    shown = [row for row in cells if len(row) == 12 and row[10] in ("yes", "NO")]
    for summary in (row for row in cells if len(row) == 8 and re.match(r"\d+ of", row[3])):
        rung, declared = summary[0], summary[1]
        cases = [
            row
            for row in shown
            if row[2] == rung and (row[1] == "nothing") == (declared == "nothing")
        ]
        for column, place in ((3, 10), (4, 11)):
            count = sum(row[place] == "yes" for row in cases)
            if summary[column].split(" (")[0] != f"{count} of {len(cases)}":
                found.append(f"{rung}, {declared}: {summary[column]}")
        ratios = [float(row[7]) for row in cases]
        widths = [float(row[9]) for row in cases if row[9] != "-"]
        worst = max(ratios, key=lambda ratio: max(ratio, 1 / ratio))
        for column, number in ((5, median(ratios)), (6, worst), (7, median(widths or [0]))):
            said = 0.0 if summary[column] == "-" else float(summary[column])
            # The page's figures are rounded to three digits, and so is a median of them.
            if abs(said - number) > 0.01 * number:
                found.append(f"{rung}, {declared}: {said} is not {number}")
    return found


def test_fresh(small_rows: list[ScoreRow]) -> None:
    """The page has the rows of the small runs as they are now; run `make score` after a change."""
    assert len(small_rows) > 20
    assert findings(document("scoreboard.md"), small_rows) == []


@pytest.mark.parametrize(
    ("pattern", "after"),
    [
        (r"\| energy \| nothing \| \d+ \| (\d+) of", "| energy | nothing | 12 | 99 of"),
        (r"\| yes \| yes \|\n", "| NO | yes |\n"),
        (r"0\.6", "0.7"),
    ],
)
def test_planted(small_rows: list[ScoreRow], pattern: str, after: str) -> None:
    """A count or a row that was typed is found."""
    text = document("scoreboard.md")
    planted = re.sub(pattern, after, text, count=1)
    assert planted != text
    assert findings(planted, small_rows) != []


def test_what_is_shown() -> None:
    """The page has the shares over all, the hardware, and the published runs as scored."""
    text = document("scoreboard.md")
    summary = [row for row in text.splitlines() if re.match(r"\| \w+ \| \w+ \| [1-9]", row)]
    likely, hard = (
        " of ".join(str(sum(int(n[k]) for n in counts)) for k in (0, 1))
        for counts in zip(*(re.findall(r"(\d+) of (\d+)", row) for row in summary), strict=True)
    )
    assert f"lower..upper holds the truth in {likely}, floor..ceiling in {hard}." in text
    assert "| `mlperf-training-v4.0-smc` | NVIDIA H100 SXM5 80GB |" in text
    assert "| `simulated-h100` | none: simulated" in text
    published = read_published(ROOT / scoreboard.PUBLISHED).rows
    shown = text.splitlines()
    wanted = desk_score.lines(desk_score.score(lessons_of(published)))
    assert [line for line in wanted if line not in shown] == []
    for rung, (low, high) in live_widths(table()).items():
        assert f"| {rung} | - | 0 | unverified; budget " in text
        assert f"interval {float(low):.2f} to {float(high):.2f} |" in text
        if rung == "cycles":
            said = f"{float(low):.2f} to {float(high):.2f} of best for an H200 in declared BF16"
            assert said in document("estimation.md")


def test_same_as_replay() -> None:
    """A score is of the meter: its interval is that of a replay through agents and collector."""
    recording = MlperfPowerImporter().load(ROOT / scoreboard.MLPERF / REPLAYED)
    declared = {"workload": "lora", "format": "bf16=1"}
    interval = interval_of(recording, vectors_of(recording, table()), table(), declared)
    (run,) = replay(ROOT / scoreboard.MLPERF / REPLAYED, formats="bf16=1", workload="lora")["runs"]
    assert run["compute_flop"] == {
        name: getattr(interval, name) for name in ("floor", "lower", "best", "upper", "ceiling")
    }


def test_missing_truth(tmp_path: Path) -> None:
    """Without a truth there is nothing to score, in one sentence."""
    with pytest.raises(DataError, match=r"truth\.toml is no list of runs"):
        scoreboard.mlperf_truths(tmp_path)
