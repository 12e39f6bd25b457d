"""How two vectors of one key stand to each other: the inner loop of the collector's merge.

Owns: the comparison, component by component, of two equally long integer vectors.
May touch: nothing; plain integers, no imports, so that it can be compiled as it stands.
Called by the collector's register table for each vector that comes in.
Explained in docs/adr/0002-registers-and-number-type.md.
"""

EQUAL = 0
"""No component differs."""
ABOVE = 1
"""The first vector is nowhere below the second and somewhere above it."""
BELOW = 2
"""The first vector is nowhere above the second and somewhere below it."""
APART = 3
"""Each vector is above the other somewhere: neither can follow from the other."""


def compare(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Tell how `first` stands to `second`.

    Args:
        first: cumulative values, each 0 .. 2^62 - 1 (the wire lets nothing else in).
        second: values of the same components, the same in number.

    Returns:
        EQUAL, ABOVE, BELOW or APART.

    Raises:
        IndexError: `second` is the shorter one.
    """
    above = below = False
    for place in range(len(first)):
        ours = first[place]
        theirs = second[place]
        if ours > theirs:
            above = True
        elif ours < theirs:
            below = True
    if above:
        return APART if below else ABOVE
    return BELOW if below else EQUAL
