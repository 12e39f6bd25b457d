"""A recording's own calls of the driver: what a field says, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from flopmeter_agent.sensors.nvml.raw import CALLS


@pytest.mark.parametrize("returned", [0, 3])
def test_instant_power(returned: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field has an answer of its own: one that is refused is an error as any call's."""
    asked = []

    def fields(handle: object, numbers: list[int]) -> list[SimpleNamespace]:
        asked.append(numbers)
        return [SimpleNamespace(nvmlReturn=returned, value=SimpleNamespace(uiVal=612_345))]

    monkeypatch.setattr(pynvml, "nvmlDeviceGetFieldValues", fields)
    if returned:
        with pytest.raises(pynvml.NVMLError) as caught:
            CALLS["power_instant_mw"](None)
        assert caught.value.value == returned
    else:
        assert CALLS["power_instant_mw"](None) == 612_345
    assert asked == [[186]]
