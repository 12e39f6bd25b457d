"""`flopmeter device`: the accelerators the device table knows, with the standing of each row.

Owns: the command's arguments and its table.
May touch: the package's device table (reading); standard output.
Called by the command line; the table is parsed by core.devices.
"""

from __future__ import annotations

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceTable, Part, parse_device_table
from flopmeter_core.mig import MigRow

CONSTANTS = (
    "sm_count",
    "max_sm_clock_mhz",
    "dense_clock_mhz",
    "memory_gb",
    "memory_bandwidth_gb_per_s",
    "power_w",
)
"""The constants of a row, each printed with its own standing."""


@click.group("device")
def command() -> None:
    """List the accelerators flopmeter knows."""


@command.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """List the parts of the device table."""
    table = parse_device_table(builtin_table("devices.toml"))
    if as_json:
        print_json(
            {
                "schema": 1,
                "version": table.version,
                "parts": [_json(part) for part in table.parts],
                "mig": [_mig_json(row) for row in table.mig],
            }
        )
    else:
        _print_table(table)


def _json(part: Part) -> dict[str, object]:
    architecture = part.architecture
    return {
        "id": part.id,
        "name": part.name,
        "vendor": architecture.vendor,
        "architecture": architecture.name,
        "aliases": list(part.aliases),
        "loose_aliases": list(part.loose_aliases),
        "pci_device_ids": [f"0x{pci:04x}" for pci in part.pci_device_ids],
        "pci_note": part.pci_note or None,
        "unit": architecture.unit,
        "sm_count": part.sm_count,
        "max_sm_clock_mhz": part.max_sm_clock_mhz,
        "dense_clock_mhz": part.dense_clock_mhz,
        # null where nobody publishes it: a missing figure is not zero.
        "memory_gb": part.memory_gb or None,
        "memory_bandwidth_gb_per_s": part.memory_bandwidth_gb_per_s or None,
        "power_w": part.power_w or None,
        "peak_flop_per_s": {name: part.peak_flop_per_s(name) for name in architecture.tensor},
        "tensor_flop_per_sm_cycle": dict(architecture.tensor),
        "vector_flop_per_sm_cycle": dict(architecture.vector),
        "issue_floor_ppm": architecture.issue_floor_ppm,
        "issue_ceiling_ppm": architecture.issue_ceiling_ppm,
        "instruction_families_ppm": dict(architecture.families),
        "source": part.source,
        "standing": str(part.standing),
        "standings": {name: str(part.standing_of(name)) for name in CONSTANTS},
        "architecture_source": architecture.source,
        "architecture_standing": str(architecture.standing),
    }


def _mig_json(row: MigRow) -> dict[str, object]:
    return {
        "id": row.name,
        "parts": list(row.parts),
        "profile_sm_counts": dict(row.profiles),
        "source": row.source,
        "standing": str(row.standing),
    }


def _print_table(devices: DeviceTable) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("part", no_wrap=True)
    table.add_column("PCI", no_wrap=True)
    table.add_column("units", justify="right", no_wrap=True)
    table.add_column("MHz", justify="right", no_wrap=True)
    table.add_column("dense TFLOP/s", justify="right", no_wrap=True)
    table.add_column("standing", no_wrap=True)
    for part in devices.parts:
        name = "bf16" if "bf16" in part.architecture.tensor else "fp16"
        table.add_row(
            part.id,
            " ".join(f"{pci:04x}" for pci in part.pci_device_ids) or "-",
            f"{part.sm_count} {part.architecture.unit}".replace("TensorC", "c").replace(
                "NeuronC", "c"
            ),
            str(part.max_sm_clock_mhz),
            f"{part.peak_flop_per_s(name) / 1e12:,.0f} {name}",
            str(part.standing),
        )
    out = console()
    out.print(table)
    for row in devices.mig:
        profiles = "  ".join(f"{name} {count}" for name, count in row.profiles.items())
        out.print(f"MIG, SMs of {', '.join(row.parts)}: {profiles} ({row.standing})")
    out.print(f"\ndevice table {devices.version}; sources: flopmeter device list --json")
