"""Sensor `dcgm`: NVIDIA devices through an exporter that already runs.

Owns: the package's public names; sensor has the devices, scrape the meaning of a page, fields the
names and units, exposition the text format, endpoint the HTTP request.
May touch: nothing by itself.
Called by: sensors.table, which imports it only when it is asked for.
"""

from flopmeter_agent.sensors.dcgm.endpoint import Endpoint
from flopmeter_agent.sensors.dcgm.sensor import DcgmSensor

__all__ = ["DcgmSensor", "Endpoint"]
