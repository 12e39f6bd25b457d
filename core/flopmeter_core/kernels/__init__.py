"""Hot loops in plain integer Python, each behind one module."""
