"""Reconciliation by the service itself: one of several does the work, its reports are kept, and operators read them."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from origin.apikeys import add_key, make_key
from origin.config import Config
from origin.database import Database
from origin.insight.reconcile_loop import ReconcileLoop
from origin.insight.reconciliation import Reconciler, Run
from origin.insight.runs_store import QUIET_MS, drop_old_runs, hold_run_lock
from origin.money.cashier import Cashier
from origin.settlement.receipts import make_signing_key_set, parse_signing_keys
from shared.errors import ServiceAwayError
from tests.postgres.edge_side import EdgeSide, Node, add_drop, free_claim, now_ms, on_edge_side, provider_config, query
from tests.postgres.world import PATIENCE_S, OriginProcess, World, until
from tests.report_samples import make_run
from tests.samples import ISSUER, NEW_KEY, ORIGIN_URL

SIGNING_KEYS = parse_signing_keys(make_signing_key_set())


def make_config() -> Config:
    return Config(
        public_url=ORIGIN_URL,
        edge_url="https://edge.example",
        issuer=ISSUER,
        claim_keys=(NEW_KEY,),
        signing_keys=SIGNING_KEYS,
        provider=provider_config("http://127.0.0.1"),
        host="127.0.0.1",
        port=1,
        intake_interval_ms=500,
    )


def make_loop(side: EdgeSide, interval_s: int = 60, clock_ms: Callable[[], int] = now_ms) -> ReconcileLoop:
    cashier = Cashier(side.database, side.settler, None, clock_ms)
    reconciler = Reconciler(side.database, side.provider, side.publisher, cashier, make_config())
    return ReconcileLoop(side.database, reconciler, interval_s, clock_ms)


def test_one_of_several_does_the_work_and_the_others_leave_it(conninfo: str) -> None:
    add_drop(conninfo)

    async def story(side: EdgeSide) -> list[Run | None]:
        side.send(*[Node(f"n{number}").report(free_claim(number)) for number in range(20)])
        return await asyncio.gather(*(make_loop(side).take_turn() for _ in range(3)))

    runs = [run for run in on_edge_side(conninfo, story) if run is not None]
    assert len(runs) == 1
    assert runs[0].taken.presented == 20
    assert query(conninfo, "SELECT count(*) FROM reconciliation_runs") == [(1,)]


def test_what_was_done_within_the_interval_is_not_done_again(conninfo: str) -> None:
    async def story(side: EdgeSide) -> list[bool]:
        later = now_ms() + 60_000
        turns = [make_loop(side), make_loop(side), make_loop(side, clock_ms=lambda: later)]
        return [await turn.take_turn() is not None for turn in turns]

    assert on_edge_side(conninfo, story) == [True, False, True]


def test_while_cron_is_at_work_the_service_leaves_it_the_work(conninfo: str) -> None:
    async def story(side: EdgeSide) -> Run | None:
        async with hold_run_lock(side.database) as held:
            assert held
            return await make_loop(side).take_turn()

    assert on_edge_side(conninfo, story) is None


def test_the_loop_goes_on_after_what_goes_wrong_and_is_not_there_when_it_is_off(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(side: EdgeSide) -> int:
        await make_loop(side, interval_s=0).run()  # it ends at once
        loop, told = make_loop(side, interval_s=1), [ServiceAwayError("away"), ValueError("bug"), None]
        turns: list[object] = []
        enough = asyncio.Event()

        async def take_turn() -> None:
            turns.append(None)
            if len(turns) == 4:
                enough.set()
            if (error := told[min(len(turns), 3) - 1]) is not None:
                raise error

        monkeypatch.setattr(loop, "take_turn", take_turn)
        monkeypatch.setattr(loop, "_interval_s", 0.001)
        running = asyncio.create_task(loop.run())
        await asyncio.wait_for(enough.wait(), PATIENCE_S)
        running.cancel()
        await asyncio.wait([running])
        return len(turns)

    assert on_edge_side(conninfo, story) >= 4


def operator_headers(conninfo: str, kind: Any = "operator") -> dict[str, str]:
    key = make_key()

    async def store() -> None:
        database = Database(conninfo)
        await database.open()
        async with database.connection() as connection:
            await add_key(connection, f"{kind}-{now_ms()}", key, 1, kind)
        await database.close()

    asyncio.run(store())
    return {"Authorization": f"Bearer {key}"}


def keep_runs(world: World, *findings: list[Any], started_ms: int = 1_790_000_000_000) -> list[int]:
    """Keep reports with these findings, and return their numbers."""
    world.execute("DELETE FROM reconciliation_runs")
    for found in findings:
        report = msgspec.json.encode({"run": 1, "away": "", "report": {"findings": found}}).decode()
        world.execute(
            "INSERT INTO reconciliation_runs (started_ms, finished_ms, report) VALUES (%s, %s, %s)",
            started_ms, started_ms + 5, report,
        )  # fmt: skip
    return [run for (run,) in world.execute("SELECT run_id FROM reconciliation_runs ORDER BY run_id")]


FINDING = {"code": "over_issue", "subject": "drop-1", "count": 2}


def test_reports_are_listed_page_by_page_and_read(world: World, origin: OriginProcess) -> None:
    headers = operator_headers(world.conninfo)
    world.execute("DELETE FROM reconciliation_runs")
    assert origin.client.get("/v1/reconciliations", headers=headers).json() == {"runs": [], "next": None}
    assert origin.client.get("/v1/reconciliations/latest", headers=headers).json()["code"] == "run_unknown"
    numbers = keep_runs(world, *[[FINDING]] * 52)
    world.execute("INSERT INTO reconciliation_runs (started_ms) VALUES (1)")  # one that has not ended
    first = origin.client.get("/v1/reconciliations", headers=headers).json()
    assert [run["run"] for run in first["runs"]] == numbers[:1:-1]
    assert first["runs"][0] == {
        "run": numbers[-1], "started_ms": 1_790_000_000_000, "finished_ms": 1_790_000_000_005, "findings": 1, "away": ""
    }  # fmt: skip
    second = origin.client.get(f"/v1/reconciliations?before={first['next']}", headers=headers).json()
    assert ([run["run"] for run in second["runs"]], second["next"]) == (numbers[1::-1], None)
    for number in ("latest", str(numbers[-1])):
        report = origin.client.get(f"/v1/reconciliations/{number}", headers=headers).json()
        assert report["report"]["findings"] == [FINDING]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        pytest.param("/v1/reconciliations/0", 404, "run_unknown", id="unknown-run"),
        pytest.param("/v1/reconciliations/newest", 404, "run_unknown", id="no-number"),
        pytest.param("/v1/reconciliations/" + "9" * 30, 404, "run_unknown", id="overflow"),
        pytest.param("/v1/reconciliations?before=-1", 422, "invalid_field", id="before-no-number"),
    ],
)
def test_a_report_that_is_not_there_is_refused(
    world: World, origin: OriginProcess, path: str, status: int, code: str
) -> None:
    answer = origin.client.get(path, headers=operator_headers(world.conninfo))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/v1/reconciliations", "/v1/reconciliations/latest"])
def test_reports_are_for_operators_alone(world: World, origin: OriginProcess, path: str) -> None:
    assert origin.client.get(path).status_code == 401
    edge = origin.client.get(path, headers=operator_headers(world.conninfo, "edge"))
    assert edge.status_code == 403


def basic(headers: dict[str, str]) -> tuple[str, str]:
    return "operator", headers["Authorization"].removeprefix("Bearer ")


def test_the_page_is_opened_in_a_browser_with_an_operator_s_key_as_the_password(
    world: World, origin: OriginProcess
) -> None:
    operator, edge = (basic(operator_headers(world.conninfo, kind)) for kind in ("operator", "edge"))
    world.execute("DELETE FROM reconciliation_runs")
    empty = origin.client.get("/reconciliation", auth=operator)
    assert (empty.status_code, "No run has ended yet" in empty.text) == (200, True)
    kept = msgspec.json.encode(make_run()).decode()
    world.execute("INSERT INTO reconciliation_runs (started_ms, finished_ms, report) VALUES (1, 2, %s)", kept)
    ((run,),) = world.execute("SELECT run_id FROM reconciliation_runs")
    for path in ("/reconciliation", f"/reconciliation/{run}", "/reconciliation/latest"):
        page = origin.client.get(path, auth=operator)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "more claims were given" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
    assert origin.client.get("/reconciliation/0", auth=operator).status_code == 404
    assert origin.client.get("/reconciliation/x", auth=operator).status_code == 404
    for refused in (edge, ("operator", "ct_wrong"), ("operator", "")):
        answer = origin.client.get("/reconciliation", auth=refused)
        assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")


@pytest.mark.parametrize("header", ["", "Basic", "Basic =", "Basic /w==", "Bearer x", "Basic " + "A" * 500])
def test_what_is_no_password_opens_no_page(origin: OriginProcess, header: str) -> None:
    answer = origin.client.get("/reconciliation", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "key_missing")


def test_a_password_that_a_browser_sends_by_itself_changes_nothing(world: World, origin: OriginProcess) -> None:
    operator = basic(operator_headers(world.conninfo))
    written = origin.client.put("/v1/creators/mika", auth=operator, json={"creator": "mika", "name": "Mika"})
    assert written.status_code == 401
    assert origin.client.get("/v1/reconciliations", auth=operator).status_code == 401


def test_quiet_reports_are_dropped_before_those_with_findings(world: World) -> None:
    today = now_ms()
    quiet, found = keep_runs(world, [], [FINDING], started_ms=today - QUIET_MS - 1)

    async def drop(before_ms: int) -> None:
        database = Database(world.conninfo)
        await database.open()
        async with database.transaction() as connection:
            await drop_old_runs(connection, today, before_ms)
        await database.close()

    asyncio.run(drop(today - 90 * 86_400_000))
    assert world.execute("SELECT run_id FROM reconciliation_runs") == [(found,)]
    assert quiet != found
    asyncio.run(drop(today))
    assert world.execute("SELECT run_id FROM reconciliation_runs") == []


def test_a_service_that_is_told_to_reconciles_by_itself_without_a_provider(own_world: World) -> None:
    origin = own_world.start(CLIPTILL_RECONCILE_INTERVAL_S="1")
    headers = operator_headers(own_world.conninfo)
    until(lambda: origin.client.get("/v1/reconciliations/latest", headers=headers).is_success)
    report = origin.client.get("/v1/reconciliations/latest", headers=headers).json()
    assert (report["away"], report["report"]["findings"]) == ("provider", [])
