"""A partner that takes webhooks: it checks their signatures by itself, and may be down, slow, wordy, or elsewhere."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import httpx

from shared.fulfilment.webhooks import sign_webhook, write_secret
from tests.postgres.till import Till
from tests.postgres.world import PATIENCE_S, OriginProcess, Tap, until

SECRET: Final = write_secret(b"partner secret of thirty-two byt")
_FLOOD: Final = b"x" * 65_536


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # connections beyond it are refused for a second by the system


class Partner:
    """A server on this machine. `status` is what it answers with; `behave` is how."""

    def __init__(self, name: str = "potter") -> None:
        self.name = name
        self.status = 200
        self.behave = "well"
        self.elsewhere = ""
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.statuses: list[int] = []
        self.go_on = threading.Event()
        partner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                partner.take(self)

            def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        message, at_s = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        digest = hmac.new(key, f"{message}.{at_s}.".encode() + body, hashlib.sha256).digest()
        assert "v1," + base64.b64encode(digest).decode() in request.headers["webhook-signature"].split(" ")
        assert abs(time.time() - int(at_s)) < 300
        self.messages.append((message, json.loads(body)))
        if self.behave == "slowly":
            self.go_on.wait(PATIENCE_S)
        self._answer(request)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        try:
            request.send_response(self.status)
            if self.elsewhere:
                request.send_header("Location", self.elsewhere)
            if self.behave != "wordily":
                request.send_header("Content-Length", "0")
            request.end_headers()
            while self.behave == "wordily":
                request.wfile.write(_FLOOD)
        except (BrokenPipeError, ConnectionResetError):
            self.behave = "was cut off"

    def ids(self) -> list[str]:
        """Return the ids that came, in their order."""
        return [message for message, _ in self.messages]

    def counts(self) -> Counter[str]:
        return Counter(self.ids())

    def join(self, till: Till, drop: str = "drop-1") -> None:
        """Become the partner of a drop."""
        till.world.execute(
            "INSERT INTO partners VALUES (%s, %s, ARRAY[%s], 0, 0) ON CONFLICT DO NOTHING", self.name, self.url, SECRET
        )
        till.world.execute("UPDATE drops SET partner = %s WHERE drop = %s", self.name, drop)

    def report(  # noqa: PLR0913 - what a report has, and what may be wrong with it
        self,
        origin: OriginProcess,
        tap: Tap,
        what: str = "shipped",
        *,
        message: str = "msg_1",
        at_ms: int = 1_000,
        late_s: int = 0,
        secret: str = SECRET,
        **changes: Any,
    ) -> httpx.Response:
        """Report of a claim, as this partner or as somebody who would like to be."""
        told = {"type": f"claim.{what}", "claim_id": tap.claim.jti, "at_ms": at_ms, **changes}
        body = json.dumps(told).encode()
        headers = sign_webhook(message, body, [secret], int(time.time()) - late_s)
        return origin.client.post(f"/v1/partners/{self.name}/reports", content=body, headers=headers)


def states_of(till: Till, tap: Tap) -> list[str]:
    """Return the states of a claim's messages, in their order."""
    rows = till.world.execute("SELECT state FROM handoffs WHERE claim_id = %s ORDER BY position", tap.claim.jti)
    return [state for (state,) in rows]


def pass_time(till: Till) -> None:
    """Have messages that wait tried now; a try that was cut off has had its time."""
    till.world.execute("UPDATE handoffs SET next_try_ms = 1 WHERE state = 'waiting'")


def until_taken(till: Till, tap: Tap) -> None:
    """Wait until the one message about a claim is taken, at its own time."""
    until(lambda: states_of(till, tap) == ["delivered"])


def until_states(till: Till, tap: Tap, *states: str) -> None:
    def there() -> bool:
        if states_of(till, tap) == list(states):
            return True
        pass_time(till)
        return False

    until(there)
