"""One recording format a module; the table lists them."""
