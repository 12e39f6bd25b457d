"""Labels that lower a legal total: two people with the role, each with a reason, or no effect."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.approvals import Lowering
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.lowerings import lowerings_of
from flopmeter_collector.totals import Totals
from flopmeter_collector.worth import Scales, Terms
from flopmeter_core.activities import UNLABELLED, Activity, WorkLabel, every_label
from flopmeter_core.counting import OWN, Verdict, WorkPart, count
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.recompute import factor_or_widest
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table

PARTS = table()
ROLES = (
    ("ada", "ada", "owner"),
    ("ada", "ada", "compliance"),
    ("ada", "ben", "compliance"),
    ("ada", "eva", "compliance"),
)


class Desk:
    """Totals of one run with two phases, and a ledger's numbering."""

    def __init__(self, *, roles: Iterable[tuple[str, str, str]] = ROLES) -> None:
        """Give the roles."""
        self.totals = Totals(PARTS)
        record = h100()
        for phase in (0, 1):
            feed(self.totals, key_of(record, "run:a", phase=phase), record, busy_vector(100))
        self._numbers = itertools.count(1)
        for author, person, role in roles:
            self.say(author, "role", person, role=role, state="granted", reason="asked")

    def say(self, author: str, kind: str, subject: str, **body: str) -> int:
        """Take a declaration; gives its number."""
        number = next(self._numbers)
        self.totals.apply(Declaration(number, 0, author, "cli", kind, subject, body))
        return number

    def label(self, author: str = "zoe", **body: str) -> int:
        """Label the run."""
        return self.say(author, "run", "a", **body)

    def give(self, author: str, number: int, reason: str = "checked") -> int:
        """Stand behind a label."""
        return self.say(author, "approval", str(number), state="given", reason=reason)

    def agree(self, author: str, kind: str, subject: str, **body: str) -> int:
        """Take a declaration, and have two people stand behind it where it waits."""
        number = self.say(author, kind, subject, **body)
        if number in self.totals.book.approvals.lowerings:
            self.give("ben", number)
            self.give("eva", number)
        return number

    @property
    def labels(self) -> set[str]:
        """The activities of the run's parts."""
        return self.labels_of("a")

    def labels_of(self, name: str) -> set[str]:
        """The activities of a run's parts."""
        (run,) = (
            each for each in self.totals.snapshot(AS_OF_NS, POSITION).runs if each.run == name
        )
        return {part.label.activity.value for part in run.parts}

    def waiting(self, name: str) -> int:
        """How much of a run waits for people, as its totals say."""
        (run,) = (
            each for each in self.totals.snapshot(AS_OF_NS, POSITION).runs if each.run == name
        )
        return run.waiting_label_count

    def lowering(self, number: int) -> Lowering:
        """The label of a declaration."""
        found = {each.sequence: each for each in self.totals.snapshot(AS_OF_NS, POSITION).lowerings}
        return found[number]


def test_a_label_that_lowers_nothing_holds_at_once() -> None:
    """Training of another kind counts as much as unlabelled work, for everybody."""
    desk = Desk(roles=())
    desk.label(activity="pretraining")
    assert desk.labels == {"pretraining"}
    assert desk.totals.snapshot(AS_OF_NS, POSITION).lowerings == ()


def test_two_people_have_to_stand_behind_it() -> None:
    """Of somebody without the role, a lowering label needs two; it is shown and moves nothing."""
    desk = Desk()
    number = desk.label(activity="evaluation", format="bf16=1", reason="red team")
    assert desk.labels == {"unlabelled"}
    run = desk.totals.snapshot(AS_OF_NS, POSITION).runs[0]
    assert run.waiting_label_count == 1
    assert run.declaration.formats is not None, "what lowers nothing does not wait"
    assert "eu-cumulative" in desk.lowering(number).profiles
    desk.give("ben", number)
    assert (desk.labels, desk.lowering(number).state) == ({"unlabelled"}, "pending")
    desk.give("eva", number)
    assert (desk.labels, desk.lowering(number).state) == ({"evaluation"}, "approved")
    assert [person for person, _ in desk.lowering(number).people] == ["ben", "eva"]
    assert desk.totals.snapshot(AS_OF_NS, POSITION).runs[0].waiting_label_count == 0


def test_the_author_is_one_of_them() -> None:
    """Whoever has the role and gave a reason needs one other person, and is not that person."""
    desk = Desk()
    number = desk.label("ben", activity="evaluation", reason="red team")
    for again in ("ben", "BEN", "b\u0435n"):
        with pytest.raises(DataError, match=r"another person|does not have the role"):
            desk.give(again, number)
    desk.give("eva", number)
    assert desk.labels == {"evaluation"}
    silent = desk.label("ben", activity="inference")
    desk.give("eva", silent)
    assert desk.labels == {"evaluation"}, "without a reason the author does not stand behind it"


def test_refused_and_raised_again() -> None:
    """A refused label stays listed; a label that raises the total again needs nobody."""
    desk = Desk()
    number = desk.label(activity="evaluation")
    assert desk.waiting("a") == 1
    desk.say("eva", "approval", str(number), state="refused", reason="it was training")
    assert desk.waiting("a") == 0
    assert desk.lowering(number).refused_by == ("eva", "it was training")
    with pytest.raises(DataError, match="is refused already"):
        desk.give("ben", number)
    second = desk.label("ben", activity="evaluation", reason="it was not")
    desk.give("ada", second)
    assert desk.labels == {"evaluation"}
    desk.label(activity="finetuning")
    assert desk.labels == {"finetuning"}
    assert desk.lowering(second).state == "approved"


def test_a_part_of_the_run() -> None:
    """A label for one phase is held against what held for that phase, and settles for it alone."""
    desk = Desk()
    desk.label(activity="pretraining")
    number = desk.label("ben", activity="evaluation", phase="1", reason="red team")
    assert desk.labels == {"pretraining"}
    assert desk.lowering(number).place.endswith("phase 1")
    desk.give("eva", number)
    assert desk.labels == {"pretraining", "evaluation"}
    whole = desk.label(activity="inference")
    assert desk.labels == {"pretraining", "evaluation"}
    desk.give("ben", whole)
    desk.give("eva", whole)
    assert desk.labels == {"inference", "evaluation"}


def test_an_external_entrys_label_waits_too() -> None:
    """Compute entered as an evaluation counts as unlabelled until two people agree."""
    desk = Desk()
    number = desk.say(
        "zoe", "external", "m", entry="e", lower="1", best="2", upper="3", party="p",
        source="s", sha256="0" * 64, activity="evaluation", **{"from": "2026-01-01"},
        until="2026-01-02",
    )  # fmt: skip

    def label() -> WorkLabel:
        (model,) = (
            each for each in desk.totals.snapshot(AS_OF_NS, POSITION).models if each.model == "m"
        )
        return model.parts[0].label

    assert label() == UNLABELLED
    desk.give("ben", number)
    desk.give("eva", number)
    assert label() == WorkLabel(Activity.EVALUATION)
    late = desk.say("zoe", "external", "m", entry="e", state="undone")
    assert late and desk.lowering(number).state == "approved"


def test_a_merge_is_no_way_around() -> None:
    """Work cannot be put under another run's lowering label by merging it there."""
    desk = Desk()
    number = desk.label("ben", activity="evaluation", reason="red team")
    desk.give("eva", number)
    record = h100("GPU-1")
    feed(desk.totals, key_of(record, "run:b"), record, busy_vector(100))
    with pytest.raises(DataError, match="label them alike"):
        desk.say("zoe", "merge", "b", into="a")


def _covered(*before: tuple[str, str, dict[str, str]]) -> Desk:
    """Run a is pretraining, and an evaluation that two people approved takes work of its own."""
    desk = Desk()
    desk.label(activity="pretraining")
    for kind, subject, body in before:
        desk.agree("zoe", kind, subject, **body)
    number = desk.say("ben", "run", "ev", activity="evaluation", reason="harness")
    desk.give("eva", number)
    return desk


ALLOCATION = "slurm:c/1"
PART = {"into": "ev", "state": "stands"}


@pytest.mark.parametrize(
    ("before", "mover"),
    [
        ([("split", "a", PART | {"phase": "9"})], ("split", "a", PART | {"phase": "0"})),
        ([], ("attach", "ev", {"allocation": ALLOCATION})),
        ([], ("attach", "ev", {"match": "slurm:c/*"})),
        (
            [
                ("attach", "ev", {"match": "slurm:c/*"}),
                ("attach", "b", {"allocation": ALLOCATION}),
            ],
            ("attach", "b", {"allocation": ALLOCATION, "state": "undone"}),
        ),
        (
            [
                ("run", "ev", {"activity": "pretraining"}),
                ("split", "ev", {"into": "b", "phase": "0"}),
                ("run", "b", {"activity": "pretraining"}),
            ],
            ("split", "ev", {"into": "b", "phase": "0", "state": "undone"}),
        ),
    ],
    ids=["split", "attach", "rule", "detach to a rule", "undone split"],
)  # fmt: skip
def test_work_brought_under_an_approved_label_waits(
    before: list[tuple[str, str, dict[str, str]]], mover: tuple[str, str, dict[str, str]]
) -> None:
    """Nobody lowers a total alone by moving work: it waits for two people, and then it holds."""
    desk = _covered(*before)
    record = h100("GPU-9")
    feed(desk.totals, key_of(record, ALLOCATION), record, busy_vector(100))
    for run in ("b", "ev"):
        feed(desk.totals, key_of(record, f"run:{run}"), record, busy_vector(100))

    def told() -> list[tuple[str, str, int]]:
        return sorted(
            (run.run, part.label.activity.value, part.figures.observed.best)
            for run in desk.totals.snapshot(AS_OF_NS, POSITION).runs
            for part in run.parts
            if part.figures.observed.best
        )

    was = told()
    number = desk.say("mallory", mover[0], mover[1], **mover[2])
    assert told() == was
    assert desk.waiting("ev") == 1
    assert (desk.lowering(number).state, desk.lowering(number).subject) == ("pending", "run ev")
    assert "eu-cumulative" in desk.lowering(number).profiles
    desk.give("ben", number)
    assert told() == was
    desk.give("eva", number)
    assert desk.lowering(number).state == "approved"
    assert told() != was
    assert desk.waiting("ev") == 0


def test_a_merge_by_the_middle_waits() -> None:
    """What a run is merged into says nothing itself, but is a part of an approved evaluation."""
    desk = Desk()
    desk.say("zoe", "merge", "mid", into="ev")
    desk.give("eva", desk.say("ben", "run", "ev", activity="evaluation", reason="harness"))
    number = desk.say("mallory", "merge", "a", into="mid")
    assert (desk.lowering(number).state, desk.labels) == ("pending", {"unlabelled"})
    desk.give("ben", number)
    desk.give("eva", number)
    assert desk.labels_of("ev") == {"evaluation"}


def test_work_under_no_lowering_label_moves_at_once() -> None:
    """Between runs of one label, and out of an evaluation, work moves on one person's word."""
    desk = _covered(("split", "a", PART | {"phase": "9"}))
    count = len(desk.totals.snapshot(AS_OF_NS, POSITION).lowerings)
    desk.say("zoe", "split", "a", into="more", phase="1")
    desk.say("zoe", "split", "a", state="undone", **{"into": "ev", "phase": "9"})
    assert len(desk.totals.snapshot(AS_OF_NS, POSITION).lowerings) == count
    assert {run.run for run in desk.totals.snapshot(AS_OF_NS, POSITION).runs} >= {"a", "more"}


def test_work_under_a_waiting_label_asks_again() -> None:
    """Who stood behind a label before more work came under it has to say so again."""
    desk = Desk()
    desk.label(activity="pretraining")
    desk.say("zoe", "split", "a", into="ev", phase="9")
    number = desk.say("ben", "run", "ev", activity="evaluation", reason="harness")
    desk.say("mallory", "split", "a", into="ev", phase="0")
    desk.give("eva", number)
    assert (desk.lowering(number).state, desk.labels_of("ev")) == ("pending", {"pretraining"})
    desk.give("ben", number)
    assert desk.labels_of("ev") == {"evaluation"}


def test_a_correction_ends_what_waits() -> None:
    """A later label of the same place supersedes a waiting one; nobody can approve that then."""
    desk = Desk()
    elsewhere = desk.label("ben", activity="evaluation", reason="red team", phase="1")
    number = desk.label("ben", activity="evaluation", reason="red team")
    desk.label("ben", activity="pretraining", reason="it trained")
    assert desk.lowering(number).state == "superseded"
    with pytest.raises(DataError, match="is superseded already"):
        desk.give("eva", number)
    assert desk.labels == {"pretraining"}
    assert desk.lowering(elsewhere).state == "pending"
    assert desk.totals.snapshot(AS_OF_NS, POSITION).runs[0].waiting_label_count == 1


def test_who_lost_the_role_stands_behind_nothing() -> None:
    """A backer whose role was taken does not count among the two."""
    desk = Desk()
    number = desk.label("ben", activity="evaluation", reason="red team")
    desk.say("ada", "role", "ben", role="compliance", state="revoked", reason="left")
    assert desk.lowering(number).people == ()
    desk.give("eva", number)
    assert (desk.labels, desk.lowering(number).state) == ({"unlabelled"}, "pending")
    desk.give("ada", number)
    assert desk.labels == {"evaluation"}


def test_a_models_lowerings_are_all_found() -> None:
    """Those of a merged run, of the run a part was split off, and of an inherited external."""
    desk = Desk()
    record = h100("GPU-9")
    feed(desk.totals, key_of(record, "run:b"), record, busy_vector(100))
    of = {}
    for run in ("a", "b"):
        of[run] = desk.say("ben", "run", run, activity="evaluation", reason="r")
        desk.give("eva", of[run])
    desk.say("zoe", "split", "a", into="part", phase="1")
    moved = desk.agree("zoe", "run", "part", model="m")
    external = desk.say(
        "ben", "external", "base", entry="e", lower="1", best="2", upper="3", party="p",
        source="s", sha256="0" * 64, activity="evaluation", reason="r", until="2026-01-02",
        **{"from": "2026-01-01"},
    )  # fmt: skip
    desk.say("zoe", "parent", "m", parent="base", edge="weights")
    desk.say("zoe", "merge", "b", into="part")
    snapshot = desk.totals.snapshot(AS_OF_NS, POSITION)
    found = {
        model.model: [each.sequence for each in lowerings_of(snapshot, model)]
        for model in snapshot.models
    }
    assert found["m"] == [of["a"], of["b"], moved, external]
    assert found["base"] == [external]
    assert found["a"] == [of["a"], moved], "what left a model is told of that model too"


labels = st.sampled_from(every_label())


@given(labels, labels, st.integers(0, 10**6))
def test_what_lowers_nothing_lowers_no_count(old: WorkLabel, new: WorkLabel, flop: int) -> None:
    """Where a change is said to lower nothing, no profile counts less of it, either way."""
    named = Scales().lowered([(Terms(old), Terms(new))])
    for profile in builtin_profiles().values():
        before, after = (count([_part(label, flop)], profile) for label in (old, new))
        lower = (
            after.everything.observed.best < before.everything.observed.best
            or after.permitted.observed.best < before.permitted.observed.best
        )
        assert (profile.id in named) or not lower


def _part(label: WorkLabel, flop: int) -> WorkPart:
    factor = factor_or_widest(None, activity=None, workload=None)
    return WorkPart(label, Figures(Interval(flop, flop, flop, flop, flop)), factor, OWN, "a")


def test_every_profile_leaves_something_out() -> None:
    """The check has something to find: evaluation lowers a count, unlabelled work lowers none."""
    scales, evaluation = Scales(), Terms(WorkLabel(Activity.EVALUATION))
    assert scales.lowered([(Terms(), evaluation)])
    assert scales.lowered([(evaluation, Terms())]) == ()
    for profile in builtin_profiles().values():
        assert profile.entry(UNLABELLED).verdict in (Verdict.COUNT, Verdict.UNADDRESSED)


@pytest.mark.parametrize(
    ("author", "kind", "subject", "body", "sentence"),
    [
        ("ben", "role", "ben", {"role": "owner"}, "does not own"),
        ("ada", "role", "ben", {"role": "compliance"}, "has the role compliance"),
        ("ada", "role", "zoe", {"role": "king"}, "is no role"),
        ("ada", "role", "zoe", {"role": "compliance", "reason": " "}, "need a reason"),
        ("ada", "role", "zoe", {"role": "compliance", "state": "lent"}, "granted or revoked"),
        ("ada", "role", "ada", {"role": "owner", "state": "revoked"}, "last owner"),
        ("ada", "role", "x\n", {"role": "owner"}, "printable"),
        ("ben", "approval", "7", {"state": "given"}, "does not wait for approval"),
        ("zoe", "approval", "5", {"state": "given"}, "does not have the role"),
        ("ben", "approval", "5", {"state": "perhaps"}, "given or refused"),
        ("ben", "approval", "5", {"state": "given", "reason": ""}, "need a reason"),
        ("ben", "approval", "x", {"state": "given"}, "is no declaration"),
    ],
)
def test_refused(author: str, kind: str, subject: str, body: dict[str, str], sentence: str) -> None:
    """Whoever may not speak, or says nothing that can be understood, changes nothing."""
    desk = Desk()
    assert desk.label(activity="evaluation") == 5
    before = desk.totals.snapshot(AS_OF_NS, POSITION)
    with pytest.raises(DataError, match=sentence) as caught:
        desk.say(author, kind, subject, **({"state": "granted", "reason": "why"} | body))
    assert "\n" not in str(caught.value)
    assert desk.totals.snapshot(AS_OF_NS, POSITION) == before


def test_the_first_owner() -> None:
    """Before anybody owns the roles, all that may be given is that, to oneself."""
    desk = Desk(roles=())
    with pytest.raises(DataError, match="nobody owns this ledger's roles yet"):
        desk.say("ben", "role", "ben", role="compliance", state="granted", reason="asked")
    with pytest.raises(DataError, match="nobody owns this ledger's roles yet"):
        desk.say("ben", "role", "ada", role="owner", state="granted", reason="asked")
    desk.say("ben", "role", "ben", role="owner", state="granted", reason="asked")
    desk.say("ben", "role", "ada", role="owner", state="granted", reason="asked")
    desk.say("ada", "role", "ben", role="owner", state="revoked", reason="left")
    assert desk.totals.book.approvals.people == {"ada": frozenset({"owner"})}
