"""Number formats: the mix a run declares, and what a tensor cycle is worth under it.

Owns: the syntax of a declared mix (``fp8=0.90..0.97,bf16=rest``) and its conversion to rates.
May touch: nothing; exact rationals.
Called by the command line and by declarations (parsing), and by the methods (rates).
No counter says which format ran (docs/estimation.md), so the mix is a declaration with bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

KNOWN_FORMATS = ("fp64", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4")

MAXIMUM_SHARE_LENGTH = 64
"""Characters of one share, such as ``0.90..0.97``."""

BARE_SHARE = (Fraction(7, 10), Fraction(1))
"""A format named alone means at least 70 % of the FLOP: layers that are kept in a wider format
(embedding, head, attention products) make up the rest."""

REST_FORMAT = "bf16"
"""What the rest of a bare declaration ran in."""


@value_class(frozen=True, slots=True)
class FormatMix:
    """Shares of a run's FLOP by number format, each with a lower and an upper bound.

    Attributes:
        text: the declaration as it was written.
        shares: format -> (least, greatest) share of FLOP, each 0..1.
    """

    text: str
    shares: Mapping[str, tuple[Fraction, Fraction]]

    def rates(self, tensor: Mapping[str, int | Fraction]) -> tuple[Fraction, Fraction, Fraction]:
        """FLOP per SM and tensor-active cycle: least, most likely, greatest.

        Cycles convert by the harmonic mean, because the shares are of FLOP and not of time:
        1 FLOP costs sum(share / rate) cycles.

        Args:
            tensor: dense tensor rates by format, in FLOP per SM and cycle.

        Raises:
            DataError: a format the architecture does not have.
        """
        for name in self.shares:
            if name not in tensor:
                raise DataError(
                    f"this part has no {name} tensor format; declare one of "
                    f"{', '.join(sorted(set(tensor) & set(KNOWN_FORMATS)))}"
                )
        slow_first = sorted(self.shares, key=lambda name: (tensor[name], name))
        least = self._rate(tensor, slow_first)
        greatest = self._rate(tensor, slow_first[::-1])
        middle = {name: (low + high) / 2 for name, (low, high) in self.shares.items()}
        total = sum(middle.values(), Fraction(0))
        cycles_per_flop = sum(
            (share / total / tensor[name] for name, share in middle.items()), Fraction(0)
        )
        return least, 1 / cycles_per_flop, greatest

    def _rate(self, tensor: Mapping[str, int | Fraction], order: list[str]) -> Fraction:
        """The rate when the formats first in `order` take as much as they may."""
        shares = {name: self.shares[name][0] for name in order}
        free = 1 - sum(shares.values())
        for name in order:
            taken = min(free, self.shares[name][1] - self.shares[name][0])
            shares[name] += taken
            free -= taken
        return 1 / sum((share / tensor[name] for name, share in shares.items()), Fraction(0))


def parse_format_mix(text: str) -> FormatMix:
    """Read a declared mix.

    Args:
        text: ``fp8`` (alone: 0.7 to 1 of the FLOP, the rest bf16), or shares such as
            ``fp8=0.90..0.97,bf16=rest`` or ``bf16=1``.

    Raises:
        DataError: an unknown format, a share outside 0..1, or shares that cannot add up to 1.
    """
    shares: dict[str, tuple[Fraction, Fraction]] = {}
    rest: str | None = None
    for item in text.lower().replace(" ", "").split(","):
        name, equals, share = item.partition("=")
        if name not in KNOWN_FORMATS:
            raise DataError(
                f"unknown number format {name!r} in {text!r}; use one of {', '.join(KNOWN_FORMATS)}"
            )
        if name in shares or name == rest:
            raise DataError(f"number format {name} stands twice in {text!r}; state it once")
        if not equals:
            shares[name] = BARE_SHARE
        elif share == "rest":
            if rest is not None:
                raise DataError(f"only one format of {text!r} can be 'rest'")
            rest = name
        else:
            shares[name] = _parse_share(share, text)
    return FormatMix(text=text, shares=_with_rest(shares, rest, text))


def _parse_share(share: str, text: str) -> tuple[Fraction, Fraction]:
    low, dots, high = share.partition("..")
    try:
        # 1e-999999999 is a number too, of a gigabyte.
        if "e" in share or len(share) > MAXIMUM_SHARE_LENGTH:
            raise ValueError(share)
        bounds = (Fraction(low), Fraction(high if dots else low))
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{share!r} in {text!r} is not a share; write a number from 0 to 1, such as 0.9, "
            "or a range such as 0.9..0.97"
        ) from error
    if not 0 <= bounds[0] <= bounds[1] <= 1:
        raise DataError(f"the share {share!r} in {text!r} does not lie between 0 and 1")
    return bounds


def _with_rest(
    shares: dict[str, tuple[Fraction, Fraction]], rest: str | None, text: str
) -> dict[str, tuple[Fraction, Fraction]]:
    """Give what the named shares leave to the rest, and refuse what cannot add up to 1."""
    least = sum((low for low, _ in shares.values()), Fraction(0))
    greatest = sum((high for _, high in shares.values()), Fraction(0))
    if least > 1:
        raise DataError(f"the shares of {text!r} add up to more than 1; lower them")
    bare = len(shares) == 1 and next(iter(shares.values())) == BARE_SHARE
    if rest is None and bare and REST_FORMAT not in shares:
        rest = REST_FORMAT
    if rest is not None:
        shares[rest] = (max(Fraction(0), 1 - greatest), 1 - least)
    elif bare:
        shares = dict.fromkeys(shares, (Fraction(1), Fraction(1)))
    elif greatest < 1:
        raise DataError(
            f"the shares of {text!r} add up to less than 1; name what the rest ran in, "
            f"for instance '{text},bf16=rest'"
        )
    return shares


def widest_rates(tensor: Mapping[str, int]) -> tuple[Fraction, Fraction, Fraction]:
    """FLOP per tensor-active cycle when nothing was declared: slowest, bf16, fastest format.

    Most likely is bf16 (fp16 where the part has no bf16), the usual training format; FP64 is
    left out because its tensor cycles are counted apart.
    """
    rates = [rate for name, rate in tensor.items() if name in KNOWN_FORMATS and name != "fp64"]
    likely = tensor.get("bf16", tensor.get("fp16", max(rates)))
    return Fraction(min(rates)), Fraction(likely), Fraction(max(rates))
