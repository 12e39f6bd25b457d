"""Telemetry by the year: packed series of one device a file, metered a block at a time."""
