"""Fractions as text: the fewest digits that are read back as the same number, a block in one call.

Owns: the digits of a double, its point and its exponent, as Python's `repr` writes them.
May touch: the buffers it is handed; plain integers, so that it runs compiled or as it stands.
Called by kernels.render, for ratios; docs/adr/0031-kernels-compiled-by-the-block.md.

A double arrives as the 64 bits it is made of: its value is whole x 2^exponent. Multiplied by a
power of ten known to 126 bits it gives an integer of 16 or 17 digits, with the ends of the interval
that is rounded to the same double; a number in that interval with a digit less is taken where there
is one, else the nearest with all digits. That 126 bits are enough is proven in Raffaello Giulietti,
"The Schubfach way to render doubles" (2020), section 9. `repr` gives the same text and takes twenty
times as long, because it computes with numbers of any length.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

ROOM = 32
"""Bytes a number may take with its line feed; it takes 25 at most."""

LEAST_BINARY, GREATEST_BINARY = 1023 - 120, 1023 + 120
"""Biased exponents that are taken: 2^-120 to 2^121; every ratio that means anything is inside."""

BIAS = 1075
"""Of the exponent of a double whose fraction is read as an integer of 52 bits."""

LOG10_2, LOG10_THREE_QUARTERS, LOG10_BITS = 661_971_961_083, 274_743_187_321, 41
"""log10(2) and -log10(3/4) times 2^41, rounded down."""

LOG2_10, LOG2_BITS = 913_124_641_741, 38
"""log2(10) times 2^38, rounded down."""

LEAST_POWER = -52
"""Of ten, the least that a digit of a number which is taken stands for."""

POWER_COUNT = 73
"""Powers of ten a block needs: from `LEAST_POWER` on."""


def shortest(bits: Sequence[int], powers: Sequence[int], text: MutableSequence[int]) -> int:
    """Write doubles, a line each.

    Args:
        bits: the doubles' own 64 bits.
        powers: `POWER_COUNT` pairs of the upper and lower 63 bits of 10^-k, as `powers_of_ten`
            makes them.
        text: gets the lines, a byte each; ``?`` for a number that is left: a negative one, one
            that is not finite, one outside the exponents that are taken.

    Returns:
        How many bytes were written.

    Raises:
        IndexError: buffers that do not fit together.
    """
    count = len(bits)
    if len(text) < count * ROOM or len(powers) < 2 * POWER_COUNT:
        raise IndexError("each number needs room for its text, and the powers of ten")
    hidden, least, greatest, bias = 1 << 52, LEAST_BINARY, GREATEST_BINARY, BIAS
    log10_2, three_quarters, log10_bits = LOG10_2, LOG10_THREE_QUARTERS, LOG10_BITS
    log2_10, log2_bits, least_power = LOG2_10, LOG2_BITS, LEAST_POWER
    zero, point, line_feed, left = 48, 46, 10, 63  # the last one is a question mark
    at = 0
    for number in range(count):
        whole = bits[number]
        binary = whole >> 52
        if whole == 0:
            text[at] = text[at + 2] = zero
            text[at + 1] = point
            text[at + 3] = line_feed
            at += 4
            continue
        if binary < least or binary > greatest:
            text[at] = left
            text[at + 1] = line_feed
            at += 2
            continue
        exponent = binary - bias
        whole &= hidden - 1
        # The double below a power of two is nearer than the one above it.
        if whole:
            below = 2
            power = (exponent * log10_2) >> log10_bits
        else:
            below = 1
            power = (exponent * log10_2 - three_quarters) >> log10_bits
        odd = whole & 1
        whole = (whole | hidden) << 2
        shift = exponent + ((-power * log2_10) >> log2_bits) + 2
        place = 2 * (power - least_power)
        high, low = powers[place], powers[place + 1]
        here = scaled(high, low, whole << shift)
        first = scaled(high, low, (whole - below) << shift) + odd
        last = scaled(high, low, (whole + 2) << shift)
        digits = here >> 2
        tens = digits // 10 * 10
        lower = first <= tens << 2
        if lower != (((tens + 10) << 2) + odd <= last):
            digits = tens if lower else tens + 10
        else:
            lower = first <= digits << 2
            if lower == (((digits + 1) << 2) + odd <= last):
                # Both or neither: the nearer one, the even one where it is in the middle.
                middle = (digits << 2) + 2
                lower = here < middle or (here == middle and digits & 1 == 0)
            if not lower:
                digits += 1
        at = written(digits, power, text, at)
        text[at] = line_feed
        at += 1
    return at


def scaled(high: int, low: int, whole: int) -> int:
    """Multiply by a power of ten: the upper 64 bits of the product, odd where it is not exact."""
    low_63, all_64 = (1 << 63) - 1, 0xFFFF_FFFF_FFFF_FFFF
    rest = (((high * whole) & all_64) >> 1) + upper_half(low, whole)
    product = upper_half(high, whole) + (rest >> 63)
    return product | 1 if rest & low_63 else product


def upper_half(one: int, other: int) -> int:
    """The upper 64 bits of a product of two numbers of 64 bits."""
    low_32 = 0xFFFF_FFFF
    mixed = (one >> 32) * (other & low_32) + (((one & low_32) * (other & low_32)) >> 32)
    return (
        (one >> 32) * (other >> 32)
        + (mixed >> 32)
        + (((one & low_32) * (other >> 32) + (mixed & low_32)) >> 32)
    )


def written(digits: int, power: int, text: MutableSequence[int], at: int) -> int:
    """Write digits x 10^power from a place on, and give the place after it."""
    # Numbers and no names of the module: to look one up takes as long as all digits do.
    zero, point = 48, 46
    while digits % 10 == 0:
        digits //= 10
        power += 1
    size, rest = 0, digits
    while rest:
        rest //= 10
        size += 1
    before = size + power
    fixed = -3 <= before <= 16  # the places of the point at which `repr` writes no exponent
    places = before if fixed else 1
    if places <= 0:
        # 0.000123: the point, and zeros up to the first digit.
        text[at] = zero
        text[at + 1] = point
        at += 2
        for _ in range(-places):
            text[at] = zero
            at += 1
        places = -1
    end = at + size + (1 if 0 < places < size else 0)
    place = end - 1
    for number in range(size):
        if size - number == places and number:
            text[place] = point
            place -= 1
        text[place] = zero + digits % 10
        digits //= 10
        place -= 1
    if fixed:
        if places >= size:
            # 1200.0
            for _ in range(places - size):
                text[end] = zero
                end += 1
            text[end] = point
            text[end + 1] = zero
            end += 2
        return end
    return with_exponent(before - 1, text, end)


def with_exponent(exponent: int, text: MutableSequence[int], at: int) -> int:
    """Write an exponent of two digits and its sign, and give the place after it."""
    text[at] = 101
    text[at + 1] = 45 if exponent < 0 else 43
    exponent = -exponent if exponent < 0 else exponent
    text[at + 2] = 48 + exponent // 10
    text[at + 3] = 48 + exponent % 10
    return at + 4


def powers_of_ten() -> list[int]:
    """The pairs that `shortest` needs: of 10^-k 126 bits, rounded up, as two times 63."""
    halves: list[int] = []
    for power in range(LEAST_POWER, LEAST_POWER + POWER_COUNT):
        bits = ((-power * LOG2_10) >> LOG2_BITS) - 125
        above, under = (10**-power, 1) if power <= 0 else (1, 10**power)
        if bits < 0:
            above <<= -bits
        else:
            under <<= bits
        whole = above // under + 1
        halves += [whole >> 63, whole & ((1 << 63) - 1)]
    return halves
