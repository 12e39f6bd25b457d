"""One estimation method a module."""
