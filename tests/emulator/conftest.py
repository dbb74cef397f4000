"""One emulator with a small app, shared by the tests that leave it as it is; and self-hosted nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.vendoring import vendor
from tests.emulator.edge_program import Clock
from tests.emulator.origin_double import OriginDouble, serve_origin
from tests.emulator.program import ROOT, RunningEdge, configure, running
from tests.emulator.services import FakeServices, fake_services
from tests.emulator.stand_in import write_stand_in
from tests.emulator.workerd_program import Node, make_node, running_node


@pytest.fixture(scope="session")
def services() -> Iterator[FakeServices]:
    """What the edge talks to."""
    with fake_services() as fake:
        yield fake


@pytest.fixture(autouse=True)
def services_are_up(services: FakeServices) -> None:
    """Undo what a test before has done to the services."""
    services.up = True
    services.shared_cache_control = "public, s-maxage=60"


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small app, and the wheels that it needs."""
    (ROOT / "build").mkdir(exist_ok=True)
    vendor(ROOT / "scripts" / "requirements" / "edge.txt", ROOT / "python_modules", ROOT / "build")
    folder = tmp_path_factory.mktemp("stand-in")
    write_stand_in(folder)
    return folder


@pytest.fixture(scope="session")
def edge(stand_in: Path, services: FakeServices) -> Iterator[RunningEdge]:
    """The emulator, started once with nothing kept."""
    with running(configure(stand_in, services.url)) as started:
        yield started


@pytest.fixture(scope="session")
def edge_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-hosted node of the product's own bundle as it is now; tests copy it, and leave it as it is."""
    return make_node(tmp_path_factory.mktemp("edge-node") / "node")


@pytest.fixture
def origin() -> Iterator[OriginDouble]:
    """The origin of a self-hosted node."""
    with serve_origin(Clock().now_ms) as origin:
        yield origin


@pytest.fixture
def node(edge_node: Path, origin: OriginDouble, tmp_path: Path) -> Iterator[Node]:
    """A self-hosted node that runs, with nothing in its spool."""
    with running_node(edge_node, origin.url, tmp_path / "state") as node:
        yield node
