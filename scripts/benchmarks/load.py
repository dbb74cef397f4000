"""Drives the load generator, which is a program of its own (`load.mjs`): one job at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from scripts.benchmarks.figures import BenchError

CONNECTIONS: Final = 32
PACED_CONNECTIONS: Final = 128
PATIENCE_S: Final = 30.0
_PROGRAM: Final = Path(__file__).with_name("load.mjs")


class Target(NamedTuple):
    """Whom to ask, what, and the status of a good answer."""

    port: int
    requests: Path
    status: int


class Saturated(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answered when it was asked as fast as it answers."""

    answered: int
    failed: int
    problem: str
    rps: float


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers took at a fixed rate, from when each request was due.

    Attributes:
        answered: requests, those before what is measured too.
    """

    answered: int
    failed: int
    problem: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    most_ms: float


Figures = TypeVar("Figures", Saturated, Paced)


class Load:
    """The running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def saturate(self, target: Target, duration_ms: int) -> Saturated:
        """Ask as fast as the server answers, over a fixed number of connections.

        Raises:
            BenchError: when an answer has another status.
        """
        line = await self._run(target, duration_ms, {"connections": CONNECTIONS, "rate": 0})
        return _checked(msgspec.json.decode(line, type=Saturated), target)

    async def pace(self, target: Target, duration_ms: int, rate: float, warm_ms: int = 0) -> Paced:
        """Ask at a fixed rate, whatever the server does (open loop).

        Args:
            target: whom.
            duration_ms: for how long, of what is measured.
            rate: requests a second.
            warm_ms: for how long before that: new connections, and caches that nobody asked for a while, cost time.

        Raises:
            BenchError: when an answer has another status, or does not come.
        """
        manner = {"connections": PACED_CONNECTIONS, "rate": rate, "warm_ms": warm_ms}
        line = await self._run(target, duration_ms, manner)
        return _checked(msgspec.json.decode(line, type=Paced), target)

    async def _run(self, target: Target, duration_ms: int, manner: dict[str, float]) -> bytes:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("it is started with pipes")
        job = {"port": target.port, "requests": str(target.requests), "status": target.status}
        self._process.stdin.write(msgspec.json.encode({**job, "duration_ms": duration_ms, **manner}) + b"\n")
        await self._process.stdin.drain()
        whole_ms = duration_ms + manner.get("warm_ms", 0)
        line = await asyncio.wait_for(self._process.stdout.readline(), whole_ms / 1000 + PATIENCE_S)
        if not line:
            raise BenchError("the load generator ended")
        return line


def _checked(figures: Figures, target: Target) -> Figures:
    if figures.failed or not figures.answered:
        raise BenchError(
            f"port {target.port}: {figures.failed} requests not answered as they should: {figures.problem}"
        )
    return figures


def write_requests(file: Path, requests: Sequence[str]) -> Path:
    """Write what a job sends, in turn."""
    file.write_bytes(msgspec.json.encode(requests))
    return file


@contextlib.asynccontextmanager
async def load_generator() -> AsyncIterator[Load]:
    """Run the program; it ends when its input does."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(_PROGRAM)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Load(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
