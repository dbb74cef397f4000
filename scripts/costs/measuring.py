"""Measure what answers need: the staged bundle in the emulator, asked one request after another by as many viewers.

They come with pauses, so that each report is a message of its own: what isolates put together makes a drop cheaper.

Reads and messages are what the emulator counts at the bundle's bindings. Processor time is that of the whole workerd
process, its HTTP and the emulator's own work included, on this machine: more than the provider would count.
"""

import asyncio
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from edge.reporting import EVERY_MS
from scripts.benchmarks.contexts import make_manifest
from scripts.benchmarks.nodes import ROOT, SETTINGS
from scripts.benchmarks.origin import serve_origin
from scripts.bundling import stage
from scripts.children import Children
from scripts.costs.planning import KINDS, Sample, Usage
from scripts.costs.prices import OPERATIONS_A_MESSAGE
from scripts.demo.campaign import OFFERS
from scripts.worker_settings import read_rate_limits
from shared.catalogue.manifest import manifest_key
from shared.encoding import encode_base64url

CLIP: Final = "available-control"
NODE: Final = "fra"
WARM_UP: Final = 50
TIMEOUT_S: Final = 30.0
PAUSE_S: Final = 2 * EVERY_MS / 1000

Asked = tuple[str, str, bytes]


class CostError(Exception):
    """Nothing can be measured; the message says why."""


class Meter:
    """One running node, and what it has used so far."""

    def __init__(self, client: httpx.AsyncClient, control: str, edge_url: str, emulator: int) -> None:
        self._client, self._control, self._edge_url, self._emulator = client, control, edge_url, emulator

    async def sample(self, kind: str, count: int) -> Sample:
        """Ask for `count` answers of a kind, and return what they needed.

        Raises:
            CostError: an answer is no good one.
        """
        before = await self._read()
        for number in range(count):
            await self._ask(*_request(kind, f"{kind} {count} {number}"), address=_address(number))
            await asyncio.sleep(PAUSE_S)
        after = await self._read()
        used = {name: after[name] - before[name] for name in after}
        return Sample(count=count, usage=Usage(requests=count, **used))

    async def _ask(self, method: str, path: str, body: bytes, address: str) -> None:
        headers = {"accept": "application/json", "content-type": "text/plain", "cf-connecting-ip": address}
        answer = await self._client.request(method, self._edge_url + path, content=body, headers=headers)
        if not answer.is_success:
            raise CostError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:200]}")

    async def _read(self) -> dict[str, int]:
        state: dict[str, Any] = (await self._client.get(f"{self._control}/state")).raise_for_status().json()
        counts: dict[str, int] = state["nodes"][0]["measured"]["counts"]
        return {
            "cpu_us": _cpu_us(self._emulator),
            "kv_reads": counts.get("kv_reads", 0),
            "queue_operations": counts.get("queue_writes", 0) * OPERATIONS_A_MESSAGE,
        }


async def measure(counts: dict[str, int]) -> dict[str, Sample]:
    """Start a node, measure so many answers of each kind, and end it.

    Raises:
        CostError: the node does not do what it should, or the system does not tell processor time.
        RunError: the node does not start.
    """
    stage(ROOT)
    with tempfile.TemporaryDirectory(prefix="cliptill-cost-") as name, serve_origin() as origin_url:
        children = Children(Path(name) / "logs", ROOT)
        try:
            return await children.guard(_measure(children, Path(name), origin_url, counts))
        finally:
            await children.stop()


async def _measure(children: Children, folder: Path, origin_url: str, counts: dict[str, int]) -> dict[str, Sample]:
    file = folder / "edge.json"
    file.write_bytes(msgspec.json.encode(_configuration(origin_url)))
    command = ["node", str(ROOT / "scripts" / "emulator" / "edge.mjs"), str(file)]
    child = await children.start("edge", command, dict(os.environ))
    ready = await child.ready()
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        manifest = msgspec.json.encode(make_manifest(CLIP, time.time_ns() // 1_000_000))
        await client.put(f"{ready['control']}/kv/{NODE}/{manifest_key(CLIP)}", content=manifest)
        meter = Meter(client, ready["control"], ready["nodes"][0]["url"], child.process.pid)
        for kind in KINDS:
            await meter.sample(kind, WARM_UP)
        return {kind: await meter.sample(kind, counts[kind]) for kind in KINDS}


def _configuration(origin_url: str) -> dict[str, Any]:
    build = ROOT / "build"
    return {
        "nodes": [{"name": NODE, "port": 0}],
        "vars": {"ORIGIN_URL": origin_url, "ISSUER": SETTINGS["ISSUER"]},
        "secrets": {"CLAIM_KEYS": SETTINGS["CLAIM_KEYS"]},
        "origin_url": origin_url,
        "provider_url": origin_url,
        "rate_limits": read_rate_limits(ROOT),
        "bundle": str(build / "bundle"),
        "assets": str(build / "assets"),
        "cache_dir": str(build / "emulator"),
    }


def _request(kind: str, who: str) -> Asked:
    """Return one request of a kind; each comes from another viewer."""
    if kind == "overlay":
        return "GET", f"/v1/clips/{CLIP}/overlay", b""
    offer = next(iter(OFFERS))
    if kind == "stock":
        return "GET", f"/v1/drops/{CLIP}-{offer}/stock", b""
    if kind == "beacon":
        return "POST", "/v1/events", msgspec.json.encode({"clip": CLIP, "events": [{"type": "view", "at_ms": 1}]})
    digest = encode_base64url(hashlib.sha256(who.encode()).digest())
    return (
        "POST",
        "/v1/claims",
        msgspec.json.encode({"clip": CLIP, "offer": offer, "viewer": digest, "idempotency_key": digest[:22]}),
    )


def _address(number: int) -> str:
    """Return an address of its own for each viewer, of a network that is kept for documents (RFC 2544)."""
    return f"198.18.{number // 250 % 250}.{number % 250}"


def _cpu_us(pid: int) -> int:
    """Return the processor time that the children of a process have used so far."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        spent = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    except OSError as error:
        raise CostError("processor time can be measured on Linux only") from error
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in spent)
    return ticks * 1_000_000 // os.sysconf("SC_CLK_TCK")
