"""An origin for an edge node that runs as a program: stock, manifests, and where its events arrive, over real HTTP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from origin.insight.edges import MAX_MESSAGES
from shared.problems import MEDIA_TYPE, Code, Problem, encode_problem
from tests.emulator.origin_faults import answer_badly

EDGE_KEY: Final = "an-edge-key-of-the-tests"
MANIFESTS: Final = "/v1/edge/manifests/"
EVENTS: Final = "/v1/edge/events"
QUEUES: Final = "/emulator/queues/"
JSON: Final = "application/json"


class OriginDouble:
    """What the origin knows, and what the edge has told it.

    Attributes:
        now_ms: the clock that stock is dated by.
        away: whether stock, and shared overlays, get 503.
        store_away: whether manifests get 503.
        events_status: what event batches are answered with; they are kept when it is 202.
        manifest_delay_s: how long it takes to find a manifest.
        events_delay_s: how long after taking them it answers.
        event_bytes_most: what a body of events may weigh.
        fault: how all reading is answered, one of `origin_faults.FAULTS`; empty for well.
        shared: what is answered below `/shared/`.
        messages: event batches as they came, in their order.
        accepted_at_once: how many came in each request that was accepted.
        asked: the paths of all requests.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.url = ""
        self.away = self.store_away = False
        self.events_status = 202
        self.manifest_delay_s = self.events_delay_s = 0.0
        self.event_bytes_most = 4 * 1024 * 1024
        self.fault, self.healed = "", threading.Event()
        self.shared = b""
        self.stock: dict[str, dict[str, Any]] = {}
        self.manifests: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.accepted_at_once: list[int] = []
        self.asked: list[str] = []

    def fail(self, fault: str) -> None:
        """Answer all reading badly from now on; well again with an empty text, and whoever waits goes on."""
        self.healed.set()
        self.fault, self.healed = fault, threading.Event()

    def tell_stock(self, drops: list[str]) -> bytes:
        """Return the document of `GET /v1/stock`; a snapshot's `age_ms` becomes its date."""
        now_ms = self.now_ms()
        told = []
        for drop in drops:
            if (known := self.stock.get(drop)) is not None:
                facts = {name: value for name, value in known.items() if name != "age_ms"}
                told.append({**facts, "drop": drop, "as_of_ms": now_ms - known["age_ms"]})
        return json.dumps({"as_of_ms": now_ms, "drops": told}).encode()

    def take(self, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        """Answer what the edge posts: the emulator's queue, or a self-hosted node's events."""
        if path.startswith(QUEUES):
            self.messages += [message["body"] for message in json.loads(body)]
            return 200, b"{}"
        if path != EVENTS:
            return 404, encode_problem(Problem(code=Code.NOT_FOUND))
        if headers.get("authorization") != f"Bearer {EDGE_KEY}":
            return 401, encode_problem(Problem(code=Code.KEY_MISSING))
        return self._take_report(body)

    def _take_report(self, body: bytes) -> tuple[int, bytes]:
        if len(body) > self.event_bytes_most:
            return 413, encode_problem(Problem(code=Code.BODY_TOO_LARGE))
        messages = json.loads(body)["messages"]
        if len(messages) > MAX_MESSAGES:
            return 422, encode_problem(Problem(code=Code.INVALID_FIELD))
        if self.events_status != 202:
            return self.events_status, encode_problem(Problem(code=Code.UNAVAILABLE))
        self.messages += messages
        self.accepted_at_once.append(len(messages))
        time.sleep(self.events_delay_s)
        return 202, json.dumps({"accepted": len(messages)}).encode()


def _handler(origin: OriginDouble) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one small method for each request
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            origin.asked.append(self.path)
            body = self.rfile.read(int(self.headers["content-length"]))
            self._answer(*origin.take(self.path, self.headers, body))

        def do_GET(self) -> None:
            origin.asked.append(self.path)
            url = urlsplit(self.path)
            if origin.fault:
                answer_badly(self, origin.fault, origin.healed)
            elif url.path.startswith(MANIFESTS):
                self._answer_manifest(unquote(url.path[len(MANIFESTS) :]))
            elif origin.away:
                self._answer(503, encode_problem(Problem(code=Code.UNAVAILABLE)))
            elif url.path == "/v1/stock":
                self._answer(200, origin.tell_stock(parse_qs(url.query)["drops"][0].split(",")), max_age_s=1)
            elif url.path.startswith("/shared/") and origin.shared:
                self._answer(200, origin.shared, max_age_s=1)
            else:
                self._answer(404, encode_problem(Problem(code=Code.NOT_FOUND)))

        def _answer_manifest(self, clip: str) -> None:
            time.sleep(origin.manifest_delay_s)
            if origin.store_away:
                self._answer(503, encode_problem(Problem(code=Code.UNAVAILABLE)))
            elif (document := origin.manifests.get(clip)) is None:
                self._answer(404, encode_problem(Problem(code=Code.CLIP_UNKNOWN)))
            else:
                tag = f'"{sha256(document).hexdigest()[:16]}"'
                known = self.headers["if-none-match"] == tag
                self._answer(304 if known else 200, b"" if known else document, max_age_s=5, tag=tag)

        def _answer(self, status: int, body: bytes, max_age_s: int = 0, tag: str = "") -> None:
            self.send_response(status)
            self.send_header("content-type", JSON if status < 300 else MEDIA_TYPE)
            self.send_header("access-control-allow-origin", "*")
            cached = f"public, max-age={max_age_s}, stale-if-error=86400"
            self.send_header("cache-control", cached if max_age_s else "no-store")
            if tag:
                self.send_header("etag", tag)
            if status != 304:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serve_origin(now_ms: Callable[[], int], port: int = 0) -> Iterator[OriginDouble]:
    """Serve an origin on the loopback interface."""
    origin = OriginDouble(now_ms)
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(origin))
    server.daemon_threads = True
    origin.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield origin
    finally:
        origin.fail("")
        server.shutdown()
        server.server_close()
        thread.join()
