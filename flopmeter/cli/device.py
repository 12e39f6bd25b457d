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
            }
        )
    else:
        _print_table(table)


def _json(part: Part) -> dict[str, object]:
    architecture = part.architecture
    return {
        "id": part.id,
        "name": part.name,
        "architecture": architecture.name,
        "pci_device_ids": [f"0x{pci:04x}" for pci in part.pci_device_ids],
        "sm_count": part.sm_count,
        "max_sm_clock_mhz": part.max_sm_clock_mhz,
        "dense_clock_mhz": part.dense_clock_mhz,
        "power_w": part.power_w,
        "peak_flop_per_s": {name: part.peak_flop_per_s(name) for name in architecture.tensor},
        "tensor_flop_per_sm_cycle": dict(architecture.tensor),
        "vector_flop_per_sm_cycle": dict(architecture.vector),
        "source": part.source,
        "standing": str(part.standing),
        "architecture_source": architecture.source,
        "architecture_standing": str(architecture.standing),
    }


def _print_table(devices: DeviceTable) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("part", no_wrap=True)
    table.add_column("PCI", no_wrap=True)
    table.add_column("SMs", justify="right")
    table.add_column("MHz", justify="right")
    table.add_column("dense TFLOP/s", justify="right", no_wrap=True)
    table.add_column("standing", no_wrap=True)
    for part in devices.parts:
        name = "bf16" if "bf16" in part.architecture.tensor else "fp16"
        table.add_row(
            part.id,
            " ".join(f"{pci:04x}" for pci in part.pci_device_ids) or "-",
            str(part.sm_count),
            str(part.max_sm_clock_mhz),
            f"{part.peak_flop_per_s(name) / 1e12:,.0f} {name}",
            str(part.standing),
        )
    out = console()
    out.print(table)
    out.print(f"\ndevice table {devices.version}; sources: flopmeter device list --json")
