"""A report with something of everything, for those who show one."""

from typing import Any, Final

from origin.insight.event_store import Expired
from origin.insight.intake import Taken
from origin.insight.reconciliation import Run
from origin.insight.runs_store import RunSummary
from shared.claims.budgets import BudgetState, Fallback, Kind
from shared.insight.reconciliation import (
    DropReport,
    Finding,
    GapReport,
    IntakeFact,
    RejectionFact,
    Report,
)
from shared.insight.standings import Minute
from tests.samples import NOW_MS

RUNS: Final = (RunSummary(run=7, started_ms=NOW_MS, finished_ms=NOW_MS + 5, findings=2, away=""),)


def drop_report(drop: str = "drop-1", **changes: Any) -> DropReport:
    said: dict[str, Any] = {
        "total": 100, "free": 30, "held": 10, "settled_units": 60, "adds_up": True, "issued": 90, "settled": 60,
        "refused": 3, "outstanding": 5, "lapsed": 12, "due": 0, "unverified": 0, "repaired": 1, "unreported": 0,
        "over_issued": 4, "over_issue_bound": 60, "blind": 0, "waiting": 10, "presented": 73, "paid": 20, "version": 7,
        "admit_per_s": 5, **changes,
    }  # fmt: skip
    return DropReport(drop=drop, **said)


def make_run(**changes: Any) -> Run:
    said: dict[str, Any] = {
        "findings": (Finding(code="over_issue", subject="drop-1", count=3),),
        "drops": (drop_report(), drop_report("a-rather-long-name-for-a-drop-that-is-still-allowed", adds_up=False)),
        "gaps": (GapReport(node="node-with-a-gap", colo="", first=2, last=4, lost=True),),
        "rejections": (RejectionFact(reason="claim_forged", count=4, recent=1),),
        "minutes": (Minute(drop="drop-1", minute_ms=NOW_MS, node="node-1", issued=9, due=2),),
        "budgets": (
            BudgetState(kind=Kind.TAP, deadline_ms=4_000, fallback=Fallback.PENDING, met=40, missed={"database": 2}),
            BudgetState(kind=Kind.BULK, deadline_ms=60_000, fallback=Fallback.PENDING, met=0, missed={}),
        ),
        **changes,
    }
    report = Report(intake=IntakeFact(nodes=2, batches=5), missing_batches=3, lost_batches=3, **said)
    return Run(
        run=7,
        started_ms=NOW_MS,
        finished_ms=NOW_MS + 5,
        away="",
        taken=Taken(batches=1),
        repaired=1,
        published=(),
        expired=Expired(partitions=(), rows=0),
        report=report,
    )
