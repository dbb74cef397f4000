"""The edge's contract, kept by a self-hosted node: plain `workerd serve`, manifests and events over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.contract.edge_driver import Documentation, Edge
from tests.contract.edge_suite import EdgeContract
from tests.emulator.edge_program import Clock, ProgramWorld, SocketClient
from tests.emulator.origin_double import serve_origin
from tests.emulator.workerd_program import COUNTRY_HEADER, Node, make_faulty, running_node


class Standing(NamedTuple):
    """A node that runs, and the world around it."""

    node: Node
    world: ProgramWorld


@pytest.fixture(scope="module")
def standing(edge_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One node for all tests here, and the origin that it knows."""
    folder = tmp_path_factory.mktemp("contract")
    faulty = make_faulty(edge_node, folder / "node")
    clock = Clock()
    with serve_origin(clock.now_ms) as origin, running_node(folder / "node", origin.url, folder / "state") as node:

        def publish(clip: str, document: bytes | None) -> None:
            if document is None:
                origin.manifests.pop(clip, None)
            else:
                origin.manifests[clip] = document

        def set_faults(*, store: str, clock_shift_ms: int, clock_ms: int | None) -> None:
            origin.store_away = store == "dead"
            faults = {"store": store, "clock_shift_ms": clock_shift_ms, "clock_ms": clock_ms}
            assert httpx.put(f"http://{faulty}/", json=faults, trust_env=False).status_code == 200

        yield Standing(node, ProgramWorld(origin, clock, set_faults, publish))


@pytest.fixture(scope="module")
def client(standing: Standing) -> Iterator[SocketClient]:
    url = str(standing.node.client.base_url)
    made = SocketClient(url, lambda: standing.world.country, COUNTRY_HEADER)
    yield made
    made.close()


@pytest.fixture(scope="module")
def documentation(client: SocketClient) -> Documentation:
    return Documentation(client.request("GET", "/openapi.json", {}).json)


@pytest.fixture
def edge(client: SocketClient, standing: Standing, documentation: Documentation) -> Iterator[Edge]:
    yield Edge(client, standing.world, documentation)
    standing.world.heal()


class TestSelfHostedEdge(EdgeContract):
    pass
