"""The provider's REST paths that the origin uses, answered on this machine, so that only a base address differs.

The supervisor starts it as a process of its own, on the loopback interface only: `python -m
scripts.emulator.provider FILE`,
FILE being a `Configuration` in JSON.

Paths below `/emulator` are ours: the emulated edge hands queued messages in, and the supervisor says which nodes there
are. They need no token, so they refuse whatever a browser sends: no web page may reach them.
"""

import contextlib
import hmac
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.emulator import wire
from scripts.emulator.kv import KvStore, Pair
from scripts.emulator.nodes import Fleet, NodeFeeder
from scripts.emulator.queues import Queue, QueueStore, Retry
from scripts.emulator.wire import Refused

CONTROL_TIMEOUT_S = 5.0
FLEET_BYTES_MOST = 64 * 1024
LATENESS_MS_MOST = 600_000

Handler = Callable[[Request], Awaitable[Response]]


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one account that is emulated: what it is called, who may use it, what it has."""

    port: int
    account: str
    token: str
    namespace: str
    queues: tuple[Queue, ...]
    database: str


class Lateness(msgspec.Struct, frozen=True, kw_only=True):
    """The body that sets a node's lateness."""

    lateness_ms: Annotated[int, msgspec.Meta(ge=0, le=LATENESS_MS_MOST)] | None


class Provider:
    """The handlers, over the stores of one account."""

    def __init__(
        self, configuration: Configuration, database: sqlite3.Connection, clock_ms: Callable[[], int] | None = None
    ) -> None:
        self._configuration = configuration
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self._kv = KvStore(database, [configuration.namespace])
        self._queues = QueueStore(database, configuration.queues)
        # Directly, whatever proxy the environment names: the nodes are on this machine.
        self._client = httpx.AsyncClient(timeout=CONTROL_TIMEOUT_S, trust_env=False)
        self._feeder = NodeFeeder(self._kv, configuration.namespace, self._client, self._clock_ms)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        pairs = "/accounts/{account}/storage/kv/namespaces/{namespace}"
        messages = "/accounts/{account}/queues/{queue}/messages"
        routes = [
            Route(pairs + "/bulk", self._checked(self.write_pairs), methods=["PUT"]),
            Route(pairs + "/bulk", self._checked(self.delete_keys), methods=["DELETE"]),
            Route(pairs + "/bulk/delete", self._checked(self.delete_keys), methods=["POST"]),
            Route(pairs + "/bulk/get", self._checked(self.read_values), methods=["POST"]),
            Route(pairs + "/keys", self._checked(self.list_keys), methods=["GET"]),
            Route(pairs + "/metadata/{key:path}", self._checked(self.read_metadata), methods=["GET"]),
            Route(pairs + "/values/{key:path}", self._checked(self.read_value), methods=["GET"]),
            Route(pairs + "/values/{key:path}", self._checked(self.delete_value), methods=["DELETE"]),
            Route(messages + "/pull", self._checked(self.pull), methods=["POST"]),
            Route(messages + "/ack", self._checked(self.acknowledge), methods=["POST"]),
            Route("/emulator/queues/{queue}", self._ours(self.ingest), methods=["POST"]),
            Route("/emulator/nodes", self._ours(self.replace_fleet), methods=["PUT"]),
            Route("/emulator/nodes", self._ours(self.show_fleet), methods=["GET"]),
            Route("/emulator/nodes/{node}/lateness", self._ours(self.set_lateness), methods=["PUT"]),
            Route("/emulator/state", self._ours(self.show_state), methods=["GET"]),
            Route("/emulator/health", self._ours(self.health), methods=["GET"]),
        ]
        return Starlette(
            routes=routes,
            lifespan=self._lifespan,
            # Against DNS rebinding: a web page's own host name may lead here.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
            exception_handlers={Refused: _answer_problem, HTTPException: _answer_problem},
        )

    async def write_pairs(self, request: Request) -> Response:
        """PUT .../bulk: store up to 10,000 pairs."""
        now_ms = self._clock_ms()
        pairs = wire.decode_pairs(await wire.read_body(request, wire.BULK_BYTES_MOST), now_ms)
        self._kv.write(request.path_params["namespace"], pairs, now_ms)
        self._feeder.notice()
        return wire.succeeded({"successful_key_count": len(pairs), "unsuccessful_keys": []})

    async def read_value(self, request: Request) -> Response:
        """GET .../values/{key}: the value itself, without an envelope; a header tells when it expires, if it does."""
        pair = self._find(request)
        headers = {} if pair.expires_ms is None else {"expiration": str(pair.expires_ms // 1000)}
        return Response(pair.value, headers=headers, media_type="application/octet-stream")

    async def read_metadata(self, request: Request) -> Response:
        """GET .../metadata/{key}: what was stored beside the value; null where there is nothing."""
        return wire.succeeded(wire.metadata_of(self._find(request)))

    async def read_values(self, request: Request) -> Response:
        """POST .../bulk/get: up to 100 values, null for those that are not there."""
        wanted = wire.decode_keys_to_read(await wire.read_body(request, wire.KEYS_BODY_BYTES_MOST))
        now_ms, namespace = self._clock_ms(), request.path_params["namespace"]
        found = {key: self._kv.read(namespace, key, now_ms) for key in wanted.keys}
        return wire.succeeded({"values": {key: wire.value_document(pair, wanted) for key, pair in found.items()}})

    async def list_keys(self, request: Request) -> Response:
        """GET .../keys: names in their order, a page at a time; the last page has an empty cursor."""
        page = wire.read_page(request)
        pairs = self._kv.page(
            request.path_params["namespace"], page.prefix, page.after, page.limit + 1, self._clock_ms()
        )
        return wire.keys_listed(pairs, page.limit)

    async def delete_value(self, request: Request) -> Response:
        """DELETE .../values/{key}: gone, whether or not it was there."""
        self._kv.delete(request.path_params["namespace"], [request.path_params["key"]], self._clock_ms())
        self._feeder.notice()
        return wire.succeeded({})

    async def delete_keys(self, request: Request) -> Response:
        """POST .../bulk/delete, and DELETE .../bulk as it was called before: up to 10,000 keys."""
        keys = wire.decode_keys(await wire.read_body(request, wire.KEYS_BODY_BYTES_MOST), wire.PAIRS_MOST)
        self._kv.delete(request.path_params["namespace"], keys, self._clock_ms())
        self._feeder.notice()
        return wire.succeeded({"successful_key_count": len(keys), "unsuccessful_keys": []})

    async def pull(self, request: Request) -> Response:
        """POST .../pull: lease a batch."""
        body = await wire.read_body(request, wire.QUEUE_BODY_BYTES_MOST)
        wanted = wire.decode_order(body or b"{}", wire.PullRequest)
        queue, now_ms = request.path_params["queue"], self._clock_ms()
        batch = self._queues.pull(queue, wanted.batch_size, wanted.visibility_timeout_ms, now_ms)
        messages = [wire.delivery_document(delivery) for delivery in batch]
        return wire.succeeded({"message_backlog_count": self._queues.backlog(queue), "messages": messages})

    async def acknowledge(self, request: Request) -> Response:
        """POST .../ack: remove some leased messages, release others."""
        body = wire.decode_order(await wire.read_body(request, wire.QUEUE_BODY_BYTES_MOST), wire.AckRequest)
        retries = [Retry(lease=retry.lease_id, delay_s=retry.delay_seconds) for retry in body.retries]
        leases = [ack.lease_id for ack in body.acks]
        done = self._queues.acknowledge(request.path_params["queue"], leases, retries, self._clock_ms())
        counts = {"ackCount": done.acknowledged, "retryCount": done.retried, "warnings": done.warnings}
        return wire.succeeded(counts)

    async def ingest(self, request: Request) -> Response:
        """POST /emulator/queues/{queue}: one message, or a list of them, from the emulated edge."""
        body = await wire.read_body(request, wire.QUEUE_BODY_BYTES_MOST)
        messages = wire.decode(body, wire.Ingested | list[wire.Ingested])  # type: ignore[arg-type]
        batch = messages if isinstance(messages, list) else [messages]
        outgoing = [wire.outgoing(message, uuid.uuid4().hex) for message in batch]
        self._queues.send(request.path_params["queue"], outgoing, self._clock_ms())
        return wire.succeeded({"accepted": len(outgoing)})

    async def replace_fleet(self, request: Request) -> Response:
        """PUT /emulator/nodes: these nodes have started, and know nothing."""
        fleet = wire.decode(await wire.read_body(request, FLEET_BYTES_MOST), Fleet)
        await self._feeder.start(fleet)
        return wire.succeeded({"nodes": len(fleet.nodes)})

    async def show_fleet(self, _request: Request) -> Response:
        """GET /emulator/nodes: whether the nodes know all that they may; 503 while they do not."""
        if not self._feeder.is_up_to_date():
            raise Refused(503, 10000, "some nodes have yet to be told of a write")
        return wire.succeeded({"up_to_date": True})

    async def set_lateness(self, request: Request) -> Response:
        """PUT /emulator/nodes/{node}/lateness: how late a node, or `all`, sees writes; null for as it began."""
        wanted = wire.decode(await wire.read_body(request, FLEET_BYTES_MOST), Lateness)
        if not self._feeder.set_lateness(request.path_params["node"], wanted.lateness_ms):
            raise Refused(404, 10000, "no such node")
        return wire.succeeded({})

    async def show_state(self, _request: Request) -> Response:
        """GET /emulator/state: what each node sees, and how much is in each queue."""
        now_ms = self._clock_ms()
        return wire.succeeded({"at_ms": now_ms, "nodes": self._feeder.views(), "queues": self._queues.views(now_ms)})

    async def health(self, _request: Request) -> Response:
        """GET /emulator/health."""
        return wire.succeeded({"status": "ok"})

    def _find(self, request: Request) -> Pair:
        pair = self._kv.read(request.path_params["namespace"], request.path_params["key"], self._clock_ms())
        if pair is None:
            raise Refused(404, 10009, "get: 'key not found'")
        return pair

    def _checked(self, handler: Handler) -> Handler:
        """Let a request to the provider's own paths through when the token is right, and what it names exists."""

        async def checked(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise Refused(401, 10000, "Authentication error")
            right = hmac.compare_digest(token.encode(), self._configuration.token.encode())
            if not right or request.path_params["account"] != self._configuration.account:
                raise Refused(403, 10000, "Authentication error")
            if "namespace" in request.path_params and request.path_params["namespace"] not in self._kv:
                raise Refused(404, 10013, "namespace not found")
            self._check_queue(request)
            return await handler(request)

        return checked

    def _ours(self, handler: Handler) -> Handler:
        """Let a request to our own paths through unless a browser sent it: those name an origin or a site."""

        async def ours(request: Request) -> Response:
            if "origin" in request.headers or "sec-fetch-site" in request.headers:
                raise Refused(403, 10000, "not for browsers")
            self._check_queue(request)
            return await handler(request)

        return ours

    def _check_queue(self, request: Request) -> None:
        if "queue" in request.path_params and request.path_params["queue"] not in self._queues:
            raise Refused(404, 10104, "Queue does not exist")

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await self._feeder.stop()
        await self._client.aclose()


async def _answer_problem(request: Request, problem: Exception) -> Response:
    if isinstance(problem, Refused):
        return wire.failed(problem)
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    return wire.failed(Refused(status, 7003, f"Could not route to {request.url.path}"))


def open_database(place: str) -> sqlite3.Connection:
    """Open the stores' database. In WAL mode a killed process loses nothing that it has answered."""
    database = sqlite3.connect(place)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database


def main(arguments: list[str]) -> None:
    """Serve until told to stop."""
    configuration = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Configuration)
    with contextlib.closing(open_database(configuration.database)) as database:
        app = Provider(configuration, database).app()
        uvicorn.run(app, host="127.0.0.1", port=configuration.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1:])
