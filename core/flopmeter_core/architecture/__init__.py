"""FLOP of training from a model's architecture: shapes, exact counts, and when 6PD may stand in."""
