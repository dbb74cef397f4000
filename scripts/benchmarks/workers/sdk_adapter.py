"""The same app behind the SDK's own ASGI adapter, which is what a Python Worker with a framework uses.

Staged in place of the bundle's main module; all else of the bundle is the product's. The adapter hands the app neither
the context of the request nor its place, so a class of its own puts the services of the request into the scope.
"""

import secrets
from types import SimpleNamespace
from typing import Any, Final

from pyodide.ffi import JsException
from starlette.types import Receive, Scope, Send
from workers import WorkerEntrypoint, asgi

from edge.app import create_app
from edge.config import EdgeConfig
from edge.isolate import Isolate
from edge.ports import SERVICES, Place, Services
from edge.runtime import KvManifests, LocationLimit, OriginStock, QueueEvents, find_queue, load_config, now_ms

_app: Final = create_app()
_isolate: Final = Isolate()
_configs: Final[list[EdgeConfig]] = []


def _awaited(port: Any, name: str) -> Any:  # noqa: ANN401 - a port of `edge.ports`
    """Return a port of the product for an event loop, which the adapter needs and the product does without."""
    asking = getattr(port, name)

    async def ask(asked: Any) -> Any:  # noqa: ANN401
        coroutine, value = asking(asked), None
        while True:
            try:
                promise = coroutine.send(value)
            except StopIteration as ended:
                return ended.value
            try:
                value = await promise
            except JsException as error:
                value = error  # raised within

    return SimpleNamespace(**{name: ask})


class Default(WorkerEntrypoint):
    """Answers every request."""

    async def fetch(self, request: Any) -> Any:  # noqa: ANN401 - the runtime's own Request and Response
        """Answer one request through the SDK's adapter."""
        if not _configs:
            _configs.append(load_config(self.env))
            _isolate.node = secrets.token_urlsafe(12)
        cf = request.js_object.cf
        services = Services(
            config=_configs[0],
            isolate=_isolate,
            manifests=_awaited(KvManifests(self.env), "read"),
            stock=_awaited(OriginStock(_configs[0], self.ctx), "read"),
            events=QueueEvents(find_queue(self.env), self.ctx),
            viewer_limit=_awaited(LocationLimit(self.env, "VIEWER_LIMIT"), "allows"),
            network_limit=_awaited(LocationLimit(self.env, "NETWORK_LIMIT"), "allows"),
            place=Place(colo=cf.colo, country=cf.country),
            now_ms=now_ms,
            go_on=self.ctx.waitUntil,
        )

        async def with_services(scope: Scope, receive: Receive, send: Send) -> None:
            scope[SERVICES] = services
            await _app(scope, receive, send)

        return await asgi.fetch(with_services, request, self.env, self.ctx)
