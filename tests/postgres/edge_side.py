"""The edge's side of the origin: nodes that report, and the emulated provider between, in this process or its own."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec
import psycopg

from origin.catalogue.publishing import Publisher
from origin.database import Database
from origin.insight.intake import Intake, QueueReader
from origin.provider import Provider, ProviderConfig
from origin.settlement.presenting import Trust
from origin.settlement.receipts import make_signing_key_set, parse_signing_keys
from origin.settlement.settling import Settler
from scripts.emulator import provider as emulated
from scripts.emulator import wire
from scripts.emulator.kv import KvStore, Pair
from scripts.emulator.queues import Queue, QueueStore
from shared.claims.keys import ClaimKey
from shared.claims.tokens import Claim, sign_claim
from tests.samples import ISSUER, NEW_KEY, ORIGIN_URL, VIEWER, make_claim

ROOT: Final = Path(__file__).resolve().parent.parent.parent
ACCOUNT, TOKEN, NAMESPACE, QUEUE = "account", "token-of-tests", "manifests", "events"
PATIENCE_S: Final = 20.0
SIGNING_KEYS: Final = parse_signing_keys(make_signing_key_set())

T = TypeVar("T")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def free_claim(number: int, **changes: Any) -> Claim:
    """Return a claim of one free unit of `drop-1`, by a viewer of its own."""
    viewer = f"{number:05}{VIEWER[5:]}"
    now_s = now_ms() // 1000
    lines = [{"sku": "sku-1", "quantity": 1, "unit_minor": changes.pop("unit_minor", 0)}]
    said = {"iat": now_s, "nbf": now_s, "exp": now_s + 300, "lines": lines, "cnf": {"jkt": viewer}, **changes}
    return make_claim(jti=f"{number:022}", **said)


class Node:
    """An isolate of the edge: numbers what it reports."""

    def __init__(self, name: str, key: ClaimKey = NEW_KEY) -> None:
        self.name = name
        self.seq = 0
        self._key = key

    def report(self, *claims: Claim, **changes: Any) -> dict[str, Any]:
        """Return the next batch: these claims issued, or a view when there are none."""
        self.seq += 1
        view = {"type": "view", "clip": "clip-1", "at_ms": now_ms(), "detail": "a\x00b"}
        events = [self.issued(claim) for claim in claims] or [view]
        said = {"v": 1, "node": self.name, "colo": "FRA", "country": "DE", "seq": self.seq, "at_ms": now_ms()}
        return {**said, "events": events, **changes}

    def issued(self, claim: Claim, token: str | None = None) -> dict[str, Any]:
        return {
            "type": "claim_issued",
            "claim_id": claim.jti,
            "drop": claim.drop,
            "clip": claim.clip,
            "offer": claim.offer,
            "token": token or sign_claim(claim, self._key),
            "expires_at_ms": claim.exp * 1000,
        }


class EdgeSide:
    """An origin's parts on a database, and an emulated provider in this process, over the client's real requests."""

    def __init__(self, conninfo: str, *, keys: tuple[ClaimKey, ...] = (NEW_KEY,)) -> None:
        self.conninfo = conninfo
        self.clock_ms = now_ms()
        self._store = emulated.open_database(":memory:")
        described = emulated.Configuration(
            port=0, account=ACCOUNT, token=TOKEN, namespace=NAMESPACE, queues=(Queue(name=QUEUE),), database=":memory:"
        )
        self.app = emulated.Provider(described, self._store, lambda: self.clock_ms).app()
        self.database = Database(conninfo)
        self.provider = Provider(provider_config("http://127.0.0.1"), transport=httpx.ASGITransport(app=self.app))
        self.settler = Settler(ORIGIN_URL, SIGNING_KEYS)
        self.intake = Intake(self.database, self.settler, Trust(keys=keys, issuer=ISSUER, audience=ORIGIN_URL))
        self.reader = QueueReader(self.database, self.provider, self.intake, 5)
        self.publisher = Publisher(self.database, self.provider)

    async def __aenter__(self) -> Self:
        await self.database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.provider.close()
        await self.database.close()
        self._store.close()

    def send(self, *batches: Any, content_type: str = "json") -> None:
        """Queue messages: documents as JSON; for another content type, as the emulator's own path takes them."""
        queue = [{"body": batch, "content_type": content_type} for batch in batches]
        rows = [msgspec.convert(item, wire.Ingested) for item in _raw(queue)]
        outgoing = [wire.outgoing(row, os.urandom(8).hex()) for row in rows]
        QueueStore(self._store, (Queue(name=QUEUE),)).send(QUEUE, outgoing, self.clock_ms)

    def backlog(self) -> int:
        """Return how many messages nobody has acknowledged."""
        return QueueStore(self._store, (Queue(name=QUEUE),)).backlog(QUEUE)

    def forget_value(self, key: str) -> None:
        """Lose a value of the key-value store."""
        KvStore(self._store, [NAMESPACE]).delete(NAMESPACE, [key], self.clock_ms)

    def change_value(self, key: str, value: bytes) -> None:
        """Put something else in the key-value store."""
        pair = Pair(key=key, value=value, metadata=b"null", expires_ms=None)
        KvStore(self._store, [NAMESPACE]).write(NAMESPACE, [pair], self.clock_ms)


def on_edge_side(conninfo: str, story: Callable[[EdgeSide], Awaitable[T]], **options: Any) -> T:
    """Run a story against a new `EdgeSide`."""

    async def main() -> T:
        async with EdgeSide(conninfo, **options) as side:
            return await story(side)

    return asyncio.run(main())


class EmulatedProvider:
    """The emulated provider as a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._database = folder / "provider.sqlite"
        self._file = folder / "provider.json"
        self._file.write_text(
            json.dumps(
                {
                    "port": self.port,
                    "account": ACCOUNT,
                    "token": TOKEN,
                    "namespace": NAMESPACE,
                    "queues": [{"name": QUEUE, "max_retries": 100}],
                    "database": str(self._database),
                }
            )
        )
        self._client = httpx.Client(base_url=self.url, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "scripts.emulator.provider", str(self._file)]
        self._process = subprocess.Popen(command, cwd=ROOT)
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._client.get("/emulator/health").raise_for_status()
            except httpx.HTTPError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def send(self, *batches: dict[str, Any]) -> None:
        """Queue messages."""
        for start in range(0, len(batches), 50):
            messages = [{"body": batch} for batch in batches[start : start + 50]]
            self._client.post(f"/emulator/queues/{QUEUE}", json=messages).raise_for_status()

    def backlog(self) -> int:
        """Return how many messages nobody has acknowledged."""
        return self._change("SELECT count(*) FROM message")

    def end_leases(self) -> None:
        """Let the time pass after which what was pulled and not acknowledged comes again."""
        self._change("UPDATE message SET visible_ms = 0")

    def clear(self) -> None:
        """Forget all messages."""
        self._change("DELETE FROM message")

    def _change(self, statement: str) -> int:
        with closing(sqlite3.connect(self._database, timeout=PATIENCE_S)) as database, database:
            row = database.execute(statement).fetchone()
        return 0 if row is None else int(row[0])


def provider_config(url: str) -> ProviderConfig:
    return ProviderConfig(url=url, account=ACCOUNT, token=TOKEN, kv_namespace=NAMESPACE, queue=QUEUE)


def query(conninfo: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, committed."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        found = connection.execute(statement.encode(), values)
        return found.fetchall() if found.description else []


def add_drop(conninfo: str, drop: str = "drop-1", **changes: Any) -> None:
    """Store a drop that is open now: 100 units, one for each viewer."""
    at_ms = now_ms()
    row: dict[str, Any] = {"total": 100, "cap": 1, "opens": at_ms - 3_600_000, "closes": at_ms + 3_600_000, **changes}
    query(
        conninfo,
        "INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, per_viewer_cap, created_ms,"
        " updated_ms) VALUES (%s, 'run-1', 'sku-1', %s, %s, %s, %s, %s, %s, %s)",
        drop,
        row["total"],
        row["total"],
        row["opens"],
        row["closes"],
        row["cap"],
        at_ms,
        at_ms,
    )


def _raw(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**message, "body": msgspec.Raw(msgspec.json.encode(message["body"]))} for message in messages]
