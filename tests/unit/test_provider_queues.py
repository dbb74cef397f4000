"""The emulated provider's queues: leases, attempts and dead letters."""

import sqlite3
from collections.abc import Iterator

import pytest

from scripts.emulator.queues import Outgoing, Queue, QueueStore, Retry

QUEUES = (
    Queue(name="events", max_retries=2, dead_letter="dead"),
    Queue(name="short", max_retries=0),
)


def store_over(database: sqlite3.Connection) -> QueueStore:
    return QueueStore(database, QUEUES)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


@pytest.fixture
def store(database: sqlite3.Connection) -> QueueStore:
    return store_over(database)


def message(name: str, delay_s: int = 0) -> Outgoing:
    return Outgoing(id=name, body=name.encode(), delay_s=delay_s)


def pulled(store: QueueStore, now_ms: int, queue: str = "events", most: int = 100, lease_ms: int = 1000) -> list[str]:
    return [delivery.id for delivery in store.pull(queue, most, lease_ms, now_ms)]


def test_messages_come_oldest_first_and_no_more_than_asked_for(store: QueueStore) -> None:
    store.send("events", [message("a"), message("b"), message("c")], 0)
    assert pulled(store, 0, most=2) == ["a", "b"]
    assert pulled(store, 0, most=2) == ["c"]


def test_a_leased_message_comes_back_at_the_end_of_its_lease_and_not_before(store: QueueStore) -> None:
    store.send("events", [message("a")], 0)
    first = store.pull("events", 1, 1000, 0)[0]
    assert pulled(store, 999) == []
    second = store.pull("events", 1, 1000, 1000)[0]
    assert (first.attempts, second.attempts) == (1, 2)
    assert first.lease != second.lease


def test_an_acknowledged_message_is_gone(store: QueueStore) -> None:
    store.send("events", [message("a")], 0)
    lease = store.pull("events", 1, 1000, 0)[0].lease
    done = store.acknowledge("events", [lease], [], 500)
    assert (done.acknowledged, done.warnings) == (1, ())
    assert pulled(store, 10_000) == []
    assert store.backlog("events") == 0


@pytest.mark.parametrize(
    ("queue", "instant_ms"),
    [pytest.param("events", 1000, id="expired"), pytest.param("short", 500, id="of another queue")],
)
def test_a_lease_that_does_not_count_acknowledges_nothing(store: QueueStore, queue: str, instant_ms: int) -> None:
    store.send("events", [message("a")], 0)
    lease = store.pull("events", 1, 1000, 0)[0].lease
    done = store.acknowledge(queue, [lease], [Retry(lease=lease)], instant_ms)
    assert (done.acknowledged, done.retried, len(done.warnings)) == (0, 0, 2)
    assert store.backlog("events") == 1


def test_a_lease_of_an_earlier_delivery_does_not_count(store: QueueStore) -> None:
    store.send("events", [message("a")], 0)
    stale = store.pull("events", 1, 1000, 0)[0].lease
    store.pull("events", 1, 1000, 1000)
    assert store.acknowledge("events", [stale], [], 1500).acknowledged == 0


def test_a_retried_message_comes_back_after_its_delay(store: QueueStore) -> None:
    store.send("events", [message("a")], 0)
    lease = store.pull("events", 1, 60_000, 0)[0].lease
    assert store.acknowledge("events", [], [Retry(lease=lease, delay_s=5)], 100).retried == 1
    assert pulled(store, 5099) == []
    assert pulled(store, 5100) == ["a"]


def test_a_delayed_message_is_invisible_until_then(store: QueueStore) -> None:
    store.send("events", [message("a", delay_s=2)], 0)
    assert pulled(store, 1999) == []
    assert pulled(store, 2000) == ["a"]


def test_a_message_attempted_too_often_goes_to_the_dead_letter_queue(store: QueueStore) -> None:
    store.send("events", [message("a")], 0)
    for attempt in range(3):
        assert pulled(store, attempt * 1000) == ["a"]
    assert pulled(store, 3000) == []
    dead = store.pull("dead", 1, 1000, 3000)
    assert [(delivery.id, delivery.body, delivery.attempts) for delivery in dead] == [("a", b"a", 1)]


def test_without_a_dead_letter_queue_it_is_dropped_as_at_the_provider(store: QueueStore) -> None:
    store.send("short", [message("a")], 0)
    assert pulled(store, 0, "short") == ["a"]
    assert pulled(store, 1000, "short") == []
    assert store.backlog("short") == 0


def test_the_same_id_is_the_same_message(store: QueueStore) -> None:
    store.send("events", [message("a"), message("a")], 0)
    store.send("events", [message("a")], 5)
    assert store.backlog("events") == 1


def test_a_restart_loses_no_message_and_no_lease(database: sqlite3.Connection) -> None:
    before = store_over(database)
    before.send("events", [message("a"), message("b")], 0)
    lease = before.pull("events", 1, 1000, 0)[0].lease
    after = store_over(database)
    assert pulled(after, 10) == ["b"]
    assert after.acknowledge("events", [lease], [], 20).acknowledged == 1


def test_a_view_tells_what_waits_and_what_is_leased_in_each_queue(store: QueueStore) -> None:
    store.send("events", [message("a"), message("b"), message("c", delay_s=5)], 100)
    assert pulled(store, 200, most=1) == ["a"]
    views = {view.name: view for view in store.views(200)}
    events, short = views["events"], views["short"]
    assert (events.waiting, events.leased, events.oldest_ms, events.is_dead_letter) == (2, 1, 100, False)
    assert (short.waiting, short.leased, short.oldest_ms) == (0, 0, None)
    assert views["dead"].is_dead_letter
    assert [view.waiting for view in store.views(1200) if view.name == "events"] == [3]
