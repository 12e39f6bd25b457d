"""flopmeter: the electricity meter of AI training."""
