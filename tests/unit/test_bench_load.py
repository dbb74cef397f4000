"""The load generator: it counts what is answered, and a latency from when its request was due."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scripts.benchmarks.figures import BenchError
from scripts.benchmarks.load import Target, load_generator, write_requests

ROOT = Path(__file__).resolve().parents[2]
REQUEST = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 22\r\n\r\n" + "0" * 22
STALL_S = 0.3
LONG_STALL_S = 1.0


class Server:
    """Answers `REQUEST`, in pieces; it remembers bodies, and stalls once if it is told to."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.status = 200
        self.stall_at, self.stall_s = -1, STALL_S

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                assert head.startswith(b"POST ")
                self.bodies.append((await reader.readexactly(22)).decode())
                if len(self.bodies) == self.stall_at:
                    await asyncio.sleep(self.stall_s)
                writer.write(b"HTTP/1.1 %d x\r\nContent-Le" % self.status)
                await writer.drain()
                writer.write(b"ngth: 5\r\n\r\nhel")
                await writer.drain()
                writer.write(b"lo")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Server, Target]]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield server, Target(port, write_requests(folder / "requests.json", [REQUEST]), 200)


def test_every_answer_is_counted_and_every_tap_is_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, target), load_generator() as load:
            done = await load.saturate(target, 200)
            assert 0 < done.answered <= len(server.bodies)
            assert done.rps > 0
            assert len(set(server.bodies)) == len(server.bodies)

    asyncio.run(run())


def test_an_answer_of_another_status_ends_the_measurement(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, target), load_generator() as load:
            server.status = 503
            with pytest.raises(BenchError, match=r"not answered as they should: HTTP/1\.1 503"):
                await load.saturate(target, 200)
            with pytest.raises(BenchError, match=r"not answered as they should: HTTP/1\.1 503"):
                await load.pace(target, 100, 50)

    asyncio.run(run())


def test_a_fixed_rate_sends_what_is_due_and_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, target), load_generator() as load:
            done = await load.pace(target, 500, 200)
            assert done.answered == len(server.bodies) == 100
            assert 0 < done.p50_ms <= done.p95_ms <= done.p99_ms <= done.most_ms

    asyncio.run(run())


def test_a_stall_counts_in_the_request_that_met_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, target), load_generator() as load:
            server.stall_at = 3
            done = await load.pace(target, 200, 100)
            assert done.answered == 20
            assert done.most_ms >= 1000 * STALL_S * 0.9

    asyncio.run(run())


def test_a_stall_before_what_is_measured_does_not_count(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, target), load_generator() as load:
            server.stall_at, server.stall_s = 3, LONG_STALL_S
            done = await load.pace(target, 200, 100, warm_ms=200)
            assert done.answered == len(server.bodies) == 40
            assert done.most_ms < 1000 * LONG_STALL_S * 0.8

    asyncio.run(run())


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ([], [0, 0, 0, 0]),
        ([7], [7, 7, 7, 7]),
        ([3, 1, 2], [2, 3, 3, 3]),
        (list(range(100, 0, -1)), [50, 95, 99, 100]),
        (list(range(1, 1001)), [500, 950, 990, 1000]),
    ],
    ids=["none", "one", "three", "a hundred", "a thousand"],
)
def test_percentiles_are_latencies_that_were_measured(latencies: list[int], expected: list[int]) -> None:
    program = (
        'import { percentiles } from "./scripts/benchmarks/percentiles.mjs";'
        f"console.log(JSON.stringify(Object.values(percentiles(Float64Array.from({latencies})))));"
    )
    command = ["node", "--input-type=module", "--eval", program]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == expected
