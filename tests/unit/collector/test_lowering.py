"""Whatever lowers a legal total waits for two people: one test for each kind of statement."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_collector.book import Book
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.lowerings import lowerings_by_model
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_collector.worth import Scales, Terms
from flopmeter_core.counting import count
from flopmeter_core.errors import DataError
from flopmeter_core.profiles import builtin_profiles
from support.agreeing import Agreed
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table

PARTS = table()
JOB = "slurm:c/1"
ENTRY = {
    "entry": "cloud", "lower": "1e18", "best": "2e18", "upper": "3e18", "from": "2026-01-01",
    "until": "2026-02-01", "party": "Example Ltd", "source": "invoice.pdf", "sha256": "0" * 64,
}  # fmt: skip
UNDONE = {"state": "undone"}
ROUNDING_FLOP = 10
"""What is left of a part once recomputation is taken off is rounded, each part by itself."""


def row(kind: str, subject: str, body: dict[str, str], number: int = 1_000) -> Declaration:
    """What mallory says, who has no role."""
    return Declaration(number, 0, "mallory", "cli", kind, subject, body)


class Site:
    """Run a of a job, run b, and whatever two people agreed on."""

    def __init__(self, *agreed: tuple[str, str, dict[str, str]]) -> None:
        """Meter the work, and take what everybody agreed on."""
        self.totals = Totals(PARTS)
        for number, name in enumerate((JOB, "run:a", "run:b", "run:c")):
            for phase in (0, 1):
                record = h100(f"GPU-{number}")
                feed(self.totals, key_of(record, name, phase=phase), record, busy_vector(100))
        self.agreed = Agreed(self.totals.book, self.totals.apply)
        for kind, subject, body in agreed:
            self.agreed(row(kind, subject, body))

    @property
    def snapshot(self) -> TotalsSnapshot:
        """The totals now."""
        return self.totals.snapshot(AS_OF_NS, POSITION)

    def counted(self) -> dict[tuple[str, str, str], int]:
        """Best FLOP by model, profile, and whether permitted exclusions are used."""
        return {
            (model.model, profile.id, which): getattr(told, which).total.best
            for model in self.snapshot.models
            for profile in builtin_profiles().values()
            for told in [count(model.parts, profile)]
            for which in ("everything", "permitted")
        }


MODEL = ("run", "a", {"model": "m"})
ATTACHED = ("attach", "a", {"allocation": JOB})
RULED = ("attach", "a", {"match": "slurm:*"})

LOWERS = {
    "detach by hand": ([MODEL, ATTACHED], ("attach", "a", {"allocation": JOB, **UNDONE}), "m"),
    "detach of a model of one": ([ATTACHED], ("attach", "a", {"allocation": JOB, **UNDONE}), "a"),
    "detach out of a rule": ([MODEL, RULED], ("attach", "a", {"allocation": JOB, **UNDONE}), "m"),
    "rule taken back": ([MODEL, RULED], ("attach", "a", {"match": "slurm:*", **UNDONE}), "m"),
    "attached out of a rule": ([MODEL, RULED], ("attach", "b", {"allocation": JOB}), "m"),
    "another model": ([MODEL], ("run", "a", {"model": "other"}), "m"),
    "a model that has more": (
        [("external", "a", ENTRY)], ("run", "a", {"model": "m"}), "a",
    ),
    "a model that another came from": (
        [("parent", "chat", {"parent": "a", "edge": "weights"})], ("run", "a", {"model": "m"}), "a",
    ),
    "a part in another model": (
        [("split", "a", {"into": "p", "phase": "1"})], ("run", "p", {"model": "m"}), "a",
    ),
    "more split off to another model": (
        [MODEL, ("split", "a", {"into": "p", "phase": "9"}), ("run", "p", {"model": "other"})],
        ("split", "a", {"into": "p", "phase": "0"}), "m",
    ),
    "a split taken back": (
        [("split", "a", {"into": "p", "phase": "1"}), ("run", "p", {"model": "m"})],
        ("split", "a", {"into": "p", "phase": "1", **UNDONE}), "m",
    ),
    "a merge taken back": (
        [MODEL, ("merge", "b", {"into": "a"})], ("merge", "b", {"into": "a", **UNDONE}), "m",
    ),
    "merged into a run of no model": ([MODEL], ("merge", "a", {"into": "b"}), "m"),
    "the rest of a split run merged": (
        [("split", "a", {"into": "p", "phase": "1"})], ("merge", "a", {"into": "b"}), "a",
    ),
    "external entry taken back": (
        [("external", "m", ENTRY)], ("external", "m", {"entry": "cloud", **UNDONE}), "m",
    ),
    "parent taken back": (
        [MODEL, ("parent", "b", {"parent": "m", "edge": "weights"})],
        ("parent", "b", {"parent": "m", "edge": "weights", **UNDONE}), "b",
    ),
    "an edge that counts less": (
        [MODEL, ("parent", "b", {"parent": "m", "edge": "weights"})],
        ("parent", "b", {"parent": "m", "edge": "distilled_from"}), "b",
    ),
    "a lower format": ([MODEL], ("run", "a", {"format": "tf32=1"}), "m"),
    "a format corrected downwards": (
        [MODEL, ("run", "a", {"format": "fp8=1"})], ("run", "a", {"format": "bf16=1"}), "m",
    ),
    "a lower format of a phase": (
        [MODEL, ("run", "a", {"format": "fp8=1"})],
        ("run", "a", {"format": "bf16=1", "phase": "1"}), "m",
    ),
    "recomputation": ([MODEL], ("run", "a", {"recompute": "full"}), "m"),
    "a label": ([MODEL], ("run", "a", {"activity": "evaluation"}), "m"),
    "a failed experiment": (
        [MODEL, ("run", "a", {"activity": "synthetic_data"})],
        ("run", "a", {"disposition": "failed_experiment"}), "m",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOWERS)
def test_it_waits_for_two_people_and_is_told_of_the_model(case: str) -> None:
    """On one person's word no total moves; on two it does, and the model's report lists it."""
    agreed, (kind, subject, body), model = LOWERS[case]
    site = Site(*agreed)
    was = site.counted()
    site.totals.apply(row(kind, subject, body))
    assert site.counted() == was
    waiting = site.totals.book.approvals.lowerings[1_000]
    assert (waiting.state, waiting.author, waiting.models) == ("pending", "mallory", (model,))
    told = lowerings_by_model(site.snapshot)
    assert waiting in told[model]
    for number, person in ((1_001, "ben"), (1_002, "eva")):
        body = {"state": "given", "reason": "seen"}
        site.totals.apply(Declaration(number, 0, person, "cli", "approval", "1000", body))
    now = site.counted()
    less = {name for name, _, _ in was if any(
        now.get((name, profile, which), 0) < flop
        for (of, profile, which), flop in was.items() if of == name
    )}  # fmt: skip
    assert model in less
    lowered = {
        profile for (name, profile, which), flop in was.items()
        if name == model and now.get((name, profile, which), 0) < flop
    }  # fmt: skip
    assert lowered <= set(waiting.profiles)
    if model in {each.model for each in site.snapshot.models}:
        assert 1_000 in {each.sequence for each in lowerings_by_model(site.snapshot)[model]}


def test_a_workload_that_weighs_less_by_energy_waits() -> None:
    """A class whose likely fraction of the peak is lower, whatever rung metered the run."""
    site = Site(MODEL)
    site.totals.apply(row("run", "a", {"workload": "moe", "format": "fp8=1"}))
    (waiting,) = (
        each for each in site.totals.book.approvals.lowerings.values() if each.state == "pending"
    )
    assert waiting.label == "workload moe"
    assert waiting.about == frozenset({"workload"})
    assert site.totals.book.runs["a"].workload is None
    assert site.totals.book.runs["a"].formats is not None, "what lowers nothing does not wait"


@pytest.mark.parametrize(
    ("agreed", "said"),
    [
        ([], ("run", "a", {"model": "m"})),
        ([], ("run", "a", {"format": "bf16=1"})),
        ([], ("run", "a", {"format": "fp8=0.9..0.97,bf16=rest"})),
        ([], ("run", "a", {"recompute": "none", "workload": "dense-transformer"})),
        ([], ("attach", "a", {"allocation": JOB})),
        ([], ("attach", "a", {"match": "slurm:*"})),
        ([MODEL], ("split", "a", {"into": "p", "phase": "1"})),
        ([], ("split", "a", {"into": "p", "phase": "1"})),
        ([("split", "a", {"into": "p", "phase": "1"})], ("run", "a", {"model": "m"})),
        ([], ("merge", "b", {"into": "a"})),
        ([MODEL], ("merge", "b", {"into": "a"})),
        ([MODEL, ("run", "b", {"model": "m"}), ("merge", "b", {"into": "a"})],
         ("merge", "b", {"into": "a", **UNDONE})),
        ([], ("external", "a", ENTRY)),
        ([], ("parent", "b", {"parent": "a", "edge": "distilled_from"})),
        ([("parent", "b", {"parent": "a", "edge": "distilled_from"})],
         ("parent", "b", {"parent": "a", "edge": "weights"})),
        ([("parent", "top", {"parent": "b", "edge": "weights"}),
          ("parent", "b", {"parent": "a", "edge": "weights"}),
          ("parent", "top", {"parent": "a", "edge": "weights"})],
         ("parent", "top", {"parent": "a", "edge": "weights", **UNDONE})),
        ([MODEL], ("rename", "a", {"name": "atlas"})),
        ([], ("party", "a", {"party": "x", "role": "provider"})),
        ([("plan", "a", {"lower": "1", "best": "2", "upper": "3", "from": "2026-01-01",
                         "until": "2026-02-01"})],
         ("plan", "a", dict(UNDONE))),
    ],
)  # fmt: skip
def test_what_lowers_nothing_holds_at_once(
    agreed: list[tuple[str, str, dict[str, str]]], said: tuple[str, str, dict[str, str]]
) -> None:
    """No profile counts less of any model, so nobody has to approve it."""
    site = Site(*agreed)
    was = site.counted()
    before = dict(site.totals.book.approvals.lowerings)
    site.totals.apply(row(*said))
    assert site.totals.book.approvals.lowerings == before
    now = site.counted()
    left = {name for name, _, _ in was} - {name for name, _, _ in now}
    assert len(left) <= 1, "a run's own name as a model of one, and all of it is elsewhere"
    assert all(now[name] >= flop for name, flop in was.items() if name[0] not in left)


def test_a_part_stays_in_the_model_of_its_run() -> None:
    """A run of no declared model that is split is still one model of one."""
    site = Site(("split", "a", {"into": "p", "phase": "1"}))
    assert {run.run: run.model for run in site.snapshot.runs} == {
        "a": "a", "b": "b", "c": "c", "p": "a",
    }  # fmt: skip
    model = next(each for each in site.snapshot.models if each.model == "a")
    assert model.runs == ("a", "p")


def test_the_same_statement_does_not_wait_twice() -> None:
    """Whoever says it again, and for whatever reason; refused once, it may be said again."""
    site = Site(MODEL, ATTACHED)
    body = {"allocation": JOB, **UNDONE}
    site.totals.apply(row("attach", "a", body, 1_000))
    with pytest.raises(DataError, match="declaration 1000 says the same and waits already"):
        site.totals.apply(row("attach", "a", {**body, "reason": "again"}, 1_001))
    word = {"state": "refused", "reason": "it was its work"}
    site.totals.apply(Declaration(1_002, 0, "ben", "cli", "approval", "1000", word))
    site.totals.apply(row("attach", "a", body, 1_003))


def test_a_later_word_ends_what_waits_of_the_same_field() -> None:
    """A format ends a waiting format; a waiting model goes on waiting, and the label too."""
    site = Site(MODEL)
    site.totals.apply(row("run", "a", {"format": "tf32=1"}, 1_000))
    site.totals.apply(row("run", "a", {"model": "other"}, 1_001))
    site.totals.apply(row("run", "a", {"activity": "evaluation"}, 1_002))
    site.totals.apply(row("run", "a", {"format": "fp8=1"}, 1_003))
    lowerings = site.totals.book.approvals.lowerings
    assert [lowerings[n].state for n in (1_000, 1_001, 1_002)] == [
        "superseded", "pending", "pending",
    ]  # fmt: skip
    site.totals.apply(row("run", "a", {"model": "m"}, 1_004))
    assert lowerings[1_001].state == "superseded"


def test_more_work_under_a_waiting_move_asks_again() -> None:
    """Who agreed that a run leaves its model agreed to the work that it had."""
    site = Site(MODEL)
    site.totals.apply(row("run", "a", {"model": "other"}))
    word = {"state": "given", "reason": "seen"}
    site.totals.apply(Declaration(1_001, 0, "ben", "cli", "approval", "1000", word))
    site.totals.apply(row("attach", "a", {"allocation": JOB}, 1_002))
    assert site.totals.book.approvals.lowerings[1_000].people == ()


def test_a_rule_is_told_of_with_what_comes_under_it() -> None:
    """The label of a run lists the rules by which later work is under it, with their period."""
    from flopmeter_collector.label_presentation import lowering_json
    from flopmeter_collector.lowerings import rules_by_lowering

    rule = {"match": "slurm:eval/*", "until": "2027-01-01T00:00:00Z"}
    site = Site(("attach", "a", rule), ("merge", "a", {"into": "b"}))
    site.agreed(row("run", "b", {"activity": "evaluation"}))
    shot = site.snapshot
    (number,) = (n for n, each in rules_by_lowering(shot).items() if each)
    lowering = next(each for each in shot.lowerings if each.sequence == number)
    told = lowering_json(lowering, rules_by_lowering(shot)[number])["rules"]
    period = {"from": None, "until": "2027-01-01T00:00:00Z"}
    assert told == [{"run": "a", "match": "slurm:eval/*", **period}]


runs = st.sampled_from("abc")
models = st.sampled_from(["a", "b", "m", "n"])
said = st.one_of(
    st.builds(lambda run, model: ("run", run, {"model": model}), runs, models),
    st.builds(
        lambda run, mix: ("run", run, {"format": mix}), runs,
        st.sampled_from(["bf16=1", "fp8=1", "tf32=1", "fp8"]),
    ),
    st.builds(
        lambda run, what, phase: ("run", run, {"activity": what, **phase}), runs,
        st.sampled_from(["pretraining", "evaluation", "synthetic_data", "rollout"]),
        st.sampled_from([{}, {"phase": "1"}]),
    ),
    st.builds(lambda run, mode: ("run", run, {"recompute": mode}), runs,
              st.sampled_from(["none", "full"])),
    st.builds(lambda run, state: ("attach", run, {"allocation": JOB, "state": state}), runs,
              st.sampled_from(["stands", "undone"])),
    st.builds(lambda run, state: ("attach", run, {"match": "slurm:*", "state": state}), runs,
              st.sampled_from(["stands", "undone"])),
    st.builds(lambda run, into, state: ("merge", run, {"into": into, "state": state}), runs, runs,
              st.sampled_from(["stands", "undone"])),
    st.builds(lambda run, into, phase, state: (
        "split", run, {"into": into, "phase": phase, "state": state}), runs,
        st.sampled_from(["p", "q"]), st.sampled_from("01"), st.sampled_from(["stands", "undone"])),
    st.builds(lambda model, of, edge, state: (
        "parent", model, {"parent": of, "edge": edge, "state": state}), models, models,
        st.sampled_from(["weights", "distilled_from"]), st.sampled_from(["stands", "undone"])),
    st.builds(lambda model, state: ("external", model, ENTRY if state else {
        "entry": "cloud", **UNDONE}), models, st.booleans()),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(said, max_size=5), st.lists(said, min_size=1, max_size=4))
def test_no_single_word_lowers_any_total(
    agreed: list[tuple[str, str, dict[str, str]]], alone: list[tuple[str, str, dict[str, str]]]
) -> None:
    """Whatever was agreed before: what mallory says alone lowers no model under any profile.

    A model of one that nobody spoke of may go where all of it counts.
    """
    site = Site()
    for each in agreed:
        with contextlib.suppress(DataError):
            site.agreed(row(*each))
    for number, each in enumerate(alone, start=2_000):
        was = site.counted()
        unspoken = {
            model.model for model in site.snapshot.models
            if site.totals.book.is_of_one(model.model)
        }  # fmt: skip
        with contextlib.suppress(DataError):
            site.totals.apply(row(*each, number))
        now = site.counted()
        gone = {name for name, _, _ in was} - {name for name, _, _ in now}
        assert gone <= unspoken
        for (name, profile, which), flop in was.items():
            if name not in gone:
                assert now[name, profile, which] >= flop - ROUNDING_FLOP, (name, profile, each)
        for name in gone:
            for profile in builtin_profiles():
                for which in ("everything", "permitted"):
                    assert was[name, profile, which] <= max(
                        flop for (_, of, how), flop in now.items() if (of, how) == (profile, which)
                    )


def test_scales_know_what_recomputation_permits() -> None:
    """Recomputation lowers only where a profile lets it be left out, and never forward work."""
    scales = Scales()
    assert scales.lowered([(Terms(), Terms(recompute="full"))]) == (
        "eu-cumulative", "eu-parameter-updates",
    )  # fmt: skip
    assert scales.lowered([(Terms(recompute="full"), Terms(recompute="none"))]) == ()
    assert scales.lowered([(Terms(), Terms(formats="tf32=1"))]) == tuple(builtin_profiles())


def test_a_book_of_many_runs_stays_quick_to_read() -> None:
    """What a statement is held against is about its own run, not about all there are."""
    book = Book()
    for number in range(300):
        book.apply(row("run", f"r{number}", {"model": f"m{number}", "format": "bf16=1"}, number))
    assert book.approvals.lowerings == {}
    assert len(book.known_models) == 300
