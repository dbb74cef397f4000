"""The bridge: a request's scope, and coroutines that are driven without an event loop as far as they go."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import Request
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


async def answer_nothing(_: Request) -> Response:
    raise AssertionError("nothing has its own way here")


def behind(app: ASGIApp) -> Front:
    return Front(app, answer_nothing, answer_nothing, Response)


async def read_nothing() -> bytes:
    raise AssertionError("the body must not be read")


def test_a_body_is_read_only_when_it_is_asked_for() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": [(b"a", b"\xe9")]})
        await send({"type": "http.response.body"})

    answer = drive(call_app(behind(app), scope_of("https://e.example/"), read_nothing))
    assert answer == Answer(status=204, headers=[(b"a", b"\xe9")], body=b"")


def test_an_answer_in_pieces_is_put_together() -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})

    async def read() -> bytes:
        return b"hello"

    assert drive(call_app(behind(app), scope_of("https://e.example/"), read)).body == b"hello!"


def test_an_unforeseen_error_is_raised_for_the_log() -> None:
    async def app(_: Scope, __: Receive, ___: Send) -> None:
        raise LookupError("for the log")

    with pytest.raises(LookupError, match="for the log"):
        drive(call_app(behind(app), scope_of("https://e.example/"), read_nothing))


async def answer_at_once() -> str:
    return "done"


async def answer_after(*waits: Callable[[], Awaitable[Any]]) -> list[Any]:
    return [await wait() for wait in waits]


def test_what_never_waits_needs_no_event_loop() -> None:
    assert drive(answer_at_once()) == "done"
    assert drive(answer_after(answer_at_once, answer_at_once)) == ["done", "done"]


async def sleep() -> str:
    await asyncio.sleep(0)
    return "slept"


async def wait_for_a_future() -> str:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, future.set_result, "told")
    return await future


async def wait_for_a_task() -> str:
    return await asyncio.create_task(sleep())


@pytest.mark.parametrize(
    ("waits", "results"),
    [
        pytest.param([wait_for_a_future], ["told"], id="once"),
        pytest.param([sleep], ["slept"], id="bare yield"),
        pytest.param([sleep, wait_for_a_future, wait_for_a_task], ["slept", "told", "slept"], id="three times"),
        pytest.param([answer_at_once, wait_for_a_future], ["done", "told"], id="later"),
    ],
)
def test_what_waits_goes_on_from_where_it_is(waits: list[Callable[[], Awaitable[Any]]], results: list[str]) -> None:
    async def run() -> Any:
        return await drive(answer_after(*waits))

    assert asyncio.run(run()) == results


def test_each_step_is_taken_once() -> None:
    steps: list[int] = []

    async def stepping() -> None:
        steps.append(1)
        await wait_for_a_future()
        steps.append(2)
        await sleep()
        steps.append(3)

    async def run() -> None:
        rest = drive(stepping())
        assert steps == [1]
        await rest

    asyncio.run(run())
    assert steps == [1, 2, 3]


@pytest.mark.parametrize("waits", [0, 1, 3])
def test_an_error_comes_out_as_it_is(waits: int) -> None:
    async def failing() -> None:
        for _ in range(waits):
            await wait_for_a_future()
        raise LookupError("as it is")

    async def run() -> None:
        await drive(failing())

    with pytest.raises(LookupError, match="as it is"):
        asyncio.run(run())


def test_an_error_of_what_is_waited_for_can_be_handled_inside() -> None:
    async def handling() -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, LookupError("from outside"))
        try:
            return await future
        except LookupError:
            return await wait_for_a_future()

    async def run() -> Any:
        return await drive(handling())

    assert asyncio.run(run()) == "told"


async def cancelled(coroutine: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> bool:
    """Cancel a driven coroutine while it waits; return whether it could tidy up."""
    tidied = asyncio.Event()

    async def run() -> None:
        await drive(coroutine(tidied))

    task = asyncio.create_task(run())
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return tidied.is_set()


async def wait_for_ever(tidied: asyncio.Event) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        tidied.set()


async def wait_for_ever_the_second_time(tidied: asyncio.Event) -> None:
    await sleep()
    await wait_for_ever(tidied)


@pytest.mark.parametrize("coroutine", [wait_for_ever, wait_for_ever_the_second_time])
def test_what_is_cancelled_can_tidy_up(coroutine: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> None:
    assert asyncio.run(cancelled(coroutine))


def test_the_rest_is_closed_when_nobody_waits_for_it() -> None:
    async def run() -> bool:
        tidied = asyncio.Event()
        rest = drive(wait_for_ever(tidied))
        iterator = rest.__await__()
        next(iterator)
        iterator.close()
        return tidied.is_set()

    assert asyncio.run(run())
