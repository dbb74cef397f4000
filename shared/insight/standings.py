"""Where each issued claim stands: a pure fold over what was reported and what was decided.

Rules:

1. A claim is counted once, however often, in whichever order and by however many nodes it was reported: the facts
   about one claim form a join-semilattice (`merge_claims`).
2. Where a claim stands is decided by comparing instants when it is read. No sweeper has to have run.
3. Claims come sorted and are folded as they come: memory does not grow with their number.
4. They are counted where they were given: by drop, minute and node.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from shared.catalogue.stock import LATE_MS
from shared.errors import CliptillError
from shared.structs import Wire

ALARM_MS: Final = 24 * 3_600_000  # for how long what is over is still news

MINUTE_MS: Final = 60_000
SHOWN_MINUTES: Final = 20

Standing = Literal["settled", "refused", "held", "outstanding", "lapsed", "due", "unverified"]
STANDINGS: Final[tuple[Standing, ...]] = ("settled", "refused", "held", "outstanding", "lapsed", "due", "unverified")


Key = tuple[str, int, str, str]  # drop, minute, node and id of a claim


class ClaimFact(Wire, frozen=True, kw_only=True):
    """An issued claim, and what became of it.

    Attributes:
        units: of all lines.
        free: whether the report alone settles it.
        trusted: whether its token was verified; False while its key is not known here.
        issued_at_ms: the edge's clock, at the earliest report.
        node: that reported it first.
        decision: the origin's, when there is one.
        held_until_ms: the end of its hold, when it ever was held.
        paid: whether it settled because its money came.
        repaired: whether reconciliation settled it, rather than its event.
    """

    claim_id: str
    drop: str
    units: int
    free: bool
    trusted: bool
    issued_at_ms: int
    expires_at_ms: int
    node: str = ""
    decision: Literal["settled", "refused"] | None = None
    held_until_ms: int | None = None
    paid: bool = False
    repaired: bool = False


class UnsortedError(CliptillError):
    """A bug of the caller: claims did not come sorted."""


def merge_claims(one: ClaimFact, other: ClaimFact) -> ClaimFact:
    """Return what two facts about one claim come to. Commutative, associative, idempotent."""
    # Only a verified report knows price and units.
    free, units = max((one.trusted, one.free, one.units), (other.trusted, other.free, other.units))[1:]
    issued_at_ms, node = min((one.issued_at_ms, one.node), (other.issued_at_ms, other.node))
    ends = [end for end in (one.held_until_ms, other.held_until_ms) if end is not None]
    return ClaimFact(
        claim_id=one.claim_id,
        drop=one.drop,
        units=units,
        free=free,
        trusted=one.trusted or other.trusted,
        issued_at_ms=issued_at_ms,
        expires_at_ms=max(one.expires_at_ms, other.expires_at_ms),
        node=node,
        decision=one.decision or other.decision,
        held_until_ms=max(ends, default=None),
        paid=one.paid or other.paid,
        repaired=one.repaired or other.repaired,
    )


def place_claim(claim: ClaimFact, now_ms: int) -> Standing:
    """Return where a claim stands at an instant."""
    if claim.decision is not None:
        return claim.decision
    if claim.held_until_ms is not None and now_ms < claim.held_until_ms:
        return "held"
    if not claim.trusted:
        return "unverified"
    if claim.free:
        return "due"
    return "outstanding" if now_ms < claim.expires_at_ms else "lapsed"


class Minute(Wire, frozen=True, kw_only=True):
    """Where the claims stand that one node gave of one drop within one minute.

    Attributes:
        minute_ms: when it begins, by the edge's clock.
        issued: claims reported as given: the sum of settled, refused, held, outstanding, lapsed, due and unverified.
        presented: those of them that came to the origin, whatever it decided.
        paid: those that settled because their money came.
        repaired, over_issued, blind: as in `shared.insight.reconciliation.DropReport`.
    """

    drop: str
    minute_ms: int
    node: str
    issued: int = 0
    presented: int = 0
    held: int = 0
    settled: int = 0
    paid: int = 0
    refused: int = 0
    outstanding: int = 0
    lapsed: int = 0
    due: int = 0
    unverified: int = 0
    repaired: int = 0
    over_issued: int = 0
    blind: int = 0

    @property
    def amiss(self) -> int:
        """How many of its claims are not as they should be."""
        return self.due + self.unverified + self.over_issued + self.blind


class ClaimCounts:
    """What has been counted of some claims so far."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.standings: dict[Standing, int] = dict.fromkeys(STANDINGS, 0)
        self.presented = 0
        self.paid = 0
        self.unverified_lately = 0
        self.repaired = 0
        self.over_issued = 0
        self.blind = 0

    def add(self, claim: ClaimFact, sold_out_at_ms: int | None, now_ms: int) -> None:
        """Count one more claim."""
        standing = place_claim(claim, now_ms)
        self.standings[standing] += 1
        self.presented += claim.decision is not None or claim.held_until_ms is not None
        self.paid += claim.paid
        self.unverified_lately += standing == "unverified" and now_ms - claim.issued_at_ms <= ALARM_MS
        self.repaired += claim.repaired
        if sold_out_at_ms is None or claim.issued_at_ms <= sold_out_at_ms or claim.decision == "settled":
            return
        if claim.issued_at_ms <= sold_out_at_ms + LATE_MS:
            self.over_issued += 1
        else:
            self.blind += 1

    def include(self, minute: Minute) -> None:
        """Count what was counted as a minute."""
        for standing in STANDINGS:
            self.standings[standing] += getattr(minute, standing)
        self.presented += minute.presented
        self.paid += minute.paid
        self.repaired += minute.repaired
        self.over_issued += minute.over_issued
        self.blind += minute.blind

    def to_minute(self, drop: str, minute_ms: int, node: str) -> Minute:
        """Return it as what a node gave within a minute."""
        return Minute(
            drop=drop,
            minute_ms=minute_ms,
            node=node,
            issued=sum(self.standings.values()),
            presented=self.presented,
            paid=self.paid,
            repaired=self.repaired,
            over_issued=self.over_issued,
            blind=self.blind,
            **{str(standing): count for standing, count in self.standings.items()},
        )


class ClaimFold:
    """Counts claims by minute and by drop, as they come: sorted by `sort_key`, a claim possibly several times.

    Attributes:
        minutes: those that are complete and have not been taken; whoever stores them clears the list.
        worst: the minutes with the most claims that are not as they should be.
    """

    def __init__(self, sold_out_at_ms: Mapping[str, int | None], now_ms: int, before: Iterable[Minute] = ()) -> None:
        """Start.

        Args:
            sold_out_at_ms: by drop: when the last free unit went; None while there is one.
            now_ms: the instant that claims are placed at.
            before: what was counted earlier of the drops, and is not counted anew.
        """
        self._sold_out_at_ms = sold_out_at_ms
        self._now_ms = now_ms
        self._drops: dict[str, ClaimCounts] = {}
        self._minute = ClaimCounts()
        self._pending: ClaimFact | None = None
        self._key: Key = ("", 0, "", "")
        self.minutes: list[Minute] = []
        self.worst: list[Minute] = []
        for minute in before:
            self._drops.setdefault(minute.drop, ClaimCounts()).include(minute)

    def feed(self, claims: Iterable[ClaimFact]) -> None:
        """Count some more.

        Raises:
            UnsortedError: when one belongs before an earlier one.
        """
        for claim in claims:
            pending, last, key = self._pending, self._key, sort_key(claim)
            if pending is not None and key == last:
                self._pending = merge_claims(pending, claim)
                continue
            if key < last:
                raise UnsortedError(f"claim {claim.claim_id} of {claim.drop} comes too late")
            if pending is not None:
                self._count(pending)
                if key[:3] != last[:3]:
                    self._end_minute(last)
            self._pending, self._key = claim, key

    def finish(self) -> dict[str, ClaimCounts]:
        """Return the counts of all drops that have claims."""
        if self._pending is not None:
            self._count(self._pending)
            self._end_minute(self._key)
            self._pending = None
        return self._drops

    def _count(self, claim: ClaimFact) -> None:
        self._minute.add(claim, self._sold_out_at_ms.get(claim.drop), self._now_ms)

    def _end_minute(self, last: Key) -> None:
        """Close a minute, whose last claim had this key."""
        drop, minute_ms, node, _ = last
        ended = self._minute.to_minute(drop, minute_ms, node)
        counts = self._drops.setdefault(drop, ClaimCounts())
        counts.include(ended)
        counts.unverified_lately += self._minute.unverified_lately
        self._minute = ClaimCounts()
        self.minutes.append(ended)
        if ended.amiss:
            self.worst = sorted([*self.worst, ended], key=_by_need)[:SHOWN_MINUTES]


def sort_key(claim: ClaimFact) -> Key:
    """Return drop, minute, node and id of a claim: the order in which claims are counted."""
    return claim.drop, claim.issued_at_ms // MINUTE_MS * MINUTE_MS, claim.node, claim.claim_id


def _by_need(minute: Minute) -> tuple[int, str, int, str]:
    return -minute.amiss, minute.drop, minute.minute_ms, minute.node
