"""Reports for those whom a law lets ask: the figures, how they came about, and what is unsure."""
