"""The emulated provider's key-value namespaces: the truth, and what a late node may already see of it.

Rules:
1. The REST paths read the newest value. A node sees a write only after its lateness, as at the provider.
2. A node never goes back: it sees the versions of a key in the order in which they were written, though not each one.
3. A value is gone at its expiry, everywhere.

The newest values live in SQLite, so that a restart keeps them; versions that late nodes still wait for live in memory,
and after a restart only the newest is left to wait for. The clock is an argument.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from itertools import count

import msgspec

SCHEMA = """
CREATE TABLE IF NOT EXISTS pair (
    namespace  TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    metadata   BLOB,
    written_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (namespace, key)
);
"""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One value to store; `expires_ms` is an instant, or None for ever."""

    key: str
    value: bytes
    metadata: bytes | None = None
    expires_ms: int | None = None


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a key: its value from `written_ms` on, or its absence. Numbers grow with each write."""

    number: int
    written_ms: int
    value: bytes | None
    expires_ms: int | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has yet to be told about a key: its value, or (None) that it is gone."""

    key: str
    number: int
    value: bytes | None


class SeenKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a node sees of one key: when that was written, and whether something newer is on its way.

    Attributes:
        version: what the value calls its own version, if it is a document that does.
        newest: the same of the newest value.
    """

    key: str
    version: int | None
    newest: int | None
    written_ms: int | None
    is_behind: bool


class _Versioned(msgspec.Struct, frozen=True):
    version: int | None = None


class KvStore:
    """All namespaces of the emulated account, in one SQLite database."""

    def __init__(self, database: sqlite3.Connection, namespaces: Iterable[str]) -> None:
        self._database = database
        self._numbers = count(1)
        self._versions: dict[str, dict[str, list[Version]]] = {name: {} for name in namespaces}
        database.executescript(SCHEMA)
        stored = database.execute(
            "SELECT namespace, key, value, written_ms, expires_ms FROM pair ORDER BY namespace, key"
        )
        for namespace, key, value, written_ms, expires_ms in stored:
            if namespace in self._versions:
                self._remember(namespace, key, value, written_ms, expires_ms)

    def __contains__(self, namespace: str) -> bool:
        return namespace in self._versions

    def write(self, namespace: str, pairs: Iterable[Pair], now_ms: int) -> None:
        """Store pairs, all of them or none; of a key that comes twice, the last wins."""
        pairs = list(pairs)
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO pair (namespace, key, value, metadata, written_ms, expires_ms) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(namespace, pair.key, pair.value, pair.metadata, now_ms, pair.expires_ms) for pair in pairs],
            )
        for pair in pairs:
            self._remember(namespace, pair.key, pair.value, now_ms, pair.expires_ms)

    def read(self, namespace: str, key: str, now_ms: int) -> Pair | None:
        """Return the newest value with what belongs to it, or None when there is none or it has expired."""
        row = self._database.execute(
            "SELECT key, value, metadata, expires_ms FROM pair "
            "WHERE namespace = ? AND key = ? AND coalesce(expires_ms > ?, TRUE)",
            (namespace, key, now_ms),
        ).fetchone()
        return None if row is None else _pair(row)

    def page(self, namespace: str, prefix: str, after: str, most: int, now_ms: int) -> list[Pair]:
        """Return the first `most` pairs whose keys begin with `prefix` and come after `after`, in the keys' order."""
        rows = self._database.execute(
            "SELECT key, value, metadata, expires_ms FROM pair WHERE namespace = ? AND substr(key, 1, ?) = ? "
            "AND key > ? AND coalesce(expires_ms > ?, TRUE) ORDER BY key LIMIT ?",
            (namespace, len(prefix), prefix, after, now_ms, most),
        ).fetchall()
        return [_pair(row) for row in rows]

    def delete(self, namespace: str, keys: Iterable[str], now_ms: int) -> None:
        """Remove keys, all of them or none; one that is not there is no error (as at the provider)."""
        gone = []
        with self._database:
            for key in keys:
                row = (namespace, key)
                if self._database.execute("DELETE FROM pair WHERE namespace = ? AND key = ?", row).rowcount:
                    gone.append(key)
        for key in gone:
            self._remember(namespace, key, None, now_ms, None)

    def changes(self, namespace: str, seen: Mapping[str, int], now_ms: int, lateness_ms: int) -> list[Change]:
        """Return what a node that has `seen` these version numbers must be told by now."""
        found = []
        for key, versions in self._versions[namespace].items():
            due = [version for version in versions if version.written_ms + lateness_ms <= now_ms]
            if not due:
                continue
            newest = due[-1]
            gone = newest.value is None or (newest.expires_ms is not None and newest.expires_ms <= now_ms)
            # Even numbers speak of a value, odd ones of its end: an expiry is news about a version already seen.
            number = 2 * newest.number + gone
            if seen.get(key, 0) < number and not (gone and key not in seen):
                found.append(Change(key=key, number=number, value=None if gone else newest.value))
        return found

    def seen_keys(self, namespace: str, seen: Mapping[str, int]) -> tuple[SeenKey, ...]:
        """Return how far a node that has `seen` these version numbers is with each key that has a value."""
        found = []
        for key, versions in sorted(self._versions[namespace].items()):
            number = seen.get(key, 0) // 2
            held = next((version for version in versions if version.number == number), None)
            newest = versions[-1]
            if newest.value is not None or (held is not None and held.value is not None):
                found.append(
                    SeenKey(
                        key=key,
                        version=None if held is None else _own_version(held.value),
                        newest=_own_version(newest.value),
                        written_ms=None if held is None else held.written_ms,
                        is_behind=newest.number != number,
                    )
                )
        return tuple(found)

    def next_change_ms(self, namespace: str, now_ms: int, lateness_ms: int) -> int | None:
        """Return the next instant after `now_ms` at which a node of this lateness may see something new by itself."""
        instants = [
            instant
            for versions in self._versions[namespace].values()
            for version in versions
            for instant in (version.written_ms + lateness_ms, version.expires_ms)
            if instant is not None and instant > now_ms
        ]
        return min(instants, default=None)

    def forget(self, namespace: str, now_ms: int, lateness_ms: int) -> None:
        """Drop the versions that no node of this lateness, or of less, can still come to see."""
        for versions in self._versions[namespace].values():
            while len(versions) > 1 and versions[1].written_ms + lateness_ms <= now_ms:
                del versions[0]

    def _remember(self, namespace: str, key: str, value: bytes | None, written_ms: int, expires_ms: int | None) -> None:
        version = Version(number=next(self._numbers), written_ms=written_ms, value=value, expires_ms=expires_ms)
        self._versions[namespace].setdefault(key, []).append(version)


def _pair(row: tuple[str, bytes, bytes | None, int | None]) -> Pair:
    key, value, metadata, expires_ms = row
    return Pair(key=key, value=bytes(value), metadata=metadata, expires_ms=expires_ms)


def _own_version(value: bytes | None) -> int | None:
    try:
        return msgspec.json.decode(value or b"{}", type=_Versioned).version
    except msgspec.DecodeError:
        return None
