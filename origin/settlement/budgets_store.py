"""SQL of latency budgets: what all processes have counted, by the hour."""

from collections.abc import Mapping
from typing import Final

from origin.database import Connection
from shared.claims.budgets import BudgetState, Kind, Stage, sum_up

HOUR_MS: Final = 3_600_000
KEPT_MS: Final = 90 * 24 * HOUR_MS
_ADD: Final = """
    INSERT INTO budget_counts (hour_ms, kind, stage, count)
    SELECT %s, kind, stage, count FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS new (kind, stage, count)
    ORDER BY kind, stage
    ON CONFLICT (hour_ms, kind, stage) DO UPDATE SET count = budget_counts.count + excluded.count
"""
_FORGET: Final = "DELETE FROM budget_counts WHERE hour_ms < %s"
_STATE: Final = "SELECT kind, stage, sum(count)::bigint FROM budget_counts WHERE hour_ms >= %s GROUP BY kind, stage"

Counts = Mapping[tuple[Kind, Stage | None], int]


async def add_counts(connection: Connection, counts: Counts, now_ms: int) -> None:
    """Add what a process has counted to the present hour, and forget what is too old."""
    kinds, stages = [kind.value for kind, _ in counts], ["" if stage is None else stage.value for _, stage in counts]
    await connection.execute(_ADD, (now_ms - now_ms % HOUR_MS, kinds, stages, list(counts.values())))
    await connection.execute(_FORGET, (now_ms - KEPT_MS,))


async def read_budgets(connection: Connection, since_ms: int) -> tuple[BudgetState, ...]:
    """Return how each kind did in all processes, from the hour of an instant on."""
    found = await connection.execute(_STATE, (since_ms - since_ms % HOUR_MS,))
    return sum_up(
        {(Kind(kind), Stage(stage) if stage else None): count for kind, stage, count in await found.fetchall()}
    )
