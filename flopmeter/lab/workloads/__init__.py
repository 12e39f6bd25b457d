"""Work of exactly known FLOP: one family a module, all listed in table."""
