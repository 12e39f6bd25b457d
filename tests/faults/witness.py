"""An agent process whose readings and answers are written down as they pass.

Owns: the witness file: one line a start, a resumption, a round of readings and an answer.
May touch: that file (append only), and the names of the agent's app that it stands in for.
Started as a program by tests/faults/site.py with the witness file and the agent's own flags.

A line is written before the agent sees what it tells of, so that a SIGKILL leaves no reading and
no answer in the agent that the file lacks. Nothing of the agent is replaced but the sensor, which
is wrapped: sensor ``simulated``, whose counters are cumulative and a pure function of time.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flopmeter.cli import main
from flopmeter_agent import app
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.loop import AgentLoop
from flopmeter_agent.sensors.base import Baseline, Readout, Sensor
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.readings import Reading
from flopmeter_core.reports import Answer, Durability
from flopmeter_proto.daemon.clock import Clock


class Witness:
    """Appends lines to a file; each is one write, which no SIGKILL takes back."""

    def __init__(self, path: str) -> None:
        """Open or create the file."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    def note(self, what: str, told: Any) -> None:
        """Write one line."""
        line = json.dumps([what, told], separators=(",", ":")) + "\n"
        os.write(self._descriptor, line.encode())


def written(reading: Reading) -> list[Any]:
    """A reading as the witness file holds it."""
    return [
        reading.device,
        reading.monotonic_ns,
        reading.boottime_ns,
        reading.allocation,
        reading.energy_mj,
        {int(component): count for component, count in reading.cycles.items()},
    ]


class WitnessedSensor:
    """A sensor whose readings are written down."""

    def __init__(self, inner: Sensor, witness: Witness, stamps: Clock | None) -> None:
        """Wrap a sensor; `stamps` stamps its readings anew where given."""
        self.name = inner.name
        self.simulated = inner.simulated
        self._inner = inner
        self._witness = witness
        self._stamps = stamps

    def devices(self) -> Sequence[DeviceRecord]:
        """Those of the wrapped one."""
        return self._inner.devices()

    def read(self) -> Readout:
        """One round, written down first."""
        readout = self._inner.read()
        if self._stamps is not None:
            at_ns, boot_ns = self._stamps.monotonic_ns(), self._stamps.boottime_ns()
            readout = Readout(
                tuple(
                    replace(reading, monotonic_ns=at_ns, boottime_ns=boot_ns)
                    for reading in readout.readings
                )
            )
        self._witness.note("round", [written(reading) for reading in readout.readings])
        return readout

    def resume(self, baselines: Mapping[str, Baseline]) -> None:
        """Write down which readings the journal held."""
        self._witness.note(
            "resume", {device: written(base.reading) for device, base in baselines.items()}
        )

    def close(self) -> None:
        """Close the wrapped one."""
        self._inner.close()


def observe(witness: Witness, *, system_clock: bool) -> None:
    """Stand between the agent and its sensor and answers.

    Args:
        witness: gets the lines.
        system_clock: stamp readings with this host's clocks instead of the scenario's.
    """
    choose, acknowledge = app.choose_sensor, AgentLoop.acknowledge

    def witnessed(config: AgentConfig, clock: Clock) -> app.Chosen:
        chosen = choose(config, clock)
        sensor = WitnessedSensor(chosen.sensor, witness, clock if system_clock else None)
        return replace(chosen, sensor=sensor, clock=clock if system_clock else chosen.clock)

    def acknowledged(self: AgentLoop, answer: Answer) -> None:
        acks = [
            [ack.key.device, ack.key.incarnation, ack.key.allocation, ack.sequence]
            for ack in answer.acknowledgements
            if ack.durability is Durability.AT_ROOT
        ]
        others = [
            ack.reason
            for ack in answer.acknowledgements
            if ack.durability in (Durability.REFUSED, Durability.QUARANTINED)
        ]
        witness.note("answer", [acks, others])
        acknowledge(self, answer)

    app.choose_sensor = witnessed
    AgentLoop.acknowledge = acknowledged  # type: ignore[method-assign]


if __name__ == "__main__":
    # witness.py FILE scenario|system agent --flags...
    file = Witness(sys.argv[1])
    file.note("start", os.getpid())
    observe(file, system_clock=sys.argv[2] == "system")
    sys.argv = ["flopmeter", *sys.argv[3:]]
    sys.exit(main())
