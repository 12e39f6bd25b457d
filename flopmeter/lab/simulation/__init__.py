"""A whole fleet of production code in one deterministic process; docs/fault-simulation.md."""
