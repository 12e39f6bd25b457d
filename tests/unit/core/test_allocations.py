"""Allocations: one spelling each, and names that cannot be taken for another kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core import allocations
from flopmeter_core.errors import DataError

names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="(),").filter(
        str.isprintable
    ),
    min_size=1,
    max_size=allocations.MAXIMUM_RUN_NAME_LENGTH,
)


@given(one=names, other=names)
def test_round_trip(one: str, other: str) -> None:
    """Run names and the parties of a boundary come back as they went in, within the length."""
    first, second = allocations.for_run(one), allocations.for_run(other)
    assert allocations.named_run(first) == one
    shared = allocations.boundary(first, second)
    assert allocations.boundary_parties(shared) == (first, second)
    assert len(shared) <= allocations.MAXIMUM_LENGTH
    assert allocations.named_run(shared) is None
    assert allocations.boundary_parties(first) is None


def test_nobody() -> None:
    """Nobody's time is no run's, at a boundary too."""
    assert allocations.named_run(allocations.NONE) is None
    shared = allocations.boundary(allocations.NONE, "run:a")
    assert shared == "boundary(none,run:a)"
    assert allocations.boundary_parties(shared) == ("none", "run:a")
    assert allocations.boundary_parties("boundary(none)") is None


@pytest.mark.parametrize("name", ["", "a" * 201, "a,b", "a(b", "a)b", "a\nb", "a\x00"])
def test_bad_name(name: str) -> None:
    """A name that would confuse a reader or a parser is refused, whatever it names."""
    with pytest.raises(DataError, match="the name of a run"):
        allocations.for_run(name)
    with pytest.raises(DataError, match="the name of a model"):
        allocations.check_name(name, what="model")


part = st.text("abcXYZ019-_", min_size=1, max_size=40)
users = st.one_of(
    names.map(allocations.for_run),
    names.map(allocations.for_exec),
    st.builds(allocations.slurm, part, part, part, pids=st.booleans()),
    st.builds(allocations.pod, part, part, pids=st.booleans()),
    part.map(allocations.cgroup),
)


@given(found=st.lists(users, min_size=1, max_size=6))
def test_shared(found: list[str]) -> None:
    """Users of one device come back as they went in, or are counted where there is no room."""
    name = allocations.shared(found)
    distinct = tuple(sorted(set(found)))
    assert name == allocations.shared(reversed(found))
    if len(distinct) == 1:
        assert name == distinct[0] and allocations.shared_users(name) == ()
        return
    assert allocations.confidence_of(name) is allocations.Confidence.SHARED
    assert len(name) <= allocations.MAXIMUM_USER_LENGTH
    assert allocations.shared_users(name) in (distinct, ())
    if sum(len(user) for user in distinct) < 100:
        assert allocations.shared_users(name) == distinct
    both = allocations.boundary(name, allocations.NONE)
    assert len(both) <= allocations.MAXIMUM_LENGTH
    if allocations.shared_users(name):
        assert allocations.parties(name) == distinct
        assert allocations.parties(both) == (*distinct, "none")


@given(one=users)
def test_one_user(one: str) -> None:
    """A name of one user holds no other, and its means are no part of who the user is."""
    assert allocations.parties(one) == ()
    user = allocations.user_of(one)
    assert allocations.user_of(user) == user
    assert user.partition(":")[2] == one.partition(":")[2]
    assert allocations.weaker(one, user) == allocations.weaker(user, one) == one


def test_means() -> None:
    """What was seen by weaker means is the same user under another name, less sure."""
    stated = allocations.slurm("c1", "7", "2")
    seen = allocations.slurm("c1", "7", "2", pids=True)
    assert (stated, seen) == ("slurm:c1/7.2", "slurm.pids:c1/7.2")
    assert allocations.user_of(seen) == stated
    assert allocations.confidence_of(stated) is allocations.Confidence.STATED
    assert allocations.confidence_of(seen) is allocations.Confidence.SEEN
    assert allocations.named_run("run.exec:a") == "a"
    assert set(allocations.run_allocations("a")) == {"run:a", "run.exec:a"}
    assert allocations.confidence_of("run.exec:a") is allocations.Confidence.SAID
    assert allocations.confidence_of("none") is allocations.Confidence.UNKNOWN
    # Only the means a kind has: a run may be named like one.
    assert allocations.user_of("run:exec:a") == "run:exec:a"
    assert allocations.user_of("pod.exec:a") == "pod.exec:a"


@pytest.mark.parametrize("text", ["", "a/b", "a b", "a:b", "a(b", "\u00e4", "x" * 101])
def test_bad_part(text: str) -> None:
    """What would be taken for two parts is refused."""
    with pytest.raises(DataError, match="a part of an allocation's name"):
        allocations.slurm("c1", text)
