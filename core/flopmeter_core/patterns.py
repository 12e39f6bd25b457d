"""Patterns of names: ``*`` for any characters, ``?`` for one.

Owns: the spelling of a pattern, whether a name fits one, and whether two patterns share a name.
May touch: nothing; pure text.
Called by the collector's attribution; docs/runs-and-models.md.
That two patterns share no name is proved, not sampled: rules that could ever contradict each other
are refused before anything does.
"""

from __future__ import annotations

from flopmeter_core.errors import DataError

MAXIMUM_LENGTH = 512
"""Characters of a pattern, as of the names it is held against."""

MAXIMUM_STARS = 8
"""Wildcards of a pattern: more say nothing that a person could check."""


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that nobody could check.

    Raises:
        DataError: empty, too long, unprintable, or with too many wildcards.
    """
    if not 0 < len(pattern) <= MAXIMUM_LENGTH or not pattern.isprintable():
        raise DataError(
            f"a pattern has 1 to {MAXIMUM_LENGTH} printable characters; this one has {len(pattern)}"
        )
    if pattern.count("*") > MAXIMUM_STARS:
        raise DataError(f"a pattern has at most {MAXIMUM_STARS} stars; write several patterns")


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern, in time linear in the name for each star."""
    at = place = 0
    star, resume = -1, 0
    while at < len(name):
        if place < len(pattern) and pattern[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", name[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return all(character == "*" for character in pattern[place:])


def meet(one: str, other: str) -> bool:
    """Whether any name at all fits both patterns."""
    if not _starts_meet(one, other):
        return False
    # reached[j]: some text fits one[:i] and other[:j].
    reached = [True] + [False] * len(other)
    for place, character in enumerate(other):
        reached[place + 1] = reached[place] and character == "*"
    for first in one:
        following = [reached[0] and first == "*"]
        for place, second in enumerate(other):
            if first == "*" and second == "*":
                met = reached[place + 1] or following[place] or reached[place]
            elif first == "*":
                met = reached[place + 1] or following[place]
            elif second == "*":
                met = following[place] or reached[place + 1]
            else:
                met = reached[place] and (first == second or "?" in (first, second))
            following.append(met)
        reached = following
    return reached[-1]


def _starts_meet(one: str, other: str) -> bool:
    """Whether the plain beginnings agree; settles most pairs at once."""
    for first, second in zip(one, other, strict=False):
        if "*" in (first, second):
            return True
        if first != second and "?" not in (first, second):
            return False
    return True
