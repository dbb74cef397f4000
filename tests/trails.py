"""Trails made in memory, as an origin would make them, and changed as somebody might who should not."""

from typing import Final

import msgspec

from origin.settlement.receipts import make_signing_key_set, parse_signing_keys
from origin.trail.appending import Trail, sign_head
from origin.trail.public_keys import PublicKeys
from origin.trail.trail_store import Stored
from shared.audit.exports import Ending, EntryLine, HeadLine, Opening, Stock, write_line
from shared.audit.trail import Entry, Tail, digest_entry, extend_chain, show_hash
from tests.samples import NOW_MS, ORIGIN_URL

KEYS: Final = parse_signing_keys(make_signing_key_set())
VERIFY: Final = PublicKeys(KEYS.key_set).verify
DROP: Final = "drop-1"


def make_trail(count: int, drop: str = DROP) -> Trail:
    """Return a trail with so many settlements of one unit each; heads are where the origin signs them by itself."""
    trail = Trail(drop, Tail(), ORIGIN_URL, KEYS)
    for number in range(1, count + 1):
        trail.append("settled", f"{number:022}", 1, b"receipt %d" % number, ("facts", number), NOW_MS + number)
    return trail


def list_entries(trail: Trail) -> list[Stored]:
    """Return a trail's entries, as they are read again."""
    names = Entry.__struct_fields__
    return [
        Stored(msgspec.convert(dict(zip(names, [*told, about.hex(), beside.hex()], strict=True)), Entry), chained)
        for *told, about, beside, chained in trail.entries
    ]


def sign_end(trail: Trail) -> str:
    """Return a signed head of where a trail ends."""
    return sign_head(DROP, trail.tail, ORIGIN_URL, KEYS, NOW_MS).head


def change(trail: Trail, position: int, **changes: object) -> list[Stored]:
    """Return a trail's entries with one of them changed, and its stored hash left as it was."""
    entries = list_entries(trail)
    entry, chained = entries[position - 1]
    entries[position - 1] = Stored(msgspec.structs.replace(entry, **changes), chained)
    return entries


def rewrite(trail: Trail, position: int, **changes: object) -> list[Stored]:
    """Return a trail's entries with one of them changed, and all hashes from it on made again."""
    entries = change(trail, position, **changes)
    reached = entries[position - 2].hash if position > 1 else Tail().hash
    for place in range(position - 1, len(entries)):
        reached = extend_chain(reached, digest_entry(entries[place].entry))
        entries[place] = Stored(entries[place].entry, reached)
    return entries


def write_export(entries: list[Stored], heads: list[str], settled: int | None = None) -> list[bytes]:
    """Return the lines of a file."""
    total = len(entries) if settled is None else settled
    return [
        write_line(Opening(drop=DROP, issuer=ORIGIN_URL, written_ms=NOW_MS)),
        *(write_line(HeadLine(head=head)) for head in heads),
        *(write_line(EntryLine(entry=entry, hash=show_hash(chained))) for entry, chained in entries),
        write_line(Ending(entries=len(entries), stock=Stock(total=1000, free=1000 - total, held=0, settled=total))),
    ]


def renumber(entry: Entry, position: int) -> Entry:
    """Return an entry at another place."""
    return msgspec.structs.replace(entry, position=position)
