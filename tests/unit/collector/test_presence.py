"""What all devices add up to is the same, whether each is looked at or only those that changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.presence import NO_CHARGE, Charge, Presence, Present, Standing
from flopmeter_collector.timeline import Division, classes_at

SILENCE_NS = 300

users = st.sampled_from([None, "run:a", "run:b"])
divisions = st.builds(
    Division,
    classified_ns=st.just(0),
    declared_down_ns=st.integers(0, 50),
    residual_ns=st.dictionaries(users, st.integers(1, 99), max_size=2),
    doubled_ns=st.dictionaries(st.sampled_from(["w1", "w2"]), st.integers(1, 9), max_size=2),
    tail_from_ns=st.one_of(st.none(), st.integers(0, 2_000)),
    tail_until_ns=st.one_of(st.none(), st.none(), st.integers(0, 3_000)),
    tail_downs=st.sampled_from([(), ((100, 900),)]),
)
standings = (
    st.builds(Standing, divisions, st.integers(1, 4), st.integers(0, 7), st.booleans()) | st.none()
)
names = st.sampled_from(["d0", "d1", "d2"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names, standings),
        st.tuples(st.just("grow"), names, st.integers(1, 400)),
        st.tuples(st.just("look"), st.integers(0, 3_000), st.none()),
    ),
    max_size=30,
)


def each_by_itself(devices: dict[str, Standing | None], as_of_ns: int) -> Present:
    """The sum, of every device anew."""
    charges: dict[str | None, Charge] = {}
    down_ns = silent = enrolled = doubled = doubled_ns = 0
    for known in devices.values():
        if known is None:
            continue
        division, count = known.division, known.device_count
        doubled += bool(division.doubled_ns)
        doubled_ns += sum(division.doubled_ns.values()) * count
        if division.tail_from_ns is None:
            continue
        going_on = division.tail_until_ns is None or division.tail_until_ns > as_of_ns
        enrolled += count * going_on
        down, residual_ns = division.declared_down_ns, dict(division.residual_ns)
        if not going_on or as_of_ns - division.tail_from_ns >= SILENCE_NS:
            classes = classes_at(division, as_of_ns, silence_ns=SILENCE_NS)
            down, residual_ns = classes.declared_down_ns, dict(classes.residual_ns)
            silent += count * going_on
        down_ns += down * count
        for user, missing_ns in residual_ns.items():
            charges[user] = charges.get(user, NO_CHARGE) + Charge(
                missing_ns * count, missing_ns * known.ceiling_flop_per_ns, known.simulated
            )
    return Present(charges, down_ns, silent, enrolled, doubled, doubled_ns)


@given(steps)
def test_presence_is_the_sum_of_all_devices(
    steps: list[tuple[str, object, object]],
) -> None:
    """Devices come, grow, fall silent, end and come back; clocks step back; the sum is exact."""
    devices: dict[str, Standing | None] = {}
    presence = Presence(SILENCE_NS, devices.get)
    for what, first, second in steps:
        if what == "look":
            assert isinstance(first, int)
            assert presence.at(first) == each_by_itself(devices, first)
            continue
        assert isinstance(first, str)
        if what == "put":
            assert second is None or isinstance(second, Standing)
            devices[first] = second
            presence.changed(first)
        else:
            # The usual report: only the tail moves, and nobody tells unless it was silent.
            assert isinstance(second, int)
            known = devices.get(first)
            going = known is not None and known.division.tail_from_ns is not None
            if going and known is not None and known.division.go_on(second):
                presence.changed(first)
    for as_of_ns in (0, 1_000, 3_000):
        assert presence.at(as_of_ns) == each_by_itself(devices, as_of_ns)


def test_a_fleet_that_reports_is_not_looked_at() -> None:
    """Of devices that go on reporting none is asked for before its silence could begin."""
    asked = []
    divisions = {str(number): Division(tail_from_ns=number) for number in range(100)}

    def standing(name: str) -> Standing:
        asked.append(name)
        return Standing(divisions[name], 8, 1, simulated=False)

    presence = Presence(SILENCE_NS, standing)
    for name in divisions:
        presence.changed(name)
    assert presence.at(200).enrolled == 800
    asked.clear()
    for division in divisions.values():
        division.go_on(250)
    assert presence.at(260).enrolled == 800
    assert asked == []
    assert presence.at(350).silent == 0
    assert sorted(asked, key=int) == [str(number) for number in range(51)]


def test_a_silent_fleet_is_not_looked_at() -> None:
    """Devices that are silent or ended are asked for once; their missing time grows all the same.

    When a clock goes back they are looked at again.
    """
    asked = []
    divisions = {str(number): Division(tail_from_ns=10) for number in range(50)}
    divisions |= {str(number): Division(0, 0, {}, {}, 10, 400) for number in range(50, 100)}

    def standing(name: str) -> Standing:
        asked.append(name)
        return Standing(divisions[name], 8, 3, simulated=False)

    presence = Presence(SILENCE_NS, standing)
    for name in divisions:
        presence.changed(name)
    assert presence.at(500).charges == {None: Charge(8 * 50 * (490 + 390), 3 * 50 * (490 + 390))}
    asked.clear()
    assert presence.at(600).charges == {None: Charge(8 * 50 * (590 + 390), 3 * 50 * (590 + 390))}
    assert asked == []
    assert presence.at(100).silent == 0
    assert len(asked) == 100
