"""Settlement: claims a second, several ways side by side in one run, on an embedded PostgreSQL of this run's own.

Beside the batching writer, called directly (`settle_rows`) and over HTTP (`settle_http`): what most would write, with
one short row a claim and with all the rows (`settle_same_rows`), and a bare COPY. Then how the writer does as claims
and drops become more. Ratios compare neighbours in time.
"""

import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from origin.database import Database
from origin.embedded import start_embedded
from origin.memory import calm_collector
from origin.migrate import list_migrations, migrate
from origin.settlement.receipts import make_signing_key_set, parse_signing_keys
from scripts.benchmarks.figures import Effort, ratio, run_in_turn, say, summarise
from scripts.benchmarks.settle_http import CONNECTIONS, PROCESSES, Origins, prepare, run_origins, settle_over_http
from scripts.benchmarks.settle_rows import IN_FLIGHT, Rows, Run, peak_memory_mb
from scripts.benchmarks.settle_same_rows import settle_same_rows

NAIVE_CONNECTIONS: Final = 8  # where one hot row is fastest
COMPARED: Final = {
    "batched": f"the batching writer called directly, {IN_FLIGHT:,} claims in flight on one drop",
    "http": f"{PROCESSES} origin processes, {CONNECTIONS} connections, a proof of possession for each claim",
    "naive": f"one transaction per claim with a lock on the stock row, {NAIVE_CONNECTIONS} connections, one row stored",
    "naive_at_64": f"the same over {CONNECTIONS} connections, as many as `http` has",
    "naive_same_rows": f"one transaction per claim, with all the rows of `batched`, {NAIVE_CONNECTIONS} connections",
    "naive_same_rows_at_64": f"the same over {CONNECTIONS} connections",
    "copy": "a bare binary COPY of the rows that `batched` stored, settlements and audit trail, same keys and checks",
}


class Sizes(NamedTuple):
    """How much is measured: rounds, claims of each contender and step, and how far it grows."""

    rounds: int
    batched: int
    http: int
    naive: int
    grown: int
    drops: tuple[int, ...]


QUICK: Final = Sizes(rounds=1, batched=2_000, http=300, naive=200, grown=4_000, drops=(1, 100))
NORMAL: Final = Sizes(rounds=3, batched=20_000, http=4_000, naive=1_200, grown=100_000, drops=(1, 10, 100, 1_000))
_SIZES: Final[dict[Effort, Sizes]] = {"quick": QUICK, "normal": NORMAL, "full": NORMAL._replace(grown=1_000_000)}
_STEPS: Final = 10


class _Bench:
    def __init__(self, rows: Rows, origins: Origins, folder: Path, sizes: Sizes) -> None:
        self._rows, self._origins, self._folder, self._sizes = rows, origins, folder, sizes
        self.latencies_ms: dict[str, list[float]] = {}

    async def compare(self) -> dict[str, Any]:
        """Run the contenders in turn."""
        runs = {name: self._keep(name, contender) for name, contender in self._contenders().items()}
        values = await run_in_turn(runs, self._sizes.rounds)
        ratios = {
            "batched_vs_naive": ratio(values["batched"], values["naive"]),
            "batched_vs_copy": ratio(values["batched"], values["copy"]),
            "batched_vs_naive_same_rows": ratio(values["batched"], values["naive_same_rows"]),
            "batched_vs_naive_same_rows_at_64": ratio(values["batched"], values["naive_same_rows_at_64"]),
            "http_vs_naive_same_rows_at_64": ratio(values["http"], values["naive_same_rows_at_64"]),
            "http_vs_naive": ratio(values["http"], values["naive_at_64"]),
            "http_vs_naive_at_8": ratio(values["http"], values["naive"]),
        }
        return {
            "headline": ratios,
            "compared": COMPARED,
            "claims_per_s": {name: summarise("claims/s", rounds) for name, rounds in values.items()},
            "to_acknowledgement_ms": {name: _percentiles(known) for name, known in self.latencies_ms.items() if known},
        }

    def _contenders(self) -> dict[str, Callable[[], Awaitable[Run]]]:
        """Return what is compared; the first is the one that `copy` takes its rows from."""
        rows, sizes = self._rows, self._sizes

        async def http() -> Run:
            return await settle_over_http(self._origins, prepare(rows, sizes.http, "http"), self._folder)

        async def naive(connections: int) -> Run:
            return await rows.naive(rows.claims(sizes.naive, ["naive"]), connections)

        async def same_rows(connections: int) -> Run:
            return await settle_same_rows(rows, rows.claims(sizes.naive, ["naive-same-rows"]), connections)

        return {
            "batched": lambda: rows.batched(rows.claims(sizes.batched, ["batched"])),
            "copy": lambda: rows.copy("batched", sizes.batched),
            "naive": lambda: naive(NAIVE_CONNECTIONS),
            "naive_same_rows": lambda: same_rows(NAIVE_CONNECTIONS),
            "http": http,
            "naive_at_64": lambda: naive(CONNECTIONS),
            "naive_same_rows_at_64": lambda: same_rows(CONNECTIONS),
        }

    async def grow(self) -> dict[str, Any]:
        """Settle many claims on one drop, slice by slice; return the rate of the first and of the last slice."""
        slice_of = self._sizes.grown // _STEPS
        rates = []
        for step in range(_STEPS):
            run = await self._rows.batched(self._rows.claims(slice_of, ["grown"]))
            rates.append(run.claims_per_s)
            say(f"grown to {slice_of * (step + 1):,} claims: {run.claims_per_s:,.0f}")
        first, last = statistics.median(rates[:3]), statistics.median(rates[-3:])
        return {"claims": self._sizes.grown, "first_claims_per_s": round(first), "last_claims_per_s": round(last),
                "last_vs_first": round(last / first, 3)}  # fmt: skip

    async def spread(self) -> dict[str, int]:
        """Settle as many claims over more and more drops; return claims a second, by drops."""
        rates = {}
        for drops in self._sizes.drops:
            names = [f"spread-{number}" for number in range(drops)]
            await self._rows.add_drops(names)
            run = await self._rows.batched(self._rows.claims(self._sizes.batched, names))
            rates[str(drops)] = round(run.claims_per_s)
            say(f"{drops:,} drops: {run.claims_per_s:,.0f}")
        return rates

    def _keep(self, name: str, contender: Callable[[], Awaitable[Run]]) -> Callable[[], Awaitable[float]]:
        """Return a contender that keeps the times of its last round."""

        async def run() -> float:
            made = await contender()
            self.latencies_ms[name] = made.latencies_ms
            return made.claims_per_s

        return run


def measure(effort: Effort) -> dict[str, Any]:
    """Run all of it, and return its figures.

    Raises:
        BenchError: when a claim is not settled.
    """
    sizes = _SIZES[effort]
    with tempfile.TemporaryDirectory(prefix="cliptill-bench-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o755)  # the server runs as a user of its own
        say("starting an embedded PostgreSQL")
        conninfo = start_embedded(folder)
        migrate(conninfo, list_migrations(), 0)
        calm_collector()
        with run_origins(conninfo, folder) as origins:
            return uvloop.run(_measure(conninfo, origins, folder, sizes))


async def _measure(conninfo: str, origins: Origins, folder: Path, sizes: Sizes) -> dict[str, Any]:
    database = Database(conninfo)
    await database.open()
    try:
        rows = Rows(conninfo, database, parse_signing_keys(make_signing_key_set()))
        await rows.add_drops(("batched", "naive", "naive-same-rows", "http", "grown"))
        bench = _Bench(rows, origins, folder, sizes)
        report = await bench.compare()
        report["headline"]["origin_memory_mb"] = origins.memory_mb()
        report["growth"] = await bench.grow()
        report["claims_per_s_by_drops"] = await bench.spread()
        report["writer_memory_mb"] = peak_memory_mb()
        report["headline"]["oversold"] = await rows.count_wrong()
    finally:
        await database.close()
    return report


def _percentiles(latencies_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(latencies_ms)
    return {name: round(ordered[len(ordered) * share // 100], 2) for name, share in (("p50", 50), ("p99", 99))}
