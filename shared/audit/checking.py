"""Checking a whole trail, entry by entry: what was changed, removed, inserted or moved is named. Pure.

Rules:

1. Entries come as they are stored, in the order of their positions, each with the hash that is stored with it.
2. What does not fit is named once: after a fault the check goes on from what is stored, so that one changed entry is
   one fault, and not a fault of all that follow.
3. Who changes an entry and every hash after it can be found by a signed head only: then the entries since the last head
   that fits are named together.
"""

from collections.abc import Mapping
from typing import Literal

from shared.audit.trail import START, Entry, Head, digest_entry, extend_chain, read_hash
from shared.structs import Wire

FaultCode = Literal[
    "entry_changed",
    "entry_missing",
    "entry_out_of_place",
    "total_wrong",
    "head_disagrees",
    "head_forged",
    "head_beyond_end",
    "settlement_changed",
    "settlement_removed",
    "settlement_inserted",
    "receipt_disagrees",
    "stock_disagrees",
]


class Fault(Wire, frozen=True, kw_only=True):
    """Something that does not fit.

    Attributes:
        position: of the entry; None where there is none.
        claim_id: of the claim that it is about, where one is known.
        detail: which columns, or between which positions.
    """

    code: FaultCode
    position: int | None = None
    claim_id: str | None = None
    detail: str = ""


class TrailCheck:
    """Checks the trail of one drop, entry by entry."""

    def __init__(self, drop: str, heads: Mapping[int, Head]) -> None:
        """Start before the first entry.

        Args:
            drop: whose trail it is.
            heads: by position; their signatures are checked already.
        """
        self._drop = drop
        self._heads = heads
        self._signed_until = 0
        self.position = 0
        self.hash = START
        self.settled = 0

    def feed(self, entry: Entry, stored_hash: bytes) -> list[Fault]:
        """Check one more entry."""
        faults: list[Fault] = []
        if entry.position <= self.position:
            return [Fault(code="entry_out_of_place", position=entry.position, claim_id=entry.claim_id)]
        linked = entry.position == self.position + 1
        if not linked:
            first, last = self.position + 1, entry.position - 1
            faults.append(Fault(code="entry_missing", position=first, detail=f"{first} to {last}"))
        elif extend_chain(self.hash, digest_entry(entry)) != stored_hash or entry.drop != self._drop:
            faults.append(Fault(code="entry_changed", position=entry.position, claim_id=entry.claim_id))
        if linked and entry.settled != self.settled + entry.units:
            faults.append(Fault(code="total_wrong", position=entry.position, claim_id=entry.claim_id))
        self.position, self.hash, self.settled = entry.position, stored_hash, entry.settled
        return faults + self._look_at_head()

    def finish(self) -> list[Fault]:
        """Check what can be checked at the end only."""
        beyond = sorted(position for position in self._heads if position > self.position)
        return [
            Fault(code="head_beyond_end", position=position, detail=f"the trail ends at {self.position}")
            for position in beyond
        ]

    def _look_at_head(self) -> list[Fault]:
        head = self._heads.get(self.position)
        if head is None:
            return []
        since, self._signed_until = self._signed_until, self.position
        if read_hash(head.hash) == self.hash and (head.drop, head.settled) == (self._drop, self.settled):
            return []
        return [Fault(code="head_disagrees", position=self.position, detail=f"since {since}")]
