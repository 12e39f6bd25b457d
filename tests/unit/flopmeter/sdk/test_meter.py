"""The SDK's counting: what a message says after any course of calls. No socket is opened."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from flopmeter.sdk import launch
from flopmeter.sdk import meter as meter_module
from flopmeter.sdk.channel import Channel
from flopmeter.sdk.megatron import MegatronLog
from flopmeter.sdk.meter import Meter


class Pipe(Channel):
    """A channel that keeps what it is given."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__("")
        self.messages: list[dict[str, Any]] = []

    def send(self, message: bytes) -> bool:
        """Keep."""
        self.messages.append(json.loads(message))
        return True


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test is a process that has done nothing yet."""
    meter_module._progress.restart()
    yield
    meter_module._progress.restart()


def meter(pipe: Pipe, **labels: str) -> Meter:
    """A meter of run a's attempt 0."""
    return Meter("a", "0", labels, pipe)


def stretches(pipe: Pipe) -> Any:
    """The stretches of the newest message."""
    return pipe.messages[-1]["stretches"]


def test_steps_add_up() -> None:
    """One stretch holds all steps: pass, first, last, steps, tokens, FLOP."""
    pipe = Pipe()
    with meter(pipe, model="m", format="bf16=1") as claimed:
        for step in range(1, 11):
            claimed.step(step, tokens=100, flop=10**21)
    assert pipe.messages[-1] == {
        "v": 1, "run": "a", "attempt": "0", "scope": "global", "rank": 0,
        "model": "m", "format": "bf16=1", "stretches": [[0, 1, 10, 10, 1000, 10**22]],
        "phase": 0,
    }  # fmt: skip


def test_a_phase_goes_with_every_message() -> None:
    """A phase is told at once, even before a step, and again with whatever is said later."""
    pipe = Pipe()
    with meter(pipe, format="bf16=1") as claimed:
        claimed.phase(1)
        assert (pipe.messages[-1]["phase"], stretches(pipe)) == (1, [])
        claimed.step(1, flop=5)
        claimed.phase(2, format="fp8=1")
        claimed.step(2, flop=7)
    said = {m["format"]: (m["phase"], m["stretches"]) for m in pipe.messages}
    assert said == {"bf16=1": (2, [[0, 1, 1, 1, 0, 5]]), "fp8=1": (2, [[0, 2, 2, 1, 0, 7]])}
    with meter(pipe) as second:  # a meter per epoch does not go back to phase 0
        second.step(3, flop=1)
    assert pipe.messages[-1]["phase"] == 2


def test_phases_by_name() -> None:
    """Names stand for their places, so that a run resumed late says the same number."""
    pipe = Pipe()
    with Meter("a", "0", {}, pipe, ("short", "long-context")) as claimed:
        claimed.phase("long-context")
    assert pipe.messages[-1]["phase"] == 1


@pytest.mark.parametrize("wrong", [None, 7, "short"])
def test_wrong_names_of_phases(wrong: Any) -> None:
    """A meter is made whatever the phases are; names nobody knows are ignored."""
    with meter_module.meter("a", attempt="0", socket="", phases=wrong) as claimed:
        claimed.phase("long-context")
        claimed.phase(2)
    assert claimed.ignored == 1


@pytest.mark.parametrize("wrong", ["unheard-of", -1, 1, math.nan, None])
def test_a_wrong_phase_is_ignored(wrong: Any) -> None:
    """A name nobody gave, a number that goes back or is none: training and phase go on."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        claimed.phase(2)
        claimed.phase(wrong)
    assert claimed.ignored == 1
    assert pipe.messages[-1]["phase"] == 2


def test_a_rollback_is_another_pass() -> None:
    """Steps done again are stated apart from the first time."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        for step in [1, 2, 3, 2, 3, 4]:
            claimed.step(step, flop=5)
    assert stretches(pipe) == [[0, 1, 3, 3, 0, 15], [1, 2, 4, 3, 0, 15]]


def test_a_step_in_parts_is_one_step() -> None:
    """Micro-batches of one step are no replay."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        for step in [1, 1, 2, 2]:
            claimed.step(step, flop=5)
    assert stretches(pipe) == [[0, 1, 2, 2, 0, 20]]


def test_steps_nobody_spoke_of() -> None:
    """A call may be for several steps, and steps may be left out."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        claimed.step(10, flop=50, steps=10)
        claimed.step(20, flop=50, steps=10)
        claimed.step(25, flop=5)
    assert stretches(pipe) == [[0, 1, 25, 21, 0, 105]]


def test_a_second_meter_goes_on() -> None:
    """A meter per epoch is the same pass; one that begins again is another."""
    first, second, third = Pipe(), Pipe(), Pipe()
    for pipe, steps in ((first, (1, 2)), (second, (3, 4)), (third, (1, 2))):
        with meter(pipe) as claimed:
            for step in steps:
                claimed.step(step, flop=1)
    assert [stretches(pipe)[0][:3] for pipe in (first, second, third)] == [
        [0, 1, 2],
        [0, 3, 4],
        [1, 1, 2],
    ]


def test_scopes_and_ranks_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank's claims and the whole run's are different messages; the launcher says the rank."""
    monkeypatch.setenv("RANK", "3")
    pipe = Pipe()
    with meter(pipe) as claimed:
        claimed.step(1, flop=1, scope="rank")
        claimed.step(1, flop=2, scope="rank", rank=4)
        claimed.step(1, flop=3)
    said = {(m["scope"], m["rank"]): m["stretches"][0][-1] for m in pipe.messages}
    assert said == {("rank", 3): 1, ("rank", 4): 2, ("global", 0): 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"flop": math.nan},
        {"flop": math.inf},
        {"flop": -1},
        {"tokens": -1},
        {"flop": "many"},
        {"flop": 10**40},
        {"tokens": 2**70},
        {"scope": "all"},
        {"steps": 0},
        {"steps": 9},
        {"rank": -1, "scope": "rank"},
    ],
)
def test_nonsense_is_ignored_and_never_raised(
    wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on whatever was handed in; it is said once and counted."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        claimed.step(1, flop=1)
        for _ in range(2):
            claimed.step(2, **wrong)
    assert claimed.ignored == 2
    assert len([r for r in caplog.records if "flopmeter ignores" in r.message]) == 1
    assert stretches(pipe) == [[0, 1, 1, 1, 0, 1]]


def test_a_step_beyond_all_numbers_is_ignored() -> None:
    """The agent would refuse the whole stretch with it, and all that was counted before."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        claimed.step(1, flop=1)
        claimed.step(2**70, flop=1)
    assert claimed.ignored == 1
    assert stretches(pipe) == [[0, 1, 1, 1, 0, 1]]


def test_messages_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast steps follow each other, a message goes out about once a second."""
    now_s = [0.0]
    monkeypatch.setattr("flopmeter.sdk.meter.time.monotonic", lambda: now_s[0])
    pipe = Pipe()
    claimed = meter(pipe)
    for step in range(10_000):
        now_s[0] += 0.001
        claimed.step(step, flop=1)
    assert 9 <= len(pipe.messages) <= 11


def test_a_forked_child_claims_its_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent did is the parent's to claim, whichever call the child makes first."""
    for first in ("step", "phase", "flush"):
        meter_module._progress.restart()
        pipe = Pipe()
        claimed = meter(pipe)
        claimed.step(7, flop=5)
        claimed.phase(2)
        pipe.messages.clear()
        with monkeypatch.context() as child:
            child.setattr("os.getpid", lambda: 4_242)
            if first == "step":
                claimed.step(8, flop=11)
                assert stretches(pipe) == [[0, 8, 8, 1, 0, 11]]
            elif first == "phase":
                claimed.phase(1)
                assert (pipe.messages[-1]["phase"], stretches(pipe)) == (1, [])
            else:
                claimed.flush()
                assert pipe.messages == []
        assert claimed.ignored == 0


def test_what_was_sent_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Sent and dropped messages are the channel's; a channel that breaks is said once."""
    pipe = Pipe()
    claimed = meter(pipe)
    pipe.sent, pipe.dropped = 3, 4
    assert (claimed.sent, claimed.dropped) == (3, 4)

    def broken(message: bytes) -> bool:
        raise RuntimeError("no more sockets")

    pipe.send = broken  # type: ignore[method-assign]
    claimed.step(1, flop=1)
    claimed.flush()
    assert claimed.ignored == 2
    assert [row.getMessage() for row in caplog.records] == [
        "flopmeter ignores what it cannot count: no more sockets"
    ]


def test_many_rollbacks_fit_into_a_message() -> None:
    """The newest stretches are sent; the oldest were sent before."""
    pipe = Pipe()
    with meter(pipe) as claimed:
        for _ in range(70):
            claimed.step(2, flop=1)
            claimed.step(1, flop=1)
    assert len(stretches(pipe)) == 64
    assert len(json.dumps(pipe.messages[-1])) < 16 * 1024


ENVIRONMENT = (
    *(name for pair in launch._RANKS for name in pair if name),
    *launch._LAUNCH_IDS,
    *("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID", "SLURM_STEP_NUM_NODES"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS"),
    *("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "PMIX_NAMESPACE"),
    launch.RUN_VARIABLE,
    launch.ATTEMPT_VARIABLE,
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment of no launcher at all."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch, "_said", False)
    return monkeypatch


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "GROUP_WORLD_SIZE": "2"}
SRUN = {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "3", "SLURM_PROCID": "7"}


@pytest.mark.parametrize(
    ("said", "rank", "attempt"),
    [
        ({"RANK": "5", "TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "2"}, 5, "x.2"),
        (TORCHRUN | {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "0"}, 5, "x"),
        ({**SRUN, "SLURM_RESTART_COUNT": "1"}, 7, "42.1.3"),
        # One step of two nodes holds both torchruns; two steps of one node each do not.
        (SRUN | TORCHRUN | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2"}, 5, "42.3"),
        (SRUN | TORCHRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}, 5, "42"),
        ({"OMPI_COMM_WORLD_RANK": "1", "PMIX_NAMESPACE": "prterun-n0-77@1"}, 1, "prterun-n0-77@1"),
        (SRUN | {"PMIX_NAMESPACE": "slurm.pmix.42.3"}, 7, "42.3"),
        ({"PALS_RANKID": "9", "PALS_APID": "5e-3"}, 9, "5e-3"),
        ({"FLUX_TASK_RANK": "2", "FLUX_JOB_ID": "f23"}, 2, "f23"),
        ({"RANK": "x", "FLOPMETER_ATTEMPT": "mine"}, 0, "mine"),
    ],
)
def test_launchers(
    bare: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: dict[str, str],
    rank: int,
    attempt: str,
) -> None:
    """Rank and attempt come from whoever started the process, and nothing has to be said."""
    for name, text in said.items():
        bare.setenv(name, text)
    assert (launch.rank(), launch.attempt()) == (rank, attempt)
    assert not caplog.records


@pytest.mark.parametrize(
    ("said", "attempt"),
    [
        ({"RANK": "0", "WORLD_SIZE": "8"}, "0"),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "0"),
        ({"PMI_RANK": "0"}, "0"),
        (TORCHRUN | {"RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, "0"),
        (
            TORCHRUN | {"RANK": "0", "TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_MAX_RESTARTS": "3"},
            "x",
        ),
    ],
)
def test_a_launcher_that_names_no_start(
    bare: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: dict[str, str],
    attempt: str,
) -> None:
    """All ranks agree on one attempt, and rank 0 says once, in one sentence, what to set."""
    for name, text in said.items():
        bare.setenv(name, text)
    assert {launch.attempt() for _ in range(3)} == {attempt}
    (record,) = caplog.records
    assert "set FLOPMETER_ATTEMPT" in record.getMessage()
    bare.setattr(launch, "_said", False)
    rank = next(name for name in said if launch._number(name) == 0)
    bare.setenv(rank, "1")
    assert launch.attempt() == attempt
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
        {"RANK": "-1", "WORLD_SIZE": "9" * 40},
    ],
)
def test_alone_each_process_is_an_attempt(
    bare: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: dict[str, str]
) -> None:
    """A script started again by hand executes its steps again."""
    for name, text in said.items():
        bare.setenv(name, text)
    before = launch.attempt()
    bare.setattr("flopmeter.sdk.launch.os.getpid", lambda: 1)
    assert launch.attempt() != before
    assert not caplog.records


LINE = (
    " [2026-11-22 01:02:03] iteration {at:8d}/  500000 | consumed samples: {samples:12d} | "
    "elapsed time per iteration (ms): 5000.0 | throughput per GPU (TFLOP/s/GPU): 400.0 | "
    "learning rate: 6.0E-05 | global batch size:   256 | lm loss: 1.9E+00 |"
)


def test_megatron_lines() -> None:
    """Throughput x GPUs x time x iterations since the line before; other lines say nothing."""
    pipe = Pipe()
    log = MegatronLog(meter(pipe), device_count=8, sequence_length=4096)
    assert not log.line("validation loss at iteration 100 | lm loss value: 2.0")
    for at in (5_100, 5_200, 5_300):
        assert log.line(LINE.format(at=at, samples=at * 256))
    log.close()
    flop = 300 * 400 * 10**12 * 8 * 5
    assert stretches(pipe) == [[0, 5_001, 5_300, 300, 300 * 256 * 4096, flop]]


def test_megatron_single_line_and_rollback() -> None:
    """What nobody can know is counted as one iteration, never guessed larger."""
    pipe = Pipe()
    log = MegatronLog(meter(pipe), device_count=1)
    log.line(LINE.format(at=100, samples=0))
    log.line(LINE.format(at=50, samples=0))
    log.close()
    one = 400 * 10**12 * 5
    assert stretches(pipe) == [[0, 100, 100, 1, 0, one], [1, 50, 50, 1, 0, one]]


def test_megatron_one_line_and_a_torn_one() -> None:
    """A log that ends after its first line claims one iteration; a torn figure claims nothing."""
    pipe = Pipe()
    log = MegatronLog(meter(pipe), device_count=1)
    assert not log.line(LINE.format(at=100, samples=0).replace("400.0", "4.0.0"))
    assert log.line(LINE.format(at=100, samples=0))
    log.close()
    assert stretches(pipe) == [[0, 100, 100, 1, 0, 400 * 10**12 * 5]]
