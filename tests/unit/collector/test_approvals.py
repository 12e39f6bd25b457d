"""Labels that lower a legal total: two people with the role, each with a reason, or no effect."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.approvals import Lowering, lowered
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.totals import Totals
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

    @property
    def labels(self) -> set[str]:
        """The activities of the run's parts."""
        (run,) = self.totals.snapshot(AS_OF_NS, POSITION).runs
        return {part.label.activity.value for part in run.parts}

    @property
    def waiting_count(self) -> int:
        """How many labels of the run are shown as waiting."""
        (run,) = self.totals.snapshot(AS_OF_NS, POSITION).runs
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
    assert desk.waiting_count == 1
    desk.say("eva", "approval", str(number), state="refused", reason="it was training")
    assert desk.waiting_count == 0
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


labels = st.sampled_from(every_label())


@given(labels, labels, st.integers(0, 10**6))
def test_what_lowers_nothing_lowers_no_count(old: WorkLabel, new: WorkLabel, flop: int) -> None:
    """Where a change is said to lower nothing, no profile counts less of it, either way."""
    named = lowered([(old, new)])
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
    assert lowered([(UNLABELLED, WorkLabel(Activity.EVALUATION))])
    assert lowered([(WorkLabel(Activity.EVALUATION), UNLABELLED)]) == ()
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
        ("ben", "approval", "7", {"state": "given"}, "no label that waits"),
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
