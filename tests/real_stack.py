"""The whole product, running: database, provider, edge in workerd, origin; a test treats it from outside."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx

from scripts.children import Child, Children
from scripts.settings import Options
from scripts.stack import OPERATOR_KEY, ROOT, Stack, python_command, start_stack, until_answered

START_S = 120
SEEN_S = 20
HOUR_MS = 3_600_000

Json = dict[str, Any]
T = TypeVar("T")


class RealStack:
    """A stack in a thread of its own; made with `start`, ended with `stop`.

    Its data is not where pytest keeps temporary folders: those are closed to all but their owner whenever another
    session starts, and the embedded server may run as a user of its own.
    """

    def __init__(self, *, nodes: int = 1, with_site: bool = False) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._data = Path(tempfile.mkdtemp(prefix="cliptill-stack-"))
        self._options = Options(data=self._data, port=0, nodes=nodes, with_site=with_site)
        self._children: Children
        self.stack: Stack

    def start(self) -> "RealStack":
        subprocess.run([sys.executable, str(ROOT / "scripts" / "bundle")], check=True, capture_output=True)

        async def start() -> None:
            self._children = Children(self._data / "logs", ROOT)
            self.stack = await self._children.guard(start_stack(self._children, self._options, print))

        try:
            self._do(start())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        self._do(self._children.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._data, ignore_errors=True)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    @property
    def edge_url(self) -> str:
        return self.stack.addresses.edge_urls[0]

    @property
    def origin_url(self) -> str:
        return self.stack.addresses.origin_url

    def kill_origin(self) -> None:
        """End the origin as a power cut would, and wait until it is gone."""
        child = self._origin()

        async def kill() -> None:
            child.kill()
            await child.process.wait()

        self._do(kill())

    def start_origin(self) -> None:
        async def start() -> None:
            await self._children.start("origin", python_command("origin"), self.stack.environment)
            async with httpx.AsyncClient(trust_env=False) as client:
                await until_answered(client, f"{self.origin_url}/ready", "the origin")

        self._do(start())

    def _origin(self) -> Child:
        return next(child for child in reversed(self._children._running) if child.name == "origin")

    def sell(  # noqa: PLR0913 - an offer's own facts
        self,
        clip: str,
        *,
        units: int,
        price_minor: int = 2400,
        when_origin_away: str = "take",
        pickup: Any = None,
        nodes: int | None = None,
    ) -> None:
        """Publish a clip with one offer of so many units, open now, and wait until the first `nodes` (all) have it."""
        now_ms = time.time_ns() // 1_000_000
        names = {"en": "Last lamp"}
        drop = {
            "drop": f"{clip}-drop", "run": "r1", "sku": "lamp", "total": units, "opens_at_ms": now_ms - 60_000,
            "closes_at_ms": now_ms + HOUR_MS, "mode": "open", "max_quantity": 1, "per_viewer_cap": 1,
            "when_origin_away": when_origin_away, "pickup": pickup,
        }  # fmt: skip
        offer = {
            "offer": f"{clip}-offer", "drop": drop["drop"], "kind": "product", "names": names, "descriptions": {},
            "prices": [{"currency": "EUR", "amount_minor": price_minor}],
            "payment": "at_pickup" if price_minor else "none",
        }  # fmt: skip
        page = {
            "clip": clip,
            "creator": "mika",
            "names": names,
            "default_locale": "en",
            "offers": [offer["offer"]],
            "links": [],
        }
        with self.operator() as client:
            for path, body in (
                (f"/v1/drops/{drop['drop']}", drop),
                (f"/v1/offers/{offer['offer']}", offer),
                (f"/v1/clips/{clip}", page),
            ):
                answer = client.put(self.origin_url + path, json=body)
                assert answer.is_success, answer.text
            answer = client.post(f"{self.origin_url}/v1/clips/{clip}/publish")
            assert answer.is_success, answer.text
        self.until_seen(clip, nodes)

    def operator(self) -> httpx.Client:
        """Return a client with the operator's key."""
        key = (self._data / "secrets" / OPERATOR_KEY).read_text().strip()
        return httpx.Client(headers={"authorization": f"Bearer {key}"}, trust_env=False)

    def until_seen(self, clip: str, nodes: int | None = None) -> None:
        """Wait until the first `nodes` nodes of the edge have a clip, or all."""
        deadline = time.monotonic() + SEEN_S
        for url in self.stack.addresses.edge_urls[:nodes]:
            while httpx.get(f"{url}/v1/clips/{clip}/overlay", trust_env=False).status_code != 200:
                assert time.monotonic() < deadline, "the edge never saw the clip"
                time.sleep(0.1)
