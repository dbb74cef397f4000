"""The edge in plain workerd: overlays and claims, beside hand-written JavaScript, in one run.

* `product`: the staged bundle in the host of a self-hosted node: CPython in WebAssembly, Starlette, our own bridge.
* `javascript`: a hand-written worker that gives the same bytes, checked before anything is measured; claims are signed
  with WebCrypto. It parses addresses, headers and bodies, keeps compiled overlays, and reports claims, in as few
  messages.
* `sdk_adapter`: the same app behind the SDK's own ASGI adapter.
* `hello`: a JavaScript worker that does nothing: the ceiling of this machine, this runtime and the load generator.

Each is one isolate in a process of its own, and all are asked in turn. At saturation, 32 connections each ask again
when they have their answer. Then requests come at half of what the product sustained, open loop, and latency counts
from when each was due, once connections and caches are warm. All of this is done with several processes of each,
warmed up for some seconds, and figures are medians over them: one process differs from the next of the same program by
a tenth.
"""

import asyncio
import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
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
    """How much is measured: rounds are of each of the processes."""

    processes: int
    warm_ms: int  # after this, the engine has compiled what is asked often for good
    rounds: int
    round_ms: int
    paced_warm_ms: int
    paced_ms: int
    cold_starts: int
    compared: int


WHOLE: Final = Effort(
    processes=3,
    warm_ms=4000,
    rounds=3,
    round_ms=1500,
    paced_warm_ms=1500,
    paced_ms=4000,
    cold_starts=3,
    compared=400,
)
QUICK: Final = Effort(
    processes=1, warm_ms=500, rounds=1, round_ms=800, paced_warm_ms=200, paced_ms=800, cold_starts=1, compared=60
)


class Kind(NamedTuple):
    """A kind of request: the file that has ten thousand of them, the status of a good answer, and who is asked."""

    requests: Path
    status: int
    asked: tuple[str, ...]


class EdgeBench:
    """The edges' folders, what runs them, and the load generator.

    Args:
        origin_url: where they read manifests and stock.
        first: a request that boots an interpreter.
    """

    def __init__(self, folders: dict[str, Path], origin_url: str, first: str, load: Load, effort: Effort) -> None:
        self._folders, self._origin_url, self._first, self._load = folders, origin_url, first, load
        self._effort = effort

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Node]]:
        """Run new processes of all edges."""
        program = self._folders[PRODUCT] / "bin" / "workerd"
        async with contextlib.AsyncExitStack() as stack:
            nodes = {
                name: await stack.enter_async_context(running(folder, program, self._origin_url))
                for name, folder in self._folders.items()
            }
            for node in nodes.values():
                await node.ask(self._first)
            yield nodes

    async def measure(self, kinds: dict[str, Kind]) -> dict[str, Any]:
        """Measure each kind of request: how many, then how fast."""
        found = {name: Found() for name in kinds}
        for number in range(self._effort.processes):
            say(f"processes {number + 1} of {self._effort.processes}, as fast as they answer")
            async with self.running() as nodes:
                for name, kind in kinds.items():
                    await self._saturate(nodes, kind, found[name])
        for number in range(self._effort.processes):
            say(f"processes {number + 1} of {self._effort.processes}, at half of that")
            async with self.running() as nodes:
                for name, kind in kinds.items():
                    await self._pace(nodes, kind, found[name])
        return {name: _tell(of_kind) for name, of_kind in found.items()}

    async def _saturate(self, nodes: dict[str, Node], kind: Kind, found: "Found") -> None:
        for name in kind.asked:
            await self._load.saturate(Target(nodes[name].port, kind.requests, kind.status), self._effort.warm_ms)
        spent: dict[str, list[tuple[float, int]]] = {name: [] for name in kind.asked}
        contenders = {name: self._saturating(nodes[name], kind, spent[name]) for name in kind.asked}
        rates = await run_in_turn(contenders, self._effort.rounds)
        for name in kind.asked:
            found.rates.setdefault(name, []).extend(rates[name])
            found.spent.setdefault(name, []).extend(spent[name][1:])  # the first warms up

    def _saturating(self, node: Node, kind: Kind, spent: list[tuple[float, int]]) -> Contender:
        target = Target(node.port, kind.requests, kind.status)

        async def run() -> float:
            began_s = node.cpu_s()
            done = await self._load.saturate(target, self._effort.round_ms)
            ended_s = node.cpu_s()
            if began_s is not None and ended_s is not None:
                spent.append((1e6 * (ended_s - began_s), done.answered))
            return done.rps

        return run

    async def _pace(self, nodes: dict[str, Node], kind: Kind, found: "Found") -> None:
        for name in (PRODUCT, JAVASCRIPT):
            target = Target(nodes[name].port, kind.requests, kind.status)
            await self._load.saturate(target, self._effort.warm_ms)
            paced = await self._load.pace(target, self._effort.paced_ms, found.rate, self._effort.paced_warm_ms)
            say(f"{found.rate:,.0f} a second: {name}: p99 {paced.p99_ms:.1f} ms")
            found.paced.setdefault(name, []).append(paced)


@dataclass
class Found:
    """What was measured of one kind of request, by edge: over all processes, and in each the same order of edges.

    Attributes:
        rates: requests a second, at saturation.
        spent: processor time (microseconds) and requests of the same rounds.
        paced: latencies at half of what the product sustained.
    """

    rates: dict[str, list[float]] = field(default_factory=dict)
    spent: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    paced: dict[str, list[Paced]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Half of what the product sustained."""
        return statistics.median(self.rates[PRODUCT]) / 2


def _tell(found: Found) -> dict[str, Any]:
    rates, paced = found.rates, found.paced
    return {
        "requests_per_s": {name: summarise("requests/s", rounds) for name, rounds in rates.items()},
        "vs_javascript": ratio(rates[PRODUCT], rates[JAVASCRIPT]),
        "vs_sdk_adapter": ratio(rates[PRODUCT], rates[SDK_ADAPTER]),
        "cpu_us_per_request": {name: _cpu_us(spent) for name, spent in found.spent.items()},
        "rate_per_s": round(found.rate),
        "latency": {name: _latency(rounds) for name, rounds in paced.items()},
        "p99_vs_javascript": ratio(
            [figures.p99_ms for figures in paced[PRODUCT]], [figures.p99_ms for figures in paced[JAVASCRIPT]]
        ),
    }


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
    async with load_generator() as load:
        bench = EdgeBench(folders, origin_url, overlays[0], load, effort)
        say(f"comparing {2 * effort.compared} answers of product and JavaScript")
        async with bench.running() as nodes:
            for requests in (overlays, claims):
                await compare_answers(nodes[PRODUCT], nodes[JAVASCRIPT], requests[: effort.compared])
        apps = (PRODUCT, JAVASCRIPT, SDK_ADAPTER)
        kinds = {
            "overlay": Kind(write_requests(folder / "overlays.json", overlays), 200, (*apps, HELLO)),
            "claim": Kind(write_requests(folder / "claims.json", claims), 201, apps),
        }
        return {**await bench.measure(kinds), "cold": cold}


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
