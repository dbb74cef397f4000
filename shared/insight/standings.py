"""Where each issued claim stands: a pure fold over what was reported and what was decided.

Rules:

1. A claim is counted once, however often, in whichever order and by however many nodes it was reported: the facts
   about one claim form a join-semilattice (`merge_claims`).
2. Where a claim stands is decided by comparing instants when it is read. No sweeper has to have run.
3. Claims come sorted and are folded as they come: memory does not grow with their number.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from shared.catalogue.stock import LATE_MS
from shared.errors import CliptillError
from shared.structs import Wire

ALARM_MS: Final = 24 * 3_600_000  # for how long what is over is still news

Standing = Literal["settled", "refused", "outstanding", "lapsed", "due", "unverified"]
STANDINGS: Final[tuple[Standing, ...]] = ("settled", "refused", "outstanding", "lapsed", "due", "unverified")


class ClaimFact(Wire, frozen=True, kw_only=True):
    """An issued claim, and what became of it.

    Attributes:
        units: of all lines.
        free: whether the report alone settles it.
        trusted: whether its token was verified; False while its key is not known here.
        issued_at_ms: the edge's clock, at the earliest report.
        decision: the origin's, when there is one.
        repaired: whether reconciliation settled it, rather than its event.
    """

    claim_id: str
    drop: str
    units: int
    free: bool
    trusted: bool
    issued_at_ms: int
    expires_at_ms: int
    decision: Literal["settled", "refused"] | None = None
    repaired: bool = False


class UnsortedError(CliptillError):
    """A bug of the caller: claims did not come sorted."""


def merge_claims(one: ClaimFact, other: ClaimFact) -> ClaimFact:
    """Return what two facts about one claim come to. Commutative, associative, idempotent."""
    # Only a verified report knows price and units.
    free, units = max((one.trusted, one.free, one.units), (other.trusted, other.free, other.units))[1:]
    return ClaimFact(
        claim_id=one.claim_id,
        drop=one.drop,
        units=units,
        free=free,
        trusted=one.trusted or other.trusted,
        issued_at_ms=min(one.issued_at_ms, other.issued_at_ms),
        expires_at_ms=max(one.expires_at_ms, other.expires_at_ms),
        decision=one.decision or other.decision,
        repaired=one.repaired or other.repaired,
    )


def place_claim(claim: ClaimFact, now_ms: int) -> Standing:
    """Return where a claim stands at an instant."""
    if claim.decision is not None:
        return claim.decision
    if not claim.trusted:
        return "unverified"
    if claim.free:
        return "due"
    return "outstanding" if now_ms < claim.expires_at_ms else "lapsed"


class ClaimCounts:
    """What has been counted of a drop's claims so far."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.standings: dict[Standing, int] = dict.fromkeys(STANDINGS, 0)
        self.unverified_lately = 0
        self.repaired = 0
        self.over_issued = 0
        self.blind = 0

    def add(self, claim: ClaimFact, sold_out_at_ms: int | None, now_ms: int) -> None:
        """Count one more claim."""
        standing = place_claim(claim, now_ms)
        self.standings[standing] += 1
        self.unverified_lately += standing == "unverified" and now_ms - claim.issued_at_ms <= ALARM_MS
        self.repaired += claim.repaired
        if sold_out_at_ms is None or claim.issued_at_ms <= sold_out_at_ms or claim.decision == "settled":
            return
        if claim.issued_at_ms <= sold_out_at_ms + LATE_MS:
            self.over_issued += 1
        else:
            self.blind += 1


class ClaimFold:
    """Counts claims by drop, as they come: sorted by (drop, claim id), the same claim possibly several times."""

    def __init__(self, sold_out_at_ms: Mapping[str, int | None], now_ms: int) -> None:
        """Start at nothing.

        Args:
            sold_out_at_ms: by drop: when the last free unit went; None while there is one.
            now_ms: the instant that claims are placed at.
        """
        self._sold_out_at_ms = sold_out_at_ms
        self._now_ms = now_ms
        self._counts: dict[str, ClaimCounts] = {}
        self._pending: ClaimFact | None = None

    def feed(self, claims: Iterable[ClaimFact]) -> None:
        """Count some more.

        Raises:
            UnsortedError: when one belongs before an earlier one.
        """
        for claim in claims:
            pending = self._pending
            if pending is None:
                self._pending = claim
            elif (claim.drop, claim.claim_id) == (pending.drop, pending.claim_id):
                self._pending = merge_claims(pending, claim)
            elif (claim.drop, claim.claim_id) < (pending.drop, pending.claim_id):
                raise UnsortedError(f"claim {claim.claim_id} of {claim.drop} comes too late")
            else:
                self._count(pending)
                self._pending = claim

    def finish(self) -> dict[str, ClaimCounts]:
        """Return the counts of all drops that have claims."""
        if self._pending is not None:
            self._count(self._pending)
            self._pending = None
        return self._counts

    def _count(self, claim: ClaimFact) -> None:
        counts = self._counts.setdefault(claim.drop, ClaimCounts())
        counts.add(claim, self._sold_out_at_ms.get(claim.drop), self._now_ms)
