"""The writer and its batch function, in this process: many seeds, bounds, and what shares their transaction."""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from origin.database import Database
from origin.settlement import writer as writer_module
from origin.settlement.answers import Decision, HeldClaim
from origin.settlement.batches import Conflict
from origin.settlement.receipts import parse_signing_keys
from origin.settlement.settling import Settler
from origin.settlement.writer import LateError, OverloadedError, Writer
from shared.claims.budgets import Kind
from shared.claims.tokens import Claim
from shared.errors import ServiceAwayError
from shared.problems import Code
from tests.postgres.servers import Server
from tests.postgres.world import PUBLIC_URL, SIGNING_KEYS, Tap, World, until
from tests.samples import make_claim

NOW_MS = 1_800_000_000_000
SETTLER = Settler(PUBLIC_URL, parse_signing_keys(SIGNING_KEYS))


def run(world: World, *works: Callable[[Database, Writer], Awaitable[None]]) -> None:
    """Run each work beside the others, each with a pool and a writer of its own, as processes have them."""

    async def alone(work: Callable[[Database, Writer], Awaitable[None]]) -> None:
        database = Database(world.conninfo)
        await database.open()
        writer = Writer(database, SETTLER, lambda: NOW_MS)
        try:
            await work(database, writer)
        finally:
            await writer.close()
            await database.close()

    async def together() -> None:
        await asyncio.gather(*(alone(work) for work in works))

    asyncio.run(together())


def settled(decision: Decision | HeldClaim | Conflict) -> bool:
    return isinstance(decision, Decision) and decision.code is None


def make_claims(number: int, drop: str, viewers: list[str] | None = None) -> list[Claim]:
    """Claims without a key behind them: nothing is proven to the writer."""
    chosen = [secrets.choice(viewers) if viewers else secrets.token_urlsafe(32) for _ in range(number)]
    return [make_claim(jti=secrets.token_urlsafe(16), cnf={"jkt": viewer}, drop=drop) for viewer in chosen]


def test_last_unit_goes_to_one_of_sixty_four_in_a_thousand_drops(world: World) -> None:
    """Two writers with pools of their own, as in two processes; each drop's number is the seed of who comes first."""
    world.execute(
        "INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, created_ms, updated_ms) "
        "SELECT 'last-' || n, 'run-1', 'sku-1', 1, 1, 0, 1, 0, 0 FROM generate_series(0, 999) AS n"
    )
    claims = [make_claims(64, f"last-{number}") for number in range(1000)]
    winners: list[set[str]] = [set() for _ in claims]

    async def present(half: int, writer: Writer) -> None:
        for number, mine in enumerate(claims):
            # Each writer has its own 28 claims, and 8 that both have.
            part = [*mine[half * 28 : half * 28 + 28], *mine[56:]]
            random.Random(f"{number} {half}").shuffle(part)  # noqa: S311 - a seed, not a secret
            told = await asyncio.gather(*(writer.settle(claim) for claim in part))
            winners[number].update(one.decision.claim_id for one in told if settled(one.decision))

    run(world, lambda _, writer: present(0, writer), lambda _, writer: present(1, writer))
    assert [len(winner) for winner in winners] == [1] * 1000
    assert world.execute("SELECT free, held, settled, count(*) FROM drops GROUP BY 1, 2, 3 HAVING max(total) = 1") == [
        (0, 0, 1, 1000)
    ]


def test_what_the_rows_say_is_what_the_drop_says_under_mixed_load(world: World) -> None:
    """Several drops, viewers with caps, repeats and conflicts, over two writers at once."""
    drops = ["drop-a", "drop-b", "drop-c"]
    viewers = [secrets.token_urlsafe(32) for _ in range(30)]
    claims = []
    for drop in drops:
        world.add_drop(drop, total=40, cap=2)
        claims += make_claims(100, drop, viewers)

    async def present(_: Database, writer: Writer) -> None:
        mine = [secrets.choice(claims) for _ in range(600)]
        first = await asyncio.gather(*(writer.settle(claim) for claim in mine))
        again = await asyncio.gather(*(writer.settle(claim) for claim in mine))
        assert [one.decision for one in first] == [one.decision for one in again]

    run(world, present, present)
    for drop in drops:
        free, held, taken = world.stock(drop)
        assert free + held + taken == 40
        assert world.numbers(drop) == list(range(1, taken + 1))
    over = world.execute(
        "SELECT 1 FROM settlements WHERE status = 'settled' GROUP BY drop, viewer HAVING sum(quantity) > 2"
    )
    assert over == []


def test_nothing_waits_for_company(world: World) -> None:
    async def present(_: Database, writer: Writer) -> None:
        for _again in range(5):
            one = await writer.settle(Tap().claim)
            assert one.queue_ms < 50

    run(world, present)


def test_claims_that_come_before_the_lock_go_with_the_batch(world: World) -> None:
    async def present(_: Database, writer: Writer) -> None:
        tap = Tap()
        with world.hold() as hold:
            first = asyncio.create_task(writer.settle(tap.claim))
            await asyncio.to_thread(until, lambda: bool(world.waiting_backends()))
            later = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(30)]
            again = asyncio.create_task(writer.settle(tap.claim))
            other = asyncio.create_task(writer.settle(Tap(jti=tap.claim.jti).claim))
            await asyncio.sleep(0.05)
            hold.release()
        one = await first
        assert settled(one.decision)
        told = await asyncio.gather(*later)
        assert all(settled(late.decision) for late in told)
        assert (await again).decision == one.decision
        assert isinstance((await other).decision, Conflict)
        assert {late.queue_ms for late in told} == {0.0}  # they waited for the drop, not for their batch
        assert all(30 < late.database_ms < one.database_ms for late in told)

    run(world, present)
    assert (world.count(), batches(world)) == (31, [31])


def test_claims_that_come_after_the_lock_make_the_next_batch(world: World) -> None:
    async def present(_: Database, writer: Writer) -> None:
        with psycopg.connect(world.conninfo) as guard:
            guard.execute(
                "LOCK TABLE settlements IN ACCESS EXCLUSIVE MODE"
            )  # a batch with its drop locked stands still
            first = asyncio.create_task(writer.settle(Tap().claim))
            await asyncio.to_thread(until, lambda: bool(world.waiting_backends()))
            later = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(30)]
            await asyncio.sleep(0.05)
        assert settled((await first).decision)
        told = await asyncio.gather(*later)
        assert all(settled(one.decision) for one in told)
        assert min(one.queue_ms for one in told) > 50

    run(world, present)
    assert batches(world) == [1, 30]


def test_batch_takes_no_more_than_it_may(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH", 8)
    world.add_drop("drop-2")

    async def present(_: Database, writer: Writer) -> None:
        with world.hold() as hold:
            first = asyncio.create_task(writer.settle(Tap().claim))
            await asyncio.to_thread(until, lambda: bool(world.waiting_backends()))
            later = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(20)]
            elsewhere = asyncio.create_task(writer.settle(Tap(drop="drop-2").claim))
            assert settled((await elsewhere).decision)
            hold.release()
        assert all(settled(one.decision) for one in await asyncio.gather(first, *later))
        assert writer.waiting == 0

    run(world, present)
    assert batches(world) == [1, 5, 8, 8]


def test_batch_that_breaks_after_it_took_more_is_done_again_whole(world: World) -> None:
    async def present(_: Database, writer: Writer) -> None:
        with psycopg.connect(world.conninfo) as guard:
            guard.execute("LOCK TABLE settlements IN ACCESS EXCLUSIVE MODE")
            with world.hold() as hold:
                first = asyncio.create_task(writer.settle(Tap().claim))
                await asyncio.to_thread(until, lambda: bool(world.waiting_backends()))
                later = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(9)]
                await asyncio.sleep(0.05)
                hold.release()
            await asyncio.to_thread(until, lambda: locked_drop(world) and bool(world.waiting_backends()))
            world.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", world.waiting_backends())
        assert all(settled(one.decision) for one in await asyncio.gather(first, *later))

    run(world, present)
    assert (batches(world), world.stock()) == ([10], (90, 0, 10))


def batches(world: World) -> list[int]:
    """Return how many claims each transaction has settled, in rising order."""
    return [n for (n,) in world.execute("SELECT count(*)::int FROM settlements GROUP BY xmin::text ORDER BY 1")]


def locked_drop(world: World) -> bool:
    """Return whether a transaction has the drop's row."""
    return not world.execute("SELECT FROM drops WHERE drop = 'drop-1' FOR UPDATE SKIP LOCKED")


def test_drop_that_stands_still_does_not_hold_up_another(world: World) -> None:
    world.add_drop("drop-2")

    async def present(_: Database, writer: Writer) -> None:
        with world.hold("drop-1") as hold:
            stuck = asyncio.create_task(writer.settle(Tap().claim))
            assert settled((await writer.settle(Tap(drop="drop-2").claim)).decision)
            assert not stuck.done()
            hold.release()
        assert settled((await stuck).decision)

    run(world, present)


def test_thousand_drops_at_once_share_the_transactions_that_may_run(world: World) -> None:
    """As many lanes as drops would wait for connections until they give up."""
    world.execute(
        "INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, created_ms, updated_ms) "
        "SELECT 'many-' || n, 'run-1', 'sku-1', 2, 2, 0, 1, 0, 0 FROM generate_series(0, 999) AS n"
    )
    claims = [claim for number in range(1000) for claim in make_claims(3, f"many-{number}")]

    async def present(database: Database, writer: Writer) -> None:
        told = await asyncio.gather(*(writer.settle(claim) for claim in claims))
        assert [one.decision.claim_id for one in told if isinstance(one.decision, Decision)] == [c.jti for c in claims]
        async with database.connection() as connection:
            found = await connection.execute("SELECT count(DISTINCT xmin::text) < 50 FROM settlements")
            assert await found.fetchone() == (True,)

    run(world, present)
    assert world.execute("SELECT DISTINCT free, held, settled, next_number FROM drops WHERE total = 2") == [
        (0, 0, 2, 3)
    ]


def test_beyond_its_bound_it_refuses_at_the_door(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING", 3)

    async def present(_: Database, writer: Writer) -> None:
        with world.hold() as hold:
            first = asyncio.create_task(writer.settle(Tap().claim))
            await asyncio.sleep(0.1)  # it is on its way now, and waits no longer
            taken = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await writer.settle(Tap().claim)
            hold.release()
        assert all(settled(one.decision) for one in await asyncio.gather(first, *taken))

    run(world, present)
    assert world.count() == 4


def test_one_timer_tells_all_that_are_late_on_their_way_or_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "deadline_s", lambda _: 0.3)
    told: list[object] = []

    async def present(_: Database, writer: Writer) -> None:
        with world.hold() as hold:
            on_their_way = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(2)]
            await asyncio.sleep(0.1)  # the others come while these are under way, and are late later
            behind = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(2)]
            told.extend(await asyncio.gather(*on_their_way, return_exceptions=True))
            assert not any(task.done() for task in behind)
            told.extend(await asyncio.gather(*behind, return_exceptions=True))
            hold.release()
        await writer.close()
        assert writer.confirmations.count(Kind.TAP, None) == 4

    run(world, present)
    assert [type(one) for one in told] == [LateError] * 4
    assert world.count() == 4


def test_client_that_goes_away_leaves_the_others_their_answers(world: World) -> None:
    async def present(_: Database, writer: Writer) -> None:
        with world.hold() as hold:
            gone = asyncio.create_task(writer.settle(Tap().claim))
            stays = asyncio.create_task(writer.settle(Tap().claim))
            await asyncio.sleep(0.1)
            gone.cancel()
            hold.release()
        assert settled((await stays).decision)

    run(world, present)
    assert world.count() == 2


def test_closing_answers_all_that_was_taken_and_takes_no_more(world: World) -> None:
    async def present(_: Database, writer: Writer) -> None:
        taken = [asyncio.create_task(writer.settle(Tap().claim)) for _ in range(20)]
        await asyncio.sleep(0)
        await writer.close()
        assert all(task.done() and settled(task.result().decision) for task in taken)
        with pytest.raises(OverloadedError):
            await writer.settle(Tap().claim)

    run(world, present)


def test_database_that_stays_away_is_told_and_nothing_hangs(
    server: Server, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_FOR_S", 0.5)

    async def present(_: Database, writer: Writer) -> None:
        tap = Tap()
        await writer.settle(Tap().claim)
        server.stop()
        try:
            with pytest.raises(ServiceAwayError):
                await writer.settle(tap.claim)
        finally:
            server.start()
        assert settled((await writer.settle(tap.claim)).decision)

    run(world, present)
    assert world.count() == 2


def test_what_shares_the_transaction_is_stored_with_it_or_not_at_all(world: World) -> None:
    """As the intake does it: events and their effect."""
    claims = [Tap().claim, Tap(drop="drop-unknown").claim]

    class BrokenOffError(Exception):
        """Stands for whatever ends a transaction."""

    async def take_in(database: Database, *, breaking: bool) -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO creators VALUES ('stands-for-events', 'x', NULL, 0, 0)")
            decisions = await SETTLER.settle_in(connection, claims, "event", NOW_MS)
            assert [isinstance(one, Decision) and one.code for one in decisions] == [None, Code.DROP_UNKNOWN]
            if breaking:
                raise BrokenOffError

    async def work(database: Database, _: Writer) -> None:
        with pytest.raises(BrokenOffError):
            await take_in(database, breaking=True)
        assert (world.count(), world.stock(), world.execute("SELECT 1 FROM creators")) == (0, (100, 0, 0), [])
        await take_in(database, breaking=False)
        assert (world.count(), world.stock(), len(world.execute("SELECT 1 FROM creators"))) == (2, (99, 0, 1), 1)

    run(world, work)


def test_claim_reported_and_presented_at_once_settles_once(world: World) -> None:
    tap = Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}])
    told: list[object] = []

    async def report(database: Database, _: Writer) -> None:
        async with database.transaction() as connection:
            told.extend(await SETTLER.settle_in(connection, [tap.claim], "event", NOW_MS))

    async def present(_: Database, writer: Writer) -> None:
        told.append((await writer.settle(tap.claim)).decision)

    run(world, report, present)
    assert told[0] == told[1]
    assert (world.count(), world.stock()) == (1, (99, 0, 1))


def test_one_id_for_two_drops_at_once_is_decided_once(world: World) -> None:
    """Such a claim is a bug of the edge; it must not make a batch fail, nor count twice."""
    world.add_drop("drop-2")
    one = Tap()
    other = Tap(one.viewer, jti=one.claim.jti, drop="drop-2")
    told: list[Decision | HeldClaim | Conflict] = []

    async def present(_: Database, writer: Writer) -> None:
        both = await asyncio.gather(writer.settle(one.claim), writer.settle(other.claim))
        told.extend(timed.decision for timed in both)

    run(world, present)
    assert sorted(type(decision).__name__ for decision in told) == ["Conflict", "Decision"]
    assert world.count() == 1
    assert world.stock()[2] + world.stock("drop-2")[2] == 1
