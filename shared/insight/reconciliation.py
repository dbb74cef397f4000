"""Reconciliation: what the edge reports, compared with what the origin decided. Pure: facts in, a report out.

Rules:

1. Each claim is counted once, where it stands at the instant of the run (`shared.insight.standings`).
2. Over-issue is measured against what was published: claims given after the last unit went, while a snapshot may
   still have been believed (`LATE_MS`), stay within `bound_over_issue`. Claims given later than that were given blind,
   in the mode that the drop declares for it: they are counted apart, and have no bound.
3. A sequence that skips a number is a gap. It waits for `GAP_GRACE_MS`, because a queue delivers late and out of order;
   then its events count as lost. What a node never sent before it ended cannot be seen.
4. A finding needs a person. What is over (an event lost, a message refused) is a finding for `ALARM_MS`, and a number
   in the report for ever: an alarm that nobody can clear teaches people to ignore alarms.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from shared.catalogue.stock import LATE_MS, StockSnapshot, bound_over_issue, set_admission_rate
from shared.claims.budgets import BudgetState
from shared.encoding import encode_base64url
from shared.insight.orphans import OrphanCode, OrphanFact
from shared.insight.standings import ALARM_MS, ClaimCounts, Minute
from shared.structs import Wire

GAP_GRACE_MS: Final = 15 * 60_000
CLOCK_AHEAD_MS: Final = 5_000  # as far as `shared.claims.tokens` and `shared.catalogue.stock` let two clocks differ
SHOWN_GAPS: Final = 50
BUDGETS_MS: Final = 24 * 3_600_000

FindingCode = (
    OrphanCode
    | Literal[
        "stock_does_not_add_up",
        "over_issue",
        "free_claims_not_settled",
        "claims_not_verified",
        "settled_but_not_reported",
        "events_lost",
        "claims_forged",
        "messages_rejected",
        "clock_ahead",
        "pickups_disputed",
    ]
)


class DropFact(Wire, frozen=True, kw_only=True):
    """A drop's row, and what its settlements say of it.

    Attributes:
        settled_units: summed over its settlements.
        unreported: settlements whose claim no event has reported within `GAP_GRACE_MS`.
        recent_unreported: those of them within `ALARM_MS`.
        sold_out_at_ms: when the last free unit went; None while there is one.
        units_before: units settled within `LATE_MS` before that.
        nodes: edge nodes that the admission rate was shared among then.
    """

    drop: str
    total: int
    free: int
    held: int
    settled: int
    settled_units: int
    unreported: int = 0
    recent_unreported: int = 0
    sold_out_at_ms: int | None = None
    units_before: int = 0
    nodes: int = 1


class GapFact(Wire, frozen=True, kw_only=True):
    """Batches `first` to `last` of a node, which have not come.

    Attributes:
        known_since_ms: when the batch after them came; None when that is too long ago to tell.
    """

    node: str
    colo: str
    first: int
    last: int
    known_since_ms: int | None


class IntakeFact(Wire, frozen=True, kw_only=True):
    """What has been taken in from all nodes.

    Attributes:
        ahead_ms: how far the clock of the node that is most ahead of ours must be, at least; 0 when none is.
        ahead_node: that node.
        slowest_ms: the longest time from a node's report to its arrival here.
    """

    nodes: int = 0
    batches: int = 0
    events: int = 0
    ahead_ms: int = 0
    ahead_node: str = ""
    slowest_ms: int = 0


class RejectionFact(Wire, frozen=True, kw_only=True):
    """Deliveries that did not count: for one reason, all of them and those within `ALARM_MS`."""

    reason: str
    count: int
    recent: int


class DisputeFact(Wire, frozen=True, kw_only=True):
    """Claims that were handed out twice at a place, or though they should not have been: all, and within `ALARM_MS`."""

    place: str
    count: int
    recent: int


class Facts(Wire, frozen=True, kw_only=True):
    """All that a report is made from, but the claims; `published` is the stock that edges are told now."""

    drops: tuple[DropFact, ...]
    gaps: tuple[GapFact, ...]
    intake: IntakeFact
    rejections: tuple[RejectionFact, ...]
    orphans: tuple[OrphanFact, ...] = ()
    disputes: tuple[DisputeFact, ...] = ()
    budgets: tuple[BudgetState, ...] = ()
    published: tuple[StockSnapshot, ...] = ()


class DropReport(Wire, frozen=True, kw_only=True):
    """One drop, compared.

    Attributes:
        issued: distinct claims reported as given; the sum of the next seven.
        waiting: units are held for them.
        outstanding: still to be presented, and not expired.
        lapsed: expired, and never presented.
        due: free, and not settled though reported.
        unverified: under a key that is not known here.
        repaired: of the settled ones, those that reconciliation settled.
        unreported: settlements of claims that no event has reported.
        over_issued: claims given after the last unit went, on a snapshot that could be believed.
        over_issue_bound: the most that this may be; None where no rate was set.
        blind: claims given after the last unit went, without a snapshot that could be believed.
        presented: of the issued ones, those that came to the origin, whatever it decided.
        paid: of the settled ones, those that settled because their money came.
        version, admit_per_s: of the stock snapshot that is published now; None for no limit.
    """

    drop: str
    total: int
    free: int
    held: int
    settled_units: int
    adds_up: bool
    issued: int
    settled: int
    refused: int
    outstanding: int
    lapsed: int
    due: int
    unverified: int
    repaired: int
    unreported: int
    over_issued: int
    over_issue_bound: int | None
    blind: int
    waiting: int = 0
    presented: int = 0
    paid: int = 0
    version: int = 0
    admit_per_s: int | None = None


class GapReport(Wire, frozen=True, kw_only=True):
    """Batches of a node that are missing; `lost` once they are given up."""

    node: str
    colo: str
    first: int
    last: int
    lost: bool


class Finding(Wire, frozen=True, kw_only=True):
    """A difference that needs a person."""

    code: FindingCode
    subject: str
    count: int


class Report(Wire, frozen=True, kw_only=True):
    """What one reconciliation found.

    Attributes:
        gaps: those with the most missing batches first, at most `SHOWN_GAPS`.
        minutes: those with the most claims that are not as they should be, by drop, minute and node.
        orphans: money without goods, goods without money.
        disputes: what scanners handed out twice, or though it should not have been; `GET /v1/pickups/disputed` has the
            signed scans.
        budgets: confirmations against their deadlines, of all processes, over `BUDGETS_MS`.
        missing_batches, lost_batches: over all gaps; the lost ones are among the missing ones.
    """

    findings: tuple[Finding, ...]
    drops: tuple[DropReport, ...]
    intake: IntakeFact
    missing_batches: int
    lost_batches: int
    gaps: tuple[GapReport, ...]
    rejections: tuple[RejectionFact, ...]
    orphans: tuple[OrphanFact, ...] = ()
    disputes: tuple[DisputeFact, ...] = ()
    minutes: tuple[Minute, ...] = ()
    budgets: tuple[BudgetState, ...] = ()


def reconcile(facts: Facts, counts: Mapping[str, ClaimCounts], now_ms: int, minutes: Sequence[Minute] = ()) -> Report:
    """Compare everything.

    Args:
        facts: of drops, nodes and rejections.
        counts: of the claims, by drop (`shared.insight.standings.ClaimFold`), placed at the same instant.
        now_ms: the origin's clock.
        minutes: those that need a look (`ClaimFold.worst`).
    """
    known = {drop.drop: drop for drop in facts.drops}
    # A claim may be reported for a drop that is not (or no longer) stored: it is shown, with nothing to compare with.
    for name in counts:
        known.setdefault(name, DropFact(drop=name, total=0, free=0, held=0, settled=0, settled_units=0))
    told = {snapshot.drop: snapshot for snapshot in facts.published}
    drops = tuple(_report_drop(known[name], counts.get(name, ClaimCounts()), told.get(name)) for name in sorted(known))
    lost = [gap for gap in facts.gaps if _is_lost(gap, now_ms)]
    return Report(
        findings=tuple(_find(facts, counts, drops, lost, now_ms)),
        drops=drops,
        intake=facts.intake,
        missing_batches=sum(map(_length, facts.gaps)),
        lost_batches=sum(map(_length, lost)),
        gaps=_show_gaps(facts.gaps, now_ms),
        rejections=tuple(sorted(facts.rejections, key=lambda rejection: rejection.reason)),
        orphans=facts.orphans,
        disputes=facts.disputes,
        minutes=tuple(minutes),
        budgets=facts.budgets,
    )


def hash_state(report: Report) -> str:
    """Return a hash of what a report comes to, of nothing that depends on when or in which order events came.

    Two origins that were told the same events, in any order, any number of times and however late, have the same.
    """
    counted = [
        (
            drop.drop, drop.total, drop.free, drop.held, drop.settled_units, drop.issued, drop.presented, drop.settled,
            drop.paid, drop.refused, drop.waiting, drop.outstanding, drop.lapsed, drop.due, drop.unverified,
        )
        for drop in report.drops
    ]  # fmt: skip
    taken = (report.intake.nodes, report.intake.batches, report.intake.events, report.missing_batches)
    rejected = [(rejection.reason, rejection.count) for rejection in report.rejections]
    state = msgspec.json.encode((counted, taken, rejected))
    return encode_base64url(hashlib.sha256(b"cliptill reconciled state 1\n" + state).digest())


def _report_drop(drop: DropFact, counts: ClaimCounts, published: StockSnapshot | None) -> DropReport:
    standings = counts.standings
    return DropReport(
        drop=drop.drop,
        total=drop.total,
        free=drop.free,
        held=drop.held,
        settled_units=drop.settled,
        adds_up=drop.free + drop.held + drop.settled == drop.total and drop.settled == drop.settled_units,
        issued=sum(standings.values()),
        settled=standings["settled"],
        refused=standings["refused"],
        outstanding=standings["outstanding"],
        lapsed=standings["lapsed"],
        due=standings["due"],
        unverified=standings["unverified"],
        repaired=counts.repaired,
        unreported=drop.unreported,
        over_issued=counts.over_issued,
        over_issue_bound=_bound(drop),
        blind=counts.blind,
        waiting=standings["held"],
        presented=counts.presented,
        paid=counts.paid,
        version=0 if published is None else published.version,
        admit_per_s=None if published is None else published.admit_per_s,
    )


def _bound(drop: DropFact) -> int | None:
    """Return the published bound: no believable snapshot showed more than went in the `LATE_MS` before the end."""
    if drop.sold_out_at_ms is None:
        return 0
    rate = set_admission_rate(drop.units_before, drop.nodes)
    return None if rate is None else bound_over_issue(rate, drop.nodes, LATE_MS)


def _find(
    facts: Facts,
    counts: Mapping[str, ClaimCounts],
    drops: Sequence[DropReport],
    lost: Sequence[GapFact],
    now_ms: int,
) -> Iterator[Finding]:
    stored = {drop.drop: drop for drop in facts.drops}
    for drop in drops:
        counted = counts.get(drop.drop)
        unverified = counted.unverified_lately if counted else 0
        yield from _find_in_drop(drop, stored.get(drop.drop), unverified, now_ms)
    recent = sum(_length(gap) for gap in lost if _is_recent(gap, now_ms))
    if recent:
        yield Finding(code="events_lost", subject="batches", count=recent)
    for rejection in sorted(facts.rejections, key=lambda rejection: rejection.reason):
        if rejection.recent:
            forged = rejection.reason == "claim_forged"
            code: FindingCode = "claims_forged" if forged else "messages_rejected"
            yield Finding(code=code, subject=rejection.reason, count=rejection.recent)
    if facts.intake.ahead_ms > CLOCK_AHEAD_MS:
        yield Finding(code="clock_ahead", subject=facts.intake.ahead_node, count=facts.intake.ahead_ms)
    for orphan in facts.orphans:
        yield Finding(code=orphan.code, subject=orphan.subject, count=1)
    for dispute in facts.disputes:
        if dispute.recent:
            yield Finding(code="pickups_disputed", subject=dispute.place, count=dispute.recent)


def _find_in_drop(drop: DropReport, fact: DropFact | None, unverified: int, now_ms: int) -> Iterator[Finding]:
    if not drop.adds_up:
        units = abs(drop.total - drop.free - drop.held - drop.settled_units)
        yield Finding(code="stock_does_not_add_up", subject=drop.drop, count=units)
    counted: tuple[tuple[FindingCode, int], ...] = (
        ("over_issue", _excess(drop, fact, now_ms)),
        ("free_claims_not_settled", drop.due),
        ("claims_not_verified", unverified),
        ("settled_but_not_reported", 0 if fact is None else fact.recent_unreported),
    )
    for code, count in counted:
        if count:
            yield Finding(code=code, subject=drop.drop, count=count)


def _excess(drop: DropReport, fact: DropFact | None, now_ms: int) -> int:
    """Return by how much the published bound was passed, while that is news."""
    if fact is None or fact.sold_out_at_ms is None or drop.over_issue_bound is None:
        return 0
    if now_ms - fact.sold_out_at_ms > ALARM_MS:
        return 0
    return max(0, drop.over_issued - drop.over_issue_bound)


def _show_gaps(gaps: Sequence[GapFact], now_ms: int) -> tuple[GapReport, ...]:
    ordered = sorted(gaps, key=lambda gap: (-_length(gap), gap.node, gap.first))
    return tuple(
        GapReport(node=gap.node, colo=gap.colo, first=gap.first, last=gap.last, lost=_is_lost(gap, now_ms))
        for gap in ordered[:SHOWN_GAPS]
    )


def _is_lost(gap: GapFact, now_ms: int) -> bool:
    return gap.known_since_ms is None or now_ms - gap.known_since_ms > GAP_GRACE_MS


def _is_recent(gap: GapFact, now_ms: int) -> bool:
    return gap.known_since_ms is not None and now_ms - gap.known_since_ms <= ALARM_MS


def _length(gap: GapFact) -> int:
    return gap.last - gap.first + 1
