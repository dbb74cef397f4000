"""Tell each edge node what it may see of the key-value namespace, late by as much as that node is.

One task per node, which compares what the node was told with what it may know by now. A node that does not answer is
asked again until it does; a node that starts anew is told everything.
"""

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import quote

import httpx
import msgspec

from scripts.emulator.kv import Change, KvStore, SeenKey

EVERY_NODE = "all"
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One edge node; it sees writes `lateness_ms` after they were made."""

    name: str
    lateness_ms: int = 0


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The edge nodes of one emulator process, and the base of the addresses that its control answers at."""

    control: str
    nodes: tuple[Node, ...]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """What a node sees of the namespace at this instant; `started_late_ms` is the lateness that it began with."""

    name: str
    lateness_ms: int
    started_late_ms: int
    keys: tuple[SeenKey, ...]


class NodeFeeder:
    """Keep every node of the present fleet told."""

    def __init__(self, store: KvStore, namespace: str, client: httpx.AsyncClient, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._namespace = namespace
        self._client = client
        self._clock_ms = clock_ms
        self._tasks: list[asyncio.Task[None]] = []
        self._wake: dict[str, asyncio.Event] = {}
        self._nodes: tuple[Node, ...] = ()
        # What each node was told: of each key, the number of its latest change.
        self._seen: dict[str, dict[str, int]] = {}
        self._late_ms: dict[str, int] = {}

    async def start(self, fleet: Fleet) -> None:
        """Serve this fleet, in the place of the one before: its nodes know nothing yet."""
        await self.stop()
        self._nodes, self._seen = fleet.nodes, {node.name: {} for node in fleet.nodes}
        self._late_ms = {node.name: node.lateness_ms for node in fleet.nodes}
        self._wake = {node.name: asyncio.Event() for node in fleet.nodes}
        self._tasks = [asyncio.create_task(self._feed(fleet.control, node)) for node in fleet.nodes]

    async def stop(self) -> None:
        """Serve no node any more."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def is_up_to_date(self) -> bool:
        """Return whether every node was told all that it may see by now."""
        now_ms = self._clock_ms()
        return not any(
            self._store.changes(self._namespace, self._seen[node.name], now_ms, self._late_ms[node.name])
            for node in self._nodes
        )

    def set_lateness(self, name: str, lateness_ms: int | None) -> bool:
        """Have a node (or `all`) see writes so late from now on, or (None) as when it began; say if there is one.

        What a node has seen it keeps: nodes never go back.
        """
        nodes = [node for node in self._nodes if name in (node.name, EVERY_NODE)]
        for node in nodes:
            self._late_ms[node.name] = node.lateness_ms if lateness_ms is None else lateness_ms
            self._wake[node.name].set()
        return bool(nodes)

    def views(self) -> list[NodeView]:
        """Return what each node sees."""
        return [
            NodeView(
                name=node.name,
                lateness_ms=self._late_ms[node.name],
                started_late_ms=node.lateness_ms,
                keys=self._store.seen_keys(self._namespace, self._seen[node.name]),
            )
            for node in self._nodes
        ]

    def notice(self) -> None:
        """Look again at once: the namespace was written to."""
        self._store.forget(self._namespace, self._clock_ms(), max(self._late_ms.values(), default=0))
        for event in self._wake.values():
            event.set()

    async def _feed(self, control: str, node: Node) -> None:
        seen, wake, pause_s = self._seen[node.name], self._wake[node.name], RETRY_FIRST_S
        while True:
            wake.clear()
            for change in self._store.changes(self._namespace, seen, self._clock_ms(), self._late_ms[node.name]):
                if not await self._tell(control, node, change):
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, RETRY_MOST_S)
                    break
                seen[change.key], pause_s = change.number, RETRY_FIRST_S
            else:
                await self._until_news(node, wake)

    async def _until_news(self, node: Node, wake: asyncio.Event) -> None:
        """Wait for a write, or for the next instant at which an earlier one becomes visible or expires."""
        now_ms = self._clock_ms()
        next_ms = self._store.next_change_ms(self._namespace, now_ms, self._late_ms[node.name])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if next_ms is None else (next_ms - now_ms) / 1000):
                await wake.wait()

    async def _tell(self, control: str, node: Node, change: Change) -> bool:
        """Bring one change to one node, and say whether it took it."""
        address = f"{control}/kv/{quote(node.name, safe='')}/{quote(change.key, safe='')}"
        try:
            if change.value is None:
                answer = await self._client.delete(address)
            else:
                answer = await self._client.put(address, content=change.value)
        except httpx.HTTPError:
            return False
        return answer.is_success
