"""The usual case of the merge, for a block of register vectors at a time.

Owns: whether a row that came wins whole, is held already or is late; every other row is marked.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by the collector's ledger.postgres, for a commit held against the rows that are there.
Explained in docs/adr/0031-kernels-compiled-by-the-block.md.

A buffer is a contiguous run of int64 (`array('q')` or a memoryview of format q); a row is `width`
neighbours in it. What this file marks ASK is decided by the same Python as a vector that comes
alone, so nothing here may guess: in doubt a row is marked.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

WON = 0
"""The row is newer and nowhere below what was held, and was written over it."""
DUPLICATE = 1
"""The row is what is held."""
LATE = 2
"""What is held is newer and nowhere below the row."""
ASK = 3
"""None of these: nothing was changed, and the caller decides."""

SEVERAL = -1
"""Held sequence of a key with several branches: each of its rows is marked ASK."""

COUNT_BITS = 40
"""Sequences that differ above these bits are not told apart here: their rows are marked ASK."""

LIMIT = 1 << 62
"""A component is below this, so that the difference of two never leaves int64."""


def merge_rows(
    held: MutableSequence[int],
    held_sequences: MutableSequence[int],
    places: Sequence[int],
    came: Sequence[int],
    came_sequences: Sequence[int],
    outcomes: MutableSequence[int],
    width: int,
) -> int:
    """Merge rows one after the other into the places they name, where that is the usual case.

    Args:
        held: the rows that are held, `width` int64 each.
        held_sequences: the sequence of each; `SEVERAL` where the key has several branches.
        places: of each row that came, the number of its row in `held`; one may be named again.
        came: the rows that came.
        came_sequences: the sequence of each.
        outcomes: gets WON, DUPLICATE, LATE or ASK for each row (a byte each).
        width: int64 in a row.

    Returns:
        How many rows are marked ASK.

    Raises:
        IndexError: a place without a row, or buffers that do not fit together; rows before it
            were merged.
    """
    # Looked up once: in compiled form the names are then C integers.
    won, duplicate, late, ask, limit, bits = WON, DUPLICATE, LATE, ASK, LIMIT, COUNT_BITS
    rows = len(held_sequences)
    count = len(places)
    asked = 0
    if len(held) < rows * width or len(came) < count * width:
        raise IndexError("a buffer of rows is shorter than its sequences")
    if len(came_sequences) < count or len(outcomes) < count:
        raise IndexError("each row that came needs a sequence and an outcome")
    for row in range(count):
        place = places[row]
        if place < 0 or place >= rows:
            raise IndexError("a row names a place that is not held")
        ours = place * width
        theirs = row * width
        # Bits of all values, and of all differences: negative where any one is negative.
        seen = 0
        falls = 0
        for component in range(width):
            new = came[theirs + component]
            old = held[ours + component]
            seen |= new | old
            # A difference that does not fit has a sign bit in `seen`, and is not looked at.
            falls |= new - old
        newest = held_sequences[place]
        sequence = came_sequences[row]
        known = newest >= 0 and newest >> bits == sequence >> bits and seen >= 0 and seen < limit
        if known and sequence > newest and falls >= 0:
            for component in range(width):
                held[ours + component] = came[theirs + component]
            held_sequences[place] = sequence
            outcomes[row] = won
            continue
        outcome = ask
        if known and sequence <= newest:
            rises = 0
            for component in range(width):
                rises |= held[ours + component] - came[theirs + component]
            if rises >= 0 and sequence < newest:
                outcome = late
            elif rises >= 0 and falls >= 0:
                outcome = duplicate
        outcomes[row] = outcome
        asked += outcome == ask
    return asked
