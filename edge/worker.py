"""The Worker's entry class: a request comes in, its services are put together, the app answers.

A new instance is made for each request. What an isolate remembers is plain data in this module; nothing of the
runtime is kept, and nothing is read from clock, entropy or network while importing.
"""

import secrets
import traceback
from dataclasses import dataclass
from typing import Any, Final

import js
from workers import WorkerEntrypoint

from edge.answers import PROBLEM_HEADERS, Prepared
from edge.app import create_app
from edge.bridge import Answer, call_app, drive, make_scope
from edge.config import EdgeConfig
from edge.engine import engine
from edge.isolate import Isolate
from edge.ports import Place, Services
from edge.runtime import KvManifests, LocationLimit, OriginStock, QueueEvents, load_config, now_ms
from shared.problems import Code, Problem, encode_problem

# What the app reads of a request, and nothing else: each costs a crossing.
_ASKING: Final = ("accept", "accept-language")
_SENDING: Final = ("content-type", "content-length")
_READ_HEADERS: Final = {"GET": _ASKING, "HEAD": _ASKING, "POST": _SENDING}
_SHORT_DIGITS: Final = 5

_app: Final = create_app()
_isolate: Final = Isolate()
_configs: Final[list[EdgeConfig]] = []


@dataclass(slots=True)
class _Asked:
    """A request: the runtime's object, and what was read of it."""

    request: Any
    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    place: Place


class Default(WorkerEntrypoint):
    """Answers every request."""

    def fetch(self, request: Any) -> Any:  # noqa: ANN401 - the runtime's own Request and Response
        """Answer one request: with a Response at once if nothing had to be waited for, else with the rest of it."""
        # The runtime hands over the SDK's wrapper; the object within costs fewer crossings.
        asked = _read(getattr(request, "js_object", request))
        if asked.method == "POST" and _is_short(asked):
            return self._answer_once_read(asked)
        return drive(self._answer(asked, None))

    def _answer_once_read(self, asked: _Asked) -> Any:  # noqa: ANN401
        """Read the body, then answer: as a promise of the runtime's own, which costs no event loop."""

        def answer(read: Any) -> Any:  # noqa: ANN401
            # What is no buffer is the error that came instead: it comes again where the app reads.
            to_bytes = getattr(read, "to_bytes", None)
            return drive(self._answer(asked, to_bytes() if to_bytes else None))

        known, request = engine(), asked.request
        return known.then(known.call(request, request.arrayBuffer), answer)

    async def _answer(self, asked: _Asked, body: bytes | None) -> Any:  # noqa: ANN401
        async def read_body() -> bytes:
            return (await asked.request.arrayBuffer()).to_bytes() if body is None else body

        answer: Answer | Prepared
        try:
            scope = make_scope(asked.method, asked.url, asked.headers, self._services(asked.place))
            answer = await call_app(_app, scope, read_body)
        except Exception:  # noqa: BLE001 - the last line of defence: logged for us, told as `internal`
            js.console.error(traceback.format_exc())
            answer = Answer(500, list(PROBLEM_HEADERS), encode_problem(Problem(code=Code.INTERNAL)))
        return engine().make_response(answer.body, answer.as_init())

    def _services(self, place: Place) -> Services:
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
            place=place,
            now_ms=now_ms,
        )


def _read(request: Any) -> _Asked:  # noqa: ANN401
    told = engine().read_request(request)
    method: str = told["method"]
    get = request.headers.get
    found = [(name, get(name)) for name in _READ_HEADERS.get(method, ())]
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in found if isinstance(value, str)]
    # Only what is limited asks for the client's address.
    place = _place(told.get("cf"), get("cf-connecting-ip") if method == "POST" else None)
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
    length = dict(asked.headers).get(b"content-length", b"")
    return length.isdigit() and len(length) <= _SHORT_DIGITS
