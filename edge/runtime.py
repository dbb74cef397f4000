"""The edge's ports on Workers: key-value store, cache, queue, fetch.

Runtime objects live no longer than a request. They come in through `env` and `ctx`, and nothing here keeps them, but
methods of the bindings, which are the isolate's: ports that need no more than these are made once.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from pyodide.ffi import JsException

from edge.bridge import Answer, drive
from edge.config import NAMES, EdgeConfig, read_config
from edge.engine import Promised, engine
from shared.catalogue.manifest import manifest_key
from shared.catalogue.stock import EDGE_CACHE_S, StockSnapshots
from shared.errors import ServiceAwayError
from shared.wire import nests_deeply

_STOCK_DECODER: Final = msgspec.json.Decoder(StockSnapshots)
_OK: Final = 200
_ASKED: Final = {"accept": "application/json"}
_KEPT: Final = Answer(
    200,
    [(b"content-type", b"application/json"), (b"cache-control", f"public, max-age={EDGE_CACHE_S}".encode())],
).as_init()


def now_ms() -> int:
    """Return the clock in milliseconds; on Workers it stands still between I/O."""
    # The runtime's clock has whole milliseconds, but comes through a float: without rounding, one too few at times.
    return (time.time_ns() + 500_000) // 1_000_000


def load_config(env: Any) -> EdgeConfig:  # noqa: ANN401 - the Worker's environment
    """Return the settings in the Worker's variables and secrets."""
    return read_config({name: value for name in NAMES if isinstance(value := getattr(env, name, None), str)})


def _method(env: Any, binding: str, name: str) -> Any:  # noqa: ANN401 - a function of the runtime
    """Return a binding's method; it takes arguments as they are, where the SDK's wrapper converts each, and awaits.

    Raises:
        AttributeError: when there is no such binding.
    """
    owner = getattr(getattr(env, "_env", env), binding)
    return engine().bind(owner, getattr(owner, name))


class KvManifests:
    """Manifests in the Workers key-value store `MANIFESTS`."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401 - the Worker's environment
        self._get = _method(env, "MANIFESTS", "get")

    async def read(self, clip: str) -> str | None:
        """Return what is stored for a clip."""
        try:
            found = await Promised(engine().call(self._get, manifest_key(clip), "text"))
        except JsException as error:
            raise ServiceAwayError("the manifest store does not answer") from error
        if isinstance(found, str):
            return found
        if found:
            raise TypeError(f"the manifest store gives {type(found).__name__} instead of text")
        return None


class OriginStock:
    """Stock from the location's cache (one second), then from the origin."""

    def __init__(self, config: EdgeConfig, ctx: Any) -> None:  # noqa: ANN401 - the request's context
        self._config = config
        self._ctx = ctx

    async def read(self, drops: tuple[str, ...]) -> StockSnapshots:
        """Return the snapshots of `drops`."""
        url = f"{self._config.origin_url}/v1/stock?drops={','.join(drops)}"
        known = engine()
        try:
            cached = await Promised(known.match(url))
            text = await Promised(known.read_answer(cached)) if cached else await self._ask_origin(url)
            return _decode_stock(text)
        except JsException as error:
            raise ServiceAwayError("the origin does not answer") from error
        except msgspec.DecodeError as error:
            raise ServiceAwayError("the origin's stock cannot be read") from error

    async def _ask_origin(self, url: str) -> str:
        known = engine()
        response = await Promised(known.fetch(url, _ASKED, self._config.stock_timeout_ms))
        text: str = await Promised(known.read_answer(response))
        if response.status != _OK:
            raise ServiceAwayError(f"the origin answers {response.status}")
        self._ctx.waitUntil(known.keep(url, known.make_response(text.encode("utf-8", "replace"), _KEPT)))
        return text


def _decode_stock(text: str) -> StockSnapshots:
    raw = text.encode("utf-8", "replace")
    if nests_deeply(raw):
        raise ServiceAwayError("the origin's stock cannot be read")
    return _STOCK_DECODER.decode(raw)


class LocationLimit:
    """A rate-limit binding: the location counts."""

    def __init__(self, env: Any, name: str) -> None:  # noqa: ANN401 - the Worker's environment
        try:
            self._limit = _method(env, name, "limit")
        except AttributeError:
            self._limit = None

    async def allows(self, key: str) -> bool:
        """Count a call of `key`; without the binding there is no limit."""
        if self._limit is None:
            return True
        known = engine()
        try:
            return bool((await Promised(known.call(self._limit, known.make_object({"key": key})))).success)
        except JsException:
            return True


def find_queue(env: Any) -> Any:  # noqa: ANN401 - of the Worker's environment, a function of the runtime
    """Return what puts a message into the queue `EVENTS`."""
    return _method(env, "EVENTS", "send")


class QueueEvents:
    """Event batches into a queue, after the answer."""

    def __init__(self, put: Any, ctx: Any) -> None:  # noqa: ANN401 - of `find_queue`, and the request's context
        self._put = put
        self._ctx = ctx

    def send(self, message: str) -> None:
        """Report one batch."""
        self._ctx.waitUntil(self._send(message))

    def send_later(self, make: Callable[[], str | None], delay_ms: int) -> None:
        """Report the batch that `make` returns then, if any."""

        def go_on(_: Any) -> Any:  # noqa: ANN401 - a value of the runtime
            message = make()
            return None if message is None else self._send(message)

        known = engine()
        self._ctx.waitUntil(known.then(known.wait(delay_ms), go_on))

    def _send(self, message: str) -> Any:  # noqa: ANN401 - a promise
        known = engine()
        # As text: bytes cross once, and a pull consumer gets them as they are.
        return known.call(self._put, message, known.as_text)


def go_on(ctx: Any, coroutine: Coroutine[Any, Any, None]) -> None:  # noqa: ANN401 - the request's context
    """Step it at once; the rest of it goes on while the request is answered, and after."""
    rest = drive(coroutine, engine().then)
    if rest is not None:
        ctx.waitUntil(rest)
