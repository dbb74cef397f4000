"""The emulated provider's key-value store: what the REST paths read, and what late nodes come to see."""

import sqlite3
from collections.abc import Iterator

import pytest

from scripts.emulator.kv import KvStore, Pair

MANIFESTS = "manifests"


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


@pytest.fixture
def store(database: sqlite3.Connection) -> KvStore:
    return KvStore(database, [MANIFESTS])


def write(store: KvStore, value: str, now_ms: int, *, key: str = "k", expires_ms: int | None = None) -> None:
    store.write(MANIFESTS, [Pair(key=key, value=value.encode(), expires_ms=expires_ms)], now_ms)


def value_of(pair: Pair | None) -> bytes | None:
    return None if pair is None else pair.value


class LateNode:
    """What one node was told, as it would hold it."""

    def __init__(self, store: KvStore, lateness_ms: int) -> None:
        self.store, self.lateness_ms = store, lateness_ms
        self.seen: dict[str, int] = {}
        self.values: dict[str, bytes] = {}

    def look(self, now_ms: int) -> dict[str, bytes]:
        for change in self.store.changes(MANIFESTS, self.seen, now_ms, self.lateness_ms):
            self.seen[change.key] = change.number
            if change.value is None:
                del self.values[change.key]
            else:
                self.values[change.key] = change.value
        return self.values


def test_a_read_gives_the_newest_value(store: KvStore) -> None:
    write(store, "one", 0)
    write(store, "two", 1)
    assert value_of(store.read(MANIFESTS, "k", 1)) == b"two"
    assert store.read(MANIFESTS, "other", 1) is None


def test_a_deleted_key_is_gone_and_deleting_it_again_is_no_error(store: KvStore) -> None:
    write(store, "one", 0)
    store.delete(MANIFESTS, ["k"], 1)
    store.delete(MANIFESTS, ["k"], 2)
    assert store.read(MANIFESTS, "k", 2) is None


def test_a_value_is_gone_at_its_expiry(store: KvStore) -> None:
    write(store, "one", 0, expires_ms=100)
    node = LateNode(store, 0)
    assert value_of(store.read(MANIFESTS, "k", 99)) == b"one"
    assert node.look(99) == {"k": b"one"}
    assert store.next_change_ms(MANIFESTS, 99, 0) == 100
    assert store.read(MANIFESTS, "k", 100) is None
    assert node.look(100) == {}


def test_a_late_node_sees_every_write_only_after_its_lateness(store: KvStore) -> None:
    node = LateNode(store, 1000)
    write(store, "one", 0)
    write(store, "two", 600)
    assert node.look(999) == {}
    assert store.next_change_ms(MANIFESTS, 999, 1000) == 1000
    assert node.look(1000) == {"k": b"one"}
    assert node.look(1599) == {"k": b"one"}
    assert node.look(1600) == {"k": b"two"}
    assert store.next_change_ms(MANIFESTS, 1600, 1000) is None


def test_a_late_node_sees_a_delete_late_too(store: KvStore) -> None:
    node = LateNode(store, 1000)
    write(store, "one", 0)
    assert node.look(1000) == {"k": b"one"}
    store.delete(MANIFESTS, ["k"], 1500)
    assert node.look(2499) == {"k": b"one"}
    assert node.look(2500) == {}


def test_nodes_of_different_lateness_share_nothing(store: KvStore) -> None:
    near, far = LateNode(store, 0), LateNode(store, 500)
    write(store, "one", 0)
    assert near.look(0) == {"k": b"one"}
    assert far.look(0) == {}
    assert far.look(500) == {"k": b"one"}


def test_a_node_that_starts_anew_is_told_everything_that_is_still_there(store: KvStore) -> None:
    write(store, "one", 0, key="kept")
    write(store, "two", 0, key="gone")
    store.delete(MANIFESTS, ["gone"], 1)
    assert LateNode(store, 0).look(2) == {"kept": b"one"}


def test_versions_that_no_node_waits_for_are_forgotten_and_the_newest_is_kept(store: KvStore) -> None:
    for instant in range(5):
        write(store, str(instant), instant)
    store.forget(MANIFESTS, 1003, 1000)
    assert LateNode(store, 1000).look(1003) == {"k": b"3"}
    assert LateNode(store, 1000).look(1004) == {"k": b"4"}
    store.forget(MANIFESTS, 99_999, 1000)
    assert LateNode(store, 1000).look(99_999) == {"k": b"4"}


def test_a_restart_keeps_the_newest_values(database: sqlite3.Connection, store: KvStore) -> None:
    write(store, "one", 0)
    write(store, "two", 5)
    again = KvStore(database, [MANIFESTS])
    assert value_of(again.read(MANIFESTS, "k", 10)) == b"two"
    assert LateNode(again, 0).look(10) == {"k": b"two"}


def test_keys_are_listed_in_their_order_by_prefix_and_page_and_without_those_that_expired(store: KvStore) -> None:
    for key in ("manifest/b", "manifest/a", "other", "manifest/ä", "manifest/c"):
        write(store, key, 0, key=key, expires_ms=50 if key == "manifest/b" else None)
    keys = [pair.key for pair in store.page(MANIFESTS, "manifest/", "", 10, 60)]
    assert keys == ["manifest/a", "manifest/c", "manifest/ä"]
    assert [pair.key for pair in store.page(MANIFESTS, "manifest/", "manifest/a", 1, 10)] == ["manifest/b"]
    assert [pair.key for pair in store.page(MANIFESTS, "", "manifest/ä", 10, 10)] == ["other"]


def test_several_keys_are_deleted_at_once_and_late_nodes_see_that_late(store: KvStore) -> None:
    for key in ("a", "b", "c"):
        write(store, key, 0, key=key)
    store.delete(MANIFESTS, ["a", "b", "none"], 100)
    assert [pair.key for pair in store.page(MANIFESTS, "", "", 10, 100)] == ["c"]
    node = LateNode(store, 1000)
    assert set(node.look(1050)) == {"a", "b", "c"}
    assert set(node.look(1100)) == {"c"}
