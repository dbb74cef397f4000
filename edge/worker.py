"""The Worker's entry class: a request comes in, its services are put together, the app answers.

A new instance is made for each request. What an isolate remembers is plain data in this module; nothing of the
runtime is kept, and nothing is read from clock, entropy or network while importing.
"""

import secrets
import traceback
from typing import Any, Final

import js
import msgspec
from pyodide.ffi import to_js
from workers import WorkerEntrypoint

from edge.answers import PROBLEM_HEADERS
from edge.app import create_app
from edge.bridge import Answer, call_app, drive, make_scope
from edge.config import EdgeConfig
from edge.isolate import Isolate
from edge.ports import Place, Services
from edge.runtime import KvManifests, LocationLimit, OriginStock, QueueEvents, load_config, now_ms
from shared.problems import Code, Problem, encode_problem

# What the app reads of a request, and nothing else: each costs a crossing.
_ASKING: Final = ("accept", "accept-language")
_SENDING: Final = ("content-type", "content-length")
_READ_HEADERS: Final = {"GET": _ASKING, "HEAD": _ASKING, "POST": _SENDING}
_ENCODER: Final = msgspec.json.Encoder()

_app: Final = create_app()
_isolate: Final = Isolate()
_configs: Final[list[EdgeConfig]] = []


class Default(WorkerEntrypoint):
    """Answers every request."""

    def fetch(self, request: Any) -> Any:  # noqa: ANN401 - the runtime's own Request and Response
        """Answer one request: with a Response at once if nothing had to be waited for, else with the rest of it."""
        # The runtime hands over the SDK's wrapper; the object within costs fewer crossings.
        return drive(self._answer(getattr(request, "js_object", request)))

    async def _answer(self, request: Any) -> Any:  # noqa: ANN401
        try:
            method = request.method
            scope = make_scope(method, request.url, _read_headers(request, method), self._services(request))

            async def read_body() -> bytes:
                body: bytes = (await request.arrayBuffer()).to_bytes()
                return body

            answer = await call_app(_app, scope, read_body)
        except Exception:  # noqa: BLE001 - the last line of defence: logged for us, told as `internal`
            js.console.error(traceback.format_exc())
            answer = Answer(
                status=500,
                headers=list(PROBLEM_HEADERS),
                body=encode_problem(Problem(code=Code.INTERNAL)),
            )
        return _make_response(answer)

    def _services(self, request: Any) -> Services:  # noqa: ANN401
        if not _configs:
            _configs.append(load_config(self.env))
            _isolate.node = secrets.token_urlsafe(12)
        config = _configs[0]
        return Services(
            config=config,
            isolate=_isolate,
            manifests=KvManifests(self.env),
            stock=OriginStock(config, self.ctx),
            events=QueueEvents(self.env, self.ctx),
            viewer_limit=LocationLimit(self.env, "VIEWER_LIMIT"),
            network_limit=LocationLimit(self.env, "NETWORK_LIMIT"),
            place=_read_place(request),
            now_ms=now_ms,
        )


def _read_headers(request: Any, method: str) -> list[tuple[bytes, bytes]]:  # noqa: ANN401
    get = request.headers.get
    found = [(name, get(name)) for name in _READ_HEADERS.get(method, ())]
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in found if isinstance(value, str)]


def _read_place(request: Any) -> Place:  # noqa: ANN401
    cf = getattr(request, "cf", None)
    colo, country = getattr(cf, "colo", ""), getattr(cf, "country", "")
    # A crossing that only what is limited has to pay for.
    address = request.headers.get("cf-connecting-ip") if request.method == "POST" else ""
    return Place(
        colo=colo if isinstance(colo, str) else "",
        country=country if isinstance(country, str) else "",
        address=address if isinstance(address, str) else "",
    )


def _make_response(answer: Answer) -> Any:  # noqa: ANN401
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    # As one text: an object that is made from here costs a crossing for each of its members.
    init = js.JSON.parse(_ENCODER.encode({"status": answer.status, "headers": headers}).decode())
    return js.Response.new(to_js(answer.body) if answer.body else None, init)
