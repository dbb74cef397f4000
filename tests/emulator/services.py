"""What an edge node talks to, in the place of the emulated provider and of the origin: threads of the test's own."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_S = 10.0


class FakeServices:
    """Takes queued messages at the provider's path, and answers `/shared/` as the origin does.

    Attributes:
        up: whether it answers properly; otherwise everything gets 503.
        messages: the queued messages, in the order in which they came.
        shared: the body of the shared overlays.
        shared_cache_control: the header that it is answered with.
        shared_requests: how often it was asked for.
    """

    def __init__(self) -> None:
        self.up = True
        self.messages: list[dict[str, Any]] = []
        self.queue_attempts = 0
        self.shared = "first"
        self.shared_cache_control = "public, s-maxage=60"
        self.shared_requests: list[str] = []
        self.url = ""

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, and fail when it does not come to hold."""
        end = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.02)


def _handler(services: FakeServices) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            services.queue_attempts += 1
            if services.up:
                services.messages.extend({**message, "path": self.path} for message in body)
            self._answer(200 if services.up else 503, "{}", "no-store")

        def do_GET(self) -> None:
            services.shared_requests.append(self.path)
            status = 503 if not services.up else 404 if self.path.endswith("/unknown") else 200
            self._answer(status, services.shared, services.shared_cache_control)

        def _answer(self, status: int, text: str, cache_control: str) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("cache-control", cache_control)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def fake_services() -> Iterator[FakeServices]:
    """Serve on a free port of the loopback interface."""
    services = FakeServices()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(services))
    server.daemon_threads = True
    services.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield services
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
