"""Reconciliation as cron starts it: a process, twice at once, killed in the middle; and what it finds and repairs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from origin.reconcile import ANOTHER_RUN, AWAY, DIFFERENCES, IN_ORDER, WRONG_USE
from origin.settlement.receipts import make_signing_key_set
from shared.claims.keys import ClaimKey
from shared.claims.tokens import sign_claim
from shared.encoding import encode_base64url
from shared.insight.reconciliation import GAP_GRACE_MS
from tests.postgres.edge_side import (
    ACCOUNT,
    NAMESPACE,
    PATIENCE_S,
    QUEUE,
    ROOT,
    TOKEN,
    EdgeSide,
    EmulatedProvider,
    Node,
    add_drop,
    free_claim,
    now_ms,
    on_edge_side,
    query,
)
from tests.samples import ISSUER, NEW_KEY, OLD_KEY, ORIGIN_URL

SIGNING_KEYS = make_signing_key_set()
DAY_MS = 86_400_000


class Cron:
    """What cron would have in its environment."""

    def __init__(self, conninfo: str, provider: EmulatedProvider, folder: Path) -> None:
        self.conninfo = conninfo
        self.provider = provider
        self.environment = {
            **os.environ,
            "DATABASE_URL": conninfo,
            "CLIPTILL_DATA": str(folder),
            "CLIPTILL_PUBLIC_URL": ORIGIN_URL,
            "CLIPTILL_EDGE_URL": "https://edge.example",
            "CLIPTILL_ISSUER": ISSUER,
            "CLIPTILL_CLAIM_KEYS": write_keys(NEW_KEY),
            "CLIPTILL_SIGNING_KEY": SIGNING_KEYS,
            "CLIPTILL_PROVIDER_URL": provider.url,
            "CLIPTILL_PROVIDER_ACCOUNT": ACCOUNT,
            "CLIPTILL_PROVIDER_TOKEN": TOKEN,
            "CLIPTILL_KV_NAMESPACE": NAMESPACE,
            "CLIPTILL_QUEUE": QUEUE,
        }

    def start(self, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "origin.reconcile", *arguments],
            cwd=ROOT,
            env={**self.environment, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **settings)
        output, complaint = finish(process)
        return process.returncode, output, complaint

    def report(self, **settings: str) -> tuple[int, dict[str, Any]]:
        code, output, complaint = self.run("--json", **settings)
        assert output, complaint
        return code, msgspec.json.decode(output)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedProvider]:
    with EmulatedProvider(tmp_path_factory.mktemp("provider")) as started:
        yield started


@pytest.fixture
def cron(conninfo: str, provider: EmulatedProvider, tmp_path: Path) -> Cron:
    provider.clear()
    add_drop(conninfo)
    return Cron(conninfo, provider, tmp_path)


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for a process, and do not leave it behind."""
    try:
        return process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()


def write_keys(*keys: ClaimKey) -> str:
    return ",".join(f"{key.kid}:{encode_base64url(key.secret)}" for key in keys)


def deliver(cron: Cron, *batches: object, clock_ms: int | None = None) -> None:
    """Take batches in as the service does, possibly at another time."""

    async def story(side: EdgeSide) -> None:
        if clock_ms is not None:
            side.intake._clock_ms = lambda: clock_ms
        side.send(*batches)
        await side.reader.pull_once()

    on_edge_side(cron.conninfo, story)


def the_drop(report: dict[str, Any]) -> dict[str, Any]:
    (drop,) = report["report"]["drops"]
    found: dict[str, Any] = drop
    return found


@contextmanager
def held_lock(conninfo: str, statement: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statement.encode())
        yield connection


def wait_for(conninfo: str, statement: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while query(conninfo, statement) == [(0,)]:
        assert time.monotonic() < until_s, statement
        time.sleep(0.02)


def test_a_run_takes_the_queue_in_settles_and_a_second_run_changes_nothing(cron: Cron) -> None:
    node = Node("n")
    cron.provider.send(node.report(free_claim(1)), node.report(), node.report(free_claim(2, unit_minor=500)))
    code, first = cron.report()
    assert code == IN_ORDER, first["report"]["findings"]
    assert (first["taken"]["batches"], first["taken"]["presented"]) == (3, 1)
    drop = the_drop(first)
    assert (drop["issued"], drop["settled"], drop["outstanding"], drop["free"]) == (2, 1, 1, 99)
    code, second = cron.report()
    assert (code, second["report"], second["taken"]["batches"]) == (IN_ORDER, first["report"], 0)
    kept = query(cron.conninfo, "SELECT report->'report'->'drops', finished_ms IS NOT NULL FROM reconciliation_runs")
    assert kept == [(first["report"]["drops"], True)] * 2


def test_a_free_claim_whose_key_came_late_is_repaired_once(cron: Cron) -> None:
    deliver(cron, Node("n", OLD_KEY).report(free_claim(1), free_claim(2, unit_minor=500)))
    code, before = cron.report()
    assert (code, the_drop(before)["unverified"]) == (DIFFERENCES, 2)
    keys = {"CLIPTILL_CLAIM_KEYS": write_keys(NEW_KEY, OLD_KEY)}
    code, after = cron.report(**keys)
    drop = the_drop(after)
    assert (code, after["repaired"]) == (IN_ORDER, 1)
    assert (drop["settled"], drop["repaired"], drop["outstanding"], drop["unverified"]) == (1, 1, 1, 0)
    code, again = cron.report(**keys)
    assert (code, again["repaired"], again["report"]) == (IN_ORDER, 0, after["report"])


def test_a_claim_that_turns_out_forged_once_its_key_is_known_never_settles(cron: Cron) -> None:
    claim, node = free_claim(1), Node("n")
    forged = sign_claim(claim, OLD_KEY)[:-4] + "AAAA"
    deliver(cron, node.report(events=[node.issued(claim, forged)]))
    code, report = cron.report(CLIPTILL_CLAIM_KEYS=write_keys(NEW_KEY, OLD_KEY))
    assert (code, the_drop(report)["issued"]) == (DIFFERENCES, 0)
    assert [finding["code"] for finding in report["report"]["findings"]] == ["claims_forged"]
    assert query(cron.conninfo, "SELECT count(*) FROM settlements") == [(0,)]


def test_what_needs_a_person_is_found_and_written_for_one(cron: Cron) -> None:
    node = Node("node-with-gaps")
    node.seq = 2
    deliver(cron, node.report(), clock_ms=now_ms() - GAP_GRACE_MS - 60_000)
    deliver(cron, [], Node("fast").report(at_ms=now_ms() + 60_000))
    query(
        cron.conninfo,
        "INSERT INTO settlements (claim_id, drop, run, viewer, fingerprint, status, quantity, first_number,"
        " total_minor, currency, creator, clip, offer, arm, lines, receipt, kid, source, settled_at_ms, stock_version)"
        " VALUES ('x', 'drop-1', 'run-1', 'v', 'f', 'settled', 1, 1, 0, 'EUR', 'c', 'c', 'o', '', '[]', '', 'k',"
        " 'request', %s, 2)",
        now_ms() - GAP_GRACE_MS - 60_000,
    )
    code, report = cron.report()
    assert code == DIFFERENCES
    assert [(finding["code"], finding["count"] > 0) for finding in report["report"]["findings"]] == [
        ("stock_does_not_add_up", False),
        ("settled_but_not_reported", True),
        ("events_lost", True),
        ("messages_rejected", True),
        ("clock_ahead", True),
    ]
    code, text, _ = cron.run()
    assert code == DIFFERENCES
    assert "5 findings" in text
    assert "missing of node node-with-gaps (FRA): 1 to 2, lost" in text
    assert "rejected for not_a_batch: 1" in text
    assert max(map(len, text.splitlines())) <= 160


@pytest.mark.parametrize(
    "events", [pytest.param([], id="nothing"), pytest.param([{"type": "nonsense"}], id="only what cannot be read")]
)
def test_a_gap_is_found_though_the_batch_after_it_has_no_event_that_counts(cron: Cron, events: list[Any]) -> None:
    node = Node("node-with-gaps")
    node.seq = 2
    deliver(cron, node.report(events=events), clock_ms=now_ms() - GAP_GRACE_MS - 60_000)
    _, report = cron.report()
    lost = [found["count"] for found in report["report"]["findings"] if found["code"] == "events_lost"]
    assert lost == [2]


def test_manifests_that_the_store_lost_are_written(cron: Cron) -> None:
    query(cron.conninfo, "INSERT INTO creators VALUES ('c', 'C', NULL, 1, 1)")
    query(cron.conninfo, "INSERT INTO clips VALUES ('clip', 'c', '{}', 'en', '{}', '[]', 60, 1, 1)")
    query(cron.conninfo, "INSERT INTO manifests VALUES ('clip', 1, '{}', 1)")
    assert cron.report()[1]["published"] == ["clip"]
    assert cron.report()[1]["published"] == []


def test_two_at_once_follow_each_other(cron: Cron) -> None:
    node = Node("n")
    cron.provider.send(*[node.report(free_claim(number)) for number in range(60)])
    both = [cron.start("--json") for _ in range(2)]
    reports = [msgspec.json.decode(finish(process)[0]) for process in both]
    assert [process.returncode for process in both] == [IN_ORDER, IN_ORDER]
    assert sorted(report["taken"]["batches"] for report in reports) == [0, 60]
    assert the_drop(reports[0]) == the_drop(reports[1])
    assert query(cron.conninfo, "SELECT free, settled FROM drops") == [(40, 60)]


def test_a_run_that_may_not_wait_says_that_another_does_the_work(cron: Cron) -> None:
    lock = "SELECT pg_advisory_lock(hashtextextended('cliptill reconciliation', 0))"
    with held_lock(cron.conninfo, lock):
        code, output, complaint = cron.run("--wait", "0")
    assert (code, output) == (ANOTHER_RUN, "")
    assert "another reconciliation is at work" in complaint


def test_killed_in_the_middle_of_a_batch_and_run_again_nothing_is_lost_or_doubled(cron: Cron) -> None:
    node = Node("n")
    cron.provider.send(*[node.report(free_claim(number)) for number in range(80)])
    # The batch's events are in, its settlement waits for the drop: that is where it is killed.
    with held_lock(cron.conninfo, "SELECT 1 FROM drops FOR UPDATE"):
        process = cron.start()
        wait_for(
            cron.conninfo,
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, 'FOR UPDATE') > 0",
        )
        process.kill()
        finish(process)
    assert query(cron.conninfo, "SELECT count(*) FROM settlements") == [(0,)]
    assert query(cron.conninfo, "SELECT count(*) FROM edge_events") == [(0,)]
    assert cron.provider.backlog() == 80
    cron.provider.end_leases()
    code, report = cron.report()
    drop = the_drop(report)
    assert (code, drop["issued"], drop["settled"], drop["free"]) == (IN_ORDER, 80, 80, 20)
    assert query(cron.conninfo, "SELECT count(*), min(first_number), max(first_number) FROM settlements") == [
        (80, 1, 80)
    ]
    assert query(cron.conninfo, "SELECT seen::text, batches FROM edge_nodes") == [("{[1,81)}", 80)]
    assert cron.provider.backlog() == 0


def test_killed_between_commit_and_acknowledgement_the_messages_come_again_without_effect(cron: Cron) -> None:
    batch = Node("n").report(free_claim(1))
    deliver(cron, batch)
    cron.provider.send(batch)
    code, report = cron.report()
    assert (code, report["taken"]["repeated"], the_drop(report)["settled"]) == (IN_ORDER, 1, 1)
    assert cron.provider.backlog() == 0


def test_without_a_provider_the_database_is_still_reconciled(cron: Cron) -> None:
    deliver(cron, Node("n").report(free_claim(1)))
    code, report = cron.report(CLIPTILL_PROVIDER_URL="http://127.0.0.1:9")
    assert (code, report["away"], the_drop(report)["settled"]) == (AWAY, "provider", 1)


def test_without_a_database_it_says_so(cron: Cron) -> None:
    code, output, complaint = cron.run(DATABASE_URL="host=127.0.0.1 port=1 dbname=none")
    assert (code, output) == (AWAY, "")
    assert "the database is away" in complaint


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        pytest.param(["--what"], {}, id="unknown-option"),
        pytest.param(["--wait", "soon"], {}, id="wait-that-is-no-number"),
        pytest.param([], {"CLIPTILL_QUEUE": ""}, id="missing-setting"),
        pytest.param([], {"CLIPTILL_EVENT_RETENTION_DAYS": "0"}, id="no-retention"),
    ],
)
def test_wrong_use_does_nothing(cron: Cron, arguments: list[str], settings: dict[str, str]) -> None:
    assert cron.run(*arguments, **settings)[0] == WRONG_USE
    assert query(cron.conninfo, "SELECT count(*) FROM reconciliation_runs") == [(0,)]


def test_the_last_report_is_read_again_without_another_run(cron: Cron) -> None:
    assert cron.run("--last")[0] == WRONG_USE
    cron.provider.send(Node("n").report(free_claim(1)))
    code, text, _ = cron.run()
    assert cron.run("--last") == (code, text, "")
    assert query(cron.conninfo, "SELECT count(*) FROM reconciliation_runs") == [(1,)]


def test_the_help_lists_the_exit_codes(cron: Cron) -> None:
    code, output, _ = cron.run("--help")
    assert code == 0
    for number in range(5):
        assert f"\n  {number}  " in output


def test_what_is_older_than_the_retention_is_dropped(cron: Cron) -> None:
    old_ms = now_ms() - 10 * DAY_MS
    deliver(cron, Node("old").report(at_ms=old_ms), clock_ms=old_ms)
    assert cron.report(CLIPTILL_EVENT_RETENTION_DAYS="11")[1]["expired"]["rows"] == 0
    report = cron.report(CLIPTILL_EVENT_RETENTION_DAYS="9")[1]
    assert (report["expired"]["rows"], report["report"]["intake"]["nodes"]) == (2, 0)


def test_the_report_has_the_budgets_of_all_processes(cron: Cron) -> None:
    now_ms = time.time_ns() // 1_000_000
    with psycopg.connect(cron.conninfo, autocommit=True) as connection:
        connection.execute("INSERT INTO budget_counts VALUES (%s, 'tap', '', 8)", [now_ms])
        connection.execute("INSERT INTO budget_counts VALUES (%s, 'tap', 'batch', 2)", [now_ms])
    _, output, _ = cron.run()
    assert "tap: 8 of 10 confirmed within 4 s (24 h); slow: batch 2" in output.splitlines()


def test_what_reconciliation_takes_from_the_queue_is_counted(cron: Cron) -> None:
    cron.provider.send(Node("n").report(free_claim(1)))
    _, report = cron.report()
    (bulk,) = (budget for budget in report["report"]["budgets"] if budget["kind"] == "bulk")
    assert (bulk["met"], bulk["missed"]) == (1, {})
