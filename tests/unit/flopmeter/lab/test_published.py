"""Desk estimates against 40 published runs, and the constants learned from them."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

import pytest

from flopmeter.lab import desk_fit, desk_score
from flopmeter.lab.desk_fit import fit, lessons_of, to_toml
from flopmeter.lab.desk_score import energy_line, inside, lines, score, width, without_rates
from flopmeter.lab.published import builtin_devices, parse_published, read_published
from flopmeter_core.data import builtin_table
from flopmeter_core.desk.reconcile import estimate_row
from flopmeter_core.errors import DataError, UsageError
from support.requirements import ROOT

FILE = "tests/data/published-runs/runs.csv"
RUNS = read_published(ROOT / FILE)
LESSONS = lessons_of(RUNS.rows)
SCORED = score(LESSONS)


def test_acceptance_without_utilisation() -> None:
    """6ND lies in the hardware-based interval of runs whose developer taught nothing."""
    hits = sum(inside(run.blind) for run in SCORED)
    wide = median(width(run.blind.hardware) for run in SCORED)
    sys.stdout.write(f"6ND inside: {hits} of {len(SCORED)}, median upper/lower {wide:.2f}\n")
    assert len(SCORED) == 40
    assert hits >= 37
    assert wide <= 4.5


def test_acceptance_with_utilisation() -> None:
    """The same with what the runs report; a reported rate narrows the interval."""
    rated = [run for run in SCORED if run.reported]
    hits = sum(inside(run.informed) for run in rated)
    wide = median(width(run.informed.hardware) for run in rated)
    sys.stdout.write(f"with a rate: {hits} of {len(rated)}, median upper/lower {wide:.2f}\n")
    assert len(rated) == 14
    assert hits >= 13
    assert wide <= 1.6
    assert sum(inside(run.informed) for run in SCORED) >= 37


def test_nobody_teaches_himself() -> None:
    """Leaving a developer out changes the constants of the extremes: they are not in their own."""
    yalm = next(run for run in SCORED if run.lesson.row.model.startswith("YaLM"))
    others = fit([lesson for lesson in LESSONS if lesson.developer != "Yandex"])
    assert others.unknown.lower > fit(LESSONS).unknown.lower
    assert yalm.blind.hardware == estimate_row(yalm.lesson.row, utilization=others).hardware


def test_committed_constants_are_the_learned_ones() -> None:
    """The table is what the program prints: python -m flopmeter.lab.desk_fit FILE."""
    assert builtin_table("utilization.toml") == to_toml(LESSONS, FILE)


def test_documented_figures_are_the_scored_ones() -> None:
    """docs/estimate.md shows what python -m flopmeter.lab.desk_score prints."""
    text = "\n".join([*lines(SCORED), "", energy_line(RUNS.rows)])
    assert text in (ROOT / "docs/estimate.md").read_text()


def test_every_row_is_estimated() -> None:
    """Each of the 61 rows comes to an ordered interval by a named method."""
    assert len(RUNS.rows) == 61
    for row in RUNS.rows:
        found = estimate_row(row)
        assert found.reconciled is not None, row.model
        assert found.method in ("architecture", "hardware", "energy", "disagreement")


def test_a_narrower_prior_is_seen_to_fail() -> None:
    """The acceptance check can fail: half the spread misses more than three runs."""
    narrow = fit([e for e in LESSONS if 0.25 < e.share < 0.45])
    rows = [without_rates(lesson.row) for lesson in LESSONS]
    assert sum(inside(estimate_row(row, utilization=narrow)) for row in rows) < 37


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column named model"),
        ("model,tokens\n", "holds no row"),
        ("name,tokens\nx,1\n", "no column named model"),
        ("model,tokens,tokens\nx,1,2\n", "tokens twice"),
        ("model,tokens\nx\n", "line 2 has 1 cells"),
        ("model,tokens\nx,1,000\n", "line 2 has 3 cells"),
        ('model,tokens\nx,"1\n', "is no CSV"),
        ("model,tokens\na,1e9\nb,-1\n", "line 3, column tokens, is '-1'"),
        ("model,accelerator\nx,H2OO\n", "line 2, column accelerator, names 'H2OO'"),
    ],
)
def test_bad_files(text: str, sentence: str) -> None:
    """The sentence names the line, and the column where it is one cell."""
    with pytest.raises(DataError, match=sentence):
        parse_published(text, name="t.csv", table=builtin_devices())


def test_columns_are_found_by_name() -> None:
    """In any order, with a mark at the start of the file; those nobody reads are named."""
    runs = parse_published(
        "colour,tokens,model\nred,1e9,x\n\n", name="t.csv", table=builtin_devices()
    )
    assert [row.model for row in runs.rows] == ["x"]
    assert runs.unread_columns == ("colour",)


def test_files(tmp_path: Path) -> None:
    """A missing file and one that is no text are told apart."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_published(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"model\n\xff\xfe\n")
    with pytest.raises(DataError, match="no UTF-8"):
        read_published(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_bytes("\ufeffmodel,tokens\na,1e9\n".encode())
    assert len(read_published(tmp_path / "y.csv").rows) == 1


def test_a_row_without_developer_teaches_nothing() -> None:
    """The fit refuses it: its like could not be left out."""
    text = "model,params_active,tokens,accelerator,gpu_hours,check_class\nx,1e9,1e10,A100,1e3,A\n"
    rows = parse_published(text, name="t.csv", table=builtin_devices()).rows
    with pytest.raises(DataError, match="names no developer"):
        lessons_of(rows)


def test_too_few_runs_teach_nothing() -> None:
    """A table of one run, or of runs without a reported rate, would be a guess."""
    unrated = [lesson for lesson in LESSONS if lesson.kept is None]
    assert len(unrated) > 1
    for few in ([], LESSONS[:1], unrated):
        with pytest.raises(DataError, match="too few runs"):
            fit(few)


def test_the_programs_print_what_is_committed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python -m flopmeter.lab.desk_fit prints the table; desk_score the documented figures."""
    monkeypatch.chdir(ROOT)
    assert desk_fit.main([FILE]) == 0
    assert capsys.readouterr().out == builtin_table("utilization.toml")
    assert desk_score.main([FILE]) == 0
    said = capsys.readouterr().out
    assert said == "\n".join([*lines(SCORED), "", energy_line(RUNS.rows)]) + "\n"


def test_a_group_without_runs_is_said() -> None:
    """A row of the acceptance table that holds no run claims nothing."""
    blind = [run for run in SCORED if not run.reported]
    assert any(line.endswith("| no runs | | | |") for line in lines(blind))
