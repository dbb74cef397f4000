"""Rate limits in the runtime: the call beyond is refused, each node counts for itself, others do not notice."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edge.limiting import UNASKED
from scripts.bundling import stage_assets, stage_worker
from scripts.vendoring import vendor
from scripts.worker_settings import read_rate_limits
from tests import samples
from tests.emulator.origin_double import serve_origin
from tests.emulator.program import ROOT, RunningEdge, configure, running
from tests.emulator.test_contract_workerd import CLAIM_KEYS
from tests.emulator.workerd_program import running_node

LIMIT = 4
ADDRESS = "cf-connecting-ip"
LIMITS = {name: {"limit": LIMIT, "period": 10} for name in ("VIEWER_LIMIT", "NETWORK_LIMIT")}
NODES = [
    {"name": "fra", "port": 0, "country": "DE", "colo": "FRA"},
    {"name": "nrt", "port": 0, "country": "JP", "colo": "NRT"},
]
BEACON = json.dumps({"clip": "clip-1", "events": [{"type": "view", "at_ms": 1}]})


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    folder = tmp_path_factory.mktemp("limits")
    (ROOT / "build").mkdir(exist_ok=True)
    vendor(ROOT / "scripts" / "requirements" / "edge.txt", ROOT / "python_modules", ROOT / "build")
    stage_worker(ROOT, folder / "bundle")
    stage_assets(ROOT, folder / "assets")
    variables = {"ORIGIN_URL": "http://127.0.0.1:1", "ISSUER": samples.ISSUER}
    changes = {"vars": variables, "secrets": {"CLAIM_KEYS": CLAIM_KEYS}, "rate_limits": LIMITS, "nodes": NODES}
    with running(configure(folder, "http://127.0.0.1:1", **changes)) as started:
        stand_clock(started, 1_790_000_000_000)
        yield started


def stand_clock(emulator: RunningEdge, at_ms: int) -> None:
    """Have all clocks stand still: no period ends while a test counts."""
    emulator.control.put("/faults/all", json={"clock_ms": at_ms}).raise_for_status()


def report(client: httpx.Client, address: str) -> httpx.Response:
    return client.post("/v1/events", content=BEACON, headers={"content-type": "text/plain", ADDRESS: address})


def tap(client: httpx.Client, viewer: str, address: str) -> httpx.Response:
    """Tap on a clip that there is not: the limit comes before that is known."""
    body = {"clip": "none", "offer": "none", "viewer": viewer, "idempotency_key": samples.TAP}
    return client.post("/v1/claims", json=body, headers={ADDRESS: address})


def test_the_call_beyond_the_limit_is_refused_until_the_period_is_over(emulator: RunningEdge) -> None:
    node = emulator.node
    assert [report(node, "192.0.2.1").status_code for _ in range(UNASKED + LIMIT)] == [202] * (UNASKED + LIMIT)
    refused = report(node, "192.0.2.1")
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "rate_limited", "10")
    assert refused.headers["access-control-allow-origin"] == "*"
    assert report(node, "192.0.2.2").status_code == 202
    assert tap(node, samples.VIEWER, "192.0.2.1").status_code == 404
    stand_clock(emulator, 1_790_000_010_000)
    assert report(node, "192.0.2.1").status_code == 202


def test_another_node_counts_for_itself(emulator: RunningEdge) -> None:
    nodes = emulator.control.get("/state").json()["nodes"]
    with httpx.Client(base_url=nodes[1]["url"], trust_env=False) as other:
        for _ in range(UNASKED + LIMIT):
            report(emulator.node, "192.0.2.3")
        assert report(emulator.node, "192.0.2.3").status_code == 429
        assert report(other, "192.0.2.3").status_code == 202


def test_a_viewer_key_is_limited_wherever_it_comes_from(emulator: RunningEdge) -> None:
    addresses = [f"198.51.100.{number}" for number in range(UNASKED + LIMIT + 1)]
    answers = [tap(emulator.node, samples.VIEWER[::-1], address).status_code for address in addresses]
    assert answers == [404] * (UNASKED + LIMIT) + [429]
    assert tap(emulator.node, samples.VIEWER[::-1].swapcase(), "198.51.100.99").status_code == 404


def with_small_limits(edge_node: Path, folder: Path) -> Path:
    """Copy a self-hosted node, with the limits of these tests instead of its own."""
    shutil.copytree(edge_node, folder, copy_function=os.link)
    module = folder / "modules" / "rate_limits.mjs"
    module.unlink()
    module.write_text(f"export const limits = {json.dumps(LIMITS)};\n")
    return folder


def test_a_self_hosted_node_has_the_limits_of_the_worker(edge_node: Path) -> None:
    module = (edge_node / "modules" / "rate_limits.mjs").read_text()
    assert json.loads(module.removeprefix("export const limits = ").removesuffix(";\n")) == read_rate_limits(ROOT)


def test_a_self_hosted_node_believes_its_proxy_alone(edge_node: Path, tmp_path: Path) -> None:
    node_folder = with_small_limits(edge_node, tmp_path / "node")
    # As many as are refused although a period ends among them.
    forged = [f"203.0.113.{number}" for number in range(UNASKED + 2 * LIMIT + 1)]
    with serve_origin(lambda: samples.NOW_MS) as origin:
        with running_node(node_folder, origin.url, tmp_path / "proxied", ADDRESS_HEADER="x-client") as node:

            def report_by_proxy(client: str, address: str) -> int:
                headers = {"content-type": "text/plain", "x-client": client, ADDRESS: address}
                return node.client.post("/v1/events", content=BEACON, headers=headers).status_code

            assert {report_by_proxy("192.0.2.1", address) for address in forged} == {202, 429}
            assert report_by_proxy("192.0.2.2", forged[0]) == 202
        with running_node(node_folder, origin.url, tmp_path / "direct") as node:
            assert {report(node.client, "192.0.2.1").status_code for _ in forged} == {202}
