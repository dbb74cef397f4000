"""One self-hosted node under a long load: 100,000 overlays and claims, after warming up, and how its memory goes on.

Overlays and claims come from two load generators side by side. The node's memory (its resident set, as Linux tells) is
sampled all the while; what it takes to warm up (the interpreter, compiled code, caches that fill) is told apart from
what it takes afterwards. In the end the report of every claim that was answered must have reached the origin.
"""

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from scripts.benchmarks.contexts import ask_claim, ask_overlay, list_clips, list_contexts
from scripts.benchmarks.figures import BenchError, Effort, say
from scripts.benchmarks.load import Load, Target, load_generator, write_requests
from scripts.benchmarks.nodes import ROOT, Node, running, write_product
from scripts.benchmarks.origin import REPORTED, serve_origin
from scripts.bundling import stage

REQUESTS: Final[dict[Effort, int]] = {"quick": 400, "normal": 100_000, "full": 1_000_000}
# Before those: until the caches are full, and the engine's heap has the size that it keeps.
WARM_UP: Final[dict[Effort, int]] = {"quick": 100, "normal": 120_000, "full": 120_000}
SLICE_MS: Final = 2000
SAMPLE_EACH_S: Final = 0.1
FLAT_MOST: Final = 0.05  # growth after warming up, as a share of what there was
MIB: Final = 2**20
SPOOL_EMPTY_S: Final = 60.0


class Sample(NamedTuple):
    """How much memory the node had when it had answered so many requests."""

    answered: int
    rss_bytes: int


class Soak:
    """The node under load, what it answered so far, and what it weighed meanwhile."""

    def __init__(self, node: Node, wanted: int) -> None:
        self._node, self._wanted = node, wanted
        self.answered = {"overlays": 0, "claims": 0}
        self.samples: list[Sample] = []

    @property
    def total(self) -> int:
        """How many requests were answered."""
        return sum(self.answered.values())

    async def drive(self, name: str, load: Load, target: Target) -> None:
        """Ask as fast as the node answers, until it has answered enough of both."""
        while self.total < self._wanted:
            self.answered[name] += (await load.saturate(target, SLICE_MS)).answered
            say(f"{self.total:,} of {self._wanted:,} requests, {self._node.rss_bytes() / MIB:,.0f} MiB")

    async def watch(self) -> None:
        """Sample the memory, for ever."""
        while True:
            self.samples.append(Sample(self.total, self._node.rss_bytes()))
            await asyncio.sleep(SAMPLE_EACH_S)


def judge_memory(samples: list[Sample], warm_up: int) -> dict[str, Any]:
    """Return how memory went: what there was after so many requests, and what came on top of that by the end."""
    warm = [sample for sample in samples if sample.answered >= warm_up]
    fifth = max(1, len(warm) // 5)
    before, after = (statistics.median(sample.rss_bytes for sample in part) for part in (warm[:fifth], warm[-fifth:]))
    return {
        "at_start_mib": round(samples[0].rss_bytes / MIB, 1),
        "warm_mib": round(before / MIB, 1),
        "end_mib": round(after / MIB, 1),
        "most_mib": round(max(sample.rss_bytes for sample in samples) / MIB, 1),
        "growth_bytes_per_request": round((after - before) / max(1, warm[-1].answered - warm_up), 1),
        "flat": after - before <= FLAT_MOST * before,
        "samples": len(samples),
    }


@contextlib.asynccontextmanager
async def _watched(soak: Soak) -> AsyncIterator[None]:
    watching = asyncio.create_task(soak.watch())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _until_delivered(node: Node, origin_url: str, claims: int) -> dict[str, int]:
    """Wait until the spool is empty; return messages that it delivered and dropped, and the claims in them.

    Raises:
        BenchError: it does not come to be, or a claim that was answered was not reported.
    """
    until = time.monotonic() + SPOOL_EMPTY_S
    while (spool := await _spool(node))["waiting"] and time.monotonic() < until:  # noqa: ASYNC110 - another process
        await asyncio.sleep(SAMPLE_EACH_S)
    async with httpx.AsyncClient(trust_env=False) as client:
        reported: int = (await client.get(origin_url + REPORTED)).raise_for_status().json()["claims"]
    if spool["waiting"] or spool["dropped"] or reported < claims:  # and those whose answer nobody waited for
        raise BenchError(f"{claims} claims were given, {reported} are reported, and the spool tells {spool}")
    return {"delivered": spool["delivered"], "dropped": spool["dropped"], "claims": reported}


async def _spool(node: Node) -> dict[str, int]:
    request = "GET / HTTP/1.1\r\nhost: node\r\n\r\n"
    _, _, body = await node.ask(request, node.status_port)
    told: dict[str, int] = json.loads(body)["spool"]
    return told


async def _measure(folder: Path, origin_url: str, effort: Effort) -> dict[str, Any]:
    product = write_product(folder / "product")
    contexts = list(list_contexts())
    overlays = write_requests(folder / "overlays.json", [ask_overlay(context) for context in contexts])
    claims = write_requests(
        folder / "claims.json", [asked for context in contexts if (asked := ask_claim(context)) is not None]
    )
    async with (
        running(product, product / "bin" / "workerd", origin_url) as node,
        load_generator() as overlay_load,
        load_generator() as claim_load,
    ):
        for context in contexts[: len(list_clips())]:
            await node.ask(ask_overlay(context))  # a clip each: the interpreter and the manifests are there
        soak = Soak(node, WARM_UP[effort] + REQUESTS[effort])
        began = time.perf_counter()
        async with _watched(soak):
            await asyncio.gather(
                soak.drive("overlays", overlay_load, Target(node.port, overlays, 200)),
                soak.drive("claims", claim_load, Target(node.port, claims, 201)),
            )
        lasted_s = time.perf_counter() - began
        soak.samples.append(Sample(soak.total, node.rss_bytes()))
        events = await _until_delivered(node, origin_url, soak.answered["claims"])
    return {
        "requests": soak.total,
        **soak.answered,
        "requests_per_s": round(soak.total / lasted_s),
        "events": events,
        "warm_up": WARM_UP[effort],
        "memory": judge_memory(soak.samples, WARM_UP[effort]),
    }


def measure(effort: Effort) -> dict[str, Any]:
    """Run the load against one node, and return what became of its memory."""
    say("staging the bundle, and writing a node")
    stage(ROOT)
    with (
        tempfile.TemporaryDirectory(prefix="cliptill-soak-", ignore_cleanup_errors=True) as name,
        serve_origin() as url,
    ):
        found = asyncio.run(_measure(Path(name), url, effort))
    return {"headline": {"soak_memory_flat": found["memory"]["flat"]}, **found}
