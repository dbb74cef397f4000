"""What Python asks of the JavaScript engine itself, in as few crossings as there can be.

A crossing costs one to three microseconds, and a name that is looked up is one too. So the engine's own functions are
looked up once, in an isolate's first request. They belong to no request, as opposed to all that a request brings;
nothing is looked up at import, because a deploy snapshot could not hold it.
"""

from collections.abc import Callable, Generator
from typing import Any, Final

import js
import msgspec
from pyodide.ffi import JsException, create_once_callable, to_js

from edge.generations import Generations

# As text, a claim's answer costs half of what it costs as a buffer; an overlay, which is longer, a tenth more.
_SHORT_BYTES: Final = 2048
# Most answers have one of some hundred, for each tells how many milliseconds it took. Those in use are kept: what
# differs each time neither fills the memory, nor keeps out what comes later.
_KEPT_INITS: Final = 512
_ASKED: Final = '["method","url","cf","colo","country"]'
_AS_TEXT: Final = '{"contentType":"text"}'
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


class Promised:
    """What a promise of the engine comes to, for `await` in what `edge.bridge.drive` steps; its error is raised."""

    __slots__ = ("_promise",)

    def __init__(self, promise: Any) -> None:  # noqa: ANN401 - an object of the runtime
        self._promise = promise

    def __await__(self) -> Generator[Any, Any, Any]:
        """Hand over the promise, and take its value."""
        value = yield self._promise
        if isinstance(value, JsException):
            raise value
        return value


class Engine:
    """Functions of the engine, and two constants of its own kind.

    Attributes:
        get_header: returns a header of Headers, by its name.
        as_text: how a queue is told that a message is text.
    """

    __slots__ = (
        "_array_from",
        "_asked",
        "_bind",
        "_fetch",
        "_inits",
        "_keep",
        "_match",
        "_new_response",
        "_parse",
        "_read_answer",
        "_read_buffer",
        "_read_text",
        "_stringify",
        "_then",
        "_timeout",
        "_wait",
        "as_text",
        "get_header",
    )

    def __init__(self) -> None:
        self._parse = js.JSON.parse
        self.as_text = self._parse(_AS_TEXT)
        self._stringify = js.JSON.stringify
        self._asked = self._parse(_ASKED)
        self._new_response = js.Response.new
        self._inits: Generations[str, Any] = Generations(_KEPT_INITS // 2)
        self._array_from = js.Array.from_
        function = js.Function.prototype
        self._bind = function.call.bind(function.bind)
        self.get_header = function.call.bind(js.Headers.prototype.get)
        self._read_buffer, self._read_text = js.Request.prototype.arrayBuffer, js.Request.prototype.text
        self._read_answer = js.Response.prototype.text
        self._fetch, self._timeout = js.fetch, js.AbortSignal.timeout
        cache = js.caches.default
        self._match, self._keep = self.bind(cache, cache.match), self.bind(cache, cache.put)
        self._wait = self.bind(js.scheduler, js.scheduler.wait)
        # Of its own `then`, Pyodide gives a callback's result as a number.
        self._then = js.Reflect.get(js.Promise.prototype, "then")

    def read_request(self, request: Any) -> dict[str, Any]:  # noqa: ANN401 - an object of the runtime
        """Return method and address of a request, and of `cf` the colo and the country, as far as it has them."""
        return _DECODER.decode(self._stringify(request, self._asked))

    def make_response(self, body: bytes, init: str) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return a Response.

        Args:
            body: nothing for none.
            init: a `ResponseInit` (Fetch standard) as JSON: of an object made from here, each member is a crossing.
        """
        known = self._inits.get(init)
        if known is None:
            known = self._inits[init] = self._make_init(init)
        if not body:
            return self._new_response(None, known)
        # Of text that is ASCII, the runtime sends the very bytes.
        return self._new_response(body.decode() if len(body) < _SHORT_BYTES and body.isascii() else to_js(body), known)

    def _make_init(self, init: str) -> Any:  # noqa: ANN401 - an object of the runtime
        made = self._parse(init)
        # They are copied into each answer: from Headers in one go, from an object one by one.
        made.headers = js.Headers.new(made.headers)
        return made

    def read_buffer(self, request: Any) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return the promise of a request's body."""
        return self._array_from("1", self._read_buffer, request)[0]

    def read_text(self, request: Any) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return the promise of a request's body as text; U+FFFD stands for what is none."""
        return self._array_from("1", self._read_text, request)[0]

    def read_answer(self, response: Any) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return the promise of a response's body as text."""
        return self._array_from("1", self._read_answer, response)[0]

    def make_object(self, fields: dict[str, Any]) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return a plain object of what JSON can say."""
        return self._parse(_ENCODER.encode(fields).decode())

    def fetch(self, url: str, headers: dict[str, str], timeout_ms: int) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return the promise of the response to a GET request, body included."""
        init = self.make_object({"headers": headers})
        init.signal = self._timeout(timeout_ms)
        return self.call(self._fetch, url, init)

    def match(self, url: str) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return the promise of what the location's cache has for an address; None for nothing."""
        return self.call(self._match, url, None)

    def keep(self, url: str, response: Any) -> Any:  # noqa: ANN401 - an object of the runtime
        """Have the location's cache keep a response; return the promise of that."""
        return self.call(self._keep, url, response)

    def bind(self, owner: Any, function: Any) -> Any:  # noqa: ANN401 - objects of the runtime
        """Return a function that is called as a method of its owner."""
        return self._bind(function, owner)

    def call(self, function: Any, *arguments: Any) -> Any:  # noqa: ANN401 - objects of the runtime
        """Call a function of the runtime, and return its promise.

        A promise that a call from Python returns becomes a future of the event loop at once, awaited or not, which
        costs more than most of what is called. Found in an array, it stays a promise.
        """
        return self._array_from("1", self._bind(function, None, *arguments))[0]

    def wait(self, delay_ms: int) -> Any:  # noqa: ANN401 - an object of the runtime
        """Return the promise of nothing, that much later."""
        return self.call(self._wait, delay_ms, None)  # without options: what `call` adds would pass for them

    def then(self, promise: Any, go_on: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - objects of the runtime
        """Return the promise of what `go_on` makes of a promise's value, or of its error.

        Without the event loop: what Python's `await` waits for costs a task, a future and several callbacks.
        """
        once = create_once_callable(go_on)
        return self._array_from("1", self._bind(self._then, promise, once, once))[0]


_found: Final[list[Engine]] = []


def engine() -> Engine:
    """Return the engine's functions; only while a request is answered."""
    if not _found:
        _found.append(Engine())
    return _found[0]
