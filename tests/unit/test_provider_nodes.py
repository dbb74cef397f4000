"""Feeding the edge nodes: each is told what it may see, until it has it, and everything when it starts anew."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator

import httpx

from scripts.emulator.kv import KvStore, Pair
from scripts.emulator.nodes import Fleet, Node, NodeFeeder

FLEET = Fleet(control="http://control", nodes=(Node(name="fra"), Node(name="nrt", lateness_ms=150)))


class Control:
    """The control address of the emulated edge: it keeps what it is told, and may be away."""

    def __init__(self) -> None:
        self.away = False
        self.held: dict[str, bytes] = {}
        self.told = asyncio.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.told.set()
        if self.away:
            return httpx.Response(503)
        # As sent: the key is one segment, whatever it holds.
        path = request.url.raw_path.decode()
        if request.method == "DELETE":
            self.held.pop(path, None)
        else:
            self.held[path] = request.content
        return httpx.Response(204)

    async def until(self, held: dict[str, bytes]) -> None:
        async with asyncio.timeout(5):
            while self.held != held:
                self.told.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.told.wait(), 0.05)


class Scene:
    """A store, a feeder and a control address."""

    def __init__(self, database: sqlite3.Connection, client: httpx.AsyncClient, control: Control) -> None:
        self.store = KvStore(database, ["manifests"])
        self.control = control
        self.feeder = NodeFeeder(self.store, "manifests", client, self.now_ms)

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def write(self, key: str, value: bytes) -> None:
        self.store.write("manifests", [Pair(key=key, value=value)], self.now_ms())
        self.feeder.notice()


@contextlib.asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    control = Control()
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        async with httpx.AsyncClient(transport=httpx.MockTransport(control)) as client:
            made = Scene(database, client, control)
            yield made
            await made.feeder.stop()


def test_each_node_is_told_a_write_as_late_as_it_is() -> None:
    async def tell() -> None:
        async with scene() as here:
            await here.feeder.start(FLEET)
            began_ms = here.now_ms()
            here.write("manifest/clip", b"one")
            await here.control.until({"/kv/fra/manifest%2Fclip": b"one"})
            await here.control.until({"/kv/fra/manifest%2Fclip": b"one", "/kv/nrt/manifest%2Fclip": b"one"})
            assert here.now_ms() - began_ms >= 150
            here.store.delete("manifests", ["manifest/clip"], here.now_ms())
            here.feeder.notice()
            await here.control.until({})

    asyncio.run(tell())


def test_a_node_that_does_not_answer_is_asked_until_it_does() -> None:
    async def tell() -> None:
        async with scene() as here:
            here.control.away = True
            here.write("k", b"one")
            await here.feeder.start(Fleet(control="http://control", nodes=(Node(name="fra"),)))
            await here.control.told.wait()
            assert not here.feeder.is_up_to_date()
            here.control.away = False
            await here.control.until({"/kv/fra/k": b"one"})
            await asyncio.sleep(0)
            assert here.feeder.is_up_to_date()

    asyncio.run(tell())


def test_a_fleet_that_starts_anew_is_told_everything() -> None:
    async def tell() -> None:
        async with scene() as here:
            here.write("k", b"one")
            for _start in range(2):
                here.control.held.clear()
                await here.feeder.start(Fleet(control="http://control", nodes=(Node(name="fra"),)))
                await here.control.until({"/kv/fra/k": b"one"})

    asyncio.run(tell())


def test_a_lateness_that_is_set_counts_from_then_on_and_what_was_seen_stays() -> None:
    async def tell() -> None:
        async with scene() as here:
            await here.feeder.start(Fleet(control="http://control", nodes=(Node(name="fra"), Node(name="nrt"))))
            here.write("manifest/clip", b'{"version": 1}')
            both = {"/kv/fra/manifest%2Fclip", "/kv/nrt/manifest%2Fclip"}
            await here.control.until(dict.fromkeys(both, b'{"version": 1}'))
            assert here.feeder.set_lateness("nrt", 60_000)
            here.write("manifest/clip", b'{"version": 2}')
            seen = {"/kv/fra/manifest%2Fclip": b'{"version": 2}', "/kv/nrt/manifest%2Fclip": b'{"version": 1}'}
            await here.control.until(seen)
            fra, nrt = here.feeder.views()
            assert [(key.version, key.newest, key.is_behind) for key in fra.keys + nrt.keys] == [
                (2, 2, False),
                (1, 2, True),
            ]
            assert (nrt.lateness_ms, nrt.started_late_ms) == (60_000, 0)
            assert here.feeder.set_lateness("all", None)
            await here.control.until(dict.fromkeys(both, b'{"version": 2}'))

    asyncio.run(tell())


def test_a_node_that_there_is_not_has_no_lateness() -> None:
    async def tell() -> None:
        async with scene() as here:
            await here.feeder.start(FLEET)
            assert not here.feeder.set_lateness("lhr", 5)

    asyncio.run(tell())
