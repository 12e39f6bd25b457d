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
from flopmeter.sdk.pytorch import dense_flop_per_token


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
    """A dense model of a hundred parameters, unless a test says otherwise."""

    def __init__(self, *sizes: Parameter, **config: Any) -> None:
        """Of these parameters, with this configuration."""
        self._sizes = sizes or (Parameter(70), Parameter(30))
        self.config = types.SimpleNamespace(**config)

    def parameters(self) -> list[Parameter]:
        """All of them."""
        return list(self._sizes)

    def get_input_embeddings(self) -> Any:
        """The first of them."""
        return types.SimpleNamespace(weight=self._sizes[0])


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
    said = {"flop": 6 * 100 * 1000, "tokens": 1000}
    assert kept.calls == [(1, said), (2, said)]


def test_hugging_face_without_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stated rate is never replaced by the model's, and without either steps are claimed."""
    planted(monkeypatch, "transformers", TrainerCallback=Base)
    state = types.SimpleNamespace(global_step=1, is_world_process_zero=True)
    for stated, model, flop in ((7, Model(), 7_000), (0, None, 0)):
        kept = Kept()
        callback = flopmeter.trainer_callback(kept, tokens_per_step=1000, flop_per_token=stated)
        callback.on_train_begin(None, None, None, model=model)
        callback.on_step_end(None, state, None)
        assert kept.calls == [(1, {"flop": flop, "tokens": 1000})]


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
    """Without a figure the dense formula is used, where it holds."""
    planted(monkeypatch, "lightning.pytorch", Callback=Base)
    callback = flopmeter.lightning_callback(Kept(), tokens_per_batch=10)
    callback.on_train_start(None, Model())
    assert callback.rate == 6 * 100


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Model(Parameter(60), Parameter(40, trained=False)), "40% of its parameters are frozen"),
        (Model(Parameter(9, trained=False)), "no parameter of it is trained"),
        (Model(num_local_experts=8), "some of its 8 experts"),
        (Model(n_routed_experts=256), "some of its 256 experts"),
        (Model(is_encoder_decoder=True), "one of its two stacks"),
        (Model(tie_word_embeddings=False), "70% of its parameters are only looked up"),
        (Model(num_hidden_layers=2, hidden_size=4), "attention over 4096 tokens is over 5%"),
        (object(), "cannot be read"),
    ],
)
def test_six_pd_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: Any, reason: str
) -> None:
    """Where an assumption fails it is said which; steps and tokens are claimed without FLOP."""
    planted(monkeypatch, "transformers", TrainerCallback=Base)
    kept = Kept()
    callback = flopmeter.trainer_callback(kept, tokens_per_step=1000, sequence_length=4096)
    callback.on_train_begin(None, None, None, model=model)
    state = types.SimpleNamespace(global_step=1, is_world_process_zero=True)
    callback.on_step_end(None, state, None)
    assert kept.calls == [(1, {"flop": 0, "tokens": 1000})]
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert "pass flop_per_token" in record.getMessage()


def test_six_pd_holds_by_a_twentieth() -> None:
    """What the formula may leave out or add is 5 %; partitioned parameters are seen whole."""
    partitioned = Parameter(0)
    partitioned.ds_numel = 50  # type: ignore[attr-defined]
    model = Model(Parameter(45), Parameter(5, trained=False), partitioned)
    assert dense_flop_per_token(model) == 6 * 95
    wide = Model(num_hidden_layers=1, hidden_size=1, num_experts=1)
    assert dense_flop_per_token(wide, sequence_length=5) == 6 * 100


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


@pytest.mark.needs_torch
@pytest.mark.parametrize(("reentrant", "share"), [(None, 6), (True, 8), (False, 7)])
def test_the_counter_counts_what_is_recomputed(reentrant: bool | None, share: int) -> None:
    """A count is of executed FLOP: two products forward, four backward, and those done again."""
    torch: Any = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
    batch = torch.randn(32, 64, requires_grad=True)

    def step() -> None:
        if reentrant is None:
            net(batch).sum().backward()
        else:
            again: Any = torch.utils.checkpoint.checkpoint
            again(net, batch, use_reentrant=reentrant).sum().backward()

    one_product = 2 * 32 * 64 * 256
    assert flopmeter.count_flop(step) == share * one_product


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
