"""HTTP/1.1 connections: uvicorn's protocol over llhttp (httptools), with the limits that neither of them has.

Rules:

1. A request's head is at most `MAX_HEAD_BYTES`, and so is what comes between two pieces of a body and after the last.
   Beyond it, by no more than the loop reads at once, the answer is 431 (RFC 6585, section 5), and the connection ends.
2. What cannot be read is answered with 400 and ends the connection. What came whole before it has its answer first.
3. Whoever owes something has `timeout_keep_alive` seconds for it: for a whole head from the opening of the connection
   or from its last answer on, for the rest of a body from its last piece on.
4. Trailers are dropped (RFC 9110, section 6.5.1: they may only be merged by who knows them).
5. An answer's head leaves with its body where the length is known: one call of the system, one packet for most.
6. Whole answers leave when the loop has done what is at hand: those of one batch one right after the other, so that who
   hears of them is woken once. Nothing else that is written on their connection, or ends it, goes before them.
7. A header that breaks its line is never sent.
"""

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from origin.middleware import EVERY_ANSWER
from origin.responses import refuse
from shared.problems import Code, Problem

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent

MAX_HEAD_BYTES: Final = 16_384
_LINE_BYTES: Final = len(b"  HTTP/1.1\r\n\r\n")  # around method and target, and behind the last header
_FRAMING_BYTES: Final = len(b": \r\n")  # of a header
_BODILESS: Final = frozenset((204, 304))  # RFC 9110, section 6.4.1


class _UnreadableError(Exception):
    """Raised inside the parser, which stops at it."""


class _Outbox:
    """The whole answers of a server that have not left yet (rule 6)."""

    def __init__(self) -> None:
        self._answers: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Let an answer leave soon."""
        if not self._answers:
            asyncio.get_running_loop().call_soon(self.flush)
        self._answers.append((transport, answer))

    def flush(self) -> None:
        """Let all of them leave now."""
        answers, self._answers = self._answers, []
        for transport, answer in answers:
            if not transport.is_closing():
                transport.write(answer)


_OUTBOXES: Final[WeakKeyDictionary[ServerState, _Outbox]] = WeakKeyDictionary()


class Connection(HttpToolsProtocol):
    """One connection of a browser; made by uvicorn."""

    _unread_bytes = 0  # that came since the parser last gave something
    _since_s = 0.0  # since when something is owed
    _refusal = Code.REQUEST_MALFORMED
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head (rule 3)."""
        super().connection_made(transport)
        self._outbox = _OUTBOXES.setdefault(self.server_state, _Outbox())
        self._since_s = self.loop.time()
        self._alarm = self.loop.call_later(self.timeout_keep_alive, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is under way."""
        if self._alarm is not None:
            self._alarm.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came (rules 1 and 2)."""
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refusal = Code.HEAD_TOO_LARGE
            self.send_400_response("")

    def send_400_response(self, _: str) -> None:
        """End a connection on which something came that cannot be read (rules 1 and 2)."""
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if under_way and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        self._outbox.flush()
        if not (under_way and cycle.response_started):
            self.transport.write(_REFUSALS[self._refusal])
        self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value.rstrip(b" \t")))  # the parser takes away what is in front of it only

    def on_headers_complete(self) -> None:
        """Begin with a request, or line it up behind the one that is under way."""
        scope, self.headers = self.scope, []  # trailers go there (rule 4)
        version = self.parser.get_http_version()
        scope["http_version"] = version
        scope["method"] = self.parser.get_method().decode("ascii")
        self._check_head()
        self._unread_bytes = 0
        self._since_s = self.loop.time()
        scope["raw_path"], scope["query_string"] = _split_target(self.url)
        path = scope["raw_path"].decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        before = self.cycle
        cycle = _Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            # Nothing is upgraded to here, and what follows such a request would be in another protocol.
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self.parser.should_upgrade(),
            on_response=self.on_response_complete,
        )
        cycle.outbox = self._outbox
        self.cycle = cycle
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body."""
        self._unread_bytes = 0
        if not self.cycle.response_complete:
            self._since_s = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Let the request have its end."""
        self._unread_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to what is lined up, or wait for the next head."""
        self.server_state.total_requests += 1
        self._since_s = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def shutdown(self) -> None:
        """End the connection, after what is under way."""
        self._outbox.flush()
        super().shutdown()

    def _check_head(self) -> None:
        headers = list(self.scope["headers"])
        fields_bytes = sum([len(name) + len(value) + _FRAMING_BYTES for name, value in headers])
        if len(self.scope["method"]) + len(self.url) + _LINE_BYTES + fields_bytes > MAX_HEAD_BYTES:
            self._refusal = Code.HEAD_TOO_LARGE
            raise _UnreadableError
        # RFC 9112, section 3.2: 400 for none and for more than one, which could mean another one to somebody else.
        if self.scope["http_version"] == "1.1" and [name for name, _ in headers].count(b"host") != 1:
            raise _UnreadableError

    def _look(self) -> None:
        """Close when the client has owed something for too long; else look again when it could have (rule 3)."""
        now_s = self.loop.time()
        cycle = self.cycle
        owes = cycle is None or cycle.response_complete or (cycle.more_body and not self.flow.read_paused)
        rest_s = self._since_s + self.timeout_keep_alive - now_s if owes else self.timeout_keep_alive
        if rest_s <= 0:
            self.transport.close()
        else:
            self._alarm = self.loop.call_later(rest_s, self._look)


class _Exchange(RequestResponseCycle):
    """One request and its answer."""

    _head = b""  # that waits for its body (rule 5)
    outbox: _Outbox
    _length: int | None = None  # of the body that is still to come; None where only its end tells

    async def send(self, message: "ASGISendEvent") -> None:
        """Send what the application answers."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._begin(message)
        elif message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} does not follow here")

    def _begin(self, message: "HTTPResponseStartEvent") -> None:
        """Write the head, or keep it for its body."""
        status, bodiless = message["status"], self.scope["method"] == "HEAD" or message["status"] in _BODILESS
        length, lines = None, [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if name == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            if name == b"content-length":
                length = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
        self.keep_alive = self.keep_alive and not (self.waiting_for_100_continue and self.more_body)
        self.chunked_encoding = length is None and not bodiless and self.scope["http_version"] != "1.0"
        self._length = 0 if bodiless else length
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if not len(lines) == head.count(b"\n") == head.count(b"\r"):
            raise RuntimeError("a header has a line break")
        self.response_started, self.waiting_for_100_continue = True, False
        self._head = head + b"\r\n"
        if self._length is None:
            self._write(b"")

    def _go_on(self, body: bytes, *, more: bool) -> None:
        """Write a piece of the body; the last one ends the answer."""
        if self.scope["method"] == "HEAD":
            body = b""
        if self.chunked_encoding:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self._length is not None:
            self._length -= len(body)
            if self._length < 0 or (self._length and not more):
                raise RuntimeError("the body is not as long as its head says")
        if self._head and self.keep_alive and not more:
            self.outbox.put(self.transport, self._head + body)
        else:
            self._write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _write(self, data: bytes) -> None:
        head, self._head = self._head, b""
        if head or data:
            self.outbox.flush()
            self.transport.write(head + data)


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request's target (RFC 9112, section 3.2); only proxies send whole addresses."""
    if not target.startswith(b"/"):
        parts = urlsplit(target)
        return parts.path or b"/", parts.query
    path, _, query = target.partition(b"?")
    return path, query


def _write_refusal(code: Code) -> bytes:
    response = refuse(Problem(code=code), {**EVERY_ANSWER, "Connection": "close"})
    fields = b"".join([b"%b: %b\r\n" % header for header in response.raw_headers])
    return STATUS_LINE[response.status_code] + fields + b"\r\n" + bytes(response.body)


_REFUSALS: Final = {code: _write_refusal(code) for code in (Code.REQUEST_MALFORMED, Code.HEAD_TOO_LARGE)}
