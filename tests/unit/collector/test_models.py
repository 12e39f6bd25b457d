"""Models: each run counts once, what was entered stands apart, and the parts make the total."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.snapshot import ModelTotals
from flopmeter_collector.totals import Totals
from flopmeter_core.activities import UNLABELLED, Activity, Edge, WorkLabel
from flopmeter_core.errors import DataError
from flopmeter_core.interval import NO_FIGURES, Interval, sum_figures
from support.agreeing import Agreed
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table

PARTS = table()
SHA = "0" * 64
PERIOD = {"from": "2026-01-01", "until": "2026-02-01"}
ENTRY = {
    "entry": "cloud", "lower": "1e20", "best": "2e20", "upper": "3e20", **PERIOD,
    "party": "Example Ltd", "source": "invoice.pdf", "sha256": SHA,
}  # fmt: skip


def row(kind: str, subject: str, body: dict[str, str], *, author: str = "ada") -> Declaration:
    """A declaration; tests that need a place in the ledger give it."""
    return Declaration(1, 0, author, "cli", kind, subject, body)


def parent(model: str, of: str, edge: str = "weights", state: str = "stands") -> Declaration:
    """That a model came from another one."""
    return row("parent", model, {"parent": of, "edge": edge, "state": state})


def work(totals: Totals, allocation: str, seconds: int, *, device: str = "GPU-0") -> None:
    """So many busy seconds."""
    record = h100(device)
    feed(totals, key_of(record, allocation), record, busy_vector(seconds))


def models(totals: Totals) -> dict[str, ModelTotals]:
    """All models by name."""
    return {each.model: each for each in totals.snapshot(AS_OF_NS, POSITION).models}


def site(*runs: str) -> Totals:
    """Runs of 1,000 busy seconds each, with nothing declared."""
    totals = Totals(PARTS)
    for run in runs:
        work(totals, f"run:{run}", 1_000)
    return totals


def test_a_diamond_counts_once() -> None:
    """The base of two parents is in the total once, with both ways it came."""
    totals = site("base", "left", "right", "top")
    one = models(totals)["base"].figures
    for each in (
        parent("top", "left"), parent("top", "right", "merge"),
        parent("left", "base"), parent("right", "base", "init"),
    ):  # fmt: skip
        totals.apply(each)
    top = models(totals)["top"]
    assert top.figures == sum_figures([one] * 4)
    assert (top.runs, top.inherited) == (("top",), ("base", "left", "right"))
    assert top.own == one
    ways = {part.run: part.origin.ways for part in top.parts}
    assert ways["base"] == {(Edge.WEIGHTS,), (Edge.INIT, Edge.MERGE)}
    assert ways["top"] == {()}
    assert top.parents == (("left", Edge.WEIGHTS), ("right", Edge.MERGE))
    agreed = Agreed(totals.book, totals.apply)
    agreed(parent("top", "right", state="undone"))
    agreed(parent("top", "left", state="undone"))
    assert models(totals)["top"].figures == one


edges = st.sampled_from([edge.value for edge in Edge])
names = st.sampled_from("abcd")
statements = st.one_of(
    st.builds(lambda model, of, edge: parent(model, of, edge), names, names, edges),
    st.builds(lambda run, model: row("run", run, {"model": model}), names, names),
    st.builds(lambda model: row("external", model, ENTRY), names),
    st.builds(lambda run: row("run", run, {"activity": "pretraining"}), names),
    st.builds(lambda run, into: row("merge", run, {"into": into}), names, names),
    st.builds(lambda run: row("split", run, {"into": "p", "phase": "1"}), names),
)


@settings(max_examples=100)
@given(st.lists(statements, max_size=8), st.integers(0, 3))
def test_parts_are_the_figures(declared: list[Declaration], boundaries: int) -> None:
    """Parts add up to figures, of each run and model; a run is in a model's parts once a label."""
    totals = site("a", "b", "c", "d")
    for number in range(boundaries):
        work(totals, "boundary(run:a,run:b)", 10 + number, device=f"GPU-{number}")
    work(totals, "boundary(run:c,none)", 7)
    for each in declared:
        with contextlib.suppress(DataError):
            totals.apply(each)
    shot = totals.snapshot(AS_OF_NS, POSITION)
    by_name = {model.model: model for model in shot.models}
    for run in shot.runs:
        assert sum_figures(part.figures for part in run.parts) == run.account.figures
    for model in shot.models:
        assert sum_figures(part.figures for part in model.parts) == model.figures
        metered = [part for part in model.parts if part.run and not part.origin.external]
        assert len({(part.run, part.label) for part in metered}) == len(metered)
        whole = sum_figures(
            each.account.figures
            for each in shot.runs
            if each.run in {*model.runs, *model.inherited}
        ).observed
        assert sum_figures(part.figures for part in metered).observed == whole
        for name, _ in model.parents:
            if name not in by_name:  # all its runs were declared of another model
                continue
            inside = {*by_name[name].runs, *by_name[name].inherited}
            assert inside <= {*model.runs, *model.inherited}


def test_a_period_between_two_models_widens_once() -> None:
    """What may be of the model or of its parent is in the total once."""
    totals = site("base", "top")
    work(totals, "boundary(run:base,run:top)", 100)
    alone = models(totals)["top"].figures
    totals.apply(parent("top", "base"))
    top = models(totals)["top"]
    assert top.figures.boundary_upper == alone.boundary_upper > 0
    between = [part for part in top.parts if not part.run]
    assert [part.figures.observed for part in between] == [NO_FIGURES.observed]


def test_external_compute_stands_apart() -> None:
    """What no agent saw adds its bounds, proves nothing, and is told apart with its source."""
    totals = site("a")
    before = models(totals)["a"].figures
    totals.apply(row("external", "a", ENTRY))
    model = models(totals)["a"]
    assert model.external.observed == Interval(0, 10**20, 2 * 10**20, 3 * 10**20, 3 * 10**20)
    assert model.figures == before + model.external
    assert [(each.entry, each.source, each.sha256) for each in model.externals] == [
        ("cloud", "invoice.pdf", SHA)
    ]
    assert [part.origin.external for part in model.parts] == [False, True]
    totals.apply(row("external", "new", ENTRY))
    assert models(totals)["new"].figures == models(totals)["new"].external
    Agreed(totals.book, totals.apply)(row("external", "a", {"entry": "cloud", "state": "undone"}))
    assert models(totals)["a"].figures == before


def test_inherited_external_compute() -> None:
    """A parent's external entries come with it, by the way it came."""
    totals = site("a")
    totals.apply(row("external", "base", ENTRY))
    totals.apply(parent("a", "base", "distilled_from"))
    model = models(totals)["a"]
    (entered,) = (part for part in model.parts if part.origin.external)
    assert entered.origin.ways == {(Edge.DISTILLED_FROM,)}
    assert model.external == entered.figures
    assert model.own == models(site("a"))["a"].figures
    assert model.externals == ()


def test_modification() -> None:
    """Own work over all of the original's; unknown where nothing is known of it."""
    totals = site("base", "tuned")
    work(totals, "run:tuned", 250)
    totals.apply(parent("tuned", "base"))
    totals.apply(parent("tuned", "elsewhere", "init"))
    totals.apply(parent("tuned", "teacher", "distilled_from"))
    known, unknown = models(totals)["tuned"].modifications
    assert (known.original, unknown.original) == ("base", "elsewhere")
    assert known.ratio is not None and known.ratio.best == Fraction(1, 4)
    assert unknown.ratio is None
    assert not {"elsewhere", "teacher"} & models(totals).keys(), "nothing known is not 0"


def test_plan_party_and_completeness() -> None:
    """What is planned, who did what and whether this is everything stand beside the figures."""
    totals = Totals(PARTS)
    plan = {"lower": "1e25", "best": "2e25", "upper": "3e25", **PERIOD}
    totals.apply(row("plan", "m", plan))
    totals.apply(row("party", "m", {"party": "Example Ltd", "role": "provider"}))
    said = {"complete": "no", "statement": "the evaluation cluster is not metered"}
    totals.apply(row("completeness", "m", said))
    model = models(totals)["m"]
    assert model.figures == NO_FIGURES
    assert model.planned is not None and model.planned.compute.best == 2 * 10**25
    assert model.completeness is not None and model.completeness.author == "ada"
    assert model.parties == (("Example Ltd", "provider"),)
    totals.apply(row("plan", "m", {"state": "undone"}))
    assert models(totals)["m"].planned is None
    assert models(totals)["m"].parts == ()


def test_a_runs_parts_have_its_labels() -> None:
    """Work by label: a phase that was labelled otherwise is a part of its own."""
    totals = Totals(PARTS)
    record = h100()
    for phase in (0, 1):
        feed(totals, key_of(record, "run:a", phase=phase), record, busy_vector(1_000))
    totals.apply(row("run", "a", {"activity": "pretraining"}))
    totals.apply(row("run", "a", {"activity": "finetuning", "phase": "1"}))
    (run,) = totals.snapshot(AS_OF_NS, POSITION).runs
    assert [part.label for part in run.parts] == [
        WorkLabel(Activity.FINETUNING),
        WorkLabel(Activity.PRETRAINING),
    ]
    assert run.parts[0].figures == run.parts[1].figures
    assert models(totals)["a"].parts == run.parts


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        ("parent", {"parent": "m", "edge": "weights"}, "cannot be its parent"),
        ("parent", {"parent": "x", "edge": "copy"}, "is no edge"),
        ("parent", {"parent": "x", "edge": "weights", "state": "undone"}, "no declared parent"),
        ("parent", {"parent": "x\n", "edge": "weights"}, "printable"),
        ("external", {**ENTRY, "best": "5e20"}, "not in order"),
        ("external", {**ENTRY, "best": "many"}, "no number of FLOP"),
        ("external", {**ENTRY, "upper": "1e33"}, "no number of FLOP"),
        ("external", {**ENTRY, "upper": "NaN"}, "no number of FLOP"),
        ("external", {**ENTRY, "lower": "0.5"}, "no whole number"),
        ("external", {**ENTRY, "until": "2026-01-01"}, "does not lie after"),
        ("external", {**ENTRY, "from": "lately"}, "is no time"),
        ("external", {**ENTRY, "sha256": "x"}, "64 hexadecimal"),
        ("external", {**ENTRY, "activity": "thinking"}, "is no activity"),
        ("external", {k: v for k, v in ENTRY.items() if k != "party"}, "needs party"),
        ("external", {"entry": "gone", "state": "undone"}, "has no external entry"),
        ("external", {**ENTRY, "color": "red"}, "unknown field color"),
        ("plan", {"lower": "1", "best": "2", "upper": "3"}, "is no time"),
        ("plan", {"state": "undone"}, "has no plan"),
        ("party", {"party": "x", "role": "king"}, "is no role"),
        ("party", {"party": "x", "role": "provider", "state": "undone"}, "is not declared"),
        ("completeness", {"complete": "perhaps", "statement": "x"}, "is no complete"),
        ("completeness", {"complete": "yes", "statement": " "}, "statement has 1 to"),
    ],
)
def test_refused(kind: str, body: dict[str, str], sentence: str) -> None:
    """What cannot be is refused in one sentence, and changes nothing."""
    totals = site("m")
    before = totals.snapshot(AS_OF_NS, POSITION)
    with pytest.raises(DataError, match=sentence) as caught:
        totals.apply(row(kind, "m", body))
    assert "\n" not in str(caught.value)
    assert totals.snapshot(AS_OF_NS, POSITION) == before


def test_other_kinds_move_nothing() -> None:
    """Filings, reviews and alerts are rows of the same ledger, and no statement about a run."""
    totals = site("m")
    before = totals.snapshot(AS_OF_NS, POSITION)
    for kind in ("filing", "review", "alert-silence"):
        totals.apply(row(kind, "m", {"any": "thing"}))
    assert totals.snapshot(AS_OF_NS, POSITION) == before
    assert before.models[0].parts[0].label == UNLABELLED
