"""Reconciliation: how its time and memory grow with the number of events, on an embedded PostgreSQL of this run's own.

Each size is a database of its own with so many `claim_issued` events, half of them settled, spread over one day, ten
drops and fifty nodes. The command itself is run, as cron runs it, and measured as a process from its start to its end:

* `whole`: the first run, which compares all that is kept.
* `again`: the run after it, in which nothing has changed.
* `late`: a run a week later, in which only what came since is counted anew.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from origin.embedded import start_embedded
from origin.migrate import list_migrations, migrate
from origin.reconcile import AWAY
from scripts.benchmarks.figures import BenchError, Effort, say

SIZES: Final[dict[Effort, tuple[int, int, int]]] = {
    "quick": (1_000, 2_000, 5_000),
    "normal": (10_000, 100_000, 1_000_000),
    "full": (10_000, 100_000, 1_000_000),
}
COMPARED: Final = {
    "whole": "python -m origin.reconcile over so many events, all counted",
    "again": "the same again",
    "late": "the same once all is older than what is counted anew",
}
MIB: Final = 1024
_WEEK_MS: Final = 7 * 86_400_000
_FILL: Final = (
    """
    INSERT INTO drops (drop, run, sku, total, free, settled, next_number, opens_at_ms, closes_at_ms, created_ms,
      updated_ms)
    SELECT 'drop-' || n, 'r1', 'shirt', %(count)s, %(count)s - %(count)s / 20, %(count)s / 20, %(count)s / 20 + 1, 0,
      9000000000000, 0, 0
    FROM generate_series(0, 9) AS n
    """,
    """
    INSERT INTO edge_nodes (node, colo, highest_seq, batches, first_received_ms, last_received_ms, seen, events)
    SELECT 'node-' || n, 'FRA', %(count)s / 50, %(count)s / 50, 0, %(now)s,
      int8multirange(int8range(1, %(count)s / 50 + 1)), %(count)s / 50
    FROM generate_series(0, 49) AS n
    """,
    """
    INSERT INTO issued_claims (drop, claim_id, clip, offer, colo, node, units, free, trusted, issued_at_ms,
      expires_at_ms, received_ms)
    SELECT 'drop-' || n / 2 %% 10, lpad(n::text, 22, '0'), 'clip', 'offer', 'FRA', 'node-' || n / 20 %% 50, 1, false,
      true, at_ms, at_ms + 300000, at_ms + 100
    FROM generate_series(0, %(count)s - 1) AS n,
      LATERAL (SELECT %(now)s - 86400000 * n::bigint / %(count)s AS at_ms) AS given
    """,
    """
    INSERT INTO edge_events (day, node, seq, position, type, at_ms, received_ms, colo, country, clip, offer, drop,
      claim_id, expires_at_ms)
    SELECT to_timestamp(issued_at_ms / 1000)::date, node, row_number() OVER (PARTITION BY node), 0, 'claim_issued',
      issued_at_ms, received_ms, 'FRA', 'DE', clip, offer, drop, claim_id, expires_at_ms
    FROM issued_claims
    """,
    """
    INSERT INTO settlements (claim_id, drop, run, viewer, fingerprint, status, quantity, first_number, total_minor,
      currency, creator, clip, offer, arm, lines, receipt, kid, source, settled_at_ms, stock_total, stock_remaining,
      stock_version)
    SELECT claim_id, drop, 'r1', claim_id, '', 'settled', 1, 1, 2400, 'EUR', 'mika', clip, offer, '', '[]', '', 'k',
      'request', issued_at_ms + 500, 1, 1, 1
    FROM issued_claims WHERE claim_id::bigint %% 2 = 0
    """,
    "ANALYZE",
)
# A week passes: what was counted is old, and a thousandth of it comes anew.
_PASS: Final = (
    "UPDATE claim_minutes SET minute_ms = minute_ms - %(week)s",
    """
    UPDATE issued_claims SET issued_at_ms = issued_at_ms - %(week)s, expires_at_ms = expires_at_ms - %(week)s,
      received_ms = received_ms - %(week)s
    """,
    "UPDATE settlements SET settled_at_ms = settled_at_ms - %(week)s",
    "UPDATE reconciliation_runs SET started_ms = started_ms - %(week)s",
    """
    INSERT INTO issued_claims (drop, claim_id, clip, offer, colo, node, units, free, trusted, issued_at_ms,
      expires_at_ms, received_ms)
    SELECT 'drop-' || n %% 10, 'new' || n, 'clip', 'offer', 'FRA', 'node-1', 1, false, true, %(now)s, %(now)s + 300000,
      %(now)s
    FROM generate_series(1, %(count)s / 1000) AS n
    """,
    "VACUUM ANALYZE",
)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the command: seconds by the wall clock and of its own processor time, most memory in MiB, claims."""

    seconds: float
    cpu_seconds: float
    mib: float
    claims: int


def measure(effort: Effort) -> dict[str, Any]:
    """Run the comparison, and return its figures."""
    sizes = SIZES[effort]
    with tempfile.TemporaryDirectory(prefix="cliptill-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as a user of its own
        say("starting an embedded PostgreSQL")
        conninfo = start_embedded(folder)
        found = {size: _measure_size(conninfo, size, folder) for size in sizes}
    small, middle, large = (found[size]["whole"] for size in sizes)
    steps = (sizes[2] - sizes[0]) / (sizes[1] - sizes[0])
    growth = (large.seconds - small.seconds) / max(0.01, middle.seconds - small.seconds) / steps
    return {
        "headline": {"reconcile_seconds": large.seconds, "reconcile_memory_growth": round(large.mib / small.mib, 2)},
        "compared": COMPARED,
        "runs": {f"{size}_{name}": _describe(run) for size, runs in found.items() for name, run in runs.items()},
        "events_per_s": round(sizes[2] / large.seconds),
        "growth": round(growth, 2),  # 1.0 is linear, the start of the process left out
        "whole_vs_late": round(large.seconds / found[sizes[2]]["late"].seconds, 1),
    }


def _describe(run: Measured) -> dict[str, Any]:
    described: dict[str, Any] = msgspec.to_builtins(run)
    return described


def _measure_size(server: str, size: int, folder: Path) -> dict[str, Measured]:
    name = f"events_{size}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    conninfo = psycopg.conninfo.make_conninfo(server, dbname=name)
    migrate(conninfo, list_migrations(), 0)
    say(f"filling in {size:,} events")
    _execute(conninfo, _FILL, size)
    runs = {"whole": _reconcile(conninfo, folder, size, "--all"), "again": _reconcile(conninfo, folder, size)}
    _execute(conninfo, _PASS, size)
    runs["late"] = _reconcile(conninfo, folder, size + size // 1000)
    return runs


def _execute(conninfo: str, statements: tuple[str, ...], count: int) -> None:
    scope = {"count": count, "now": time.time_ns() // 1_000_000, "week": _WEEK_MS}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode(), scope)


def _reconcile(conninfo: str, folder: Path, expected: int, *options: str) -> Measured:
    """Run the command, and see that it told of all claims, and found nothing."""
    environment = {
        **os.environ,
        "DATABASE_URL": conninfo,
        "CLIPTILL_DATA": str(folder),
        "CLIPTILL_PUBLIC_URL": "https://till.example.com",
        "CLIPTILL_EDGE_URL": "https://edge.example.com",
        "CLIPTILL_PROVIDER_URL": "http://127.0.0.1:9",  # nobody: what the queue holds is not measured here
        "CLIPTILL_PROVIDER_ACCOUNT": "a",
        "CLIPTILL_PROVIDER_TOKEN": "t",
        "CLIPTILL_KV_NAMESPACE": "n",
        "CLIPTILL_QUEUE": "q",
    }
    output, complained = folder / "report.json", folder / "complaints"
    began = time.perf_counter()
    with output.open("wb") as file, complained.open("wb") as complaints:
        command = [sys.executable, "-m", "origin.reconcile", "--json", *options]
        # It warns that the provider is away: that is told only when it comes to nothing.
        redirected = [(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, complaints.fileno(), 2)]
        child = os.posix_spawn(sys.executable, command, environment, file_actions=redirected)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != AWAY or not output.stat().st_size:
        raise BenchError(complained.read_text())
    report = msgspec.json.decode(output.read_bytes())["report"]
    claims = sum(drop["issued"] for drop in report["drops"])
    if claims != expected or report["findings"]:
        raise BenchError(f"{claims} claims instead of {expected}, {report['findings']}")
    say(f"{expected:,} events {' '.join(options)}: {seconds:.2f} s, {usage.ru_maxrss / MIB:.0f} MiB")
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(
        seconds=round(seconds, 2), cpu_seconds=round(cpu, 2), mib=round(usage.ru_maxrss / MIB, 1), claims=claims
    )
