"""The collector: keeps the ledger, derives totals, warns."""
