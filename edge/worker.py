"""The Worker's entry class: a request comes in, its services are put together, the app answers.

A new instance is made for each request. What an isolate remembers is plain data in this module; nothing of the
runtime is kept, and nothing is read from clock, entropy or network while importing.
"""

import secrets
import traceback
from functools import partial
from typing import Any, Final

import js
from msgspec import Struct
from pyodide.ffi import JsException
from workers import WorkerEntrypoint

from edge.answers import PROBLEM_HEADERS, Prepared
from edge.app import create_app
from edge.bridge import Answer, call_app, drive, make_scope
from edge.config import EdgeConfig
from edge.engine import Engine, Promised, engine
from edge.isolate import Isolate
from edge.ports import Place, Services
from edge.runtime import KvManifests, LocationLimit, OriginStock, QueueEvents, find_queue, go_on, load_config, now_ms
from shared.problems import Code, Problem, encode_problem

# What the app reads of a request, and nothing else: each costs a crossing.
_ASKING: Final = (("accept", b"accept"), ("accept-language", b"accept-language"))
_SENDING: Final = (("content-type", b"content-type"), ("content-length", b"content-length"))
_READ_HEADERS: Final = {"GET": _ASKING, "HEAD": _ASKING, "POST": _SENDING}
_SHORT_DIGITS: Final = 5
_CLAIMS: Final = "/v1/claims"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_app: Final = create_app()
_isolate: Final = Isolate()
_lasting: Final[list["_Lasting"]] = []


class _Lasting(Struct, frozen=True):
    """What serves all requests of an isolate."""

    config: EdgeConfig
    manifests: KvManifests
    put_event: Any
    viewer_limit: LocationLimit
    network_limit: LocationLimit


class _Asked(Struct, frozen=True):
    """A request: the runtime's object, and what was read of it."""

    request: Any
    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    place: Place


class Default(WorkerEntrypoint):
    """Answers every request."""

    def fetch(self, request: Any) -> Any:  # noqa: ANN401 - the runtime's own Request and Response
        """Answer one request: with a Response at once if nothing had to be waited for, else with the promise of it."""
        # The runtime hands over the SDK's wrapper; the object within costs fewer crossings.
        known = engine()
        asked = _read(getattr(request, "js_object", request), known)
        return drive(self._answer(asked, known), known.then)

    async def _answer(self, asked: _Asked, known: Engine) -> Any:  # noqa: ANN401
        async def read_body() -> bytes:
            read: bytes = (await Promised(known.read_buffer(asked.request))).to_bytes()
            return read

        answer: Answer | Prepared
        try:
            body = await _read_short(asked, known) if asked.method == "POST" and _is_short(asked) else None
            scope = make_scope(asked.method, asked.url, asked.headers, self._services(asked.place), body)
            answer = await call_app(_app, scope, read_body)
        except Exception:  # noqa: BLE001 - the last line of defence: logged for us, told as `internal`
            js.console.error(traceback.format_exc())
            answer = Answer(500, list(PROBLEM_HEADERS), encode_problem(Problem(code=Code.INTERNAL)))
        return known.make_response(answer.body, answer.as_init())

    def _services(self, place: Place) -> Services:
        lasting = _lasting[0] if _lasting else _begin(self.env)
        ctx = self.ctx
        return Services(
            lasting.config,
            _isolate,
            lasting.manifests,
            OriginStock(lasting.config, ctx),
            QueueEvents(lasting.put_event, ctx),
            lasting.viewer_limit,
            lasting.network_limit,
            place,
            now_ms,
            partial(go_on, ctx),
        )


def _begin(env: Any) -> _Lasting:  # noqa: ANN401 - the Worker's environment
    config = load_config(env)
    lasting = _Lasting(
        config=config,
        manifests=KvManifests(env),
        put_event=find_queue(env),
        viewer_limit=LocationLimit(env, "VIEWER_LIMIT"),
        network_limit=LocationLimit(env, "NETWORK_LIMIT"),
    )
    _isolate.node = secrets.token_urlsafe(12)
    _lasting.append(lasting)
    return lasting


def _read(request: Any, known: Engine) -> _Asked:  # noqa: ANN401
    told = known.read_request(request)
    method: str = told["method"]
    given, get = request.headers, known.get_header
    found = [(raw, get(given, name)) for name, raw in _READ_HEADERS.get(method, ())]
    headers = [(raw, value.encode("latin-1", "replace")) for raw, value in found if isinstance(value, str)]
    # Only what is limited asks for the client's address.
    place = _place(told.get("cf"), get(given, "cf-connecting-ip") if method == "POST" else None)
    return _Asked(request, method, told["url"], headers, place)


def _place(told: Any, address: Any) -> Place:  # noqa: ANN401
    cf: dict[str, Any] = told if isinstance(told, dict) else {}
    colo, country = cf.get("colo"), cf.get("country")
    return Place(
        colo=colo if isinstance(colo, str) else "",
        country=country if isinstance(country, str) else "",
        address=address if isinstance(address, str) else "",
    )


def _is_short(asked: _Asked) -> bool:
    """Return whether a body says that it is short: one that does not is read only once the app asks for it."""
    return 0 < len(_length(asked)) <= _SHORT_DIGITS and _length(asked).isdigit()


def _length(asked: _Asked) -> bytes:
    name, value = asked.headers[-1] if asked.headers else (b"", b"")
    return value if name == b"content-length" else b""


async def _read_short(asked: _Asked, known: Engine) -> bytes | None:
    """Read a body; return None when that fails: the error comes again when the app reads."""
    is_text = asked.url.endswith(_CLAIMS)
    # Text takes half of the time that a buffer takes; but what is no text cannot be told from it any more.
    promise = known.read_text(asked.request) if is_text else known.read_buffer(asked.request)
    try:
        read = await Promised(promise)
    except JsException:
        return None
    if not is_text:
        buffer: bytes = read.to_bytes()
        return buffer
    body: bytes = read.encode()
    # The runtime takes a byte order mark away, which is not JSON.
    return body if len(body) == int(_length(asked)) else _BYTE_ORDER_MARK + body
