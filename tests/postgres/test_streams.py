"""Waiting for a decision over server-sent events, for what another process or an edge event decides."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg

from origin.settlement.receipts import parse_signing_keys
from origin.settlement.settling import Settler
from tests.postgres.servers import Server
from tests.postgres.world import PUBLIC_URL, SIGNING_KEYS, OriginProcess, Tap, World


@contextmanager
def waiting(origin: OriginProcess, tap: Tap) -> Iterator[Iterator[str]]:
    """The lines of a stream that has begun."""
    path = f"/v1/settlements/{tap.claim.jti}/stream"
    with origin.client.stream("GET", path, headers=tap.headers("GET", PUBLIC_URL + path)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": waiting"
        assert next(lines) == ""
        yield lines


def test_decision_of_another_process_arrives_within_a_second_in_the_same_bytes(world: World) -> None:
    listening, deciding = world.start(), world.start()
    tap = Tap()
    with waiting(listening, tap) as lines:
        settled = deciding.settle(tap)
        began_s = time.monotonic()
        told = list(lines)
    assert time.monotonic() - began_s < 1
    assert told == ["event: settlement", f"data: {settled.text}", ""]


def test_claim_that_its_event_settles_is_told(world: World, origin: OriginProcess) -> None:
    tap = Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}])

    async def settle_by_event() -> None:
        async with await psycopg.AsyncConnection.connect(world.conninfo) as connection:
            settler = Settler(PUBLIC_URL, parse_signing_keys(SIGNING_KEYS))
            await settler.settle_in(connection, [tap.claim], "event", time.time_ns() // 1_000_000)

    with waiting(origin, tap) as lines:
        asyncio.run(settle_by_event())
        told = list(lines)
    assert told[1] == f"data: {origin.read(tap).text}"
    assert origin.settle(tap).content == origin.read(tap).content
    assert world.stock() == (99, 0, 1)


def test_refusal_is_told_as_the_problem_that_it_is(world: World, origin: OriginProcess) -> None:
    world.add_drop("drop-none", total=0)
    tap = Tap(drop="drop-none")
    with waiting(origin, tap) as lines:
        refused = origin.settle(tap)
        assert list(lines)[1] == f"data: {refused.text}"


def test_what_is_decided_already_is_told_at_once(origin: OriginProcess) -> None:
    tap = Tap()
    settled = origin.settle(tap)
    with waiting(origin, tap) as lines:
        assert list(lines) == ["event: settlement", f"data: {settled.text}", ""]


def test_many_wait_and_each_hears_of_its_own(origin: OriginProcess) -> None:
    taps = [Tap() for _ in range(40)]

    def listen(tap: Tap) -> str:
        path = f"/v1/settlements/{tap.claim.jti}/stream"
        with httpx.Client(base_url=origin.url, timeout=20, trust_env=False) as client:
            answer = client.get(path, headers=tap.headers("GET", PUBLIC_URL + path))
        return answer.text

    with ThreadPoolExecutor(40) as pool:
        heard = [pool.submit(listen, tap) for tap in taps]
        time.sleep(0.3)
        settled = [origin.settle(tap).text for tap in taps]
        assert [future.result().split("data: ")[1].strip() for future in heard] == settled


def test_stream_outlives_a_restart_of_the_database(server: Server, origin: OriginProcess) -> None:
    tap = Tap()
    with waiting(origin, tap) as lines:
        server.restart()
        settled = origin.settle_patiently(tap)
        assert list(lines)[1] == f"data: {settled.text}"


def test_process_that_stops_ends_its_streams(world: World) -> None:
    origin = world.start()
    with ThreadPoolExecutor(1) as pool, waiting(origin, Tap()) as lines:
        began_s = time.monotonic()
        ended = pool.submit(origin.stop)
        assert [line for line in lines if line.startswith("data")] == []
        assert ended.result() == 0
        assert time.monotonic() - began_s < 5
