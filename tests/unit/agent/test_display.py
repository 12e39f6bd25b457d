"""What a report shows of its registers: the figures of each, added up."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.display import DisplayEstimate
from flopmeter_core.devices import DeviceRecord, builtin_parts
from flopmeter_core.estimate import coefficients_for, figures_of, weigh
from flopmeter_core.methods.base import Conditions
from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key

PARTS = builtin_parts()
H100 = DeviceRecord("n0", "GPU-0", "nvidia", "H100", pci_device_id=0x233010DE, sm_count=132)
RECORDS = {
    record.record_id: record
    for record in (
        H100,
        replace(H100, device="GPU-1"),
        replace(H100, device="GPU-2", pci_device_id=0x20B210DE, sm_count=108),
    )
}

keys = st.builds(
    Key,
    device=st.just("GPU"),
    incarnation=st.just("0" * 32),
    allocation=st.sampled_from(("none", "run:alpha")),
    phase=st.integers(0, 1),
    evidence=st.sampled_from((Evidence.CYCLES, Evidence.ENERGY, Evidence.POWER_SAMPLED)),
    record=st.sampled_from(sorted(RECORDS)),
)
vectors = st.tuples(*[st.integers(0, 2**40)] * COMPONENT_COUNT)


@given(st.lists(st.tuples(keys, vectors), max_size=8))
def test_every_register_counts(registers: list[tuple[Key, tuple[int, ...]]]) -> None:
    """Whatever is added up before it is weighed, an allocation has what its registers say."""
    sums: dict[tuple[str, str], list[int]] = {}
    for key, vector in registers:
        record = RECORDS[key.record]
        weights = coefficients_for(key.evidence, Conditions(PARTS.recognise(record), record))
        columns = sums.setdefault((key.allocation, key.evidence.level), [0] * 6)
        columns[:] = [a + b for a, b in zip(columns, weigh(vector, weights), strict=True)]
    best: dict[str, int] = {}
    for (allocation, _), columns in sums.items():
        best[allocation] = best.get(allocation, 0) + figures_of(columns).observed.best
    assert DisplayEstimate(PARTS).best_by_allocation(registers, RECORDS) == best
