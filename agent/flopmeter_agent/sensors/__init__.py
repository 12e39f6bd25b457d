"""One sensor a module; the table lists them."""
