"""A drop's trail as a file that anyone can check, without the origin and its database. Pure: lines in, faults out.

The file is JSON, one document a line, in this order; it has no personal data:

1. `opening`: which drop, which origin, and when it was written.
2. `head`, any number: the signed heads.
3. `entry`, any number: an entry and the hash after it, in the order of their positions.
4. `end`: how many entries there are, and the drop's stock. A file without it was cut off.

With the origin's public keys (`/.well-known/jwks.json`) as the function `verify` of `shared.audit.heads`:

    with open("drop.trail", "rb") as lines:
        checked = check_export(lines, verify)
    assert not checked.faults
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from shared.audit.checking import Fault, TrailCheck
from shared.audit.heads import Verify, read_good_head
from shared.audit.trail import Entry, Head, read_hash, show_hash
from shared.structs import Wire

MOST_FAULTS: Final = 1_000  # that are listed; all are counted


class Opening(Wire, frozen=True, kw_only=True, tag="opening", tag_field="line"):
    """The first line."""

    format: Literal["cliptill trail 1"] = "cliptill trail 1"
    drop: str
    issuer: str
    written_ms: int


class HeadLine(Wire, frozen=True, kw_only=True, tag="head", tag_field="line"):
    """A signed head (JWS)."""

    head: str


class EntryLine(Wire, frozen=True, kw_only=True, tag="entry", tag_field="line"):
    """An entry, and the hash after it in base64url."""

    entry: Entry
    hash: str


class Stock(Wire, frozen=True, kw_only=True):
    """A drop's stock, as it is stored."""

    total: int
    free: int
    held: int
    settled: int


class Ending(Wire, frozen=True, kw_only=True, tag="end", tag_field="line"):
    """The last line: the number of entries, and the stock after the last of them; None where the drop is gone."""

    entries: int
    stock: Stock | None


Line = Opening | HeadLine | EntryLine | Ending


class FaultList:
    """Faults as they are found: counted all, listed up to `MOST_FAULTS`."""

    def __init__(self) -> None:
        """Start without any."""
        self.count = 0
        self.listed: list[Fault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Take up some more."""
        for fault in faults:
            self.count += 1
            if len(self.listed) < MOST_FAULTS:
                self.listed.append(fault)


class ExportCheck(Wire, frozen=True, kw_only=True):
    """What checking a file came to.

    Attributes:
        entries, settled, hash: how many entries there are, and total and hash after the last.
        signed_until: position of the last signed head that fits; what is after it rests on the chain alone.
        faults: the first of them, at most `MOST_FAULTS`; `fault_count` counts all.
    """

    drop: str
    issuer: str
    entries: int
    settled: int
    hash: str
    signed_until: int
    fault_count: int
    faults: tuple[Fault, ...]


_DECODER: Final = msgspec.json.Decoder(Line)
_ENCODE: Final = msgspec.json.Encoder().encode


def write_line(line: Line) -> bytes:
    """Return one line of a file, with its end."""
    return _ENCODE(line) + b"\n"


def check_export(lines: Iterable[bytes], verify: Verify, published: Iterable[str] = ()) -> ExportCheck:
    """Check a whole file. Memory does not grow with the number of entries.

    Args:
        lines: of the file, such as the file itself, opened in binary mode.
        verify: whether a signature is the origin's.
        published: signed heads that are known from elsewhere.
    """
    faults = FaultList()
    reader = _Reader(lines, faults)
    opening = reader.take_opening()
    heads = _read_heads((*published, *reader.take_heads()), verify, faults)
    check = TrailCheck(opening.drop, heads)
    count = 0
    for line in reader.take_entries():
        count += 1
        # What is no hash is compared as one that fits nothing.
        faults.add(check.feed(line.entry, read_hash(line.hash) or b""))
    faults.add(check.finish())
    faults.add(_check_end(reader.take_ending(), check, count))
    return ExportCheck(
        drop=opening.drop,
        issuer=opening.issuer,
        entries=count,
        settled=check.settled,
        hash=show_hash(check.hash),
        signed_until=check.signed_until,
        fault_count=faults.count,
        faults=tuple(faults.listed),
    )


def check_stock(stock: Stock | None, settled: int) -> list[Fault]:
    """Compare a drop's stock with the total of its trail."""
    if stock is None:
        return [Fault(code="stock_disagrees", detail="the drop is gone")]
    wrong = []
    if stock.settled != settled:
        wrong.append(f"{stock.settled} settled, the trail says {settled}")
    if stock.free + stock.held + stock.settled != stock.total:
        wrong.append(f"free {stock.free} + held {stock.held} + settled {stock.settled} is not {stock.total}")
    return [Fault(code="stock_disagrees", detail=detail) for detail in wrong]


def _read_heads(tokens: Iterable[str], verify: Verify, faults: FaultList) -> list[Head]:
    heads = [read_good_head(token, verify) for token in tokens]
    faults.add(Fault(code="head_forged", detail=f"head {place}") for place, head in enumerate(heads, 1) if head is None)
    return [head for head in heads if head is not None]


def _check_end(ending: Ending | None, check: TrailCheck, count: int) -> list[Fault]:
    if ending is None:
        return [Fault(code="file_truncated", detail="the last line is missing")]
    if ending.entries != count:
        return [Fault(code="end_disagrees", detail=f"{ending.entries} entries are told, {count} are there")]
    return check_stock(ending.stock, check.settled)


class _Reader:
    """Takes the lines in their order; what cannot be read, or is out of its order, is a fault and is passed over."""

    def __init__(self, lines: Iterable[bytes], faults: FaultList) -> None:
        self._faults = faults
        self._lines = self._decode(lines)
        self._next: Line | None = next(self._lines, None)

    def take_opening(self) -> Opening:
        opening = self._next
        if isinstance(opening, Opening):
            self._next = next(self._lines, None)
            return opening
        self._faults.add([Fault(code="file_unreadable", detail="it does not begin as such a file does")])
        return Opening(drop="", issuer="", written_ms=0)

    def take_heads(self) -> Iterator[str]:
        while isinstance(self._next, HeadLine):
            yield self._next.head
            self._next = next(self._lines, None)

    def take_entries(self) -> Iterator[EntryLine]:
        while self._next is not None and not isinstance(self._next, Ending):
            if isinstance(self._next, EntryLine):
                yield self._next
            else:
                self._faults.add([Fault(code="file_unreadable", detail="a line is out of its place")])
            self._next = next(self._lines, None)

    def take_ending(self) -> Ending | None:
        ending = self._next
        if next(self._lines, None) is not None:
            self._faults.add([Fault(code="file_unreadable", detail="it goes on after its last line")])
        return ending if isinstance(ending, Ending) else None

    def _decode(self, lines: Iterable[bytes]) -> Iterator[Line]:
        for number, line in enumerate(lines, 1):
            try:
                yield _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._faults.add([Fault(code="file_unreadable", detail=f"line {number}")])
