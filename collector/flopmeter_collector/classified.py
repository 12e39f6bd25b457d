"""What each agent's incarnation classified of each device, in rows of integers.

Owns: how much time that is, up to when it was read, its lower bound, and where it is placed.
May touch: memory only.
Called by residual, which keeps one of these for each writer of a device, and by counted, whose
kernel adds to rows that are quiet. Explained in docs/adr/0017-residual-time.md.

Of 240,000 devices that go on reporting nobody asks how much they classified until one falls silent
or a page shows it. So the usual growth is written to a row, and no object of it is touched; whoever
asks adds what the row holds to what was known before.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from flopmeter_collector.ledger.base import Coverage
from flopmeter_core.kernels.count_rows import ACCOUNT_WIDTH, COVERED, LOWER, QUIET, READ
from flopmeter_core.kernels.place_rows import ANCHOR, BEGAN, UNPLACED
from flopmeter_core.registers import Key

NO_ACCOUNT = -1
"""Stands where a register has none: a MIG instance, or one that names another node."""

TIME_LIMIT_NS = 1 << 61
"""Times since a boot of a greater size (73 years) stay out of rows, and so do Unix times of twice
as much: no sum of what a row holds leaves int64."""

_NEW = array("q", [0, 0, 0, 0, UNPLACED, 0])


class ClassifiedRows:
    """The rows. One thread."""

    def __init__(self) -> None:
        """Start with none."""
        self.block = array("q")

    def open(self) -> int:
        """A new row; gives its number."""
        number = len(self.block) // ACCOUNT_WIDTH
        self.block += _NEW
        return number


@dataclass(slots=True)
class Classified:
    """What one incarnation classified of a device, and for whom.

    Attributes:
        rows, number: where its row is.
        user: the only user its registers name; None for none or several.
        mixed: whether they name several.
        node: the node that its registers in rows name.
        keys: of its registers.
    """

    rows: ClassifiedRows
    number: int
    user: str | None = None
    mixed: bool = False
    node: str = ""
    keys: list[Key] = field(default_factory=list)
    _row: Coverage | None = None
    _covered_ns: int = 0
    _lower_flop: int = 0
    _read_ns: int = 0

    @property
    def covered_ns(self) -> int:
        """How much it classified."""
        return self._covered_ns + self.rows.block[self.number * ACCOUNT_WIDTH + COVERED]

    @property
    def lower_flop(self) -> int:
        """The lower bound of its work."""
        return self._lower_flop + self.rows.block[self.number * ACCOUNT_WIDTH + LOWER]

    def grow(self, covered_ns: int, lower_flop: int) -> None:
        """Add to both; what its row grew by becomes part of what is known."""
        block, at = self.rows.block, self.number * ACCOUNT_WIDTH
        self._covered_ns += block[at + COVERED] + covered_ns
        self._lower_flop += block[at + LOWER] + lower_flop
        block[at + COVERED] = block[at + LOWER] = 0
        self._note_place()

    @property
    def read_ns(self) -> int:
        """Up to when since its boot its device was read; 0 where nobody says."""
        return self._read_ns or self.rows.block[self.number * ACCOUNT_WIDTH + READ]

    def read(self, read_ns: int) -> None:
        """Take up to when it was read, where that is later than was known."""
        if read_ns <= self.read_ns:
            return
        if read_ns < TIME_LIMIT_NS:
            self.rows.block[self.number * ACCOUNT_WIDTH + READ] = read_ns
        else:
            self._read_ns, self.quiet = read_ns, False
            self._note_place()

    @property
    def row(self) -> Coverage | None:
        """Where it is placed; None where nobody said anything of when yet."""
        return self._row

    @row.setter
    def row(self, row: Coverage | None) -> None:
        self._row = row
        self._note_place()

    @property
    def quiet(self) -> bool:
        """Whether nobody has to hear of what its row grows by."""
        return bool(self.rows.block[self.number * ACCOUNT_WIDTH + QUIET])

    @quiet.setter
    def quiet(self, quiet: bool) -> None:
        self.rows.block[self.number * ACCOUNT_WIDTH + QUIET] = quiet and not self._read_ns

    def _note_place(self) -> None:
        """Write where it is placed into its row, as far as that can be told there."""
        block, at, row = self.rows.block, self.number * ACCOUNT_WIDTH, self._row
        block[at + BEGAN] = UNPLACED
        if row is None or row.since_ns is None or row.anchor_ns is None or self._read_ns:
            return
        began_ns = row.since_ns + self._covered_ns
        if abs(began_ns) < TIME_LIMIT_NS and abs(row.anchor_ns) < 2 * TIME_LIMIT_NS:
            block[at + BEGAN], block[at + ANCHOR] = began_ns, row.anchor_ns
