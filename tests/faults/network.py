"""Agent and collector in two network namespaces, between which packets are lost and links cut.

Owns: the namespaces, the rules that drop packets, and the order of the faults.
May touch: network namespaces of its own (root; programs ip and nft), and a site in them.
Called by ``make faults`` (tests/faults/run.py).
What must hold: the agent finds its collector again by itself, and ledger and truth agree, also
where reports arrived and their answers did not.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.site import Result, site

LOSS_PERCENT = 30
FAULT_S = 8.0
"""How long each fault lasts."""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two namespaces with a link between them: an agent's and a collector's."""

    agent: str
    collector: str
    agent_host: str
    collector_host: str

    def drop(self, where: str, *rules: str) -> None:
        """Drop incoming packets of one of them by these rules, and by no others."""
        self.heal()
        self._nft(where, "add table inet faults")
        chain = "add chain inet faults incoming { type filter hook input priority 0; }"
        self._nft(where, chain)
        for rule in rules:
            self._nft(where, f"add rule inet faults incoming {rule} drop")

    def heal(self) -> None:
        """Let every packet through."""
        for where in (self.agent, self.collector):
            _ip("-n", where, "link", "set", "dev", "wire", "up")
            words = ["ip", "netns", "exec", where, "nft", "delete table inet faults"]
            subprocess.run(words, check=False, stderr=subprocess.DEVNULL)

    def unplug(self) -> None:
        """Take the collector's end of the link down."""
        _ip("-n", self.collector, "link", "set", "dev", "wire", "down")

    @staticmethod
    def _nft(where: str, words: str) -> None:
        _ip("netns", "exec", where, "nft", words)


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Two namespaces of this process' own; gone when the block ends."""
    number = os.getpid()
    made = Pair(f"flopa{number}", f"flopc{number}", "10.98.77.1", "10.98.77.2")
    with contextlib.ExitStack() as stack:
        for name in (made.agent, made.collector):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "dev", "lo", "up")
        peer = ["peer", "name", "wire", "netns", made.collector]
        _ip("-n", made.agent, "link", "add", "wire", "type", "veth", *peer)
        for name, host in (
            (made.agent, made.agent_host),
            (made.collector, made.collector_host),
        ):
            _ip("-n", name, "addr", "add", f"{host}/24", "dev", "wire")
            _ip("-n", name, "link", "set", "dev", "wire", "up")
        yield made


def measure() -> Result:
    """Loss both ways, answers lost, partition, unplugged cable, and kills in between."""
    random = f"numgen random mod 100 < {LOSS_PERCENT}"
    with pair() as ends, tempfile.TemporaryDirectory() as name:
        inside: Sequence[str] = ("ip", "netns", "exec")
        with site(
            Path(name),
            host=ends.collector_host,
            agent_prefix=(*inside, ends.agent),
            collector_prefix=(*inside, ends.collector),
        ) as running:
            running.start_collector()
            running.start_agent()
            running.wait_rounds(8)
            ends.drop(ends.collector, random)
            time.sleep(FAULT_S)
            ends.drop(ends.agent, f"ip saddr {ends.collector_host} {random}")
            time.sleep(FAULT_S)
            # Reports arrive and are committed; the agent never hears of it.
            ends.drop(ends.agent, f"ip saddr {ends.collector_host}")
            time.sleep(FAULT_S)
            running.kill_agent()
            ends.drop(ends.collector, f"ip saddr {ends.agent_host}")
            time.sleep(FAULT_S)
            running.kill_collector()
            ends.heal()
            time.sleep(FAULT_S)
            ends.unplug()
            time.sleep(FAULT_S)
            running.kill_agent()
            ends.heal()
            result = running.result(running.settle())
    print(result.line(case="network"), flush=True)
    return result
