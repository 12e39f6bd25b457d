"""Sensor `nvml`: NVIDIA devices through the driver's management library.

Owns: the package's public name; sensor has the fleet, device one device, gpm and normalise the
counters, clocks the SM clock, driver the library and its errors.
May touch: nothing by itself.
Called by: sensors.table, which imports it only when NVIDIA devices may be there.
"""

from flopmeter_agent.sensors.nvml.sensor import NvmlSensor

__all__ = ["NvmlSensor"]
