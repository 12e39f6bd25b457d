"""State transitions and their delivery."""
