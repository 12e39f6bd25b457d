"""A fleet in one process: nodes, network, collector and the oracle that watches them.

Owns: the order of a simulation: faulty phase, healed phase, drain, comparison.
May touch: one temporary folder for the ledger; the real clock only to say how long it took.
Called by `flopmeter simulate`, by tests/simulation and by `make simulate`.
Explained in docs/adr/0016-deterministic-simulation.md.
"""

from __future__ import annotations

import gc
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flopmeter.lab.simulation.clock import SimulatedLoop
from flopmeter.lab.simulation.clones import Forks, judge
from flopmeter.lab.simulation.faults import Faults
from flopmeter.lab.simulation.figures import FigureWatch
from flopmeter.lab.simulation.ledgers import ROOT
from flopmeter.lab.simulation.network import Network
from flopmeter.lab.simulation.node import DiskImage, Node, Pace, Surroundings
from flopmeter.lab.simulation.oracle import Oracle
from flopmeter.lab.simulation.plan import COUNTING, LONG_HOURS, SAMPLING, Plan, replay_command
from flopmeter.lab.simulation.randomness import Randomness
from flopmeter.lab.simulation.report import Outcome, Trace, named
from flopmeter.lab.simulation.shared import SharedServer
from flopmeter.lab.simulation.site import Site
from flopmeter.lab.simulation.topology import SHARED, Topology
from flopmeter.lab.simulation.truth import total
from flopmeter_agent.display import DisplayEstimate
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import builtin_parts
from flopmeter_core.registers import Key
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_proto.daemon.clock import Clock, SystemClock, processor_ns

EPOCH_NS = 1_795_000_000 * NS_PER_S
"""Unix time at which every simulated world begins: in November 2026."""

FAULTY_SHARE = 0.75
"""Part of the time in which faults strike; the rest is healed and has to converge."""

SHORTEST_DRAIN_NS = NS_PER_HOUR
DRAIN_REPORTS = 6
"""How long after the last reading everything must be acknowledged, and in how many reports."""

MORE_REPORTS = 3
"""How often live clones report after everything has converged: who was overtaken by what came late
hears of it with the next answer, through two relays and back."""

LATE_STREAM_NS = 30 * NS_PER_S
"""How long one late stream is given before the next one comes."""

RESTART_SAMPLES = 6
"""A service manager starts a process again after 1/6 of the sampling period: 5 s, or 10 minutes
where everything goes by the hour (systemd grows its delay in a crash loop)."""

RARE_COLLECTION = (5_000_000, 50, 100)
"""Garbage is looked for this rarely: the oracle remembers so much that each search costs. A sixth
of the time went there, and a twentieth still at every 100,000 objects (measured side by side). An
hour of 8 nodes makes a million objects that stay, in 130 MiB."""

RUNS = ("alpha", "beta", "gamma")

SAMPLING_SHARE = 0.25
"""Part of a mixed fleet's nodes that sample."""


class Took(NamedTuple):
    """What a simulation took: real time, and processor time of this process, in ns."""

    wall_ns: int
    processor_ns: int


class World:
    """Everything there is in one simulation."""

    def __init__(self, plan: Plan, folder: Path, *, keep_trace: bool = False) -> None:
        """Build it; nothing moves yet."""
        self.plan = plan
        self.random = Randomness(plan.seed, "world")
        delays = self.random.stream("threads")
        self.loop = SimulatedLoop(start_ns=0, thread_delay_ns=lambda: delays.below(3_000_000))
        self.trace = Trace(lambda: self.loop.now_ns, keep=keep_trace)
        self.counts: Counter[str] = Counter()
        self.end_ns = round(plan.hours * NS_PER_HOUR)
        self.faulty_ns = round(self.end_ns * FAULTY_SHARE)
        sample_ns = round(plan.sample_s * NS_PER_S)
        self.oracle = Oracle(lambda: self.loop.now_ns, period_ns=sample_ns)
        self.network = Network(self.loop, self.random.stream("network"), self.count, self.trace)
        self.network.commit_index = lambda: self.oracle.ledgers.index
        self.topology = Topology(
            plan.collectors, self.random.stream("topology"), weeks=plan.hours > LONG_HOURS
        )
        self.server = self._server(folder) if self.topology.kind == SHARED else None
        self.sites = {
            name: self._site(folder / name, name, sample_ns) for name in self.topology.collectors
        }
        self.site = self.sites[ROOT]
        self.figures = FigureWatch(
            lambda: self.loop.now_ns, self._tensor_cycles, self.oracle.violation
        )
        for site in self.sites.values():
            # Relays publish their own site's figures, which are no truth about the fleet.
            site.figures = None if site.relays else self.figures
        parts = builtin_parts()
        self.around = Surroundings(
            loop=self.loop,
            network=self.network,
            oracle=self.oracle,
            parts=parts,
            display=DisplayEstimate(parts),
            pace=Pace(
                sample_ns=sample_ns,
                report_s=plan.report_s,
                longest_backoff_s=max(30.0, plan.sample_s),
                restart_ns=sample_ns // RESTART_SAMPLES,
            ),
            trace=self.trace,
            epoch_ns=EPOCH_NS,
            topology=self.topology,
        )
        self.nodes: dict[str, Node] = {}
        sensors = self.random.stream("sensors")
        for number in range(plan.nodes):
            sampled = plan.sensors == SAMPLING or sensors.chance(SAMPLING_SHARE)
            self.add_node(f"n{number}", plan.devices, sampled=sampled and plan.sensors != COUNTING)

    def _site(self, folder: Path, name: str, sample_ns: int) -> Site:
        return Site(
            folder,
            name,
            self.loop,
            self.network,
            self.oracle,
            self.random.stream("site" if name == ROOT else name),
            topology=self.topology,
            server=self.server,
            evaluate_s=self.plan.evaluate_s,
            forward_s=self.plan.report_s,
            restart_ns=sample_ns // RESTART_SAMPLES,
            epoch_ns=EPOCH_NS,
            trace=self.trace,
        )

    def _server(self, folder: Path) -> SharedServer:
        draws = self.random.stream("server")
        return SharedServer(
            folder / "server",
            lambda: draws.hexadecimal(32),
            committed=lambda vectors: self.site.note_commit(vectors),
            put_back=lambda vectors: self.site.note_put_back(vectors),
        )

    def count(self, kind: str) -> None:
        """Count a fault that struck."""
        self.counts[kind] += 1

    def add_node(self, name: str, devices: int, *, sampled: bool = False, says: str = "") -> Node:
        """One more node, switched on; `says` is the name its agent gives."""
        random = self.random.stream(name)
        node = Node(name, devices, self.around, random, self.count, sampled=sampled, says=says)
        self.nodes[name] = node
        return node

    def clone(self, of: Node, image: DiskImage) -> None:
        """A host of its own starts from a copy of a node's disk; its accelerators are others."""
        sampled = of.hardware.sampled
        twin = self.add_node(f"{of.name}-clone", self.plan.devices, sampled=sampled)
        twin.disk.files = image.files
        self.oracle.cloned(twin.name, of.name, image.states)
        twin.start()

    def live_clone(self, of: Node) -> None:
        """A machine is copied in the middle of its start, and both go on.

        Both have the same disk, name, accelerators' names and entropy, so that their agents draw
        the same incarnation; each has accelerators of its own, which count for themselves.
        """
        image = of.image()
        twin = self.add_node(
            f"{of.name}-twin", self.plan.devices, sampled=of.hardware.sampled, says=of.name
        )
        if self.topology.kind == SHARED:
            # Collectors of one ledger do not ask each other whose a vector is.
            self.topology.settle_beside(twin.name, of.name)
        twin.hardware.use(of.hardware.allocation)
        twin.disk.files = image.files
        self.oracle.cloned(twin.name, of.name, image.states)
        self.figures.doubted.update(twin.hardware.devices)
        of.next_incarnation = twin.next_incarnation = self.random.hexadecimal(32)
        of.kill()
        self.loop.after(self.random.below(2 * self.around.pace.sample_ns), twin.start)

    def run(self) -> tuple[dict[Key, tuple[StoredVector, ...]], bool]:
        """Live through both phases; returns the ledger's content and whether it converged."""
        for site in self.sites.values():
            site.start()
        for node in self.nodes.values():
            self.loop.after(self.random.below(self.around.pace.sample_ns), node.start)
        self._schedule_users()
        faults = Faults(self)
        self.loop.after(0, faults.begin)
        self._go(self.faulty_ns)
        faults.heal()
        self._go(self.end_ns)
        for node in self.nodes.values():
            node.stopping = True
        reports = DRAIN_REPORTS * (1 + self.topology.depth)
        drain_ns = max(SHORTEST_DRAIN_NS, round(reports * self.plan.report_s * NS_PER_S))
        self._go(self.end_ns + drain_ns, self._settled)
        converged = self._settled()
        if converged:
            self._let_everything_late_arrive()
            # What came last to a relay has its way to the root before it.
            self._go(self.loop.now_ns + drain_ns, self._settled)
            converged = self._report_again()
        ledger: dict[Key, tuple[StoredVector, ...]] = {}
        for stored in self.site.vectors():
            ledger[stored.key] = (*ledger.get(stored.key, ()), stored)
        for site in self.sites.values():
            site.stopping = True
        return ledger, converged

    def _let_everything_late_arrive(self) -> None:
        """Deliver each stream that is still under way: weeks late, and long since counted."""
        while self.network.mail and self.network.servers and not self.oracle.violations:
            self.network.deliver_mail()
            self._go(self.loop.now_ns + LATE_STREAM_NS)

    def _report_again(self) -> bool:
        """Let live clones sample and report some more times: an agent that lives does go on."""
        twins = {node for writers in self.oracle.history.shared.values() for node in writers}
        for _ in range(MORE_REPORTS if twins else 0):
            for name in sorted(twins):
                self.nodes[name].once_more()
            self._go(self.loop.now_ns + 2 * self.around.pace.sample_ns)
            self._go(self.loop.now_ns + SHORTEST_DRAIN_NS, self._settled)
        return self._settled()

    def judge_clones(self, ledger: Mapping[Key, tuple[StoredVector, ...]]) -> Forks:
        """Hold what clones wrote to its bounds, and the alert to what the ledger holds."""
        oracle = self.oracle

        def kept(node: str, key: Key) -> int:
            watched = oracle.nodes.get(node)
            return watched.sequences.get(key, 0) if watched is not None else 0

        def excuse(writers: Sequence[str]) -> str:
            """An older agent names nothing it wrote, an older collector passes none of it on."""
            told_by = {*writers, *self.sites}
            return "an older version" if told_by & self.network.older else ""

        forks = judge(oracle.history, kept, ledger, oracle.violation, excuse=excuse)
        app = self.site.app
        if app is not None and app.table.forked_key_count() != forks.raised:
            oracle.violation(
                f"{app.table.forked_key_count()} forks are alerted, the ledger has {forks.raised}"
            )
        return forks

    def close(self) -> None:
        """End every process, so that nothing of this world is left in the next one."""
        for node in self.nodes.values():
            node.stopping = True
            node.close()
        for site in self.sites.values():
            site.stopping = True
            site.close()
        if self.server is not None:
            self.server.close()
        self.loop.run_until(self.loop.now_ns)
        self.loop.close()
        self.oracle.forget()

    def _tensor_cycles(self) -> dict[str, int]:
        work: dict[str, int] = {}
        for node in self.nodes.values():
            for device, cycles in node.hardware.tensor_cycles().items():
                # Those of a clone carry the names of others.
                work[device] = work.get(device, 0) + cycles
        return work

    # --- inside -----------------------------------------------------------------------------------

    def _go(self, until_ns: int, done: Callable[[], bool] | None = None) -> None:
        broken = self.oracle.violations
        # Asked at every instant: a list says by itself whether there is anything in it.
        stop = broken.__len__ if done is None else lambda: len(broken) or done()
        self.loop.run_until(until_ns, stop)

    def _settled(self) -> bool:
        # The first that waits is enough: it is asked at every instant of the drain.
        return all(site.settled for site in self.sites.values()) and all(
            node.settled for node in self.nodes.values()
        )

    def unsettled(self) -> list[str]:
        """Who still waits for somebody else, or does not run."""
        sites = [name for name, site in self.sites.items() if not site.settled]
        return sites + [name for name, node in self.nodes.items() if not node.settled]

    def _schedule_users(self) -> None:
        """Let runs come and go on each node."""
        users = self.random.stream("users")
        mean_ns = max(self.end_ns // 6, 1)
        for node in self.nodes.values():
            at_ns = 0
            while at_ns < self.end_ns:
                run = users.choose((*RUNS, ""))
                self.loop.after(at_ns, node.hardware.use, for_run(run) if run else NONE)
                at_ns += mean_ns // 2 + users.below(mean_ns)


def simulate(plan: Plan, *, clock: Clock | None = None, keep_trace: bool = False) -> Outcome:
    """Simulate one fleet.

    Args:
        plan: what to simulate.
        clock: says how long it took; the system's by default.
        keep_trace: whether to keep every event's line (`World.trace.lines`).
    """
    clock = clock or SystemClock()
    began_ns, used_ns = clock.monotonic_ns(), processor_ns()
    shm = Path("/dev/shm")
    before, thresholds = logging.root.manager.disable, gc.get_threshold()
    logging.disable(logging.CRITICAL)
    gc.set_threshold(*RARE_COLLECTION)
    try:
        with tempfile.TemporaryDirectory(
            prefix="flopmeter-simulate-", dir=shm if shm.is_dir() else None
        ) as folder:
            world = World(plan, Path(folder), keep_trace=keep_trace)
            try:
                ledger, converged = world.run()
                took = Took(clock.monotonic_ns() - began_ns, processor_ns() - used_ns)
                return _outcome(world, ledger, converged, took)
            finally:
                world.close()
    finally:
        logging.disable(before)
        gc.set_threshold(*thresholds)


def _outcome(
    world: World, ledger: Mapping[Key, tuple[StoredVector, ...]], converged: bool, took: Took
) -> Outcome:
    oracle = world.oracle
    if not converged and not oracle.violations:
        oracle.violation(f"the fleet did not converge: {', '.join(world.unsettled())}")
    missing, beyond, forks = 0, 0, Forks()
    if not oracle.violations:
        missing, beyond = oracle.settle(ledger)
        forks = world.judge_clones(ledger)
    truth = oracle.truth_units()
    counted = total(
        [
            branch.vector
            for key, branches in ledger.items()
            for branch in branches
            if key not in oracle.history.shared
        ]
    )
    for fault in world.loop.faults:
        oracle.violation(f"unhandled: {fault.get('message')} {fault.get('exception')!r}")
    world.trace("end", truth, counted)
    return Outcome(
        seed=world.plan.seed,
        truth=named(truth),
        ledger=named(counted),
        equal=truth == counted and not oracle.violations,
        in_flight_lost_ns=oracle.in_flight_lost_ns,
        reverted_ns=oracle.reverted_ns,
        acknowledged_lost=missing,
        double_counted=beyond,
        forks=forks,
        virtual_s=world.loop.now_ns / NS_PER_S,
        wall_s=took.wall_ns / NS_PER_S,
        processor_s=took.processor_ns / NS_PER_S,
        faults=world.counts,
        violations=tuple(oracle.violations),
        trace=world.trace.digest(),
        lines=tuple(world.trace.lines or ()),
        command=replay_command(world.plan),
    )
