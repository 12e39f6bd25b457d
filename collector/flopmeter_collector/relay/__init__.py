"""Forwarding a ledger to another collector: docs/relays.md.

Owns: what of this ledger the root does not have yet, and the way it goes there.
May touch: see its modules; outbox and position are pure.
Called by the collector's app when it has an upstream.
"""
