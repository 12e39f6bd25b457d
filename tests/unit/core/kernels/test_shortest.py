"""Doubles as text: what `repr` writes, in both forms, and what is left is said."""

from __future__ import annotations

import math
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import shortest
from flopmeter_core.kernels.shortest import GREATEST_BINARY, LEAST_BINARY, POWER_COUNT, ROOM
from support.forms import COMPILED, FORMS, INTERPRETED, kernel

# A compilation takes a minute where everybody else wants the processor too.
pytestmark = pytest.mark.timeout(600)

bits = st.integers(0, 2**52 - 1) | st.sampled_from([0, 1, 2**51, 2**52 - 2, 2**52 - 1])
taken = st.builds(
    lambda binary, fraction: struct.unpack("d", struct.pack("Q", binary << 52 | fraction))[0],
    st.integers(LEAST_BINARY, GREATEST_BINARY),
    bits,
)
ratios = st.builds(
    lambda amount, value: amount / value,
    st.integers(0, 10**30),
    st.sampled_from([10**23, 10**25, 10**26, 3 * 10**24, 7]),
)
decimals = st.builds(lambda digits, power: float(f"{digits}e{power}"), st.integers(0, 10**17),
                     st.integers(-40, 20))  # fmt: skip
doubles = st.lists(taken | ratios | decimals | st.floats(), max_size=5)


def written(form: str, values: list[float]) -> list[str]:
    """The lines a form makes."""
    powers = array("Q", shortest.powers_of_ten())
    text = bytearray(b"!" * (ROOM * len(values) + 1))
    whole = memoryview(array("d", values)).cast("B").cast("Q") if values else array("Q")
    size = kernel("shortest", form).shortest(whole, powers, text)
    assert text[size:] == b"!" * (len(text) - size)
    return text[:size].decode().splitlines()


def is_taken(value: float) -> bool:
    """Whether a number is one that the kernel has to write itself."""
    (whole,) = struct.unpack("Q", struct.pack("d", value))
    return bool(whole == 0 or LEAST_BINARY <= whole >> 52 <= GREATEST_BINARY)


@pytest.mark.parametrize("form", FORMS)
@given(doubles)
def test_as_repr(form: str, values: list[float]) -> None:
    """A number that is taken is written as `repr` writes it; every other one is a question mark."""
    wanted = [repr(value) if is_taken(value) else "?" for value in values]
    assert written(form, values) == wanted


@pytest.mark.parametrize("form", FORMS)
def test_edges(form: str) -> None:
    """Powers of two, their neighbours, and where `repr` changes its way of writing."""
    values = [2.0**power for power in range(-120, 122)]
    values += [math.nextafter(value, way) for value in values[1:-1] for way in (0.0, math.inf)]
    values += [10.0**power for power in range(-36, 37)]
    values += [1e16 - 2, 9007199254740993.0, 123456789012345680.0, 0.0001, 0.00012345, 9.5e-5]
    values += [1200.0, 0.1, 0.3, 5e-324, -1.0, -0.0, math.inf, math.nan, 2.0**122]
    wanted = [repr(value) if is_taken(value) else "?" for value in values]
    assert written(form, values) == wanted
    assert wanted.count("?") == 7


@pytest.mark.parametrize("form", FORMS)
def test_room(form: str) -> None:
    """Buffers that are too small are refused before a byte is written."""
    write = kernel("shortest", form).shortest
    powers, text = array("Q", shortest.powers_of_ten()), bytearray(ROOM)
    ones = memoryview(array("d", [1.0, 1.0])).cast("B").cast("Q")
    with pytest.raises(IndexError, match="room"):
        write(ones, powers, text)
    with pytest.raises(IndexError, match="room"):
        write(ones[:1], powers[:-2], text)
    assert text == bytes(ROOM)


def test_powers() -> None:
    """Powers of ten are rounded up in the last of 126 bits, and there is one for each exponent."""
    halves = shortest.powers_of_ten()
    assert len(halves) == 2 * POWER_COUNT
    for place, power in enumerate(range(shortest.LEAST_POWER, shortest.LEAST_POWER + POWER_COUNT)):
        whole = (halves[2 * place] << 63) + halves[2 * place + 1]
        assert whole.bit_length() == 126
        scale = max(power, 0) * 4 + 512
        # whole / 2^shift is just above 10^-power.
        shift = 125 - ((-power * shortest.LOG2_10) >> shortest.LOG2_BITS)
        exact = (10 ** max(-power, 0) << scale) * 2 ** max(shift, 0)
        under = 10 ** max(power, 0) * 2 ** max(-shift, 0)
        assert (whole - 1) * under << scale <= exact < whole * under << scale
    powers = [
        (exponent * shortest.LOG10_2 - less) >> shortest.LOG10_BITS
        for exponent in range(LEAST_BINARY - shortest.BIAS, GREATEST_BINARY - shortest.BIAS + 1)
        for less in (0, shortest.LOG10_THREE_QUARTERS)
    ]
    assert (min(powers), max(powers)) == (
        shortest.LEAST_POWER,
        shortest.LEAST_POWER + POWER_COUNT - 1,
    )


@given(doubles)
def test_forms_are_equal(values: list[float]) -> None:
    """Both forms write the same bytes."""
    assert written(INTERPRETED, values) == written(COMPILED, values)
