"""The origin that the measured edges read manifests and stock from, and post their events to.

Of these it keeps the claims' ids, and tells at `REPORTED` how many there are.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from origin.insight.edges import EdgeReport
from scripts.benchmarks.contexts import make_manifest, tell_stock
from shared.insight.events import ClaimIssued, EventBatch

MANIFESTS: Final = "/v1/edge/manifests/"
STOCK: Final = "/v1/stock"
REPORTED: Final = "/reported"
_POSTED: Final = msgspec.json.Decoder(EdgeReport)
_BATCH: Final = msgspec.json.Decoder(EventBatch)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written apart: the body would wait for an acknowledgement, 40 ms
    opened_ms: int
    claims: set[str]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        now_ms = time.time_ns() // 1_000_000
        if url.path.startswith(MANIFESTS):
            self._answer(make_manifest(url.path.removeprefix(MANIFESTS), self.opened_ms), fresh_s=5)
        elif url.path == STOCK:
            told = [tell_stock(drop, now_ms) for drop in parse_qs(url.query)["drops"][0].split(",")]
            self._answer({"as_of_ms": now_ms, "drops": [snapshot for snapshot in told if snapshot]}, fresh_s=1)
        elif url.path == REPORTED:
            self._answer({"claims": len(self.claims)})
        else:
            self._answer({}, status=404)

    def do_POST(self) -> None:
        posted = _POSTED.decode(self.rfile.read(int(self.headers["content-length"])))
        events = [event for message in posted.messages for event in _BATCH.decode(message).events]
        self.claims.update(event.claim_id for event in events if isinstance(event, ClaimIssued))
        self._answer({}, status=202)

    def _answer(self, document: dict[str, Any], *, status: int = 200, fresh_s: int = 0) -> None:
        body = msgspec.json.encode(document)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("cache-control", f"public, max-age={fresh_s}, stale-if-error=86400")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a cold edge asks for many clips at once

    def handle_error(self, *_connection: object) -> None:
        """Say nothing of an edge that ended in the middle of a request."""


@contextmanager
def serve_origin() -> Iterator[str]:
    """Serve it on the loopback interface, and give its address."""
    handler = type("Handler", (_Handler,), {"opened_ms": time.time_ns() // 1_000_000, "claims": set()})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
