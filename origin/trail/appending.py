"""Appending to the trails of drops, in the transaction of the decisions (`shared.audit.trail` says what is appended).

Rules:

1. The caller holds the drop's lock, so a trail has one end, and what is appended follows it.
2. An entry is made when its decision is: the receipt states its own place, and is covered by the entry after it.
3. At every multiple of `HEAD_EVERY` a head is signed, in that same transaction.
"""

from collections.abc import Collection
from typing import NamedTuple

from origin.settlement.receipts import SigningKeys
from shared.audit.trail import (
    HEAD_EVERY,
    HEAD_TYPE,
    Facts,
    Head,
    Kind,
    Tail,
    digest_told,
    encode_head,
    extend_chain,
    hash_content,
    hash_facts,
    show_hash,
)
from shared.catalogue.stock import StockSnapshot

# An entry to be stored, in the order of its columns: the fields of `shared.audit.trail.Entry`, digests as bytes, and
# the hash after it. A plain tuple: thousands are made while others wait.
NewEntry = tuple[str, int, Kind, str, int, int, int, bytes, bytes, bytes]


class NewHead(NamedTuple):
    """A head to be stored."""

    drop: str
    position: int
    head: str
    made_ms: int


class Trail:
    """The trail of one drop within one transaction: where it ended, and what is appended."""

    def __init__(self, drop: str, tail: Tail, issuer: str, keys: SigningKeys) -> None:
        self._drop = drop
        self._position, self._hash, self._settled = tail
        self._issuer = issuer
        self._keys = keys
        self.entries: list[NewEntry] = []
        self.heads: list[NewHead] = []

    @property
    def tail(self) -> Tail:
        """Where it ends by now."""
        return Tail(self._position, self._hash, self._settled)

    @property
    def place(self) -> tuple[int, str]:
        """The position that the next entry will have, and the hash before it."""
        return self._position + 1, show_hash(self._hash)

    def append(self, kind: Kind, claim_id: str, units: int, content: bytes, facts: Facts, at_ms: int) -> None:  # noqa: PLR0913, PLR0917 - what an entry has
        """Append one entry.

        Args:
            kind: what the decision does with units.
            claim_id: of the claim that it is about.
            units: taken (positive) or given back (negative).
            content: the document about it, as stored.
            facts: what is stored beside it.
            at_ms: the instant of the decision.
        """
        self.append_digests(kind, claim_id, units, hash_content(content), hash_facts(facts), at_ms)

    def append_digests(self, kind: Kind, claim_id: str, units: int, about: bytes, beside: bytes, at_ms: int) -> None:  # noqa: PLR0913, PLR0917 - what an entry has
        """Append one entry, of whose content and facts the digests are known; the rest is as of `append`."""
        self._position = position = self._position + 1
        self._settled = settled = self._settled + units
        told = (self._drop, position, kind, claim_id, units, settled, at_ms, about.hex(), beside.hex())
        self._hash = chained = extend_chain(self._hash, digest_told(told))
        self.entries.append((self._drop, position, kind, claim_id, units, settled, at_ms, about, beside, chained))
        if position % HEAD_EVERY == 0:
            self.heads.append(sign_head(self._drop, self.tail, self._issuer, self._keys, at_ms))


def sign_head(  # noqa: PLR0913, PLR0917 - what a head says
    drop: str, tail: Tail, issuer: str, keys: SigningKeys, now_ms: int, stock: StockSnapshot | None = None
) -> NewHead:
    """Return a signed head of a trail that ends so; with the stock that is shown at that instant, where it is given."""
    head = Head(
        iss=issuer,
        drop=drop,
        position=tail.position,
        hash=show_hash(tail.hash),
        settled=tail.settled,
        at_ms=now_ms,
        total=None if stock is None else stock.total,
        remaining=None if stock is None else stock.remaining,
        version=None if stock is None else stock.version,
    )
    return NewHead(drop, tail.position, keys.newest.sign(encode_head(head), HEAD_TYPE), now_ms)


def collect(trails: Collection[Trail]) -> tuple[list[NewEntry], list[NewHead]]:
    """Return all that was appended to several trails."""
    entries = [entry for trail in trails for entry in trail.entries]
    return entries, [head for trail in trails for head in trail.heads]
