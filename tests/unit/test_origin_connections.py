"""HTTP/1.1 on a real socket: what is too much, what cannot be read, who is too slow, and what still has its answer."""

import asyncio
import json
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from typing import Any

import pytest

from origin.connections import MAX_HEAD_BYTES
from tests.talking import Client, talk, until

HOST = b"Host: origin\r\n"
GET = b"GET /hello?x=1 HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def head_of(size: int) -> bytes:
    """Return a head of so many bytes."""
    begun = b"GET /hello HTTP/1.1\r\n" + HOST + b"X-Fill: "
    return begun + b"f" * (size - len(begun) - 4) + b"\r\n\r\n"


MANY = b"GET /hello HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: 1\r\n" % number for number in range(3_000)) + b"\r\n"
TOO_LARGE = {
    "one header": head_of(MAX_HEAD_BYTES + 1),
    "many headers": MANY,
    "the address": b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "one header without an end": head_of(MAX_HEAD_BYTES * 3)[:-4],
}
LATER = {
    "trailers": CHUNKED + b"2\r\nhi\r\n0\r\nX-Fill: " + b"f" * 3 * MAX_HEAD_BYTES,
    "what a chunk says of itself": CHUNKED + b"2\r\nhi\r\n2;x=" + b"f" * 3 * MAX_HEAD_BYTES,
}
AT_ONCE = [pytest.param(given, len(given), id=f"{name}, at once") for name, given in TOO_LARGE.items()]
IN_PIECES = [pytest.param(given, 1_400, id=f"{name}, in pieces") for name, given in {**TOO_LARGE, **LATER}.items()]


@pytest.mark.parametrize(("given", "size"), AT_ONCE + IN_PIECES)
def test_too_large_a_head_is_refused_and_the_connection_ends(given: bytes, size: int) -> None:
    async def scene(client: Client) -> None:
        sent = asyncio.create_task(client.send(*(given[place : place + size] for place in range(0, len(given), size))))
        status, headers, body = await client.read_answer()
        assert (status, headers["content-type"]) == (431, "application/problem+json")
        assert json.loads(body)["code"] == "head_too_large"
        assert headers["access-control-allow-origin"] == "*"
        await asyncio.wait([sent])
        assert sent.exception() is None or isinstance(sent.exception(), ConnectionError)

    talk(scene)


@pytest.mark.parametrize("cut", [1, 9_000], ids=["at once", "in pieces"])
def test_head_of_just_the_limit_is_read(cut: int) -> None:
    async def scene(client: Client) -> None:
        whole = head_of(MAX_HEAD_BYTES)
        await client.send(whole[:-cut], whole[-cut:])
        assert (await client.read_answer())[0] == 200

    talk(scene)


def test_body_beyond_the_limit_of_a_head_is_the_applications_business() -> None:
    async def scene(client: Client) -> None:
        body = b"b" * 5 * MAX_HEAD_BYTES
        await client.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET)
        assert (await client.read_answer())[2] == body
        assert (await client.read_answer())[2] == b"hello x=1"

    talk(scene)


UNREADABLE = {
    "no request": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "no host": b"GET /hello HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /hello HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "a length that is none": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n",
    "a length and chunks": CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n0\r\n\r\n",
    "a chunk that is none": CHUNKED + b"zz\r\n",
    "a folded header": b"GET /hello HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "an address that is none": b"GET http://[ HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("request_bytes", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_a_problem_and_ends_the_connection(request_bytes: bytes) -> None:
    async def scene(client: Client) -> None:
        await client.send(request_bytes)
        status, headers, body = await client.read_answer()
        assert (status, headers["connection"], json.loads(body)["code"]) == (400, "close", "request_malformed")
        assert await client.read_rest() == b""

    talk(scene)


def test_what_came_before_something_unreadable_has_its_answer() -> None:
    async def scene(client: Client) -> None:
        await client.send(GET + b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n" + b"not HTTP at all\r\n\r\n")
        assert (await client.read_answer())[2] == b"hello x=1"
        client.app.go.set()
        status, headers, body = await client.read_answer()
        assert (status, headers["connection"], body) == (200, "close", b"waited")
        assert await client.read_rest() == b""

    talk(scene)


def test_requests_that_follow_each_other_at_once_are_answered_in_their_order() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n" + GET + GET)
        client.app.go.set()
        told = [(await client.read_answer())[2] for _ in range(3)]
        assert told == [b"waited", b"hello x=1", b"hello x=1"]

    talk(scene)


OWED = {
    "anything": b"",
    "the rest of a head": GET[:-2],
    "a body": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n",
    "the rest of a body": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nabc",
    "the next request": GET,
}


@pytest.mark.parametrize("sent", OWED.values(), ids=OWED)
def test_who_owes_something_for_too_long_is_left(sent: bytes) -> None:
    async def scene(client: Client) -> None:
        await client.send(sent)
        rest = await client.read_rest()
        assert rest.endswith(b"hello x=1") == (sent == GET)
        assert client.app.heard == (["gone"] if b"POST" in sent else [])

    talk(scene, timeout_keep_alive=0.1)


def test_who_waits_for_an_answer_owes_nothing() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n")
        await asyncio.sleep(0.4)
        client.app.go.set()
        assert (await client.read_answer())[2] == b"waited"

    talk(scene, timeout_keep_alive=0.1)


def test_shutdown_waits_for_what_was_taken_and_tells_to_go() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n")
        client.server.should_exit = True
        await until(lambda: not client.server.servers[0].is_serving())
        await asyncio.sleep(0.15)
        client.app.go.set()
        status, headers, body = await client.read_answer()
        assert (status, headers["connection"], body) == (200, "close", b"waited")
        assert await client.read_rest() == b""

    talk(scene)


def test_application_hears_that_the_client_has_gone() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nabc")
        client.writer.close()
        await until(lambda: bool(client.app.heard))

    talk(scene)


def test_client_is_told_to_go_on_only_when_its_body_is_wanted() -> None:
    expecting = b"HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"

    async def scene(client: Client) -> None:
        await client.send(b"POST /echo " + expecting)
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await client.read_answer())[2] == b"hi"
        await client.send(b"POST /refuse " + expecting)
        status, headers, _ = await client.read_answer()
        assert (status, headers["connection"]) == (413, "close")
        assert await client.read_rest() == b""

    talk(scene)


def test_trailers_are_dropped() -> None:
    async def scene(client: Client) -> None:
        await client.send(CHUNKED + b"2\r\nhi\r\n0\r\nAuthorization: x\r\n\r\n")
        assert (await client.read_answer())[2] == b"hi"
        assert [name for name, _ in client.app.headers[0]] == [b"host", b"transfer-encoding"]

    talk(scene)


def test_space_around_a_header_is_not_its_value() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"GET /hello HTTP/1.1\r\n" + HOST + b"DPoP: \t a b \t \r\n\r\n")
        assert (await client.read_answer())[0] == 200
        assert (b"dpop", b"a b") in client.app.headers[0]

    talk(scene)


LAST = {
    "stream": (b"GET /stream HTTP/1.1\r\n", b"transfer-encoding: chunked", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
    "stream to an old client": (b"GET /stream HTTP/1.0\r\n", b"connection: close", b"onetwo"),
    "head only": (b"HEAD /hello HTTP/1.1\r\n", b"content-length: 6", b""),
    "head of a stream": (b"HEAD /stream HTTP/1.1\r\n", b"200 OK", b""),
    "no content": (b"GET /nothing HTTP/1.1\r\n", b"204 No Content", b""),
    "whole address": (b"GET http://elsewhere/hello?x=2 HTTP/1.1\r\n", b"200 OK", b"hello x=2"),
    "protocol that is not ours": (b"GET /hello HTTP/1.1\r\nUpgrade: h2c\r\n", b"connection: close", b"hello "),
}


@pytest.mark.parametrize(("line", "told", "body"), LAST.values(), ids=LAST)
def test_answer_is_framed_as_its_request_allows(line: bytes, told: bytes, body: bytes) -> None:
    async def scene(client: Client) -> None:
        connection = b"Connection: close, Upgrade\r\n" if b"Upgrade" in line else b"Connection: close\r\n"
        await client.send(line + HOST + connection + b"\r\n")
        head, _, rest = (await client.read_rest()).partition(b"\r\n\r\n")
        assert told in head
        assert (b"transfer-encoding" in head) == told.startswith(b"transfer")
        assert rest == body

    talk(scene)


def test_head_and_body_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = _SelectorSocketTransport.write

    def note(transport: Any, data: bytes) -> None:
        written.append(bytes(data))
        write(transport, data)

    async def scene(client: Client) -> None:
        monkeypatch.setattr(_SelectorSocketTransport, "write", note)
        await client.send(GET)
        await client.read_answer()

    talk(scene, loop="asyncio")
    assert [data.startswith(b"HTTP/1.1 200 OK") and data.endswith(b"hello x=1") for data in written[1:]] == [True]


def test_answers_of_one_moment_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    write = _SelectorSocketTransport.write
    order: list[str] = []

    async def scene(client: Client) -> None:
        app, address = client.app, client.server.servers[0].sockets[0].getsockname()[:2]
        app.heard = order

        def note(transport: Any, data: bytes) -> None:
            order.extend(["leaves"] if data.startswith(b"HTTP/1.1 200") else [])
            write(transport, data)

        monkeypatch.setattr(_SelectorSocketTransport, "write", note)
        others = [Client(app, client.server, *await asyncio.open_connection(*address)) for _ in range(2)]
        for one in (client, *others):
            await one.send(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n")
        app.go.set()
        assert [(await one.read_answer())[2] for one in (client, *others)] == [b"waited"] * 3
        for one in others:
            one.writer.close()

    talk(scene, loop="asyncio")
    assert order == ["answer"] * 3 + ["leaves"] * 3


def test_shutdown_goes_behind_an_answer_that_is_about_to_leave() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n")
        await client.app.taken.wait()
        client.app.go.set()
        connection: Any = next(iter(client.server.server_state.connections))
        while not connection.cycle.response_complete:  # noqa: ASYNC110 - the very moment
            await asyncio.sleep(0)
        connection.shutdown()
        assert (await client.read_answer())[2] == b"waited"
        assert await client.read_rest() == b""

    talk(scene)


def test_header_that_breaks_its_line_is_never_sent() -> None:
    async def scene(client: Client) -> None:
        await client.send(b"GET /broken HTTP/1.1\r\n" + HOST + b"\r\n")
        told = await client.read_rest()
        assert told.startswith(b"HTTP/1.1 500")
        assert b"Cookie" not in told

    talk(scene)
