"""Why an exporter's MIG instances cannot be measured, in words a person can act on."""

from __future__ import annotations

import pytest

from flopmeter_agent.sensors.dcgm.fields import CLOCK
from flopmeter_agent.sensors.dcgm.parts import CLASSES, missing_of
from flopmeter_agent.sensors.dcgm.scrape import Part, Seen
from flopmeter_core.devices import DeviceRecord

GPU = DeviceRecord("node", "GPU-1", "nvidia", "NVIDIA A100", 0x20B010DE)


def seen(part: Part, *, clock: bool = True) -> Seen:
    """An answer of one instance."""
    found = Seen("GPU-1", {}, parts={"1": part})
    if clock:
        found.quantities[CLOCK] = 1_410_000
    return found


@pytest.mark.parametrize(
    ("profile", "clock", "known", "said"),
    [
        ("1g.5gb", False, True, "shows no SM clock; add DCGM_FI_DEV_SM_CLOCK"),
        ("9g.99gb", True, False, "no SM count of the profile 9g.99gb"),
        ("", True, False, "profile that the exporter does not name"),
        ("1g.5gb", True, True, "the tensor activity of MIG instance 1 is blank"),
    ],
)
def test_what_is_missing(profile: str, clock: bool, known: bool, said: str) -> None:
    """The clock, the profile's size, or a value."""
    part = Part(profile, offered=set(CLASSES))
    assert said in missing_of(GPU, seen(part, clock=clock), lambda record: known)


def test_lines_that_contradict_each_other() -> None:
    """Neither of two values is believed."""
    answer = seen(Part("1g.5gb"))
    answer.contradictions.append("DCGM_FI_DEV_SM_CLOCK")
    assert "contradict each other: DCGM_FI_DEV_SM_CLOCK" in missing_of(
        GPU, answer, lambda record: True
    )
