"""Number formats: cycles convert by the harmonic mean, and a bad mix is refused in one sentence."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import DataError
from flopmeter_core.formats import FormatMix, parse_format_mix, widest_rates

HOPPER = {"fp64": 256, "tf32": 2_048, "fp16": 4_096, "bf16": 4_096, "fp8": 8_192, "int8": 8_192}
VOLTA = {"fp16": 1_024}


def test_harmonic_mean_by_hand() -> None:
    """Half the FLOP at half the rate: 2/3 of the fast rate, not 3/4."""
    least, likely, greatest = parse_format_mix("fp8=0.5,bf16=rest").rates(HOPPER)
    assert least == likely == greatest == Fraction(2, 3) * 8_192


def test_bounds_by_hand() -> None:
    """Least gives the slow format all it may have, greatest the fast one, likely the middle."""
    mix = parse_format_mix("fp8=0.90..0.97,bf16=rest")
    assert mix.shares["bf16"] == (Fraction(3, 100), Fraction(1, 10))
    least, likely, greatest = mix.rates(HOPPER)
    assert least == 1 / (Fraction(90, 100) / 8_192 + Fraction(10, 100) / 4_096)
    assert greatest == 1 / (Fraction(97, 100) / 8_192 + Fraction(3, 100) / 4_096)
    assert likely == 1 / (Fraction(935, 1_000) / 8_192 + Fraction(65, 1_000) / 4_096)


def test_bare() -> None:
    """A format named alone means at least 70 % of the FLOP, the rest in bf16."""
    mix = parse_format_mix("FP8")
    assert mix.shares == {
        "fp8": (Fraction(7, 10), Fraction(1)),
        "bf16": (Fraction(0), Fraction(3, 10)),
    }
    assert mix.rates(HOPPER)[2] == 8_192
    assert set(parse_format_mix("bf16").rates(HOPPER)) == {Fraction(4_096)}


def test_spelling() -> None:
    """Case and blanks do not matter; the text is kept as it was written."""
    mix = parse_format_mix("FP8 = 0.5 .. 0.75, BF16 = rest")
    assert mix.shares == parse_format_mix("fp8=0.5..0.75,bf16=rest").shares
    assert mix.text == "FP8 = 0.5 .. 0.75, BF16 = rest"


def test_undeclared() -> None:
    """Undeclared spans all float formats but FP64, bf16 likely; integers are no format of FLOP."""
    assert list(widest_rates(HOPPER)) == [2_048, 4_096, 8_192]
    assert list(widest_rates(VOLTA)) == [1_024, 1_024, 1_024]


def test_format_the_part_lacks() -> None:
    """The refusal names what the part has."""
    with pytest.raises(DataError, match=r"no fp8 tensor format; declare one of fp16$"):
        parse_format_mix("fp8").rates(VOLTA)


BAD = [
    ("", "unknown number format ''"),
    ("fp7", "unknown number format 'fp7'"),
    ("int8=1", "unknown number format 'int8'"),
    ("fp8=0.5,fp8=0.5", "fp8 stands twice"),
    ("fp8=rest,fp8=0.5", "fp8 stands twice"),
    ("fp8=rest,bf16=rest", "only one format"),
    ("fp8=much", "is not a share"),
    ("fp8=", "is not a share"),
    ("fp8=0.5..", "is not a share"),
    ("fp8=1/0", "is not a share"),
    ("fp8=nan", "is not a share"),
    ("fp8=1e-999999999", "is not a share"),
    ("fp8=90", "does not lie between 0 and 1"),
    ("fp8=-0.1", "does not lie between 0 and 1"),
    ("fp8=0.9..0.5", "does not lie between 0 and 1"),
    ("fp8=0.8,bf16=0.3", "add up to more than 1"),
    ("fp8=0.8,bf16=0.3,tf32=rest", "add up to more than 1"),
    ("fp8,bf16", "add up to more than 1"),
    ("fp8=0.5", "add up to less than 1"),
    ("fp8=0.5..0.6,bf16=0.1", "add up to less than 1"),
    ("fp8=0.5,", "unknown number format ''"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_bad_mix(text: str, sentence: str) -> None:
    """Each way a mix can be wrong has its sentence."""
    with pytest.raises(DataError, match=sentence):
        parse_format_mix(text)


@given(
    low=st.fractions(0, 1, max_denominator=100),
    high=st.fractions(0, 1, max_denominator=100),
    rest=st.sampled_from(["bf16", "tf32", "fp16"]),
)
def test_ordered(low: Fraction, high: Fraction, rest: str) -> None:
    """Whatever the bounds, least <= likely <= greatest, all within the formats' own rates."""
    low, high = min(low, high), max(low, high)
    mix = parse_format_mix(f"fp8={low}..{high},{rest}=rest")
    least, likely, greatest = mix.rates(HOPPER)
    assert HOPPER[rest] <= least <= likely <= greatest <= HOPPER["fp8"]


@given(share=st.fractions(0, 1, max_denominator=1_000))
def test_cycles_add_up(share: Fraction) -> None:
    """Cycles of the parts are the cycles of the whole: the meaning of the harmonic mean."""
    mix = FormatMix("", {"fp8": (share, share), "bf16": (1 - share, 1 - share)})
    flop = Fraction(10**6)
    _, likely, _ = mix.rates(HOPPER)
    assert flop / likely == flop * share / 8_192 + flop * (1 - share) / 4_096
