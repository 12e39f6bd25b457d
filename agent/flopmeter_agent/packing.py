"""The compact spelling of keys and vectors in an agent's journals.

Owns: how a head (JSON, which a person can read) and rows of a key with numbers become bytes.
May touch: nothing; pure translation.
Called by state, closed and hours. A vector takes four bytes and eight for each component that is
not 0, so that a register is about 120 bytes where JSON would need 300; names are told once.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key

MARK = b"\x02FLOP"
"""Starts a packed state; a state of the first format is JSON and starts with a brace."""

MALFORMED = (ValueError, KeyError, TypeError, IndexError, struct.error)
"""What reading a state raises that is none."""

_spell = json.JSONEncoder(separators=(",", ":")).encode
_LENGTH = struct.Struct("<I")
_KEY = struct.Struct("<HHHHIB")
_VECTORS = tuple(struct.Struct(f"<I{count}q") for count in range(COMPONENT_COUNT + 1))
_BITS = tuple(1 << place for place in range(COMPONENT_COUNT))
_NUMBERS = tuple(struct.Struct(f"<{count}q") for count in range(8))


class Names:
    """Numbers the texts that keys are made of; a number holds as long as the table lives."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """Begin with those of an earlier table, whose numbers go on to hold."""
        self.texts: list[str] = list(texts)
        self._numbers = {text: number for number, text in enumerate(texts)}
        self._keys: dict[Key, bytes] = {}

    def key(self, key: Key) -> bytes:
        """The bytes of a key."""
        told = self._keys.get(key)
        if told is None:
            told = self._keys[key] = _KEY.pack(
                self._number(key.device),
                self._number(key.incarnation),
                self._number(key.allocation),
                self._number(key.record),
                key.phase,
                key.evidence,
            )
        return told

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return number


def numbers_out(*numbers: int) -> bytes:
    """The bytes of a fixed count of numbers, each within 64 bits with its sign."""
    return _NUMBERS[len(numbers)].pack(*numbers)


def vector_out(values: Sequence[int]) -> bytes:
    """The bytes of COMPONENT_COUNT numbers of 0 to 2^63 - 1."""
    told = list(filter(None, values))
    return _VECTORS[len(told)].pack(sum(itertools.compress(_BITS, values)), *told)


def spelled(content: Any) -> str:
    """Content of a head as its text."""
    return _spell(content)


def join(
    head: Mapping[str, Any], rows: Sequence[bytes], *, count: int | None = None, **ready: str
) -> bytes:
    """A state of a head and rows.

    Args:
        head: at least one entry.
        rows: a key with numbers and vectors each.
        count: how many rows there are, where one of `rows` holds several.
        ready: entries of the head whose content is spelled already.
    """
    entries = "".join(f'"{name}":{text},' for name, text in ready.items())
    text = ("{" + entries + spelled(head)[1:]).encode()
    told = _LENGTH.pack(len(rows) if count is None else count)
    return b"".join((MARK, _LENGTH.pack(len(text)), text, told, *rows))


class Packed:
    """Reads what `join` made, front to back."""

    def __init__(self, payload: bytes) -> None:
        """Read the head.

        Raises:
            One of MALFORMED: the bytes are no packed state.
        """
        if not payload.startswith(MARK):
            raise ValueError("it does not start as one")
        self._payload = payload
        self.at = len(MARK)
        """Where the next row, number or vector begins."""
        (length,) = self._take(_LENGTH)
        self.head: dict[str, Any] = json.loads(payload[self.at : self.at + length])
        self._names: list[str] = self.head["names"]
        self.at += length
        (self.count,) = self._take(_LENGTH)
        """How many rows there are."""

    @property
    def rest(self) -> bytes:
        """Everything that was not read yet."""
        return self._payload[self.at :]

    def since(self, began: int) -> bytes:
        """What was read since a place (`at`)."""
        return self._payload[began : self.at]

    def rows(self, count: int | None = None) -> Iterator[Key]:
        """The key of each row; the row's numbers and vectors are read before the next.

        Args:
            count: of so many of them; of all where None.
        """
        for _ in range(self.count if count is None else count):
            device, incarnation, allocation, record, phase, evidence = self._take(_KEY)
            names = self._names
            yield Key(
                names[device],
                names[incarnation],
                names[allocation],
                phase,
                Evidence(evidence),
                names[record],
            )

    def numbers(self, count: int) -> tuple[int, ...]:
        """The next numbers."""
        return self._take(_NUMBERS[count])

    def vector(self) -> list[int]:
        """The next vector; components that a newer version added are refused."""
        (mask,) = _LENGTH.unpack_from(self._payload, self.at)
        told = iter(self._take(_VECTORS[mask.bit_count()])[1:])
        if mask >> COMPONENT_COUNT:
            raise ValueError("it has components this version does not know; upgrade the agent")
        return [next(told) if mask >> place & 1 else 0 for place in range(COMPONENT_COUNT)]

    def _take(self, fields: struct.Struct) -> tuple[Any, ...]:
        taken = fields.unpack_from(self._payload, self.at)
        self.at += fields.size
        return taken
