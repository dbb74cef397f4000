"""A reconciliation's report as text: what needs a person comes first, and nothing is shown that is not there."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from origin.insight.reconciliation import Run
from shared.claims.budgets import BudgetState
from shared.insight.reconciliation import DropReport, FindingCode, Report
from shared.insight.standings import Minute

MOST_DROPS: Final = 40
MOST_GAPS: Final = 10
MOST_MINUTES: Final = 10
_HEADINGS: Final = (
    "drop", "total", "free", "held", "settled", "|", "issued", "came", "settled", "paid", "refused", "held", "open",
    "lapsed", "due", "unverified", "repaired", "over-issued",
)  # fmt: skip
EXPLAINED: Final[dict[FindingCode, str]] = {
    "stock_does_not_add_up": "free + held + settled is not the total, or not what the settlements say",
    "over_issue": "more claims were given than the published bound allows",
    "free_claims_not_settled": "free claims were reported and are not settled",
    "claims_not_verified": "claims are signed with a key that is not known here: look at CLIPTILL_CLAIM_KEYS",
    "settled_but_not_reported": "claims were settled that no event has reported: events are lost",
    "events_lost": "batches of events never came",
    "claims_forged": "claims were reported that are not ours",
    "messages_rejected": "messages could not be read: see the table event_rejections",
    "clock_ahead": "an edge node's clock is ahead of ours",
    "pickups_disputed": "claims were handed out twice, or though they should not have been: GET /v1/pickups/disputed",
    "paid_no_goods": "money was taken, and the claim is not settled",
    "goods_not_paid": "a claim was settled for money that was not taken",
    "refund_late": "money that must go back has not gone for hours",
    "payment_never_ended": "a payment is still open, hours after its hold was to end",
    "payment_unknown": "the payment provider tells of a payment that is not known here",
    "payment_unclear": "what the payment provider says of a payment has contradicted itself for hours",
    "provider_differs": "the payment provider does not have of a payment what is noted here: a refund came back, say",
    "ledger_differs": "the ledger does not say of this payment what the payment says",
    "shares_differ": "creators are not owed of this payment what their shares of it come to",
    "handoff_dead": "its partner did not take what it was told of this claim: POST /v1/handoffs/CLAIM/resend",
    "handoff_failed": "its partner reports that it cannot send, or hand over, what this claim is for",
}


def write_run(run: Run) -> str:
    """Return a run as text, with a last newline."""
    lines = [*_write_head(run), ""]
    lines += _write_findings(run.report)
    lines += _write_drops(run.report.drops)
    lines += _write_minutes(run.report.minutes)
    lines += _write_gaps(run.report)
    lines += [f"rejected for {item.reason}: {item.count}" for item in run.report.rejections]
    lines += [_write_budget(budget) for budget in run.report.budgets if budget.met or budget.missed]
    return "\n".join(lines).rstrip() + "\n"


def _write_budget(budget: BudgetState) -> str:
    """Tell how one kind of settlement did against its deadline."""
    asked = budget.met + sum(budget.missed.values())
    slow = ", ".join(f"{stage} {count:,}" for stage, count in budget.missed.items())
    text = f"{budget.kind}: {budget.met:,} of {asked:,} confirmed within {budget.deadline_ms / 1000:g} s (24 h)"
    return f"{text}; slow: {slow}" if slow else text


def _write_head(run: Run) -> list[str]:
    found = run.report.findings
    state = "in order" if not found else f"{len(found)} finding{'s' if len(found) > 1 else ''}"
    if run.away:
        state += f"; the {run.away} is away, the next run does the rest"
    at = write_instant(run.started_ms)
    taken, intake = run.taken, run.report.intake
    did = (
        f"did  {taken.batches} batches ({taken.events} events) taken in, {taken.repeated} repeated, "
        f"{taken.rejected} rejected; {run.repaired} claims repaired; {len(run.published)} manifests written"
    )
    has = (
        f"has  {intake.batches} batches ({intake.events} events) of {intake.nodes} nodes; "
        f"{run.report.missing_batches} missing, {run.report.lost_batches} of them lost"
    )
    return [f"reconciliation {run.run} at {at}: {state}", did, has, f"state {run.state}"]


def _write_findings(report: Report) -> list[str]:
    if not report.findings:
        return []
    width = max(len(finding.subject) for finding in report.findings)
    rows = [
        f"  {finding.subject:<{width}}  {finding.count:>8}  {EXPLAINED[finding.code]}" for finding in report.findings
    ]
    return ["findings", *rows, ""]


def _write_drops(drops: Sequence[DropReport]) -> list[str]:
    # Those that need a look come first; then those with the most claims.
    ordered = sorted(drops, key=lambda drop: (drop.adds_up, -(drop.due + drop.unverified), -drop.issued, drop.drop))
    if not ordered:
        return ["no drops", ""]
    table = [_HEADINGS, *(_write_drop(drop) for drop in ordered[:MOST_DROPS])]
    lines = list(_align(table))
    if len(ordered) > MOST_DROPS:
        lines.append(f"... and {len(ordered) - MOST_DROPS} more (--json has all)")
    return [*lines, ""]


def _write_drop(drop: DropReport) -> tuple[str, ...]:
    bound = "-" if drop.over_issue_bound is None else str(drop.over_issue_bound)
    blind = f" (+{drop.blind} blind)" if drop.blind else ""
    stock = (drop.total, drop.free, drop.held, drop.settled_units)
    came = (drop.issued, drop.presented, drop.settled, drop.paid, drop.refused, drop.waiting)
    claims = (*came, drop.outstanding, drop.lapsed, drop.due, drop.unverified)
    told = (*map(str, stock), "|" if drop.adds_up else "!", *map(str, claims), str(drop.repaired))
    return (drop.drop, *told, f"{drop.over_issued}/{bound}{blind}")


def _write_minutes(minutes: Sequence[Minute]) -> list[str]:
    lines = [
        f"{write_instant(minute.minute_ms)} {minute.drop} at node {minute.node}: {minute.issued} issued, "
        f"{minute.due} due, {minute.unverified} unverified, {minute.over_issued} over-issued, {minute.blind} blind"
        for minute in minutes[:MOST_MINUTES]
    ]
    return [*lines, ""] if lines else []


def write_instant(at_ms: int) -> str:
    """Return an instant as a person reads it."""
    return dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _write_gaps(report: Report) -> list[str]:
    lines = [
        f"missing of node {gap.node} ({gap.colo or 'no location'}): {gap.first} to {gap.last}"
        f"{', lost' if gap.lost else ', may still come'}"
        for gap in report.gaps[:MOST_GAPS]
    ]
    return [*lines, ""] if lines else []


def _align(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *others))
