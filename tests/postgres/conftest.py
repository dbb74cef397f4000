"""One embedded server for the whole session, one fresh database for each test that asks, processes that end with it."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from origin.apikeys import add_key, make_key
from tests.postgres.servers import Server
from tests.postgres.till import SandboxProcess, Till
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


@pytest.fixture(scope="session")
def lasting_world(server: Server) -> Iterator[World]:
    with server.database() as made, World(made) as world:
        yield world


@pytest.fixture
def world(lasting_world: World) -> Iterator[World]:
    """A database with nothing but one drop, and a way to start origins on it. Do not change its schema."""
    lasting_world.wipe()
    lasting_world.add_drop("drop-1")
    yield lasting_world
    lasting_world.close_others()


@pytest.fixture
def own_world(conninfo: str) -> Iterator[World]:
    """The same, of one's own."""
    with World(conninfo) as made:
        made.add_drop("drop-1")
        yield made


@pytest.fixture
def origin(world: World) -> OriginProcess:
    """A running origin on `world`, which earlier tests may have used. Do not end it."""
    return world.lasting_origin()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(tmp_path_factory.mktemp("sandbox")) as started:
        yield started


@pytest.fixture(scope="session")
def lasting_till(server: Server, sandbox: SandboxProcess) -> Iterator[Till]:
    with server.database() as made, World(made, **sandbox.settings()) as world:
        yield Till(world, sandbox)


@pytest.fixture
def till(lasting_till: Till) -> Iterator[Till]:
    """A database with one drop and an offer of it that is paid by card, and a sandbox that takes cards."""
    world, sandbox = lasting_till.world, lasting_till.sandbox
    world.wipe()
    world.add_drop("drop-1")
    world.add_paid_offer("card")
    sandbox.fault()
    yield lasting_till
    sandbox.fault()
    world.close_others()


@pytest.fixture
def counter(till: Till) -> OriginProcess:
    """A running origin of `till`, which earlier tests may have used; messages come here. Do not end it."""
    origin = till.world.lasting_origin()
    till.sandbox.tell(origin)
    return origin


@pytest.fixture
def operator(till: Till) -> dict[str, str]:
    """Headers with an operator's key."""
    key = make_key()

    async def make() -> None:
        async with await psycopg.AsyncConnection.connect(till.world.conninfo, autocommit=True) as connection:
            await add_key(connection, f"operator-{key[-8:]}", key, 0)

    asyncio.run(make())
    return {"Authorization": f"Bearer {key}"}
