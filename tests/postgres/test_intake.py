"""Intake: each event once, together with its effect, whatever is delivered, however often, and whatever fails."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from origin.database import Connection
from origin.insight import event_store, intake
from origin.insight.event_store import Delivery, drop_expired, make_partitions
from origin.insight.intake import Intake, Stored
from origin.provider import ProviderAwayError
from shared.claims.budgets import Kind
from shared.claims.tokens import sign_claim
from shared.errors import ServiceAwayError
from tests.postgres.edge_side import EdgeSide, Node, add_drop, free_claim, now_ms, on_edge_side, query
from tests.samples import NEW_KEY, OLD_KEY, encode

DAY_MS = 86_400_000


@pytest.fixture
def stocked(conninfo: str) -> str:
    add_drop(conninfo)
    return conninfo


def settled(conninfo: str) -> list[str]:
    return [row[0] for row in query(conninfo, "SELECT claim_id FROM settlements WHERE status = 'settled' ORDER BY 1")]


def rejected(conninfo: str) -> list[str]:
    return [row[0] for row in query(conninfo, "SELECT reason FROM event_rejections ORDER BY reason")]


def count(conninfo: str, table: str) -> int:
    number: int = query(conninfo, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - a test's own word
    return number


def test_a_free_claim_settles_from_its_event_and_the_message_is_acknowledged(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n").report(free_claim(1)))
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.events, taken.presented) == (1, 1, 1)
        assert side.backlog() == 0
        assert side.intake.confirmations.count(Kind.BULK, None) == 1

    on_edge_side(stocked, story)
    assert settled(stocked) == [free_claim(1).jti]
    assert query(stocked, "SELECT free, settled FROM drops") == [(99, 1)]
    assert query(stocked, "SELECT trusted, free, units, token FROM issued_claims") == [(True, True, 1, None)]


def test_a_claim_with_a_price_is_noted_and_waits_for_its_viewer(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n").report(free_claim(1, unit_minor=500)))
        await side.reader.pull_once()

    on_edge_side(stocked, story)
    assert settled(stocked) == []
    assert query(stocked, "SELECT free, trusted FROM issued_claims") == [(False, True)]


def test_an_event_has_its_own_viewers_country_where_it_is_another_than_the_batchs(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        node = Node("n")
        first, second, third = (node.issued(free_claim(number)) for number in (1, 2, 3))
        events = [first, {**second, "country": "F\x00"}, {**third, "country": ""}]
        side.send(node.report(events=events))
        await side.reader.pull_once()

    on_edge_side(stocked, story)
    assert query(stocked, "SELECT country FROM edge_events ORDER BY position") == [("DE",), ("F",), ("",)]
    assert len(settled(stocked)) == 3


def test_many_large_messages_are_stored_some_at_a_time(stocked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drop's lock is held for as long as a transaction lasts: viewers wait for it."""
    sizes: list[int] = []
    whole = Intake.store_batches

    async def store(self: Intake, connection: Connection, deliveries: Sequence[Delivery]) -> Stored:
        sizes.append(sum(len(delivery.raw or b"") for delivery in deliveries))
        return await whole(self, connection, deliveries)

    monkeypatch.setattr(Intake, "store_batches", store)
    monkeypatch.setattr(intake, "MOST_BYTES", 10_000)

    async def story(side: EdgeSide) -> None:
        node = Node("n")
        batches = [node.report(*map(free_claim, range(first, first + 5))) for first in range(1, 76, 5)]
        side.send(*batches)
        taken, more = await side.reader.pull_once()
        assert (taken.batches, taken.events, taken.presented) == (15, 75, 75)
        assert (more, side.backlog()) == (False, 0)

    on_edge_side(stocked, story)
    assert len(settled(stocked)) == 75
    assert len(sizes) > 3
    assert max(sizes) <= 10_000


def test_one_bad_message_stops_no_other(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        node = Node("n")
        side.send(node.report(free_claim(1)), {"no": "batch"}, [1], node.report(events=[{"type": "?"}]))
        side.send("not json", content_type="text")
        side.send(node.report(free_claim(2)))
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.rejected) == (3, 4)
        assert side.backlog() == 0

    on_edge_side(stocked, story)
    assert len(settled(stocked)) == 2
    assert rejected(stocked) == ["not_a_batch", "not_a_batch", "not_an_event", "not_json"]


def test_a_forged_claim_never_settles_and_is_reported(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        node = Node("n")
        good, bad = free_claim(1), free_claim(2)
        forged = node.issued(bad, sign_claim(bad, NEW_KEY)[:-4] + "AAAA")
        side.send(node.report(events=[forged, node.issued(good)]))
        await side.reader.pull_once()

    on_edge_side(stocked, story)
    assert settled(stocked) == [free_claim(1).jti]
    assert rejected(stocked) == ["claim_forged"]
    assert count(stocked, "issued_claims") == 1
    assert count(stocked, "edge_events") == 2


def test_what_is_delivered_again_even_on_a_later_day_is_stored_once(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        batch = Node("n").report(free_claim(1), at_ms=now_ms() - DAY_MS)
        side.send(batch, batch)
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.repeated) == (1, 1)
        side.intake._clock_ms = lambda: now_ms() + 2 * DAY_MS
        side.send(batch)
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.repeated, taken.rejected) == (0, 1, 0)

    on_edge_side(stocked, story)
    assert count(stocked, "edge_events") == 1
    assert query(stocked, "SELECT free FROM drops") == [(99,)]


def test_a_number_that_is_used_again_for_something_else_is_reported(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n").report(free_claim(1)))
        await side.reader.pull_once()
        side.send(Node("n").report(free_claim(2)))
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.repeated, taken.rejected) == (0, 0, 1)
        first, other = Node("m"), Node("m")
        side.send(first.report(free_claim(3)), other.report(free_claim(4)))
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.rejected) == (1, 1)

    on_edge_side(stocked, story)
    assert settled(stocked) == [free_claim(1).jti, free_claim(3).jti]
    assert rejected(stocked) == ["sequence_reused", "sequence_reused"]


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_duplication_ends_in_one_state(stocked: str, seed: int) -> None:
    """Twelve claims for ten units, from three nodes, some of them reported by two."""
    query(stocked, "UPDATE drops SET total = 10, free = 10")
    shuffled = random.Random(seed)  # noqa: S311 - the same in every run
    nodes = [Node(f"n{number}") for number in range(3)]
    batches = [nodes[number % 3].report(free_claim(number)) for number in range(12)]
    batches += [nodes[2].report(free_claim(0), free_claim(1))]
    delivered = batches + shuffled.choices(batches, k=10)
    shuffled.shuffle(delivered)

    async def story(side: EdgeSide) -> None:
        for start in range(0, len(delivered), 7):
            side.send(*delivered[start : start + 7])
            await side.reader.pull_once()

    on_edge_side(stocked, story)
    assert query(stocked, "SELECT status, count(*) FROM settlements GROUP BY 1 ORDER BY 1") == [
        ("refused", 2),
        ("settled", 10),
    ]
    assert query(stocked, "SELECT free, settled, next_number FROM drops") == [(0, 10, 11)]
    assert count(stocked, "edge_events") == 14
    assert query(stocked, "SELECT node, seen::text, batches, events FROM edge_nodes ORDER BY node") == [
        ("n0", "{[1,5)}", 4, 4),
        ("n1", "{[1,5)}", 4, 4),
        ("n2", "{[1,6)}", 5, 6),
    ]


def test_nothing_is_acknowledged_when_the_transaction_fails_and_all_comes_again(
    stocked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n").report(free_claim(1)))

        async def fail(*_: Any) -> None:
            raise ServiceAwayError("in the middle")

        with monkeypatch.context() as patched:
            patched.setattr("origin.insight.intake.add_issued", fail)
            with pytest.raises(ServiceAwayError):
                await side.reader.pull_once()
        assert side.backlog() == 1
        assert count(stocked, "settlements") == count(stocked, "edge_events") == count(stocked, "edge_nodes") == 0
        side.clock_ms += 60_000
        await side.reader.pull_once()
        assert side.backlog() == 0

    on_edge_side(stocked, story)
    assert settled(stocked) == [free_claim(1).jti]


def test_a_lost_acknowledgement_is_no_second_effect(stocked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n").report(free_claim(1)))

        async def fail(*_: Any) -> None:
            raise ProviderAwayError("no answer")

        with monkeypatch.context() as patched:
            patched.setattr(side.provider, "acknowledge", fail)
            with pytest.raises(ProviderAwayError):
                await side.reader.pull_once()
        side.clock_ms += 60_000
        taken, _ = await side.reader.pull_once()
        assert (taken.batches, taken.repeated) == (0, 1)
        assert side.backlog() == 0

    on_edge_side(stocked, story)
    assert query(stocked, "SELECT free FROM drops") == [(99,)]


def test_a_message_that_cannot_be_stored_is_found_and_stops_no_other(
    stocked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_events = event_store.add_events

    async def fail_on_poison(connection: Any, batches: Any, at_ms: int) -> int:
        if any(batch.node == "poison" for batch in batches):
            raise ValueError("a bug that one message hits")
        return await add_events(connection, batches, at_ms)

    async def story(side: EdgeSide) -> None:
        monkeypatch.setattr("origin.insight.intake.add_events", fail_on_poison)
        side.send(
            Node("n").report(free_claim(1)), Node("poison").report(free_claim(2)), Node("m").report(free_claim(3))
        )
        taken, _ = await side.reader.pull_once()
        assert taken.batches == 2
        assert side.backlog() == 1

    on_edge_side(stocked, story)
    assert settled(stocked) == [free_claim(1).jti, free_claim(3).jti]


def test_nothing_is_pulled_while_the_database_is_away(conninfo: str) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n").report())
        await side.database.close()
        with pytest.raises(ServiceAwayError):
            await side.reader.pull_once()
        pulled = await side.provider.pull(batch_size=1, visibility_timeout_ms=1000)
        assert pulled.messages[0].attempts == 1

    on_edge_side(conninfo, story)


def test_the_loop_drains_a_backlog_and_survives_a_provider_that_goes_and_comes(
    stocked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("origin.insight.intake.SLOWEST_S", 0.01)

    async def story(side: EdgeSide) -> None:
        pull, failures = side.provider.pull, iter([True, True])

        async def fail_twice(**asked: int) -> Any:
            if next(failures, False):
                raise ProviderAwayError("away")
            return await pull(**asked)

        monkeypatch.setattr(side.provider, "pull", fail_twice)
        node = Node("n")
        side.send(*[node.report() for _ in range(250)])
        loop = asyncio.create_task(side.reader.run())
        for _ in range(2000):
            await asyncio.sleep(0.005)
            if side.backlog() == 0:
                break
        loop.cancel()
        await asyncio.wait([loop])
        assert side.backlog() == 0

    on_edge_side(stocked, story)
    assert query(stocked, "SELECT seen::text, batches FROM edge_nodes") == [("{[1,251)}", 250)]


def test_intakes_side_by_side_store_each_event_once(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        nodes = [Node(f"n{number}") for number in range(4)]
        batches = [encode(nodes[number % 4].report(free_claim(number))) for number in range(40)]

        async def deliver(seed: int) -> None:
            mine = [Delivery(name=str(place), raw=raw) for place, raw in enumerate(batches)]
            random.Random(seed).shuffle(mine)  # noqa: S311 - the same in every run
            for start in range(0, 40, 8):
                await side.intake.take(mine[start : start + 8])

        await asyncio.gather(*(deliver(seed) for seed in range(3)))

    on_edge_side(stocked, story)
    assert len(settled(stocked)) == 40
    assert count(stocked, "edge_events") == 40
    assert query(stocked, "SELECT free, settled FROM drops") == [(60, 40)]


def test_a_claim_under_a_key_that_is_not_known_yet_keeps_its_token(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        side.send(Node("n", OLD_KEY).report(free_claim(1)))
        await side.reader.pull_once()

    on_edge_side(stocked, story)
    assert settled(stocked) == []
    token = sign_claim(free_claim(1), OLD_KEY)
    kept = query(stocked, "SELECT trusted, token FROM issued_claims")
    assert [(trusted, held.split(".")[0]) for trusted, held in kept] == [(False, token.split(".")[0])]


def test_old_partitions_and_rows_are_dropped_and_young_ones_kept(stocked: str) -> None:
    async def story(side: EdgeSide) -> None:
        today = now_ms()
        async with side.database.transaction() as connection:
            await make_partitions(connection, today - 100 * DAY_MS)
            await make_partitions(connection, today)
        old, young = Node("old"), Node("young")
        side.intake._clock_ms = lambda: today - 100 * DAY_MS
        side.send(old.report(free_claim(1, exp=1), at_ms=today - 100 * DAY_MS), [0])
        side.send(old.report(at_ms=today - 200 * DAY_MS))
        await side.reader.pull_once()
        side.intake._clock_ms = now_ms
        side.send(young.report(free_claim(2)))
        await side.reader.pull_once()
        async with side.database.transaction() as connection:
            expired = await drop_expired(connection, today, 90)
        assert len(expired.partitions) == 5
        # One event in the default partition, one node, one rejection, one issued claim.
        assert expired.rows == 4
        async with side.database.transaction() as connection:
            again = await drop_expired(connection, today, 90)
        assert (again.partitions, again.rows) == ((), 0)

    on_edge_side(stocked, story)
    assert query(stocked, "SELECT node FROM edge_events") == [("young",)]
    assert query(stocked, "SELECT node FROM edge_nodes") == [("young",)]
    assert len(settled(stocked)) == 2


def test_partitions_may_be_made_again_and_by_several_at_once(conninfo: str) -> None:
    async def story(side: EdgeSide) -> None:
        async def make() -> None:
            async with side.database.transaction() as connection:
                await make_partitions(connection, now_ms())

        await asyncio.gather(*(make() for _ in range(4)))

    on_edge_side(conninfo, story)
    found = query(conninfo, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'edge_events'::regclass")
    assert found == [(1 + 1 + 1 + event_store.DAYS_AHEAD,)]
