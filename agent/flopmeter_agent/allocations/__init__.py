"""Who uses a device: one source a module."""
