"""Processes that are killed or stopped in the middle, and a database that goes away: nothing lost, nothing twice."""

import itertools
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore

import httpx
import psycopg
import pytest

from tests.postgres.servers import Server
from tests.postgres.world import PATIENCE_S, OriginProcess, Tap, World, together, until


def settle_all(pool: ThreadPoolExecutor, origin: OriginProcess, taps: list[Tap]) -> list[Future[httpx.Response]]:
    return [pool.submit(origin.settle, tap) for tap in taps]


def assert_each_settled_once(world: World, answers: list[httpx.Response], taps: list[Tap]) -> None:
    """Every claim has one row and one answer; units and numbers add up."""
    assert [answer.status_code for answer in answers] == [200] * len(taps)
    assert [answer.json()["claim_id"] for answer in answers] == [tap.claim.jti for tap in taps]
    assert world.count() == len(taps)
    assert world.numbers() == list(range(1, len(taps) + 1))
    assert world.stock() == (100 - len(taps), 0, len(taps))


def test_process_killed_in_the_middle_of_a_batch_loses_nothing(world: World) -> None:
    origin, taps = world.start(), [Tap() for _ in range(16)]
    with world.hold() as hold, ThreadPoolExecutor(16) as pool:
        asked = settle_all(pool, origin, taps)
        until(lambda: len(world.waiting_backends()) == 1)
        origin.kill()
        errors = [future.exception() for future in asked]
        assert all(isinstance(error, httpx.TransportError) for error in errors)
        hold.release()
    until(lambda: not world.waiting_backends())
    assert world.count() == 0
    after = world.start()
    assert_each_settled_once(world, together(after.settle_patiently, taps), taps)


def test_process_killed_between_commit_and_answer_settles_nothing_twice(own_world: World) -> None:
    # The commit waits for this test: the process dies while the server is at it, and never hears how it ended.
    own_world.execute(
        "CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 "
        "AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'"
    )
    own_world.execute(
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON settlements DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION rest()"
    )
    origin, tap = own_world.start(), Tap()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(own_world.conninfo) as guard:
        guard.execute("SELECT pg_advisory_lock(7)")
        asked = pool.submit(origin.settle, tap)
        until(
            lambda: bool(
                own_world.execute("SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event_type = 'Lock'")
            )
        )
        origin.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
        assert own_world.count() == 0
    until(lambda: own_world.count() == 1)
    after = own_world.start()
    assert_each_settled_once(own_world, [after.settle(tap)], [tap])
    assert after.read(tap).content == after.settle(tap).content


def test_killed_process_does_not_hold_up_the_others(world: World) -> None:
    dying, other = world.start(), world.start()
    with world.hold() as hold, ThreadPoolExecutor(2) as pool:
        taps = [Tap(), Tap()]
        first = pool.submit(dying.settle, taps[0])
        until(lambda: len(world.waiting_backends()) == 1)
        second = pool.submit(other.settle, taps[1])
        until(lambda: len(world.waiting_backends()) == 2)
        dying.kill()
        assert isinstance(first.exception(), httpx.TransportError)
        hold.release()
        assert second.result().status_code == 200
    assert other.settle(taps[0]).json()["run_numbers"] == [2]


def test_of_two_processes_under_load_each_is_killed_and_all_is_decided_once(world: World) -> None:
    """More viewers than units, over two processes; whoever gets no answer asks the other one."""
    origins, taps = [world.start(), world.start()], [Tap() for _ in range(160)]
    answered = Semaphore(0)

    def settle(numbered: tuple[int, Tap]) -> httpx.Response:
        number, tap = numbered
        for attempt in itertools.count(number):
            try:
                answer = origins[attempt % 2].settle(tap)
            except httpx.TransportError:
                continue
            if answer.status_code < 500 and answer.json().get("status") != "pending":
                answered.release()
                return answer
        raise AssertionError("it counts without end")

    with ThreadPoolExecutor(1) as pool:
        all_of_them = pool.submit(together, settle, list(enumerate(taps)), 16)
        for place in (0, 1, 0):
            for _ in range(30):
                answered.acquire(timeout=PATIENCE_S)
            origins[place].kill()
            origins[place] = world.start()
        answers = all_of_them.result()
    codes = [answer.json().get("code", "settled") for answer in answers]
    assert (codes.count("settled"), codes.count("sold_out")) == (100, 60)
    assert (world.count(), world.stock(), world.numbers()) == (160, (0, 0, 100), list(range(1, 101)))
    assert world.execute("SELECT count(*), max(position) FROM trail_entries") == [(100, 100)]
    for origin in origins:
        assert [origin.settle(tap).content for tap in taps] == [answer.content for answer in answers]


def test_told_to_stop_answers_all_that_it_took(world: World) -> None:
    origin, taps = world.start(), [Tap() for _ in range(24)]
    with world.hold() as hold, ThreadPoolExecutor(25) as pool:
        asked = settle_all(pool, origin, taps)
        until(lambda: len(world.waiting_backends()) == 1)
        time.sleep(0.3)  # all requests have arrived: one batch waits for the drop, the rest for that batch
        ended = pool.submit(origin.stop)
        until(lambda: refuses_connections(origin))
        hold.release()
        assert ended.result() == 0
        assert_each_settled_once(world, [future.result() for future in asked], taps)


def test_database_that_restarts_in_the_middle_loses_nothing(server: Server, world: World) -> None:
    origin, taps = world.start(), [Tap() for _ in range(60)]
    done: list[httpx.Response] = []
    started = threading.Event()

    def settle(tap: Tap) -> httpx.Response:
        answer = origin.settle_patiently(tap)
        done.append(answer)
        started.set()
        time.sleep(0.05)
        return answer

    with ThreadPoolExecutor(1) as pool:
        all_of_them = pool.submit(together, settle, taps, 4)
        started.wait(10)
        server.restart()
        answers = all_of_them.result()
    assert_each_settled_once(world, answers, taps)
    assert origin.process.poll() is None
    assert [origin.settle(tap).content for tap in taps] == [answer.content for answer in answers]


def test_without_its_database_it_says_so_and_goes_on_afterwards(server: Server, world: World) -> None:
    origin, tap = world.start(), Tap()
    server.stop()
    try:
        for answer in (origin.settle(tap), origin.read(tap), origin.client.get("/v1/stock?drops=drop-1")):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        assert origin.client.get("/ready").status_code == 503
        assert origin.client.get("/health").status_code == 200
    finally:
        server.start()
    assert origin.settle_patiently(tap).status_code == 200
    assert origin.client.get("/ready").status_code == 200


def test_process_refuses_to_start_on_another_schema(own_world: World) -> None:
    for statement, complaint in (
        ("INSERT INTO schema_migrations VALUES ('9999_later', 'x', 0)", "newer than this version"),
        ("DELETE FROM schema_migrations WHERE name <> '0001_foundation'", "older than this version"),
        ("UPDATE schema_migrations SET sha256 = 'x'", "is not the file"),
    ):
        own_world.execute(statement)
        with pytest.raises(AssertionError, match=complaint):
            own_world.start()


def refuses_connections(origin: OriginProcess) -> bool:
    try:
        httpx.get(origin.url + "/health", trust_env=False, timeout=1)
    except httpx.ConnectError:
        return True
    return False
