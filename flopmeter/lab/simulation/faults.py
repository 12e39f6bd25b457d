"""When which fault strikes, and how everything is healed.

Owns: the table of faults and their timing.
May touch: the world it is given.
Called by the world.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flopmeter_core.units import NS_PER_S

if TYPE_CHECKING:
    from flopmeter.lab.simulation.world import World


class Faults:
    """Strikes until it is told to heal."""

    def __init__(self, world: World) -> None:
        """Prepare."""
        self._world = world
        self._random = world.random.stream("faults")
        self._over = False

    def begin(self) -> None:
        """Let each kind strike at times of its own."""
        for name in self._world.plan.faults:
            kind, per_hour = TABLE[name]
            self._again(name, kind, per_hour)

    def heal(self) -> None:
        """No more faults; everything works again."""
        self._over = True
        world = self._world
        world.trace("heal")
        world.network.heal()
        world.site.fault = None
        for node in world.nodes.values():
            node.disk.repair()
            for device in node.hardware.devices.values():
                device.readable = True

    def _again(self, name: str, strike: Callable[[Faults], None], per_hour: float) -> None:
        hours = self._world.plan.hours
        mean_ns = hours * 3_600 * NS_PER_S / (per_hour * max(1.0, hours**0.5))
        delay_ns = round(mean_ns * (0.1 + 1.8 * self._random.share()))
        self._world.loop.after(delay_ns, self._strike, name, strike, per_hour)

    def _strike(self, name: str, strike: Callable[[Faults], None], per_hour: float) -> None:
        if self._over:
            return
        self._world.trace("fault", name)
        strike(self)
        self._again(name, strike, per_hour)

    def kill_agent(self) -> None:
        """SIGKILL of one agent."""
        node = self._random.choose([*self._world.nodes.values()])
        if node.alive:
            self._world.count("kill_agent")
            node.kill()

    def bad_weather(self) -> None:
        """Loss of up to 90 %."""
        self._world.count("bad_weather")
        weather = self._world.network.weather
        weather.loss = self._random.choose((0.0, 0.1, 0.5, 0.9))


TABLE: dict[str, tuple[Callable[[Faults], None], float]] = {
    "kill_agent": (Faults.kill_agent, 8.0),
    "bad_weather": (Faults.bad_weather, 6.0),
}
"""Each fault and how often it strikes in an hour."""
