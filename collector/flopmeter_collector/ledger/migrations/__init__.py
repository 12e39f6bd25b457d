"""Numbered, forward-only schema changes."""
