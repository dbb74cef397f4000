"""Viewers with keys, claims as the edge signs them, proofs by another library than ours, and origins as processes."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import jwt
import msgspec
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec

from origin.datafolder import make_claim_key_list
from origin.settlement.receipts import make_signing_key_set
from shared.claims.keys import parse_claim_keys
from shared.claims.tokens import Claim, derive_claim_id, sign_claim
from tests.samples import ISSUER, claim_document, encode

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PATIENCE_S: Final = 20.0
PUBLIC_URL: Final = "https://origin.example"
CLAIM_KEYS: Final = make_claim_key_list()
SIGNING_KEYS: Final = make_signing_key_set()

T = TypeVar("T")
R = TypeVar("R")


def base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Viewer:
    """A browser's key, and what it proves with it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        self.jwk = {
            "kty": "EC",
            "crv": "P-256",
            "x": base64url(numbers.x.to_bytes(32, "big")),
            "y": base64url(numbers.y.to_bytes(32, "big")),
        }
        members = {name: self.jwk[name] for name in ("crv", "kty", "x", "y")}
        self.thumbprint = base64url(sha256(json.dumps(members, separators=(",", ":")).encode()).digest())

    def prove(self, method: str, url: str, token: str, header: dict[str, Any] | None = None, **changes: Any) -> str:
        said = {
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "jti": base64url(os.urandom(12)),
            "ath": base64url(sha256(token.encode()).digest()),
            **changes,
        }
        return jwt.encode(said, self.key, "ES256", {"typ": "dpop+jwt", "jwk": self.jwk, **(header or {})})


class Tap:
    """One tap of a viewer: its claim, signed as the edge signs it."""

    def __init__(self, viewer: Viewer | None = None, *, keys: str = CLAIM_KEYS, **changes: Any) -> None:
        self.viewer = viewer or Viewer()
        now_s = int(time.time())
        tap = base64url(os.urandom(16))
        drop = changes.get("drop", "drop-1")
        document = {
            **claim_document(aud=PUBLIC_URL, cnf={"jkt": self.viewer.thumbprint}),
            "jti": derive_claim_id(drop, self.viewer.thumbprint, tap),
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + 300,
            **changes,
        }
        self.claim = decode_claim(document)
        self.token = sign_claim(self.claim, parse_claim_keys(keys)[0])

    def headers(self, method: str, url: str) -> dict[str, str]:
        return {"Authorization": f"DPoP {self.token}", "DPoP": self.viewer.prove(method, url, self.token)}


class OriginProcess:
    """`python -m origin`, as an operator runs it. All processes of a world are one origin, under one public address."""

    def __init__(self, environment: dict[str, str], log: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "origin"],
                cwd=ROOT,
                env={**environment, "CLIPTILL_LISTEN": f"127.0.0.1:{self.port}"},
                stdout=output,
                stderr=output,
            )
        # Many threads share it: what closes surplus connections may close one that another thread has just got.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False, limits=limits)

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the origin ended:\n{self._log.read_text()}")
            try:
                return self.client.get("/ready").is_success
            except httpx.TransportError:
                return False

        until(is_ready)

    def settle(
        self, tap: Tap, body: bytes | Iterator[bytes] = b"", content_type: str = "application/json"
    ) -> httpx.Response:
        headers = {**tap.headers("POST", PUBLIC_URL + "/v1/settlements"), "Content-Type": content_type}
        return self.client.post("/v1/settlements", headers=headers, content=body)

    def settle_patiently(self, tap: Tap) -> httpx.Response:
        """Settle as the component does: again, until there is an answer that does not say that it will pass."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.settle(tap)
                if answer.status_code < 500 and answer.json().get("status") != "pending":
                    return answer
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def read(self, tap: Tap, part: str = "") -> httpx.Response:
        path = f"/v1/settlements/{tap.claim.jti}{part}"
        return self.client.get(path, headers=tap.headers("GET", PUBLIC_URL + path))

    def post(self, tap: Tap, part: str) -> httpx.Response:
        path = f"/v1/settlements/{tap.claim.jti}{part}"
        return self.client.post(path, headers=tap.headers("POST", PUBLIC_URL + path))

    def stop(self) -> int:
        """Tell it to stop, as a service manager does, and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.kill()


def origin_settings(conninfo: str, folder: str) -> dict[str, str]:
    """Return all that an origin is told; nobody is at the provider's address."""
    return {
        "DATABASE_URL": conninfo,
        "CLIPTILL_DATA": folder,
        "CLIPTILL_PUBLIC_URL": PUBLIC_URL,
        "CLIPTILL_EDGE_URL": "https://edge.example",
        "CLIPTILL_ISSUER": ISSUER,
        "CLIPTILL_CLAIM_KEYS": CLAIM_KEYS,
        "CLIPTILL_SIGNING_KEY": SIGNING_KEYS,
        "CLIPTILL_PROVIDER_URL": "http://127.0.0.1:9",
        "CLIPTILL_PROVIDER_ACCOUNT": "account",
        "CLIPTILL_PROVIDER_TOKEN": "provider-token",
        "CLIPTILL_KV_NAMESPACE": "manifests",
        "CLIPTILL_QUEUE": "events",
        "CLIPTILL_RECONCILE_INTERVAL_S": "0",
        "CLIPTILL_PARTNERS": "loopback",
    }


class World:
    """A database, and the origins on it."""

    def __init__(self, conninfo: str, **settings: str) -> None:
        self.conninfo = conninfo
        self._settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="cliptill-world-")
        self._origins: list[OriginProcess] = []
        self._lasting: OriginProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lasting = None
        self.close_others()
        self._folder.cleanup()

    def wipe(self) -> None:
        """Empty all tables that these tests write."""
        self.patiently(
            "TRUNCATE settlements, trail_entries, trail_heads, drops, offers, clips, creators, manifests, edge_nodes, "
            "payment_messages, ledger_entries, wallets, creator_dues, scanners, partners CASCADE"
        )
        self.execute("DELETE FROM api_keys WHERE kind = 'scanner'")

    def patiently(self, statement: str) -> None:
        """Execute what the loops of a running origin may get in the way of."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.execute(statement)
            except psycopg.errors.DeadlockDetected:
                assert time.monotonic() < deadline
            else:
                return

    def lasting_origin(self) -> OriginProcess:
        """Return the origin that all tests of this world share."""
        if self._lasting is None:
            self._lasting = self.start()
        return self._lasting

    def close_all(self) -> None:
        """End all origins; a lasting one is started again when somebody asks for it."""
        self._lasting = None
        self.close_others()

    def close_others(self) -> None:
        """End all origins but the lasting one."""
        for origin in self._origins:
            if origin is not self._lasting:
                origin.close()
        self._origins = [origin for origin in self._origins if origin is self._lasting]

    def start(self, port: int = 0, **settings: str) -> OriginProcess:
        log = Path(self._folder.name) / "origin.log"
        origin = OriginProcess({**self.environment(), **settings}, log, port)
        self._origins.append(origin)
        origin.wait_until_ready()
        return origin

    def environment(self) -> dict[str, str]:
        """Return what the programs of this world are told."""
        return {**os.environ, **origin_settings(self.conninfo, self._folder.name), **self._settings}

    def logs(self) -> str:
        return (Path(self._folder.name) / "origin.log").read_text()

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def add_drop(self, drop: str, *, total: int = 100, cap: int = 1, most: int = 1, run: str = "run-1") -> None:
        self.execute(
            """
            INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, max_quantity, per_viewer_cap,
              created_ms, updated_ms)
            VALUES (%s, %s, 'sku-1', %s, %s, 0, 1, %s, %s, 0, 0)
            """,
            drop, run, total, total, most, cap,
        )  # fmt: skip

    def add_bundle(self, bundle: str, parts: dict[str, int], *, total: int = 100, cap: int = 1, most: int = 1) -> None:
        """Add a drop that draws on others, which are there."""
        self.add_drop(bundle, total=total, cap=cap, most=most)
        told = [{"drop": drop, "units": units} for drop, units in parts.items()]
        self.execute("UPDATE drops SET parts = %s WHERE drop = %s", json.dumps(told), bundle)

    def add_pickup(self, place: str = "kiln", *, drop: str = "drop-1", from_ms: int = 0, until_ms: int = 2**42) -> None:
        """Have the units of a drop picked up."""
        self.execute(
            """
            UPDATE drops SET pickup = jsonb_build_object('place', %s::text), pickup_from_ms = %s, pickup_until_ms = %s
            WHERE drop = %s
            """,
            place, from_ms, until_ms, drop,
        )  # fmt: skip

    def add_paid_offer(self, payment: str = "card", *, offer: str = "offer-1", drop: str = "drop-1") -> None:
        """Have an offer paid before it settles; taps are of `offer-1`."""
        self.execute(
            """
            INSERT INTO offers (offer, drop, kind, names, descriptions, prices, payment, created_ms, updated_ms)
            VALUES (%s, %s, 'product', '{}', '{}', '[]', %s, 0, 0)
            """,
            offer, drop, payment,
        )  # fmt: skip

    def expire_holds(self, drop: str = "drop-1") -> None:
        """Let time pass for what is held; nobody writes it down."""
        self.execute("UPDATE holds SET until_ms = 1 WHERE drop = %s AND state = 'held'", drop)

    def stock(self, drop: str = "drop-1") -> tuple[int, int, int]:
        """Return free, held and settled units."""
        free, held, settled = self.execute("SELECT free, held, settled FROM drops WHERE drop = %s", drop)[0]
        return free, held, settled

    def numbers(self, drop: str = "drop-1") -> list[int]:
        """Return the run numbers that were given, in order."""
        rows = self.execute(
            "SELECT first_number, quantity FROM settlements WHERE drop = %s AND status = 'settled'", drop
        )
        return sorted(number for first, quantity in rows for number in range(first, first + quantity))

    def count(self) -> int:
        """Return how many decisions are stored."""
        return int(self.execute("SELECT count(*) FROM settlements")[0][0])

    def hold(self, drop: str = "drop-1") -> "Hold":
        return Hold(self.conninfo, drop)

    def waiting_backends(self) -> list[int]:
        """Return the backends that wait for a lock."""
        rows = self.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return [pid for (pid,) in rows]


class Hold:
    """Holds a drop's row, so that a batch of it stands still in its middle for as long as a test wants."""

    def __init__(self, conninfo: str, drop: str) -> None:
        self._connection = psycopg.connect(conninfo)
        self._drop = drop

    def __enter__(self) -> Self:
        self._connection.execute("SELECT 1 FROM drops WHERE drop = %s FOR UPDATE", (self._drop,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        self._connection.close()


def decode_claim(document: dict[str, Any]) -> Claim:
    return msgspec.json.decode(encode(document), type=Claim)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def together(call: Callable[[T], R], items: Sequence[T], workers: int = 32) -> list[R]:
    """Call for all items at once, each in a thread, and return what came of it, in order."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(call, items))
