"""One embedded server for the whole session, one fresh database for each test that asks, processes that end with it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.servers import Server
from tests.postgres.world import OriginProcess, World


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="cliptill-pg-"))
    started = Server(folder)
    try:
        yield started
    finally:
        started.stop_for_good()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def conninfo(server: Server) -> Iterator[str]:
    """Connection string of an empty database with the present schema."""
    with server.database() as made:
        yield made


@pytest.fixture
def world(conninfo: str) -> Iterator[World]:
    """An empty database with one drop, and a way to start origins on it."""
    with World(conninfo) as made:
        made.add_drop("drop-1")
        yield made


@pytest.fixture
def origin(world: World) -> OriginProcess:
    """A running origin on `world`."""
    return world.start()
