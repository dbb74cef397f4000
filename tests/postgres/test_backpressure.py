"""Too much at once, over HTTP: refused at the door with a time to wait, and nothing is stored of what is refused."""

import asyncio
from pathlib import Path

import httpx
import pytest

from origin.app import build_app
from origin.config import read_config
from origin.settlement import writer as writer_module
from tests.postgres.world import PATIENCE_S, PUBLIC_URL, Tap, World, origin_settings, until


async def settle(client: httpx.AsyncClient, tap: Tap) -> httpx.Response:
    path = "/v1/settlements"
    return await client.post(path, headers=tap.headers("POST", PUBLIC_URL + path))


async def read_waiting(client: httpx.AsyncClient) -> str:
    lines = (await client.get("/metrics")).text.splitlines()
    (line,) = (line for line in lines if line.startswith("cliptill_claims_waiting "))
    return line.split()[1]


async def until_waiting(client: httpx.AsyncClient, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await read_waiting(client) != str(wanted):  # noqa: ASYNC110 - what is asked over HTTP
            await asyncio.sleep(0.01)


def test_beyond_what_may_wait_it_is_503_with_retry_after(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING", 2)
    settings = {**origin_settings(world.conninfo, str(tmp_path)), "CLIPTILL_RECONCILE_INTERVAL_S": "0"}
    app = build_app(read_config(settings), world.conninfo)

    async def act() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.app.router.lifespan_context(app.app),
            httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client,
        ):
            with world.hold() as hold:
                taken = [asyncio.create_task(settle(client, Tap()))]
                await asyncio.to_thread(_until_locked, world)
                taken += [asyncio.create_task(settle(client, Tap())) for _ in range(2)]
                await until_waiting(client, 2)
                refused = await settle(client, Tap())
                assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
                assert refused.headers["retry-after"] == "1"
                hold.release()
            assert [(await task).status_code for task in taken] == [200] * 3
            assert (await settle(client, Tap())).status_code == 200

    asyncio.run(act())
    assert (world.count(), world.stock()) == (4, (96, 0, 4))


def _until_locked(world: World) -> None:
    until(lambda: bool(world.waiting_backends()))
