"""Driving an edge through HTTP alone, and holding every answer against the edge's own OpenAPI document.

The suites (`tests.contract.edge_suite`) know nothing of what they drive: a `Client` carries requests, a `World` stands
for the services around the edge. Names are new in each test, because a running edge remembers; instants are relative
to the world's clock.
"""

import itertools
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

import msgspec
from jsonschema import Draft202012Validator

from shared.claims.keys import ClaimKey
from shared.insight.events import EventBatch
from shared.problems import TABLE, TYPE_PREFIX, Code
from tests import samples

PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"
PROBLEM_MEMBERS: Final = {"type", "title", "status", "code", "detail", "retry_after_s"}
# What an exception's text, a traceback or a repr would bring along.
LEAKS: Final = re.compile(rb"Traceback|File \"|msgspec|starlette|Exception|Error\(|\bat 0x|/site-packages/|\.py\b")
EVENTS_WITHIN_S: Final = 5.0

Body = bytes | Sequence[bytes] | None


class Received(NamedTuple):
    """An answer: status, headers by lower-case name, body (empty for HEAD)."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code."""
        code: str = self.json["code"]
        return code


class Client(Protocol):
    """Carries one request."""

    def request(self, method: str, path: str, headers: Mapping[str, str], body: Body = None) -> Received:
        """Send a request; a body in pieces goes without a declared length."""


class World(Protocol):
    """The services around one edge node, as a test arranges them."""

    issuer: str
    origin_url: str
    claim_keys: tuple[ClaimKey, ...]

    def now_ms(self) -> int:
        """Return the edge's clock."""

    def wait_ms(self, duration_ms: int) -> None:
        """Let that much of the edge's time pass."""

    def publish(self, clip: str, document: bytes | None) -> None:
        """Have the manifest store hold a document for a clip; None takes it away."""

    def set_stock(  # noqa: PLR0913 - a snapshot's own facts
        self,
        drop: str,
        *,
        remaining: int,
        total: int = 100,
        version: int = 1,
        admit_per_s: int | None = None,
        age_ms: int = 0,
    ) -> None:
        """Have the origin tell this stock, dated `age_ms` before it is asked (negative: from the future)."""

    def set_place(self, *, country: str = "", colo: str = "") -> None:
        """Have requests come from there."""

    def set_store_away(self, *, away: bool) -> None:
        """Have the manifest store not answer."""

    def set_origin_away(self, *, away: bool) -> None:
        """Have the origin not answer."""

    def break_store(self, *, broken: bool) -> None:
        """Have the manifest store fail in a way that nobody foresaw, with a text that must not be told."""

    def batches(self) -> list[EventBatch]:
        """Return all event batches that the edge has sent so far, in any order."""


class Clip(NamedTuple):
    """A published clip with one offer on one drop."""

    clip: str
    offer: str
    drop: str


class Documentation:
    """The edge's OpenAPI document, as a judge of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._paths = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), operations)
            for path, operations in document["paths"].items()
        ]
        self._validators: dict[str, Draft202012Validator] = {}

    def judge(self, method: str, path: str, body: Body, received: Received) -> None:
        """Fail unless the document says that this request may have this answer."""
        operations = self._operations_of(unquote(path.partition("?")[0]))
        if method == "OPTIONS":
            assert (received.status, received.body) == (204, b"")
            return
        if operations is None:
            assert (received.status, received.body and received.code) in ((404, "not_found"), (404, b""))
            return
        operation = operations.get("get" if method == "HEAD" else method.lower())
        listed = operations.values() if operation is None else [operation]
        assert operation is not None or received.status == 405
        for described in listed:
            self._judge_answer(described, received, head=method == "HEAD")
        if isinstance(body, bytes) and operation is not None and "requestBody" in operation:
            self._judge_request(operation, body, received)

    def _operations_of(self, path: str) -> dict[str, Any] | None:
        return next((operations for pattern, operations in self._paths if pattern.fullmatch(path)), None)

    def _judge_answer(self, operation: dict[str, Any], received: Received, *, head: bool) -> None:
        name, status = operation["operationId"], str(received.status)
        assert status in operation["responses"], f"{name} does not document {status}: {received.body[:300]!r}"
        described = operation["responses"][status]
        missing = {header.lower() for header in described.get("headers", {})} - set(received.headers)
        assert not missing, f"{name} {status} lacks headers {missing}"
        media_type = received.headers.get("content-type", "").partition(";")[0]
        assert media_type in described.get("content", {}), f"{name} {status} does not document {media_type!r}"
        if media_type.endswith("json") and not head:
            self._validate(f"{name} {status}", described["content"][media_type].get("schema", {}), received.json)

    def _judge_request(self, operation: dict[str, Any], body: bytes, received: Received) -> None:
        """What is taken fits the documented schema; what is refused for its form does not."""
        schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
        name = f"{operation['operationId']} request"
        if received.status < 300:
            self._validate(name, schema, json.loads(body))
        elif received.code in {Code.UNKNOWN_FIELD, Code.INVALID_FIELD}:
            fits = self._validator(name, schema).is_valid(json.loads(body))
            assert not fits, f"{name}: refused, although the documented schema takes it: {body[:300]!r}"

    def _validate(self, name: str, schema: dict[str, Any], value: Any) -> None:
        self._validator(name, schema).validate(value)

    def _validator(self, name: str, schema: dict[str, Any]) -> Draft202012Validator:
        if name not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[name] = Draft202012Validator(whole)
        return self._validators[name]


class Edge:
    """One edge in its world. Every answer is judged before a test sees it."""

    def __init__(self, client: Client, world: World, documentation: Documentation | None = None) -> None:
        self.world = world
        self._client = client
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(4)
        self.documentation = documentation or Documentation(json.loads(self._fetch_document()))

    def _fetch_document(self) -> bytes:
        received = self._client.request("GET", "/openapi.json", {})
        assert received.status == 200
        return received.body

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Body = None) -> Received:
        """Send one request, and judge its answer."""
        received = self._client.request(method, path, headers or {}, body)
        _judge_form(method, received)
        self.documentation.judge(method, path, body, received)
        return received

    def get(self, path: str, **headers: str) -> Received:
        """Get a path; headers as `accept_language=...`."""
        return self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, document: Any, content_type: str = JSON) -> Received:
        """Post a document (bytes as they are)."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", path, {"content-type": content_type}, body)

    def new_name(self, what: str = "x") -> str:
        """Return a name that no test used before."""
        return f"{what}-{self._run}-{next(self._numbers)}"

    def new_tap(self) -> str:
        """Return an idempotency key of 128 random bits."""
        return secrets.token_urlsafe(16)

    def publish(
        self,
        *,
        remaining: int | None = 50,
        opens_in_ms: int = -samples.HOUR_MS,
        closes_in_ms: int = samples.HOUR_MS,
        terms: Mapping[str, Any] | None = None,
        offer: Mapping[str, Any] | None = None,
        **manifest: Any,
    ) -> Clip:
        """Publish a new clip with one offer, and have the origin tell its stock unless `remaining` is None."""
        made = Clip(self.new_name("clip"), self.new_name("offer"), self.new_name("drop"))
        now_ms = self.world.now_ms()
        window = {"opens_at_ms": now_ms + opens_in_ms, "closes_at_ms": now_ms + closes_in_ms}
        drop_terms = samples.terms_document(**{"drop": made.drop, **window, **(terms or {})})
        offered = samples.offer_document(**{"offer": made.offer, "terms": drop_terms, **(offer or {})})
        document = samples.manifest_document(**{"clip": made.clip, "offers": [offered], **manifest})
        self.world.publish(made.clip, samples.encode(document))
        if remaining is not None:
            self.world.set_stock(made.drop, remaining=remaining)
        return made

    def tap_document(self, clip: Clip, **changes: Any) -> dict[str, Any]:
        """Return the body of a tap; a change to None leaves the field out."""
        tap = {
            "clip": clip.clip,
            "offer": clip.offer,
            "viewer": samples.VIEWER,
            "idempotency_key": self.new_tap(),
            **changes,
        }
        return {name: value for name, value in tap.items() if value is not None}

    def tap(self, clip: Clip, **changes: Any) -> Received:
        """Tap once."""
        return self.post("/v1/claims", self.tap_document(clip, **changes))

    def overlay(self, clip: Clip, query: str = "", **headers: str) -> Any:
        """Return the JSON overlay of a clip."""
        received = self.get(f"/v1/clips/{clip.clip}/overlay{query}", **headers)
        assert received.status == 200, received.body
        return received.json

    def events_of(self, clip: str) -> list[Any]:
        """Return all events about a clip that were sent before now.

        Events follow their answers, so a last one marks the end of what is waited for.
        """
        marker = self.new_name("marker")
        self.post("/v1/events", {"clip": marker, "events": [{"type": "view", "at_ms": 1}]})
        self.wait_for(lambda: any(event.clip == marker for event in self._events()))
        return [event for event in self._events() if event.clip == clip]

    @staticmethod
    def wait_for(condition: Callable[[], bool]) -> None:
        """Wait until something is so, at most `EVENTS_WITHIN_S`."""
        give_up = time.monotonic() + EVENTS_WITHIN_S
        while not condition():
            assert time.monotonic() < give_up, "what was waited for did not come"
            time.sleep(0.02)

    def _events(self) -> list[Any]:
        return [event for batch in self.world.batches() for event in batch.events]


def _judge_form(method: str, received: Received) -> None:
    """What holds for every answer: readable from any page, and no failure tells more than its code."""
    assert received.headers.get("access-control-allow-origin") == "*"
    media_type = received.headers.get("content-type", "").partition(";")[0]
    if received.status < 400:
        return
    assert media_type == PROBLEM
    if method == "HEAD":
        assert received.body == b""
        return
    assert not LEAKS.search(received.body), received.body
    problem = received.json
    code = Code(problem["code"])
    assert set(problem) <= PROBLEM_MEMBERS
    assert problem["type"] == TYPE_PREFIX + code
    assert (problem["status"], problem["title"]) == TABLE[code] == (received.status, problem["title"])
    assert received.headers.get("retry-after", None) == (
        str(problem["retry_after_s"]) if "retry_after_s" in problem else None
    )
    assert received.status == 500 or received.headers["cache-control"] == "no-store"


def decode_batches(messages: Sequence[str | bytes]) -> list[EventBatch]:
    """Decode queue messages, each as the origin would."""
    return [msgspec.json.decode(message, type=EventBatch) for message in messages]
