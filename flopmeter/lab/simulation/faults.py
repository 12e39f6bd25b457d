"""When which fault strikes, and how everything is healed.

Owns: the table of faults with how often each strikes, and their timing.
May touch: the world it is given.
Called by the world; the names are those of ``flopmeter simulate --faults``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flopmeter.lab.simulation.node import DiskImage, Node
from flopmeter.lab.simulation.site import CommitFault, Site
from flopmeter.lab.simulation.versions import Version
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S

if TYPE_CHECKING:
    from flopmeter.lab.simulation.world import World

DAY_NS = 24 * NS_PER_HOUR
YEAR_NS = 365 * DAY_NS
LONGEST_STEP_NS = 10 * YEAR_NS
LONGEST_DELAY_NS = 30 * DAY_NS
LONGEST_SUSPEND_NS = 7 * DAY_NS

CLONES = 1
"""Clones in one world, of each kind: each adds a node to the rest of it."""


class Faults:
    """Strikes until it is told to heal."""

    def __init__(self, world: World) -> None:
        """Prepare."""
        self._world = world
        self._random = world.random.stream("faults")
        self._over = False
        self._backups: dict[str, Path] = {}
        self._image: tuple[Node, DiskImage] | None = None
        self._clones = 0
        self._live_clones = 0

    def begin(self) -> None:
        """Let each kind strike at times of its own."""
        for name in self._world.plan.faults:
            strike, times = TABLE[name]
            self._again(name, strike, times)

    def heal(self) -> None:
        """No more faults; everything works again."""
        self._over = True
        world = self._world
        world.trace("heal")
        world.topology.heal()
        world.network.heal()
        for site in world.sites.values():
            site.fault = None
        for node in world.nodes.values():
            self._heal_node(node)

    def _heal_node(self, node: Node) -> None:
        node.disk.repair()
        if node.sensor is not None:
            node.sensor.fails = False
        for device in node.hardware.devices.values():
            device.readable = True

    # --- timing -----------------------------------------------------------------------------------

    def _again(self, name: str, strike: Callable[[Faults], None], times: float) -> None:
        mean_ns = self._world.faulty_ns / times
        delay_ns = round(mean_ns * (0.1 + 1.8 * self._random.share()))
        self._world.loop.after(delay_ns, self._strike, name, strike, times)

    def _strike(self, name: str, strike: Callable[[Faults], None], times: float) -> None:
        if self._over:
            return
        self._world.trace("fault", name)
        strike(self)
        self._again(name, strike, times)

    def _while(self, longest_share: float) -> int:
        """How long a fault lasts, in ns: short mostly, at most a share of the faulty phase."""
        longest_ns = self._world.faulty_ns * longest_share
        return NS_PER_S + int(longest_ns * self._random.share() ** 3)

    def _later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do something unless everything was healed before."""

        def act() -> None:
            if not self._over:
                action()

        self._world.loop.after(delay_ns, act)

    def _node(self) -> Node:
        return self._random.choose([*self._world.nodes.values()])

    def _site(self) -> Site:
        return self._random.choose([*self._world.sites.values()])

    def _relay(self) -> Site | None:
        relays = [site for site in self._world.sites.values() if site.relays]
        return self._random.choose(relays) if relays else None

    def _senders(self) -> list[str]:
        return [*self._world.nodes, *self._world.topology.relays]

    def _count(self, kind: str) -> None:
        self._world.count(kind)

    # --- agents and nodes -------------------------------------------------------------------------

    def kill_agent(self) -> None:
        """SIGKILL of one agent, now or in one of its next writes."""
        node = self._node()
        if not node.alive:
            return
        self._count("kill_agent")
        if self._random.chance(0.5):
            node.disk.kill_in = self._random.below(4)
        else:
            node.kill()

    def power_cut(self) -> None:
        """One node loses its power, and boots later."""
        node = self._node()
        if not node.powered:
            return
        self._count("power_cut")
        node.cut_power()
        self._boot_later(node)

    def _boot_later(self, node: Node) -> None:
        # Also after the healing: a node that is off is no fault of the meter.
        self._world.loop.after(20 * NS_PER_S + self._while(0.1), self._boot, node)

    @staticmethod
    def _boot(node: Node) -> None:
        if not node.powered:
            node.boot()
            node.start()

    def disk_full(self) -> None:
        """No room on one node's disk for a while."""
        node = self._node()
        self._count("disk_full_phase")
        node.disk.full = True
        self._later(self._while(0.2), lambda: setattr(node.disk, "full", False))

    def disk_errors(self) -> None:
        """Some operations of one node's disk fail for a while."""
        node = self._node()
        self._count("disk_error_phase")
        node.disk.error_share = self._random.choose((0.05, 0.3, 1.0))
        self._later(self._while(0.1), lambda: setattr(node.disk, "error_share", 0.0))

    def suspend(self) -> None:
        """One node sleeps."""
        node = self._node()
        if node.powered and not node.asleep:
            self._count("suspend")
            node.suspend(min(LONGEST_SUSPEND_NS, self._while(0.25)))

    def wall_step(self) -> None:
        """The wall clock of a node, or of the collector, is set by up to ten years."""
        self._count("wall_step")
        step_ns = self._random.between(-LONGEST_STEP_NS, LONGEST_STEP_NS)
        clocks = [node.clock for node in self._world.nodes.values()]
        clock = self._random.choose([*clocks, *(s.clock for s in self._world.sites.values())])
        clock.step_wall(step_ns)
        if clock is self._world.site.clock:
            self._world.figures.collector_clock_stepped = True

    # --- devices ----------------------------------------------------------------------------------

    def silent_device(self) -> None:
        """One device cannot be read for a while, or none of its node."""
        node = self._node()
        self._count("silent_device")
        if node.sensor is not None and self._random.chance(0.3):
            sensor = node.sensor
            sensor.fails = True
            self._later(self._while(0.1), lambda: setattr(sensor, "fails", False))
            return
        device = self._random.choose([*node.hardware.devices.values()])
        device.readable = False
        self._later(self._while(0.1), lambda: setattr(device, "readable", True))

    def driver_reload(self) -> None:
        """The counters of one device begin at 0 again, with the same driver or another one."""
        node = self._node()
        self._count("driver_reload")
        device = self._random.choose([*node.hardware.devices.values()])
        node.hardware.reset(device)
        if self._random.chance(0.5):
            version = f"simulated-{self._random.below(100)}"
            device.record = replace(device.record, driver_version=version)

    # --- the network ------------------------------------------------------------------------------

    def bad_weather(self) -> None:
        """Loss up to 90 %, repetition, and delays that let messages overtake each other."""
        self._count("bad_weather")
        weather = self._world.network.weather
        weather.loss = self._random.choose((0.0, 0.02, 0.1, 0.5, 0.9))
        weather.repetition = self._random.choose((0.0, 0.1, 0.5))
        weather.longest_delay_ns = self._random.choose((0, 2 * NS_PER_S, NS_PER_HOUR))
        if self._random.chance(0.1):
            weather.longest_delay_ns = LONGEST_DELAY_NS

    def late_stream(self) -> None:
        """Streams are remembered, and one of an earlier time is delivered again as a whole."""
        self._world.network.keeps_mail = 0.05
        self._world.network.deliver_mail()

    def partition(self) -> None:
        """Some nodes do not reach the collector for a while."""
        self._count("partition")
        names = self._senders()
        cut = self._random.shuffled(names)[: self._random.between(1, len(names))]
        self._world.network.cut.update(cut)
        self._later(self._while(0.3), lambda: self._world.network.cut.difference_update(cut))

    def swizzle_clog(self) -> None:
        """Nodes are clogged one after the other, and unclogged in another order."""
        self._count("swizzle_clog")
        network = self._world.network
        names = self._senders()
        some = self._random.shuffled(names)[: self._random.between(1, len(names))]
        at_ns = 0
        for name in some:
            self._later(at_ns, lambda name=name: network.clog(name))  # type: ignore[misc]
            at_ns += self._while(0.02)
        for name in self._random.shuffled(some):
            self._later(at_ns, lambda name=name: network.unclog(name))  # type: ignore[misc]
            at_ns += self._while(0.02)

    # --- the collector and its ledger -------------------------------------------------------------

    def kill_collector(self) -> None:
        """SIGKILL of a collector, or its host loses its power."""
        site = self._site()
        if site.alive:
            self._count("kill_collector")
            site.kill(power=self._random.chance(0.3))

    def commit_fault(self) -> None:
        """The next commit is torn, fails, or is the last thing its process does."""
        fault = self._random.choose([*CommitFault])
        self._count(fault.value)
        self._site().fault = fault

    def old_backup(self) -> None:
        """A ledger's volume is copied; another time that copy is put back."""
        site = self._site()
        if site.shares_ledger:
            return
        backup = self._backups.get(site.name)
        if backup is None:
            made = site.backup()
            if made is not None:
                self._backups[site.name] = made
        elif self._random.chance(0.7):
            self._count("old_backup")
            site.restore(backup)

    # --- versions ---------------------------------------------------------------------------------

    def other_version(self) -> None:
        """An agent or a collector is replaced by one of another version, older or later."""
        name = self._random.choose([*self._world.nodes, *self._world.sites])
        version = self._random.choose([*Version])
        self._count(f"version_{version.value.replace('-', '_')}")
        self._world.network.versions[name] = version
        if version not in (Version.TODAY, Version.LATER):
            self._world.network.older.add(name)
        if name in self._world.nodes:
            self._world.nodes[name].kill()
        else:
            self._world.sites[name].kill()

    # --- a shared ledger's server -----------------------------------------------------------------

    def failover(self) -> None:
        """The server is away for a while, and then a standby is the server.

        Once a standby was behind, at most a few commits are gone: agents have to send them again.
        """
        server = self._world.server
        if server is None or server.away:
            return
        self._count("failover")
        lossy = self._random.chance(0.5)
        if lossy:
            server.replicate()

        def away() -> None:
            server.away = True
            server.leader = None

        def back() -> None:
            if server.fail_over(lossy=lossy):
                self._count("lossy_failover")
            server.away = False

        lag_ns = self._random.below(300 * NS_PER_S)
        self._world.loop.after(lag_ns, away)
        # Also after the healing: a server that never comes back is no fault of the meter.
        self._world.loop.after(lag_ns + NS_PER_S + self._random.below(120 * NS_PER_S), back)

    def lost_commit_answer(self) -> None:
        """A commit is stored, and the connection breaks before the server has said so."""
        if self._world.server is not None:
            self._count("lost_commit_answer")
            self._world.server.loses_answer = True

    # --- relays -----------------------------------------------------------------------------------

    def upstream_outage(self) -> None:
        """No relay reaches the collector above it for a while."""
        relays = self._world.topology.relays
        if relays:
            self._count("upstream_outage")
            cut = self._world.network.cut
            cut.update(relays)
            self._later(self._while(0.5), lambda: cut.difference_update(relays))

    def lost_relay_disk(self) -> None:
        """A relay's ledger is gone; it begins with an empty disk."""
        relay = self._relay()
        if relay is not None:
            self._count("lost_relay_disk")
            relay.restore(None)

    def second_parent(self) -> None:
        """A node reports to another collector from now on; the first one keeps what it has."""
        if len(self._world.sites) > 1:
            self._count("second_parent")
            node = self._node()
            self._world.topology.move(node.name)
            self._world.network.reset(node.name)

    def relay_redirected(self) -> None:
        """A relay forwards to another collector for a while: to itself too, or in a circle."""
        relay = self._relay()
        if relay is not None:
            self._count("relay_redirected")
            self._world.topology.redirect(relay.name)
            self._world.network.reset(relay.name)

    # --- copies of nodes --------------------------------------------------------------------------

    def old_image(self) -> None:
        """A node's disk is copied; another time the node boots from that copy, or a clone does."""
        if self._image is None:
            node = self._node()
            if node.powered:
                self._image = (node, node.image())
            return
        node, image = self._image
        if not node.powered:
            return
        self._image = None
        if self._clones < CLONES and self._random.chance(0.3):
            self._clones += 1
            self._count("clone")
            self._world.clone(node, image)
        else:
            self._count("reverted_image")
            node.revert(image)
            self._boot_later(node)

    def live_clone(self) -> None:
        """A machine is copied while it starts: two agents of one incarnation go on writing."""
        node = self._node()
        if self._live_clones < CLONES and node.alive and not node.asleep and node.says == node.name:
            self._live_clones += 1
            self._count("live_clone")
            self._world.live_clone(node)


TABLE: dict[str, tuple[Callable[[Faults], None], float]] = {
    "kill_agent": (Faults.kill_agent, 6.0),
    "power_cut": (Faults.power_cut, 3.0),
    "disk_full": (Faults.disk_full, 2.0),
    "disk_errors": (Faults.disk_errors, 3.0),
    "suspend": (Faults.suspend, 2.0),
    "wall_step": (Faults.wall_step, 3.0),
    "silent_device": (Faults.silent_device, 4.0),
    "driver_reload": (Faults.driver_reload, 2.0),
    "bad_weather": (Faults.bad_weather, 8.0),
    "late_stream": (Faults.late_stream, 8.0),
    "partition": (Faults.partition, 2.0),
    "swizzle_clog": (Faults.swizzle_clog, 3.0),
    "kill_collector": (Faults.kill_collector, 3.0),
    "commit_fault": (Faults.commit_fault, 3.0),
    "old_backup": (Faults.old_backup, 2.0),
    "other_version": (Faults.other_version, 2.0),
    "failover": (Faults.failover, 4.0),
    "lost_commit_answer": (Faults.lost_commit_answer, 4.0),
    "upstream_outage": (Faults.upstream_outage, 3.0),
    "lost_relay_disk": (Faults.lost_relay_disk, 1.5),
    "second_parent": (Faults.second_parent, 4.0),
    "relay_redirected": (Faults.relay_redirected, 3.0),
    "old_image": (Faults.old_image, 3.0),
    "live_clone": (Faults.live_clone, 0.5),
}
"""Each fault and how often it strikes in the faulty phase, whatever its length."""
