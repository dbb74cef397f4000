"""The edge in plain workerd: overlays and claims, beside hand-written JavaScript, in one run.

* `product`: the staged bundle in the host of a self-hosted node: CPython in WebAssembly, Starlette, our own bridge.
* `javascript`: a hand-written worker that gives the same bytes, checked before anything is measured; claims are signed
  with WebCrypto. It parses addresses, headers and bodies, keeps compiled overlays, and reports claims, in as few
  messages.
* `sdk_adapter`: the same app behind the SDK's own ASGI adapter.
* `hello`: a JavaScript worker that does nothing: the ceiling of this machine, this runtime and the load generator.

Each is one isolate in a process of its own, and all are asked in turn. At saturation, 32 connections each ask again
when they have their answer. Then requests come at half of what the product sustained, open loop, and latency counts
from when each was due.
"""

import asyncio
import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from scripts.benchmarks.contexts import CONTEXTS, ask_claim, ask_overlay, list_contexts
from scripts.benchmarks.figures import BenchError, Contender, ratio, run_in_turn, say, summarise
from scripts.benchmarks.load import Load, Paced, Target, load_generator, write_requests
from scripts.benchmarks.nodes import ROOT, Node, running, write_bundle, write_javascript, write_sdk_adapter
from scripts.benchmarks.origin import serve_origin
from scripts.bundling import stage

COMPARED: Final = {
    "product": "the staged bundle, CPython in WebAssembly, in plain workerd; a queue that takes events at once",
    "javascript": "a hand-written JavaScript worker with the same bytes, surroundings and reports; WebCrypto signs",
    "sdk_adapter": "the same app behind the SDK's ASGI adapter",
    "hello": "a JavaScript worker that does nothing",
    "contexts": "10,000: 20 clips (5 states of stock, 4 arms), 10 languages, 5 locales, 10 currencies, 8 countries",
}
PRODUCT, JAVASCRIPT, SDK_ADAPTER, HELLO = "product", "javascript", "sdk_adapter", "hello"
# Instants, and what is signed over them, differ between two answers of one edge.
_INSTANT: Final = re.compile(rb'("(?:server_time|as_of|expires_at)_ms":|"claim":)(?:\d+|"[\w.-]+")')


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    round_ms: int
    paced_ms: int
    cold_starts: int
    compared: int


WHOLE: Final = Effort(rounds=3, round_ms=2000, paced_ms=4000, cold_starts=3, compared=400)
QUICK: Final = Effort(rounds=1, round_ms=1000, paced_ms=800, cold_starts=1, compared=60)


class Kind(NamedTuple):
    """A kind of request: the file that has ten thousand of them, and the status of a good answer."""

    requests: Path
    status: int


class EdgeBench:
    """The running edges, and the load generator in front of them.

    Attributes:
        spent: of each edge, processor time (microseconds) and requests of all rounds at saturation.
    """

    def __init__(self, nodes: dict[str, Node], load: Load, effort: Effort) -> None:
        self.nodes, self.load, self.effort = nodes, load, effort
        self.spent: dict[str, list[tuple[float, int]]] = {}

    async def measure(self, kind: Kind, names: tuple[str, ...]) -> dict[str, Any]:
        """Measure one kind of request: how many, then how fast."""
        self.spent = {name: [] for name in names}
        rates = await run_in_turn({name: self._saturating(name, kind) for name in names}, self.effort.rounds)
        rate = statistics.median(rates[PRODUCT]) / 2
        paced = await self._pace(kind, (PRODUCT, JAVASCRIPT), rate)
        return {
            "requests_per_s": {name: summarise("requests/s", rounds) for name, rounds in rates.items()},
            "vs_javascript": ratio(rates[PRODUCT], rates[JAVASCRIPT]),
            "vs_sdk_adapter": ratio(rates[PRODUCT], rates[SDK_ADAPTER]),
            "cpu_us_per_request": {name: _cpu_us(spent[1:]) for name, spent in self.spent.items()},
            "rate_per_s": round(rate),
            "latency": {name: _latency(rounds) for name, rounds in paced.items()},
            "p99_vs_javascript": ratio(
                [figures.p99_ms for figures in paced[PRODUCT]], [figures.p99_ms for figures in paced[JAVASCRIPT]]
            ),
        }

    def _saturating(self, name: str, kind: Kind) -> Contender:
        status = 200 if name == HELLO else kind.status

        async def run() -> float:
            node = self.nodes[name]
            began_s = node.cpu_s()
            target = Target(node.port, kind.requests, status)
            done = await self.load.saturate(target, self.effort.round_ms)
            ended_s = node.cpu_s()
            if began_s is not None and ended_s is not None:
                self.spent[name].append((1e6 * (ended_s - began_s), done.answered))
            return done.rps

        return run

    async def _pace(self, kind: Kind, names: tuple[str, ...], rate: float) -> dict[str, list[Paced]]:
        figures: dict[str, list[Paced]] = {name: [] for name in names}
        for number in range(self.effort.rounds):
            for name in names:
                target = Target(self.nodes[name].port, kind.requests, kind.status)
                paced = await self.load.pace(target, self.effort.paced_ms, rate)
                say(f"{rate:,.0f} a second, round {number + 1}: {name}: p99 {paced.p99_ms:.1f} ms")
                figures[name].append(paced)
        return figures


def _cpu_us(spent: list[tuple[float, int]]) -> float | None:
    """Return what a request costs over all rounds; a shared machine's other work is not in it."""
    return round(sum(cpu_us for cpu_us, _ in spent) / sum(count for _, count in spent), 1) if spent else None


def _latency(rounds: list[Paced]) -> dict[str, Any]:
    return {
        "p50": summarise("ms", [figures.p50_ms for figures in rounds]),
        "p95": summarise("ms", [figures.p95_ms for figures in rounds]),
        "p99": summarise("ms", [figures.p99_ms for figures in rounds]),
    }


async def compare_answers(ours: Node, theirs: Node, requests: list[str]) -> None:
    """Ask both edges the same.

    Raises:
        BenchError: when an answer differs in more than instants; the message has the request and both answers.
    """
    for request in requests:
        answers = [await node.ask(request) for node in (ours, theirs)]
        first, second = ((status, _kept(headers), _INSTANT.sub(rb"\1", body)) for status, headers, body in answers)
        if first != second:
            raise BenchError(f"the answers to {request!r} differ:\n{first}\n{second}")


def _kept(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("server-timing", "date")}


async def _measure_cold(folder: Path, program: Path, origin_url: str, effort: Effort) -> dict[str, Any]:
    """Start an edge anew several times, and time its first overlay."""
    request = ask_overlay(next(list_contexts(1)))
    listening, first = [], []
    for _ in range(effort.cold_starts):
        async with running(folder, program, origin_url) as node:
            began = time.perf_counter()
            status, _, _ = await node.ask(request)
            first.append(1000 * (time.perf_counter() - began))
            listening.append(node.listening_ms)
        say(f"cold: {folder.name}: listens after {listening[-1]:.0f} ms, first overlay {first[-1]:.0f} ms, {status}")
    return {
        "process_start": summarise("ms", listening),
        "first_overlay": summarise("ms", first),
        "both": summarise("ms", [sum(pair) for pair in zip(listening, first, strict=True)]),
    }


@contextlib.asynccontextmanager
async def _all_running(folders: dict[str, Path], program: Path, origin_url: str) -> AsyncIterator[dict[str, Node]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(running(folder, program, origin_url))
            for name, folder in folders.items()
        }


def _write_folders(folder: Path) -> dict[str, Path]:
    product = write_bundle(folder / PRODUCT)
    return {
        PRODUCT: product,
        JAVASCRIPT: write_javascript(folder / JAVASCRIPT, "javascript.mjs", product),
        SDK_ADAPTER: write_sdk_adapter(folder / SDK_ADAPTER),
        HELLO: write_javascript(folder / HELLO, "hello.mjs", product),
    }


async def _measure(folder: Path, origin_url: str, effort: Effort) -> dict[str, Any]:
    folders = _write_folders(folder)
    program = folders[PRODUCT] / "bin" / "workerd"
    contexts = list(list_contexts())
    overlays = [ask_overlay(context) for context in contexts]
    claims = [asked for context in contexts if (asked := ask_claim(context))]
    cold = {name: await _measure_cold(folders[name], program, origin_url, effort) for name in (PRODUCT, JAVASCRIPT)}
    async with _all_running(folders, program, origin_url) as nodes, load_generator() as load:
        for node in nodes.values():
            await node.ask(overlays[0])  # the interpreters boot now, and not in a round
        say(f"comparing {2 * effort.compared} answers of product and JavaScript")
        for requests in (overlays, claims):
            await compare_answers(nodes[PRODUCT], nodes[JAVASCRIPT], requests[: effort.compared])
        bench = EdgeBench(nodes, load, effort)
        overlay = Kind(write_requests(folder / "overlays.json", overlays), 200)
        claim = Kind(write_requests(folder / "claims.json", claims), 201)
        return {
            "overlay": await bench.measure(overlay, (PRODUCT, JAVASCRIPT, SDK_ADAPTER, HELLO)),
            "claim": await bench.measure(claim, (PRODUCT, JAVASCRIPT, SDK_ADAPTER)),
            "cold": cold,
        }


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Run the comparison, and return its figures; those that have a bar are in `headline`.

    Args:
        quick: measure so little that only the way there is tested, and no figure is worth quoting.
    """
    say("staging the bundle, and writing the edges")
    manifest = stage(ROOT)
    with (
        tempfile.TemporaryDirectory(prefix="cliptill-bench-", ignore_cleanup_errors=True) as name,
        serve_origin() as url,
    ):
        found = asyncio.run(_measure(Path(name), url, QUICK if quick else WHOLE))
    overlay, claim = found["overlay"], found["claim"]
    headline = {
        "overlay_rps_vs_js": overlay["vs_javascript"],
        "claim_rps_vs_js": claim["vs_javascript"],
        "overlay_p99_ms": overlay["latency"][PRODUCT]["p99"].median,
        "overlay_p99_vs_js": overlay["p99_vs_javascript"],
        "claim_p99_ms": claim["latency"][PRODUCT]["p99"].median,
        "claim_p99_vs_js": claim["p99_vs_javascript"],
        "overlay_cpu_us": overlay["cpu_us_per_request"][PRODUCT],
        "claim_cpu_us": claim["cpu_us_per_request"][PRODUCT],
        "cold_start_ms": found["cold"][PRODUCT]["first_overlay"].median,
        "bundle_gzip_bytes": manifest["gzip_bytes"],
    }
    return {"headline": headline, "compared": COMPARED, "contexts": CONTEXTS, **found}
