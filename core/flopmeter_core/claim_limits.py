"""How large a claim of work may be, stated once for who counts it and who refuses it.

Owns: the limits on claimed FLOP.
May touch: nothing; it imports nothing either, so that a training script pays no time for it.
Called by claims (which refuses) and by the SDK (which never adds what would be refused).
Explained in docs/sdk.md.
"""

CLAIMED_FLOP_LIMIT = 10**32
"""Claims are below this, in FLOP: a million times the largest legal threshold of today (10^26)."""

STEP_FLOP_LIMIT = CLAIMED_FLOP_LIMIT // 1_000
"""FLOP of one step that a training process may add to its claim are below this. A claim that
reaches its limit is refused with all that was counted before, so an absurd step is never added."""
