"""What became of claims by drop, minute and node; and that a run counts anew only what can have changed."""

import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from origin.insight.minutes_store import RECENT_MS, list_minutes
from origin.insight.reconciliation import Reconciler, Run
from origin.money.cashier import Cashier
from shared.insight.standings import MINUTE_MS, Minute
from tests.postgres.edge_side import EdgeSide, Node, add_drop, free_claim, now_ms, on_edge_side, query
from tests.postgres.servers import Server
from tests.postgres.test_reconcile_service import make_config, operator_headers
from tests.postgres.world import OriginProcess, World
from tests.samples import NEW_KEY, OLD_KEY

THIS_MINUTE = now_ms() // MINUTE_MS * MINUTE_MS
LONG_AGO = THIS_MINUTE - RECENT_MS - 10 * MINUTE_MS


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this minute be that of the test, not of the moment when the tests were collected."""
    this_minute = now_ms() // MINUTE_MS * MINUTE_MS
    monkeypatch.setattr(sys.modules[__name__], "THIS_MINUTE", this_minute)
    monkeypatch.setattr(sys.modules[__name__], "LONG_AGO", this_minute - RECENT_MS - 10 * MINUTE_MS)


@pytest.fixture
def stocked(conninfo: str) -> str:
    add_drop(conninfo)
    return conninfo


class Story:
    """Deliveries and runs, one after the other."""

    def __init__(self, side: EdgeSide, keys: tuple[Any, ...] = (NEW_KEY,)) -> None:
        self.side = side
        cashier = Cashier(side.database, side.settler, None, now_ms)
        config = msgspec.structs.replace(make_config(), claim_keys=keys)
        self._reconciler = Reconciler(side.database, side.provider, side.publisher, cashier, config)

    async def reconcile(self, **options: Any) -> Run:
        return await self._reconciler.run(now_ms, **options)

    async def minutes(self) -> list[Minute]:
        async with self.side.database.connection() as connection:
            return await list_minutes(connection, "drop-1", (0, ""), 100)


def tell(conninfo: str, story: Callable[[Story], Awaitable[None]]) -> None:
    async def run(side: EdgeSide) -> None:
        await story(Story(side))

    on_edge_side(conninfo, run)


def report(node: Node, *numbers: int, at_ms: int, unit_minor: int = 0) -> dict[str, Any]:
    claims = [free_claim(number, unit_minor=unit_minor, exp=at_ms // 1000 + 300) for number in numbers]
    return node.report(*claims, at_ms=at_ms)


def test_each_minute_of_each_node_says_what_became_of_its_claims(stocked: str) -> None:
    async def story(told: Story) -> None:
        one, two = Node("node-1"), Node("node-2")
        told.side.send(
            report(one, 1, 2, at_ms=THIS_MINUTE - 2 * MINUTE_MS),
            report(one, 3, at_ms=THIS_MINUTE, unit_minor=500),
            report(two, 4, at_ms=THIS_MINUTE + 1),
        )
        run = await told.reconcile()
        (drop,) = run.report.drops
        assert (drop.issued, drop.presented, drop.settled, drop.outstanding) == (4, 3, 3, 1)
        assert [(m.minute_ms, m.node, m.issued, m.settled, m.outstanding) for m in await told.minutes()] == [
            (THIS_MINUTE - 2 * MINUTE_MS, "node-1", 2, 2, 0),
            (THIS_MINUTE, "node-1", 1, 0, 1),
            (THIS_MINUTE, "node-2", 1, 1, 0),
        ]
        again = await told.reconcile()
        assert again.report == run.report

    tell(stocked, story)


def test_held_and_paid_claims_are_told_apart(stocked: str) -> None:
    async def story(told: Story) -> None:
        node = Node("n")
        told.side.send(report(node, 1, 2, 3, at_ms=THIS_MINUTE, unit_minor=500))
        await told.side.reader.pull_once()
        for number, (state, until_ms) in enumerate([("held", now_ms() + 60_000), ("released", now_ms() + 60_000)], 1):
            query(
                stocked,
                "INSERT INTO holds (claim_id, drop, run, viewer, fingerprint, quantity, state, until_ms, payment,"
                " claim, held_at_ms, changed_ms) VALUES (%s, 'drop-1', 'run-1', 'v', 'f', 1, %s, %s, 'card', '', 1, 1)",
                f"{number:022}",
                state,
                until_ms,
            )
        async with told.side.database.transaction() as connection:
            await told.side.settler.settle_in(connection, [free_claim(3, unit_minor=500)], "payment", now_ms())
        (drop,) = (await told.reconcile()).report.drops
        assert (drop.issued, drop.presented, drop.waiting, drop.settled, drop.paid, drop.outstanding) == (
            3,
            3,
            1,
            1,
            1,
            1,
        )
        (minute,) = await told.minutes()
        assert (minute.held, minute.paid) == (1, 1)

    tell(stocked, story)


def test_old_minutes_are_not_counted_again_unless_claims_of_theirs_come_late_or_all_are_asked_for(
    stocked: str,
) -> None:
    async def story(told: Story) -> None:
        node = Node("n")
        told.side.send(report(node, 1, at_ms=LONG_AGO))
        assert (await told.reconcile()).report.drops[0].settled == 1
        query(stocked, "UPDATE claim_minutes SET settled = 5, issued = 5")
        assert (await told.reconcile()).report.drops[0].settled == 1  # it came within the minute before the last run
        query(stocked, "UPDATE issued_claims SET received_ms = 1")
        query(stocked, "UPDATE claim_minutes SET settled = 5, issued = 5")
        assert (await told.reconcile()).report.drops[0].settled == 5
        assert (await told.reconcile(whole=True)).report.drops[0].settled == 1
        query(stocked, "UPDATE claim_minutes SET settled = 5, issued = 5")
        told.side.send(report(node, 2, at_ms=LONG_AGO))
        assert (await told.reconcile()).report.drops[0].settled == 2

    tell(stocked, story)


def test_minutes_in_which_something_is_open_are_counted_again_until_it_is_not(stocked: str) -> None:
    async def story(told: Story) -> None:
        told.side.send(report(Node("n"), 1, at_ms=LONG_AGO, unit_minor=500))
        assert (await told.reconcile()).report.drops[0].lapsed == 1
        query(stocked, "UPDATE issued_claims SET received_ms = 1, expires_at_ms = %s", now_ms() + 60_000)
        assert (await told.reconcile(whole=True)).report.drops[0].outstanding == 1
        query(stocked, "UPDATE issued_claims SET expires_at_ms = %s", now_ms() - 1)
        assert (await told.reconcile()).report.drops[0].lapsed == 1

    tell(stocked, story)


def test_a_claim_that_is_verified_late_is_counted_where_it_was_given(stocked: str) -> None:
    async def before(told: Story) -> None:
        told.side.send(report(Node("n", OLD_KEY), 1, at_ms=LONG_AGO))
        assert (await told.reconcile()).report.drops[0].unverified == 1
        query(stocked, "UPDATE issued_claims SET received_ms = %s", LONG_AGO)

    async def after(side: EdgeSide) -> None:
        told = Story(side, (NEW_KEY, OLD_KEY))
        drop = (await told.reconcile()).report.drops[0]
        assert (drop.unverified, drop.settled, drop.repaired) == (0, 1, 1)

    tell(stocked, before)
    on_edge_side(stocked, after)


def test_a_drop_that_closed_long_ago_is_compared_when_claims_come_or_on_demand(conninfo: str) -> None:
    add_drop(conninfo, opens=LONG_AGO - 20 * RECENT_MS, closes=LONG_AGO - 10 * RECENT_MS)

    async def story(told: Story) -> None:
        await told.reconcile()
        assert (await told.reconcile()).report.drops == ()
        assert len((await told.reconcile(whole=True)).report.drops) == 1
        told.side.send(report(Node("n"), 1, at_ms=THIS_MINUTE))
        assert (await told.reconcile()).report.drops[0].issued == 1

    tell(conninfo, story)


def test_the_first_report_names_the_node_in_whatever_order_reports_come(stocked: str) -> None:
    async def story(told: Story) -> None:
        late, early = Node("node-b"), Node("node-a")
        told.side.send(report(late, 1, at_ms=THIS_MINUTE + 5), report(early, 1, at_ms=THIS_MINUTE))
        told.side.send(report(late, 2, at_ms=THIS_MINUTE), report(early, 2, at_ms=THIS_MINUTE))
        await told.reconcile()
        assert [(m.node, m.issued) for m in await told.minutes()] == [("node-a", 2)]

    tell(stocked, story)


def test_operators_read_the_minutes_of_a_drop_page_by_page(world: World, origin: OriginProcess) -> None:
    world.execute("DELETE FROM claim_minutes")
    world.execute(
        "INSERT INTO claim_minutes SELECT 'drop-1', 60000 * minute, node, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0"
        " FROM generate_series(1, 300) AS minute, unnest(ARRAY['a', 'b']) AS node"
    )
    headers = operator_headers(world.conninfo)
    first = origin.client.get("/v1/drops/drop-1/minutes", headers=headers).json()
    assert (len(first["minutes"]), first["next"]) == (500, "15000000-b")
    second = origin.client.get(f"/v1/drops/drop-1/minutes?after={first['next']}", headers=headers).json()
    assert (len(second["minutes"]), second["next"]) == (100, None)
    assert second["minutes"][0]["minute_ms"] == 251 * 60_000
    refused = origin.client.get("/v1/drops/drop-1/minutes?after=x", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field")
    assert origin.client.get("/v1/drops/drop-1/minutes").status_code == 401


def test_what_is_lent_for_writing_is_there_as_a_whole_or_not_at_all(stocked: str) -> None:
    async def story(told: Story) -> None:
        told.side.send(report(Node("n"), 1, at_ms=THIS_MINUTE))
        await told.reconcile()
        before = await told.minutes()
        async with told.side.database.transaction() as connection:
            await connection.execute("ALTER TABLE claim_minutes ADD CONSTRAINT none CHECK (issued < 2)")
        told.side.send(report(Node("m"), 2, at_ms=THIS_MINUTE), report(Node("n2"), 3, 4, at_ms=THIS_MINUTE))
        with pytest.raises(Exception, match="none"):
            await told.reconcile()
        assert await told.minutes() == before

    tell(stocked, story)


def state_after(conninfo: str, seed: int) -> tuple[str, Any, Any, Any]:
    """Tell one event log in an order of its own: shuffled, with repetitions, partly late; return what it comes to."""
    shuffled = random.Random(seed)  # noqa: S311 - the same in every run
    add_drop(conninfo)
    nodes = [Node(f"node-{number}") for number in range(3)]
    log: list[Any] = [
        report(nodes[number % 3], number, at_ms=THIS_MINUTE - number % 4 * MINUTE_MS) for number in range(1, 19)
    ]
    log += [report(nodes[0], number, at_ms=THIS_MINUTE, unit_minor=500) for number in range(20, 24)]
    log += [report(nodes[1], 1, 2, at_ms=THIS_MINUTE - MINUTE_MS)]  # what another has reported too
    nodes[2].report()  # a batch that never comes
    log += [nodes[2].report(), ["no batch"]]
    told = log if seed == 0 else shuffled.sample(log, len(log))
    again = [] if seed == 0 else [item for item in shuffled.choices(log, k=9) if isinstance(item, dict)]
    cut = shuffled.randrange(len(told))

    states: list[str] = []

    async def deliver(story: Story) -> None:
        story.side.send(*told[:cut])
        await story.reconcile()
        story.side.send(*told[cut:], *again)
        states.append((await story.reconcile()).state)

    tell(conninfo, deliver)
    return (
        states[0],
        query(conninfo, "SELECT * FROM claim_minutes ORDER BY 1, 2, 3"),
        query(conninfo, "SELECT node, seen::text, batches, events FROM edge_nodes ORDER BY node"),
        query(conninfo, "SELECT node, seq, position, type, claim_id FROM edge_events ORDER BY 1, 2, 3"),
    )


def test_any_order_repetition_and_lateness_of_the_event_log_ends_in_one_state(server: Server) -> None:
    found = []
    for seed in range(6):
        with server.database() as conninfo:
            found.append(state_after(conninfo, seed))
    states, minutes, nodes, events = zip(*found, strict=True)
    assert len(set(states)) == 1
    assert all(told == minutes[0] for told in minutes)
    assert all(told == nodes[0] for told in nodes)
    assert all(told == events[0] for told in events)
    assert [seen for _, seen, _, _ in nodes[0]] == ["{[1,11)}", "{[1,8)}", "{[1,7),[8,9)}"]


def test_an_event_is_found_by_its_batch_without_reading_every_day(stocked: str) -> None:
    plan = query(
        stocked,
        "EXPLAIN SELECT min(received_ms) FROM edge_events WHERE node = 'n' AND seq = 7",
    )
    text = "\n".join(line for (line,) in plan)
    assert "(node = 'n'::text) AND (seq = 7)" in text
    assert "Seq Scan" not in text


def test_events_from_the_future_are_stored_found_and_dropped_by_when_they_came(stocked: str) -> None:
    async def story(told: Story) -> None:
        ahead = 300 * 86_400_000
        node = Node("n", OLD_KEY)
        told.side.send(report(node, 1, at_ms=THIS_MINUTE + ahead))
        run = await told.reconcile()
        assert [(found.code, found.subject) for found in run.report.findings] == [
            ("claims_not_verified", "drop-1"),
            ("clock_ahead", "n"),
        ]
        query(stocked, "UPDATE edge_events SET received_ms = 1")
        query(stocked, "UPDATE issued_claims SET received_ms = 1")
        await told.reconcile()
        await told.reconcile()
        for table in ("edge_events", "issued_claims", "claim_minutes"):
            assert query(stocked, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608 - of this list

    tell(stocked, story)
