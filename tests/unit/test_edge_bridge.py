"""The bridge: a request's scope, and coroutines that are driven without an event loop as far as they go."""

import gc
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.bridge import Answer, call_app, drive, make_scope
from edge.routing import Front
from tests.edge_world import MemoryWorld

Headers = list[tuple[bytes, bytes]]


def scope_of(url: str, headers: Headers | None = None) -> dict[str, Any]:
    return make_scope("GET", url, headers or [], MemoryWorld().services())


@pytest.mark.parametrize(
    ("url", "path", "raw_path", "query"),
    [
        pytest.param("https://e.example", "/", b"/", b"", id="no path"),
        pytest.param("https://e.example/", "/", b"/", b"", id="root"),
        pytest.param("https://e.example/a/b", "/a/b", b"/a/b", b"", id="path"),
        pytest.param("https://e.example/a?b=c&d", "/a", b"/a", b"b=c&d", id="query"),
        pytest.param("https://e.example/a?b=c?d", "/a", b"/a", b"b=c?d", id="question mark in the query"),
        pytest.param("https://e.example/a?", "/a", b"/a", b"", id="empty query"),
        pytest.param("https://e.example/a?b#c", "/a", b"/a", b"b", id="fragment"),
        pytest.param("https://e.example/a%20b%2Fc", "/a b/c", b"/a%20b%2Fc", b"", id="escapes"),
        pytest.param("https://e.example/%ff", "/\ufffd", b"/%ff", b"", id="no text"),
        pytest.param("https://e.example/%zz", "/%zz", b"/%zz", b"", id="no escape"),
        pytest.param("https://e.example//a//b", "//a//b", b"//a//b", b"", id="double slashes"),
        pytest.param("https://e.example/a?x=://y/z", "/a", b"/a", b"x=://y/z", id="an address in the query"),
    ],
)
def test_an_address_is_taken_apart(url: str, path: str, raw_path: bytes, query: bytes) -> None:
    scope = scope_of(url)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


@pytest.mark.parametrize(
    ("url", "scheme", "server"),
    [
        ("https://e.example/a", "https", ("e.example", None)),
        ("http://127.0.0.1:8787/a", "http", ("127.0.0.1", 8787)),
        ("http://e.example:/a", "http", ("e.example", None)),
    ],
)
def test_host_and_port_are_told(url: str, scheme: str, server: tuple[str, int | None]) -> None:
    scope = scope_of(url)
    assert (scope["type"], scope["scheme"], scope["server"]) == ("http", scheme, server)


def test_headers_follow_the_host() -> None:
    scope = scope_of("https://e.example:1/a", [(b"accept", b"x")])
    assert scope["headers"] == [(b"host", b"e.example:1"), (b"accept", b"x")]


async def answer_nothing(_: Scope, __: Receive) -> Response:
    raise AssertionError("nothing has its own way here")


def at_once(_: Any, __: Callable[[Any], Any]) -> Any:
    raise AssertionError("nothing is waited for here")


def behind(app: ASGIApp) -> Front:
    return Front(app, answer_nothing, answer_nothing, Response)


async def read_nothing() -> bytes:
    raise AssertionError("the body must not be read")


def test_a_body_is_read_only_when_it_is_asked_for() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": [(b"a", b"\xe9")]})
        await send({"type": "http.response.body"})

    answer = drive(call_app(behind(app), scope_of("https://e.example/"), read_nothing), at_once)
    assert answer == Answer(status=204, headers=[(b"a", b"\xe9")], body=b"")


def test_an_answer_in_pieces_is_put_together() -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})

    async def read() -> bytes:
        return b"hello"

    assert drive(call_app(behind(app), scope_of("https://e.example/"), read), at_once).body == b"hello!"


def test_an_unforeseen_error_is_raised_for_the_log() -> None:
    async def app(_: Scope, __: Receive, ___: Send) -> None:
        raise LookupError("for the log")

    with pytest.raises(LookupError, match="for the log"):
        drive(call_app(behind(app), scope_of("https://e.example/"), read_nothing), at_once)


async def answer_at_once() -> str:
    return "done"


class Waiting:
    """What stands for a promise of the runtime: awaiting it hands it over, and gives its value or raises its error."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self.value, self.error = value, error

    def __await__(self) -> Generator[Any, Any, Any]:
        settled = yield self
        if isinstance(settled, Exception):
            raise settled
        return settled


class Runtime:
    """Keeps what goes on with promises, until it is told to settle them; one after the other, as a runtime does."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Waiting, Callable[[Any], Any]]] = []

    def then(self, promise: Waiting, go_on: Callable[[Any], Any]) -> str:
        self.waiting.append((promise, go_on))
        return "a promise"

    def settle(self) -> Any:
        """Settle all there are; return what the last of them came to."""
        come_to = None
        while self.waiting:
            promise, go_on = self.waiting.pop(0)
            come_to = go_on(promise.error or promise.value)
        return come_to


async def answer_after(*waits: Callable[[], Awaitable[Any]]) -> list[Any]:
    return [await wait() for wait in waits]


async def told() -> Any:
    return await Waiting("told")


def test_what_never_waits_needs_no_promise() -> None:
    runtime = Runtime()
    assert drive(answer_at_once(), runtime.then) == "done"
    assert drive(answer_after(answer_at_once, answer_at_once), runtime.then) == ["done", "done"]
    assert not runtime.waiting


@pytest.mark.parametrize(
    ("waits", "results"),
    [
        pytest.param([told], ["told"], id="once"),
        pytest.param([lambda: Waiting(None)], [None], id="for nothing"),
        pytest.param([told, answer_at_once, told, told], ["told", "done", "told", "told"], id="three times"),
        pytest.param([answer_at_once, told], ["done", "told"], id="later"),
    ],
)
def test_what_waits_goes_on_from_where_it_is(waits: list[Callable[[], Awaitable[Any]]], results: list[Any]) -> None:
    runtime = Runtime()
    assert drive(answer_after(*waits), runtime.then) == "a promise"
    assert runtime.settle() == results


def test_each_step_is_taken_once_and_between_promises_others_are_served() -> None:
    runtime, steps = Runtime(), []

    async def stepping(name: str) -> None:
        for number in range(3):
            steps.append(f"{name}{number}")
            await told()

    drive(stepping("a"), runtime.then)
    drive(stepping("b"), runtime.then)
    assert steps == ["a0", "b0"]
    runtime.settle()
    assert steps == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("waits", [0, 1, 3])
def test_an_error_comes_out_as_it_is(waits: int) -> None:
    async def failing() -> None:
        for _ in range(waits):
            await told()
        raise LookupError("as it is")

    runtime = Runtime()

    def run() -> None:
        drive(failing(), runtime.then)
        runtime.settle()

    with pytest.raises(LookupError, match="as it is"):
        run()


def test_an_error_of_what_is_waited_for_can_be_handled_inside() -> None:
    async def handling() -> Any:
        try:
            return await Waiting(error=LookupError("from outside"))
        except LookupError:
            return await told()

    runtime = Runtime()
    drive(handling(), runtime.then)
    assert runtime.settle() == "told"


def test_what_is_never_gone_on_with_can_tidy_up() -> None:
    tidied = []

    async def waiting() -> None:
        try:
            await told()
        finally:
            tidied.append(True)

    runtime = Runtime()
    drive(waiting(), runtime.then)
    runtime.waiting.clear()  # as when a request is cut off: the runtime lets go of what would go on
    gc.collect()
    assert tidied == [True]
