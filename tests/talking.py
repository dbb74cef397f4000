"""A small application behind the origin's connections, and a client that speaks to it byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from origin.connections import Connection

DEADLINE_S = 10


class App:
    """Answers by path; `/wait` when it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.taken = asyncio.Event()
        self.heard: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.headers.append(scope["headers"])
        answer: Callable[[Request], Awaitable[Response]] = getattr(self, scope["path"].strip("/"))
        await (await answer(request))(scope, receive, send)

    async def hello(self, request: Request) -> Response:
        return Response(f"hello {request.url.query}")

    async def echo(self, request: Request) -> Response:
        try:
            return Response(await request.body())
        except ClientDisconnect:
            self.heard.append("gone")
            return Response()

    async def wait(self, _: Request) -> Response:
        self.taken.set()
        await self.go.wait()
        self.heard.append("answer")
        return Response("waited")

    async def stream(self, _: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        return StreamingResponse(pieces())

    async def refuse(self, _: Request) -> Response:
        return Response("no", 413)

    async def nothing(self, _: Request) -> Response:
        return Response(status_code=204)

    async def broken(self, _: Request) -> Response:
        return Response("x", headers={"X-Told": "a\r\nSet-Cookie: b"})


class Client:
    def __init__(self, app: App, server: uvicorn.Server, reader: asyncio.StreamReader, writer: Any) -> None:
        self.app, self.server, self.reader, self.writer = app, server, reader, writer

    async def send(self, *pieces: bytes) -> None:
        """Send pieces so that each is read alone."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def read_answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def read_rest(self) -> bytes:
        """Read until the server closes."""
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)


def talk(scene: Callable[[Client], Awaitable[None]], **settings: Any) -> None:
    """Play a scene against a server of its own."""

    async def play() -> None:
        async with running(**settings) as client:
            await scene(client)

    asyncio.run(play())


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Client]:
    app = App()
    config = uvicorn.Config(
        app, port=0, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False, **settings
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
    try:
        yield Client(app, server, reader, writer)
    finally:
        app.go.set()
        writer.close()
        server.should_exit = True
        await asyncio.wait_for(serving, DEADLINE_S)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
