"""`run show` and `model show`: each thing that may stand beside a figure, in one line."""

from __future__ import annotations

from typing import Any

from flopmeter.lab.details_view import model_view, run_view


def bounds(best: int) -> dict[str, str]:
    """Figures of a narrow range."""
    return {name: str(best) for name in ("floor", "lower", "best", "upper", "ceiling")}


PART = {
    "external": "", "run": "r", "from_model": "", "activity": "pretraining", "disposition": "kept",
    "data_visibility": "unknown", "compute_flop_str": bounds(7),
}  # fmt: skip
RULE = {"match": "slurm:*", "run": "r", "from": None, "until": None}
LOWERING = {
    "declaration": 9, "subject": "run r", "label": "activity evaluation", "place": "phase 2",
    "state": "approved", "people": [{"person": "ben"}, {"person": "eva"}], "rules": [RULE],
}  # fmt: skip


def run(**more: Any) -> dict[str, Any]:
    """A run's row of the totals document."""
    return {
        "run": "r", "name": "r", "model": None, "metrics_id": "r-x", "simulated": False,
        "compute_flop_str": bounds(7), "declared": {"format": None}, "merged": [], "parts": [PART],
        "warnings": [], **more,
    }  # fmt: skip


def model(**more: Any) -> dict[str, Any]:
    """A model's row of the totals document."""
    return {
        "model": "m", "metrics_id": "m-x", "simulated": False, "runs": ["r"], "inherited_runs": [],
        "compute_flop_str": bounds(9_960 * 10**21), "own_flop_str": bounds(5), "parents": [],
        "externals": [], "modifications": [], "thresholds": [], "planned": None, "parties": [],
        "completeness": None, "parts": None, **more,
    }  # fmt: skip


def of_run(*lowerings: Any, could_add: int = 0, **more: Any) -> str:
    """What is shown of a run."""
    return "\n".join(run_view(run(**more), could_add=could_add, lowerings=lowerings))


def of_model(*lowerings: Any, **more: Any) -> str:
    """What is shown of a model."""
    return "\n".join(model_view(model(**more), could_add=1, lowerings=lowerings))


def test_a_run() -> None:
    """Both names, what was declared, what it is made of, and what no meter knows."""
    plain = of_run()
    assert plain.startswith("run r, model r\nin metrics r-x\nexecuted: 7.0e0 FLOP")
    assert "declared: nothing" in plain and "laws test models" in plain
    assert "no work is unattributed" in plain
    full = of_run(
        LOWERING, could_add=10**22 + 1, name="alias", model="atlas", simulated=True,
        declared={"format": "bf16", "workload": None}, merged=["s", "t"], warnings=["late [hours]"],
    )  # fmt: skip
    assert full.startswith("SIMULATED: every figure here is made up\nrun r (alias), model atlas")
    assert "declared: format bf16" in full and "with the work of: s, t" in full
    assert "late \\[hours]" in full, "no name is mark-up"
    assert "could add up to 1.1e22 FLOP" in full


def test_what_lowers_it() -> None:
    """The statement, its place, the people, and the rules by which work to come is under it."""
    told = of_run(LOWERING, {**LOWERING, "place": "", "people": [], "rules": []})
    assert "activity evaluation (phase 2) is approved; behind it: ben, eva" in told
    assert "by the rule slurm:* of run r, from the beginning to no end" in told
    assert "activity evaluation is approved; behind it: nobody" in told


def test_a_model_alone() -> None:
    """No figure lands on a line, and what nobody said is said."""
    told = of_model()
    assert "9.96e24 FLOP" in told and "1.0e25" not in told
    assert "model m: 1 own runs" in told and "in metrics m-x" in told
    assert "complete: nobody stated whether this is everything" in told


def test_where_it_came_from() -> None:
    """Parents, what was entered, and a ratio with its lines, or why there is none."""
    entry = {
        "entry": "cloud", "party": "Example", "from": "2026-01-01T00:00:00Z",
        "until": "2026-02-01T00:00:00Z", "source": "i.pdf", "source_sha256": "ab" * 32,
        "compute_flop_str": bounds(10**24),
    }  # fmt: skip
    condition = {"id": "other", "text": "another party", "state": "unknown"}
    line = {
        "id": "eu-modification", "value": "1/3", "unit": "ratio", "number_met": True,
        "decided": False, "declared_conditions": [condition],
    }  # fmt: skip
    known = {
        "original": "base", "edge": "weights", "original_known": True,
        "ratio": {"lower": 0.2, "best": 0.4, "upper": None},
        "lines": [line, {**line, "number_met": None, "decided": True}],
    }  # fmt: skip
    unknown = {**known, "original": "else", "original_known": False, "lines": []}
    told = of_model(
        parents=[{"model": "base", "edge": "weights"}], inherited_runs=["b"], externals=[entry],
        modifications=[known, unknown],
        parts=[PART, {**PART, "external": "cloud"}, {**PART, "run": "", "from_model": "base"}],
    )  # fmt: skip
    for words in (
        "came from base (weights): 1 inherited runs",
        "of it own work: 5.0e0 FLOP",
        "external cloud by Example, declared, 2026-01-01 to 2026-02-01, source i.pdf abababababab",
        "own work over that of base (weights): 0.4 (likely 0.2..?)",
        "eu-modification (1/3 ratio): number met, the likely range leaves a doubt",
        "eu-modification (1/3 ratio): number not known",
        "other (another party): unknown, nobody declared it",
        "own work over that of else (weights): unknown, because nothing of the original",
        "  cloud: pretraining",
        "  between runs, from base: pretraining",
    ):
        assert words in told, words


def test_rulings_plan_and_parties() -> None:
    """Every line with its state, conditions with their people, exclusions with all three totals."""
    said = {
        "id": "effect", "text": "a broad effect", "state": "not_met", "author": "Ada",
        "date": "2026-11-30", "reason": "a demo", "evidence": "memo.pdf sha256:ab",
        "approved_by": [{"person": "ben"}, {"person": "eva"}],
    }  # fmt: skip
    line = {
        "id": "kr", "state_words": "declared not met by Ada", "counting_profile": "kr-own",
        "state": "conditions_not_met",
        "value_flop_str": "4",
        "declared_conditions": [said, {**said, "evidence": None, "approved_by": []}],
        "counted_flop_str": bounds(1), "everything_flop_str": bounds(3),
        "permitted_flop_str": bounds(2),
    }  # fmt: skip
    used = {
        "profile": "kr-own", "leaves_out": "evaluation", "author": "Ada", "date": "2026-11-30",
        "declaration": 4, "reason": "Annex", "approved_by": [],
    }  # fmt: skip
    plain = {
        "id": "plain", "state": "above", "state_words": "above", "counting_profile": "other",
        "value_flop_str": "50", "counted_flop_str": bounds(100),
    }  # fmt: skip
    told = of_model(
        thresholds=[line, plain],
        decisions=[used, {**used, "profile": "no-line"}],
        planned={"until": "2027-04-01T00:00:00Z", "compute_flop_str": bounds(10**24)},
        parties=[{"role": "modifier", "party": "Lab"}],
        completeness={"complete": "no", "author": "Ada", "statement": "a cluster is missing"},
    )
    for words in (
        "kr: 25 %, declared not met by Ada",
        "plain: 200 %, ABOVE",
        "declared not met by Ada on 2026-11-30: a demo (evidence: memo.pdf sha256:ab); behind it: "
        "ben, eva",
        "left out under kr-own: evaluation, decided by Ada on 2026-11-30 (declaration 4): Annex; "
        "behind it: nobody",
        "  counted: 1.0e0 FLOP",
        "  all: 3.0e0 FLOP",
        "  with permitted exclusions: 2.0e0 FLOP",
        "planned until 2027-04-01: 1.0e24 FLOP",
        "modifier: Lab",
        "complete: no (Ada: a cluster is missing)",
    ):
        assert words in told, words
