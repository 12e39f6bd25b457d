"""The pure heart: units, registers, estimates; no I/O and no clock."""
