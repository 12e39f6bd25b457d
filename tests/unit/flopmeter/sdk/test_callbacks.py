"""The callbacks, on stand-ins that have the frameworks' names and calls."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import Any

import pytest

import flopmeter
from flopmeter.sdk.channel import Channel
from flopmeter.sdk.meter import Meter


class Kept(Meter):
    """A meter that keeps the calls of `step`."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__("a", "0", {}, Channel(""))
        self.calls: list[tuple[int, dict[str, Any]]] = []

    def step(self, step: int, **named: Any) -> None:
        """Keep."""
        self.calls.append((step, named))


class Parameter:
    """A tensor as far as its size is asked for."""

    def __init__(self, count: int, *, trained: bool = True) -> None:
        """Of so many numbers."""
        self.requires_grad = trained
        self._count = count

    def numel(self) -> int:
        """How many numbers."""
        return self._count


class Model:
    """Seventy trained parameters and thirty frozen ones."""

    def parameters(self) -> list[Parameter]:
        """All of them."""
        return [Parameter(70), Parameter(30, trained=False)]


class Base:
    """A framework's callback class."""


def planted(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """Make a module importable."""
    module = types.ModuleType(name)
    for attribute, thing in content.items():
        setattr(module, attribute, thing)
    parent, _, _ = name.partition(".")
    monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, module)


def test_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 0 claims each optimizer step for the whole run; the others say nothing."""
    planted(monkeypatch, "transformers", TrainerCallback=Base)
    kept = Kept()
    callback = flopmeter.trainer_callback(kept, tokens_per_step=1000)
    assert Base in type(callback).__mro__
    callback.on_train_begin(None, None, None, model=Model())
    for step, first in ((1, True), (2, True), (3, False)):
        state = types.SimpleNamespace(global_step=step, is_world_process_zero=first)
        callback.on_step_end(None, state, None)
    callback.on_train_end(None, None, None)
    said = {"flop": 6 * 70 * 1000, "tokens": 1000}
    assert kept.calls == [(1, said), (2, said)]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Each batch is this rank's share of the optimizer step it works for."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    planted(monkeypatch, package, Callback=Base)
    kept = Kept()
    callback = flopmeter.lightning_callback(kept, tokens_per_batch=10, flop_per_token=7)
    trainer = types.SimpleNamespace(global_step=0, global_rank=3)
    callback.on_train_start(trainer, Model())
    for done in (0, 1, 1, 2):  # two batches a step; it is taken within the second batch
        callback.on_train_batch_start(trainer, None, 0)
        trainer.global_step = done
        callback.on_train_batch_end(trainer, None, None, 0)
    callback.on_train_end(trainer, Model())
    said = {"flop": 70, "tokens": 10, "scope": "rank", "rank": 3}
    assert kept.calls == [(1, said), (1, said), (2, said), (2, said)]


def test_lightning_takes_six_per_trained_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a figure the dense formula is used, over trained parameters only."""
    planted(monkeypatch, "lightning.pytorch", Callback=Base)
    callback = flopmeter.lightning_callback(Kept(), tokens_per_batch=10)
    callback.on_train_start(None, Model())
    assert callback.rate == 6 * 70


def test_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is done once, under the counter."""
    done: list[object] = []

    class FlopCounterMode:
        def __init__(self, *, display: bool) -> None:
            assert not display

        def __enter__(self) -> FlopCounterMode:
            return self

        def __exit__(self, *error: object) -> None: ...

        def get_total_flops(self) -> int:
            return 12 * len(done)

    planted(monkeypatch, "torch.utils.flop_counter", FlopCounterMode=FlopCounterMode)
    assert flopmeter.count_flop(done.append, "batch") == 12
    assert done == ["batch"]


def test_pytorch_that_cannot_count(caplog: pytest.LogCaptureFixture) -> None:
    """Without PyTorch, or with an operation it cannot count, training goes on."""
    assert flopmeter.count_flop(lambda: None) == 0
    assert "flopmeter cannot count this step" in caplog.text


def test_public_names() -> None:
    """Every public name can be had, another one cannot, and importing loads none of them."""
    for name in flopmeter.__all__:
        assert callable(getattr(flopmeter, name))
        assert name in dir(flopmeter)
    with pytest.raises(AttributeError, match="no attribute 'gauge'"):
        _ = flopmeter.gauge
    program = (
        "import sys, flopmeter; sys.exit(any(n.startswith('flopmeter.') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
