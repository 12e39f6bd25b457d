"""GPM samples of one device: two buffers in turn, no allocation a poll.

Owns: the metric ids and what they mean here, the two sample buffers, and which metrics work.
May touch: the driver's GPM calls for one device handle; takes no time itself.
Called by device.

Metric ids are integers because bindings differ in the names they know (8 has none before 13.595,
248 and above none before that); source: nvml.h of driver branch R615. A metric has its own return
code, and an id the driver does not know may fail alone or fail the whole call: so the two families
are probed apart, and only ids that worked are asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pynvml

from flopmeter_agent.sensors.nvml.driver import DriverError, ask, number_or_none
from flopmeter_core.registers import Component
from flopmeter_core.units import PPM

# Percent of the period in which the unit was active, mean over SMs (ids from nvml.h).
INTERVAL: Mapping[int, Component] = {
    2: Component.SM_ACTIVE_MEGACYCLES,
    5: Component.TENSOR_MEGACYCLES,
    6: Component.DFMA_MEGACYCLES,
    7: Component.HMMA_MEGACYCLES,
    8: Component.DMMA_MEGACYCLES,
    9: Component.IMMA_MEGACYCLES,
    11: Component.FP64_MEGACYCLES,
    12: Component.FP32_MEGACYCLES,
    13: Component.FP16_MEGACYCLES,
    4: Component.INT_MEGACYCLES,
}

# Cycles since boot, from driver branch R595 (nvml.h, whose comments on 259 and 260 are slips).
CUMULATIVE: Mapping[int, Component] = {
    248: Component.SM_ELAPSED_MEGACYCLES,
    249: Component.SM_ACTIVE_MEGACYCLES,
    250: Component.TENSOR_MEGACYCLES,
    251: Component.DMMA_MEGACYCLES,
    252: Component.HMMA_MEGACYCLES,
    253: Component.IMMA_MEGACYCLES,
    254: Component.DFMA_MEGACYCLES,
    257: Component.INT_MEGACYCLES,
    258: Component.FP64_MEGACYCLES,
    259: Component.FP32_MEGACYCLES,
    260: Component.FP16_MEGACYCLES,
}

CLASSES = (Component.HMMA_MEGACYCLES, Component.IMMA_MEGACYCLES)
"""Without both, tensor work is not told apart (methods.cycles subtracts one from the other)."""

_REQUEST_VERSION = 1  # NVML_GPM_METRICS_GET_VERSION

# A percentage slightly above 100 is rounding, far above is no percentage.
_PERCENT_MAX = 101.0


class GpmSampler:
    """The GPM counters of one device; not thread-safe, like the samples themselves."""

    def __init__(
        self, handle: Any, *, more: Iterable[int] = (), instance: int | None = None
    ) -> None:
        """Allocate both buffers and take the first sample.

        Args:
            handle: the device.
            more: ids to ask for beside those flopmeter uses, for a recording.
            instance: the GPU instance (MIG) to sample, interval metrics only; None for the device.

        Raises:
            DriverError: the driver has no GPM, or refuses it on this device.
        """
        self._handle = handle
        self._instance = instance
        cumulative = tuple(CUMULATIVE) if instance is None else ()
        self._families = (tuple(INTERVAL), cumulative, tuple(more))
        self._request = _Request(())
        self._buffers: list[Any] = []
        try:
            for _ in range(2):
                self._buffers.append(ask(pynvml.nvmlGpmSampleAlloc))
            self._take(self._buffers[0])
        except DriverError:
            self.close()
            raise

    def probe(self) -> frozenset[int]:
        """Take a second sample and find the metrics that work.

        Returns:
            The ids the driver answered; a metric without a value just now works too.

        Raises:
            DriverError: no metric of either family can be had.
        """
        self.sample()
        working: list[int] = []
        refusal: DriverError | None = None
        for family in filter(None, self._families):
            try:
                working += self._answered(family)
            except DriverError as error:
                refusal = error
        if refusal is not None and not working:
            raise refusal
        self._request = _Request(tuple(working))
        self._buffers.reverse()
        return frozenset(working)

    def sample(self) -> None:
        """Take the newer sample.

        Raises:
            DriverError: it cannot be taken.
        """
        self._take(self._buffers[1])

    def metrics(self) -> dict[int, float]:
        """Compare the newer sample with the older one, and make it the older one.

        Returns:
            The values by metric id, in the metric's unit; a metric without a value is absent.

        Raises:
            DriverError: the samples cannot be compared.
        """
        self._compare(self._request)
        self._buffers.reverse()
        found = {}
        for metric_id, metric in self._request.entries:
            number = number_or_none(_VALUE(metric)) if _RETURNED(metric) == 0 else None
            if number is not None:
                found[metric_id] = number
        return found

    def answers(self) -> dict[int, tuple[int, float]]:
        """The last comparison as the driver gave it: id -> its own return code, value."""
        return {
            metric_id: (_RETURNED(metric), _VALUE(metric))
            for metric_id, metric in self._request.entries
        }

    def close(self) -> None:
        """Free the buffers."""
        while self._buffers:
            pynvml.nvmlGpmSampleFree(self._buffers.pop())

    def _take(self, buffer: Any) -> None:
        if self._instance is None:
            ask(pynvml.nvmlGpmSampleGet, self._handle, buffer)
        else:
            ask(pynvml.nvmlGpmMigSampleGet, self._handle, self._instance, buffer)

    def _answered(self, family: Iterable[int]) -> list[int]:
        request = _Request(tuple(family))
        self._compare(request)
        return [metric_id for metric_id, metric in request.entries if _RETURNED(metric) == 0]

    def _compare(self, request: _Request) -> None:
        request.question.sample1, request.question.sample2 = self._buffers
        for _, metric in request.entries:
            # What a driver leaves untouched must not look like the last poll's value.
            _SET_VALUE(metric, math.nan)
        ask(pynvml.nvmlGpmMetricsGet, request.question)


_VALUE = pynvml.c_nvmlGpmMetric_t.value.__get__
_SET_VALUE = pynvml.c_nvmlGpmMetric_t.value.__set__
_RETURNED = pynvml.c_nvmlGpmMetric_t.nvmlReturn.__get__
"""The fields themselves: through the binding each access is a call in Python that looks for text,
and there are 30 of a device each second."""


class _Request:
    """A question for some metrics; the binding sets neither version nor count by itself."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.question = pynvml.c_nvmlGpmMetricsGet_t(version=_REQUEST_VERSION, numMetrics=len(ids))
        metrics = self.question.metrics
        self.entries: list[tuple[int, Any]] = []
        """Id and entry of each metric; an entry is part of the question's memory."""
        for place, metric_id in enumerate(ids):
            metrics[place].metricId = metric_id
            self.entries.append((metric_id, metrics[place]))


def activity_ppm(metrics: Mapping[int, float]) -> dict[Component, int]:
    """The interval metrics as shares of elapsed SM cycles, in ppm."""
    return {
        component: min(PPM, round(metrics[metric_id] * (PPM // 100)))
        for metric_id, component in INTERVAL.items()
        if metrics.get(metric_id, math.inf) <= _PERCENT_MAX
    }


def raw_cycles(metrics: Mapping[int, float]) -> dict[Component, int]:
    """The cumulative counters as the driver gives them, in its own unit of cycles."""
    return {
        component: int(metrics[metric_id])
        for metric_id, component in CUMULATIVE.items()
        if metric_id in metrics
    }
