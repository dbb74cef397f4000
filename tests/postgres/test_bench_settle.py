"""The benchmark of settlement runs to its end, and what it measured has settled rightly."""

import asyncio
import json
import subprocess
import sys

from origin.database import Database
from origin.settlement.receipts import parse_signing_keys
from origin.trail.auditing import Audit, audit_drop
from origin.trail.public_keys import PublicKeys
from scripts.benchmarks.settle_rows import Rows
from scripts.benchmarks.settle_same_rows import settle_same_rows
from tests.postgres.world import ROOT, SIGNING_KEYS

KEYS = parse_signing_keys(SIGNING_KEYS)
SETTLED = 150
CONTENDERS = {"batched", "http", "naive", "naive_at_64", "naive_same_rows", "naive_same_rows_at_64", "copy"}

NAIVE_AT_64 = "naive_same_rows_at_64"
# Ids, viewers and instants differ; the audit reads the receipts.
ALIKE = """
    SELECT count(*) FROM settlements AS ours JOIN settlements AS theirs USING (
      run, status, quantity, first_number, total_minor, currency, creator, clip, offer, arm, lines, kid, source,
      stock_total, stock_remaining, stock_version
    ) WHERE ours.drop = 'batched' AND theirs.drop = 'one-by-one'
"""


def test_the_benchmark_compares_all_ways_and_oversells_nothing() -> None:
    command = (sys.executable, "-m", "scripts.benching", "settle", "--quick", "--json")
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    assert told["oversold"] == 0
    assert min(told[f"{ours}_vs_{naive}"] for ours in ("batched", "http") for naive in ("naive", NAIVE_AT_64)) > 0
    assert told["batched_vs_copy"] > 0
    settle = told["settle"]
    assert set(settle["claims_per_s"]) == set(settle["compared"]) == CONTENDERS
    assert all(known["p50"] <= known["p99"] for known in settle["to_acknowledgement_ms"].values())
    assert set(settle["growth"]) == {"claims", "first_claims_per_s", "last_claims_per_s", "last_vs_first"}
    assert set(settle["claims_per_s_by_drops"]) == {"1", "100"}


def test_one_by_one_with_the_same_rows_stores_what_the_writer_stores(conninfo: str) -> None:
    async def act() -> tuple[list[Audit | None], object]:
        database = Database(conninfo)
        await database.open()
        try:
            rows = Rows(conninfo, database, KEYS)
            await rows.add_drops(("batched", "one-by-one"))
            await rows.batched(rows.claims(SETTLED, ["batched"]))
            await settle_same_rows(rows, rows.claims(SETTLED, ["one-by-one"]), 8)
            async with database.snapshot() as connection:
                verify = PublicKeys(KEYS.key_set).verify
                audits = [await audit_drop(connection, drop, verify) for drop in ("batched", "one-by-one")]
                return audits, await (await connection.execute(ALIKE)).fetchone()
        finally:
            await database.close()

    audits, alike = asyncio.run(act())
    for audit in audits:
        assert audit is not None
        assert (audit.fault_count, audit.entries, audit.settlements, audit.heads) == (0, SETTLED, SETTLED, 1)
    assert alike == (SETTLED,)
