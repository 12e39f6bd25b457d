"""The runner of calibration work: batches, times and refusals, on a torch of our own."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from flopmeter.lab import runner as module
from flopmeter.lab.runner import TorchRunner, load_torch
from flopmeter.lab.workloads.base import CannotRunError, Prepared, Spec
from flopmeter_core.errors import UsageError
from flopmeter_core.units import NS_PER_S
from support.manual_clock import ManualClock

STEP_S = 0.01


class Device:
    """A CUDA device that does a step of work in 10 ms, once it is waited for."""

    def __init__(self, clock: ManualClock, uuid: str | None = "abc") -> None:
        self.clock = clock
        self.queued = self.done = self.released = 0
        self.batches: list[int] = []
        found = SimpleNamespace(name="H100") if uuid is None else None
        self.properties = found or SimpleNamespace(name="H100", uuid=uuid)

    def is_available(self) -> bool:
        """It is there."""
        return True

    def step(self) -> None:
        """Queue a step."""
        self.queued += 1

    def synchronize(self) -> None:
        """Wait for what is queued."""
        self.clock.advance(self.queued * STEP_S)
        self.batches.append(self.queued)
        self.done, self.queued = self.done + self.queued, 0

    def get_device_properties(self, _: str) -> SimpleNamespace:
        """What it is."""
        return self.properties

    def empty_cache(self) -> None:
        """Give memory back."""
        self.released += 1


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device; waiting moves its clock."""
    made = Device(ManualClock())
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=made.clock.advance))
    return made


def torch_of(device: Device) -> Any:
    """The module torch that has this device."""
    version = SimpleNamespace(cuda="12.8")
    return SimpleNamespace(__version__="2.9.0", cuda=device, version=version)


def work(device: Device, error: Exception | None = None) -> Spec:
    """A workload whose step is queued on the device; or one that torch refuses."""

    def prepare(*_: Any) -> Prepared:
        if error is not None:
            raise error
        return Prepared(device.step, 8, 8, "a test")

    return Spec("matrix", "tensor", prepare)


def test_work_lasts_as_long_as_it_is_asked(device: Device) -> None:
    """Batches grow to about 50 ms; every step that was done is in the times and in the count."""
    runner = TorchRunner(torch_of(device), device.clock)
    prepared = runner.prepare(work(device))
    assert device.batches == [3], "it is warmed up first"
    ran = runner.measure(prepared, 1.0)
    assert ran.steps == device.done - 3
    assert ran.stop_ns - ran.start_ns == round(ran.steps * STEP_S * NS_PER_S)
    assert NS_PER_S <= ran.stop_ns - ran.start_ns < 1.06 * NS_PER_S
    assert device.batches[1:4] == [1, 4, 5] and set(device.batches[4:]) == {5}
    runner.release()
    assert device.released == 1


def test_idle_is_a_workload(device: Device) -> None:
    """What does nothing takes its time and no step."""
    runner = TorchRunner(torch_of(device), device.clock)
    spec = Spec("idle", "idle", lambda *_: Prepared(None, 0, 0, "a test"))
    ran = runner.measure(runner.prepare(spec), 2.0)
    assert (ran.steps, ran.stop_ns - ran.start_ns) == (0, 2 * NS_PER_S)
    assert device.batches == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CannotRunError("no fp8 here"), "no fp8 here"),
        (RuntimeError("CUDA error: out of memory\nat ..."), "RuntimeError: CUDA error: out of"),
        (ValueError(), "ValueError: "),
    ],
)
def test_what_cannot_run_says_why(error: Exception, said: str, device: Device) -> None:
    """One workload that torch refuses is one sentence, and none of the others is lost."""
    with pytest.raises(CannotRunError) as caught:
        TorchRunner(torch_of(device), device.clock).prepare(work(device, error))
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("uuid", "told"), [("abc", "GPU-abc"), (None, "")])
def test_what_ran_the_work(uuid: str | None, told: str) -> None:
    """The device's UUID is told where torch knows it."""
    device = Device(ManualClock(), uuid)
    assert TorchRunner(torch_of(device), device.clock).description == {
        "device": "H100",
        "uuid": told,
        "torch": "2.9.0",
        "cuda": "12.8",
    }


def test_load(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed torch with a device is taken; without one the sentence says how to get it."""
    torch = torch_of(device)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert load_torch() is torch
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match="calibration needs PyTorch with CUDA; install it with"):
        load_torch()
