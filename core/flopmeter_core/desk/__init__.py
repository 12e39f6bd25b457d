"""Estimates from a table of published figures; one way of estimating a module."""
