"""A reconciliation's report as a page for operators: without script, readable on a phone, light or dark.

What needs a person comes first. All that comes from outside is escaped. Lengths are attributes of SVG, because the
page's policy lets no style in but the one style sheet, by its hash.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from origin.insight.reconciliation import Run
from origin.insight.reconciliation_text import EXPLAINED, write_instant
from origin.insight.runs_store import RunSummary
from shared.insight.reconciliation import DropReport, Report

MOST_DROPS: Final = 60
MOST_ROWS: Final = 20
REFRESH_S: Final = 30

STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 65%, transparent); --good: #1a7f4b; --bad: #b3261e; --held: #b7791f }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --bad: #ff8f85; --held: #e5b454 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 72rem }
h1 { font-size: 1.35rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } h3 { font-size: 1rem; margin: 0 }
p { margin: .25rem 0 } a { color: inherit }
.soft, dt { color: var(--soft); font-size: .875rem }
.state { font-weight: 600 } .good { color: var(--good) } .bad { color: var(--bad) }
ul { list-style: none; padding: 0; margin: 0 }
.findings li { border-inline-start: .25rem solid var(--bad); padding: .25rem .75rem; margin-block: .5rem }
.drops { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)) }
.drops > li { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; min-width: 0 }
.drops h3 { overflow-wrap: anywhere }
svg { display: block; width: 100%; height: .5rem; border-radius: .25rem; margin-block: .5rem; background: var(--line) }
.settled { fill: var(--good) } .held { fill: var(--held) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: .25rem .75rem; margin: 0 }
dd { margin: 0; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: start; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-size: .875rem; font-weight: 400 }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def write_page(run: Run, runs: Sequence[RunSummary], *, live: bool) -> str:
    """Return the page of a run.

    Args:
        run: what is shown.
        runs: that may be looked at instead, the newest first.
        live: whether it is the newest, and shall look for a newer one by itself.
    """
    report = run.report
    sections = (
        _write_findings(report),
        _write_drops(report.drops),
        _write_table(
            "Minutes that need a look",
            ("minute", "drop", "node", "issued", "due", "unverified", "over-issued", "blind"),
            (
                (write_instant(m.minute_ms), m.drop, m.node, m.issued, m.due, m.unverified, m.over_issued, m.blind)
                for m in report.minutes
            ),
        ),
        _write_table(
            "Reports that are missing",
            ("node", "location", "batches", "state"),
            (
                (gap.node, gap.colo or "-", f"{gap.first} to {gap.last}", "lost" if gap.lost else "may still come")
                for gap in report.gaps[:MOST_ROWS]
            ),
        ),
        _write_table(
            "Rejected", ("reason", "in all", "lately"), ((r.reason, r.count, r.recent) for r in report.rejections)
        ),
        _write_budgets(report),
        _write_runs(runs),
    )
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if live else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"{refresh}<title>Reconciliation {run.run}</title><style>{STYLE}</style></head><body>"
        f"<header>{_write_head(run)}</header><main>{''.join(sections)}</main></body></html>"
    )


def write_empty_page() -> str:
    """Return the page that is shown before the first run has ended."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}"><title>Reconciliation</title><style>{STYLE}</style></head>'
        "<body><h1>Reconciliation</h1><p>No run has ended yet.</p></body></html>"
    )


def _write_head(run: Run) -> str:
    count = len(run.report.findings)
    state, look = ("in order", "good") if not count else (f"{count} finding{'s' if count > 1 else ''}", "bad")
    away = f"<p class=bad>The {escape(run.away)} is away: the next run does the rest.</p>" if run.away else ""
    taken, intake = run.taken, run.report.intake
    return (
        f'<h1>Reconciliation {run.run}: <span class="state {look}">{state}</span></h1>'
        f"<p class=soft>{write_instant(run.started_ms)}, {run.finished_ms - run.started_ms} ms</p>{away}"
        f"<p>{taken.batches} batches taken in, {taken.repeated} repeated, {taken.rejected} rejected; "
        f"{run.repaired} claims repaired; {run.payments} payments looked at; "
        f"{len(run.published)} manifests written.</p>"
        f"<p>{intake.batches} batches of {intake.nodes} nodes are kept; {run.report.missing_batches} are missing, "
        f"{run.report.lost_batches} of them lost.</p>"
    )


def _write_findings(report: Report) -> str:
    if not report.findings:
        return ""
    items = "".join(
        f"<li><strong>{escape(finding.subject)}</strong>: {finding.count}<br>{escape(EXPLAINED[finding.code])}</li>"
        for finding in report.findings
    )
    return f"<h2>What needs a person</h2><ul class=findings>{items}</ul>"


def _write_drops(drops: Sequence[DropReport]) -> str:
    # Those that need a look come first; then those with the most claims.
    ordered = sorted(drops, key=lambda drop: (drop.adds_up, -(drop.due + drop.unverified), -drop.issued, drop.drop))
    if not ordered:
        return "<h2>Drops</h2><p>None is compared: none is open, or closed lately.</p>"
    more = f"<p class=soft>and {len(ordered) - MOST_DROPS} more</p>" if len(ordered) > MOST_DROPS else ""
    return f"<h2>Drops</h2><ul class=drops>{''.join(map(_write_drop, ordered[:MOST_DROPS]))}</ul>{more}"


def _write_drop(drop: DropReport) -> str:
    total = max(1, drop.total)
    settled, held = (round(100 * units / total, 2) for units in (drop.settled_units, drop.held))
    bound = "no limit" if drop.over_issue_bound is None else f"at most {drop.over_issue_bound}"
    rate = "without limit" if drop.admit_per_s is None else f"{drop.admit_per_s} a second"
    sums = "" if drop.adds_up else '<p class="state bad">The stock does not add up.</p>'
    counted = (
        ("issued", drop.issued), ("presented", drop.presented), ("settled", drop.settled), ("paid", drop.paid),
        ("refused", drop.refused), ("held", drop.waiting), ("open", drop.outstanding), ("lapsed", drop.lapsed),
        ("due", drop.due), ("unverified", drop.unverified), ("repaired", drop.repaired),
        ("unreported", drop.unreported),
    )  # fmt: skip
    numbers = "".join(f"<div><dt>{name}</dt><dd>{count}</dd></div>" for name, count in counted)
    return (
        f"<li><h3>{escape(drop.drop)}</h3>"
        f'<svg viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="{settled} percent settled">'
        f'<rect class="settled" width="{settled}" height="4"/>'
        f'<rect class="held" x="{settled}" width="{held}" height="4"/></svg>'
        f"<p>{drop.settled_units} settled, {drop.held} held, {drop.free} free of {drop.total}</p>{sums}"
        f"<dl>{numbers}</dl>"
        f"<p class=soft>over-issued {drop.over_issued}, {bound}; {drop.blind} blind</p>"
        f"<p class=soft>stock version {drop.version}; each node admits {rate}</p></li>"
    )


def _write_budgets(report: Report) -> str:
    asked = [budget for budget in report.budgets if budget.met or budget.missed]
    rows = (
        (
            budget.kind,
            f"{budget.deadline_ms / 1000:g} s",
            budget.met,
            sum(budget.missed.values()),
            ", ".join(f"{stage} {count}" for stage, count in budget.missed.items()) or "-",
        )
        for budget in asked
    )
    return _write_table("Confirmed in time, within a day", ("kind", "deadline", "met", "missed", "slow stage"), rows)


def _write_runs(runs: Sequence[RunSummary]) -> str:
    rows = "".join(
        f'<tr><td><a href="/reconciliation/{run.run}">{run.run}</a></td><td>{write_instant(run.started_ms)}</td>'
        f"<td>{run.findings or 'in order'}</td></tr>"
        for run in runs
    )
    return _wrap_table("Runs", ("run", "began", "findings"), rows)


def _write_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return _wrap_table(title, headings, body) if body else ""


def _wrap_table(title: str, headings: Sequence[str], body: str) -> str:
    heads = "".join(f"<th scope=col>{heading}</th>" for heading in headings)
    return (
        f"<h2>{title}</h2><div class=wide tabindex=0><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
