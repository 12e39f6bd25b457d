"""Allocation sources: who uses a device now, and how that is known (docs/allocations.md)."""
