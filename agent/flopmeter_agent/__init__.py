"""The agent: reads sensors on a node and reports cumulative registers."""
