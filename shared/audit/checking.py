"""Checking a whole trail, entry by entry: what was changed, removed, inserted or moved is named. Pure.

Rules:

1. Entries come as they are stored, in the order of their positions, each with the hash that is stored with it.
2. What does not fit is named once: after a fault the check goes on from what is stored, so that one changed entry is
   one fault, and not a fault of all that follow. It makes no difference whether the entry or its hash was changed: the
   next entry may follow either.
3. Who changes an entry and every hash after it can be found by a signed head only: then the entries since the last head
   that fits are named together. Entries after the last head (`signed_until`) rest on the chain alone.
"""

from collections.abc import Iterable
from typing import Literal

from shared.audit.trail import START, Entry, Head, check_shown_stock, digest_entry, extend_chain, read_hash
from shared.structs import Wire

FaultCode = Literal[
    "entry_changed",
    "entry_missing",
    "entry_out_of_place",
    "total_wrong",
    "head_disagrees",
    "head_forged",
    "head_beyond_end",
    "end_disagrees",
    "settlement_changed",
    "settlement_removed",
    "settlement_inserted",
    "part_missing",
    "part_disagrees",
    "bundle_missing",
    "numbers_disagree",
    "stock_disagrees",
    "file_unreadable",
    "file_truncated",
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
    """Checks the trail of one drop, entry by entry.

    Attributes:
        position, hash, settled: of the last entry; 0, 32 zeros and 0 before the first.
        signed_until: position of the last head that fits.
    """

    def __init__(self, drop: str, heads: Iterable[Head]) -> None:
        """Start before the first entry.

        Args:
            drop: whose trail it is.
            heads: their signatures are checked already; there may be several at a position, from several sources.
        """
        self._drop = drop
        self._heads: dict[int, list[Head]] = {}
        for head in heads:
            self._heads.setdefault(head.position, []).append(head)
        self._other_hash = START  # the last entry's hash by its content, where another one is stored
        self._sound = True  # whether the last entry fits, so that its total can be counted on
        self.signed_until = 0
        self.position = 0
        self.hash = START
        self.settled = 0
        self._early = self._look_at_heads()

    def feed(self, entry: Entry, stored_hash: bytes) -> list[Fault]:
        """Check one more entry."""
        if entry.position <= self.position:
            return [Fault(code="entry_out_of_place", position=entry.position, claim_id=entry.claim_id)]
        faults: list[Fault] = []
        digest = digest_entry(entry)
        reached = extend_chain(self.hash, digest)
        linked = entry.position == self.position + 1
        fits = entry.drop == self._drop and stored_hash in {reached, extend_chain(self._other_hash, digest)}
        if not linked:
            first, last = self.position + 1, entry.position - 1
            faults.append(Fault(code="entry_missing", position=first, detail=f"{first} to {last}"))
        elif not fits:
            faults.append(Fault(code="entry_changed", position=entry.position, claim_id=entry.claim_id))
        elif self._sound and entry.settled != self.settled + entry.units:
            faults.append(Fault(code="total_wrong", position=entry.position, claim_id=entry.claim_id))
        self._sound = linked and fits
        self._other_hash = stored_hash if fits or not linked else reached
        self.position, self.hash, self.settled = entry.position, stored_hash, entry.settled
        return faults + self._look_at_heads()

    def finish(self) -> list[Fault]:
        """Check what can be checked at the end only."""
        beyond = sorted(position for position in self._heads if position > self.position)
        return self._early + [
            Fault(code="head_beyond_end", position=position, detail=f"the trail ends at {self.position}")
            for position in beyond
        ]

    def _look_at_heads(self) -> list[Fault]:
        heads = self._heads.get(self.position, [])
        if not heads:
            return []
        since = self.signed_until
        if all(self._agrees(head) for head in heads):
            self.signed_until = self.position
            return []
        return [Fault(code="head_disagrees", position=self.position, detail=f"an entry after {since} was changed")]

    def _agrees(self, head: Head) -> bool:
        if read_hash(head.hash) not in {self.hash, self._other_hash} or head.drop != self._drop:
            return False
        return check_shown_stock(head) and (head.settled == self.settled or not self._sound)
