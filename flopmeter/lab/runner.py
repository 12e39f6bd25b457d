"""Runs calibration workloads on a CUDA device, through an installed PyTorch.

Owns: the import of torch, and the timing of a workload.
May touch: the CUDA device; waits.
Called by lab.calibrate through its Runner protocol.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import Protocol

from flopmeter.lab.workloads.base import CannotRunError, Prepared, Spec, Torch
from flopmeter_core.errors import UnreachableError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

_WARM_UP_STEPS = 3
_BATCH_S = 0.05


@dataclass(frozen=True, slots=True)
class Ran:
    """A stretch of work: its times on the node's monotonic clock, and how often it was done."""

    start_ns: int
    stop_ns: int
    steps: int


class Runner(Protocol):
    """Runs workloads where they can run."""

    @property
    def description(self) -> dict[str, str]:
        """What ran the work: device, torch and CUDA versions."""

    def prepare(self, spec: Spec) -> Prepared:
        """Put a workload's data in place and warm it up.

        Raises:
            CannotRunError: it cannot run here.
        """

    def measure(self, prepared: Prepared, seconds: float) -> Ran:
        """Do the work for about so long, alone on the device, and wait for its end."""

    def pause(self, seconds: float) -> None:
        """Leave the device alone."""

    def release(self) -> None:
        """Free what the last workload held."""


def load_torch() -> Torch:
    """Import torch and see that it has a CUDA device.

    Raises:
        UsageError: torch is not installed.
        UnreachableError: it has no CUDA device.
    """
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise UsageError(
            "calibration needs PyTorch with CUDA; install it with: "
            "pip install '.[agent,collector,calibrate]' from a checkout"
        ) from error
    if not torch.cuda.is_available():
        raise UnreachableError(
            f"PyTorch {torch.__version__} finds no CUDA device; calibrate on a node with an "
            "NVIDIA GPU, its driver and a CUDA build of PyTorch"
        )
    return torch


class TorchRunner:
    """Runs workloads on the first CUDA device torch sees."""

    def __init__(self, torch: Torch, clock: Clock, *, device: str = "cuda:0") -> None:
        """Remember the device; nothing runs yet."""
        self._torch = torch
        self._clock = clock
        self._device = device

    @property
    def description(self) -> dict[str, str]:
        """Device with its UUID, torch and CUDA versions."""
        properties = self._torch.cuda.get_device_properties(self._device)
        uuid = getattr(properties, "uuid", None)  # of torch 2.5 and newer
        return {
            "device": str(properties.name),
            "uuid": f"GPU-{uuid}" if uuid is not None else "",
            "torch": str(self._torch.__version__),
            "cuda": str(self._torch.version.cuda),
        }

    def prepare(self, spec: Spec) -> Prepared:
        """Put a workload's data in place and warm it up.

        Raises:
            CannotRunError: torch refuses it, for whatever reason it gives.
        """
        try:
            prepared = spec.prepare(self._torch, self._device)
            if prepared.step is not None:
                for _ in range(_WARM_UP_STEPS):
                    prepared.step()
                self._torch.cuda.synchronize()
        except CannotRunError:
            raise
        except Exception as error:  # one workload that fails must not cost the others
            first = (str(error).splitlines() or [""])[0]
            raise CannotRunError(f"{type(error).__name__}: {first}") from error
        return prepared

    def measure(self, prepared: Prepared, seconds: float) -> Ran:
        """Do the work in batches of about 50 ms until the time is over."""
        if prepared.step is None:
            start_ns = self._clock.monotonic_ns()
            self.pause(seconds)
            return Ran(start_ns, self._clock.monotonic_ns(), 0)
        start_ns = self._clock.monotonic_ns()
        steps, batch = 0, 1
        while True:
            before_ns = self._clock.monotonic_ns()
            for _ in range(batch):
                prepared.step()
            self._torch.cuda.synchronize()
            now_ns = self._clock.monotonic_ns()
            steps += batch
            if now_ns - start_ns >= seconds * NS_PER_S:
                return Ran(start_ns, now_ns, steps)
            spent_ns = max(1, now_ns - before_ns)
            batch = max(1, min(4 * batch, round(batch * _BATCH_S * NS_PER_S / spent_ns)))

    def pause(self, seconds: float) -> None:
        """Leave the device alone."""
        time.sleep(seconds)

    def release(self) -> None:
        """Give the cached memory back."""
        self._torch.cuda.empty_cache()
