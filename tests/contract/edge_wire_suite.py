"""What any edge does with requests that are not as they should be: one clear refusal each, and nothing else."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests import samples
from tests.contract.edge_driver import JSON, Edge

VALID: Final[dict[str, Any]] = {
    "clip": "clip-1",
    "offer": "offer-1",
    "viewer": samples.VIEWER,
    "idempotency_key": samples.TAP,
}
BEACON: Final[dict[str, Any]] = {"clip": "clip-1", "events": [{"type": "view", "at_ms": 1}]}
DOCUMENTS: Final = {"/v1/claims": VALID, "/v1/events": BEACON}
LIMITS: Final = {"/v1/claims": 4096, "/v1/events": 16_384}

both = pytest.mark.parametrize("path", DOCUMENTS)


def event(**fields: Any) -> dict[str, Any]:
    """Return a beacon whose one event has these fields too."""
    return {**BEACON, "events": [{**BEACON["events"][0], **fields}]}


class BodyContract:
    """Bodies of both routes that take one."""

    @both
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"{", id="half an object"),
            pytest.param(b"clip=a&offer=b", id="a form"),
            pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
            pytest.param('{"clip":"c"}'.encode("utf-16"), id="utf-16"),
            pytest.param(b'{"clip":"\xff\xfe"}', id="invalid utf-8"),
            pytest.param(b'{"clip":"\\ud800"}', id="lone surrogate"),
            pytest.param(b'{"clip":NaN}', id="not a number"),
            pytest.param(b"{'clip':'c'}", id="single quotes"),
            pytest.param(b'{"clip":"c",}', id="trailing comma"),
            pytest.param(b'{"clip":"c\x00"}', id="raw control character"),
        ],
    )
    def test_what_is_not_json_is_malformed(self, edge: Edge, path: str, body: bytes) -> None:
        received = edge.post(path, body)
        assert (received.status, received.code) == (400, "malformed_json")

    @pytest.mark.parametrize(
        "broken",
        [
            pytest.param(lambda body: b"\xef\xbb\xbf" + body, id="byte order mark"),
            pytest.param(lambda body: body.replace(b"}", b',"x":"\xf0\x9f\x98"}'), id="a character cut short"),
            pytest.param(lambda body: body.replace(b"}", b',"x":"\xef\xbf\xbd"}'), id="a replacement character"),
            pytest.param(lambda body: b"\xef\xbb\xbf" + body.replace(b"}", b',"x":"\xff"}'), id="both"),
        ],
    )
    def test_a_whole_tap_that_is_not_clean_text_is_malformed(
        self, edge: Edge, broken: Callable[[bytes], bytes]
    ) -> None:
        path = "/v1/claims"
        received = edge.post(path, broken(json.dumps(DOCUMENTS[path]).encode()))
        assert (received.status, received.code) == (400, "malformed_json")

    @both
    @pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"[" * 200 + b"]" * 200])
    def test_json_that_is_no_object_is_invalid(self, edge: Edge, path: str, body: bytes) -> None:
        assert edge.post(path, body).code == "invalid_field"

    @both
    def test_two_documents_are_malformed(self, edge: Edge, path: str) -> None:
        assert edge.post(path, json.dumps(DOCUMENTS[path]).encode() + b"{}").code == "malformed_json"

    @both
    @pytest.mark.parametrize("content_type", ["", "text/html", "application/x-www-form-urlencoded", "json", "*/*"])
    def test_another_content_type_is_not_taken(self, edge: Edge, path: str, content_type: str) -> None:
        headers = {"content-type": content_type} if content_type else {}
        received = edge.request("POST", path, headers, json.dumps(DOCUMENTS[path]).encode())
        assert (received.status, received.code) == (415, "unsupported_media_type")

    @both
    def test_a_body_beyond_the_limit_is_too_large(self, edge: Edge, path: str) -> None:
        body = json.dumps(DOCUMENTS[path]).encode()
        padded = body + b" " * (LIMITS[path] + 1 - len(body))
        received = edge.post(path, padded)
        assert (received.status, received.code) == (413, "body_too_large")
        assert edge.post(path, padded[:-1]).status != 413

    @both
    def test_a_body_of_undeclared_length_is_cut_off_at_the_limit(self, edge: Edge, path: str) -> None:
        pieces = [b" " * 1024] * (LIMITS[path] // 1024 + 1)
        assert edge.request("POST", path, {"content-type": JSON}, pieces).code == "body_too_large"

    @both
    def test_a_body_of_undeclared_length_is_read_to_its_end(self, edge: Edge, path: str) -> None:
        body = json.dumps({**DOCUMENTS[path], "clip": edge.publish().clip}).encode()
        received = edge.request("POST", path, {"content-type": JSON}, [body[:20], body[20:40], body[40:]])
        assert received.status == 202 or received.code == "offer_unknown"

    @both
    @pytest.mark.parametrize(
        "twice",
        [
            pytest.param(lambda text: text[:-1] + ',"clip":"clip-2"}', id="another value"),
            pytest.param(lambda text: text[:-1] + ',"clip":"clip-1"}', id="the same value"),
            pytest.param(lambda text: text[:-1] + ',"cl\\u0069p":"clip-2"}', id="escaped"),
        ],
    )
    def test_a_key_twice_is_refused(self, edge: Edge, path: str, twice: Any) -> None:
        received = edge.post(path, twice(json.dumps(DOCUMENTS[path])).encode())
        assert (received.status, received.code) == (400, "duplicate_key")

    def test_a_nested_key_twice_is_refused(self, edge: Edge) -> None:
        body = b'{"clip":"clip-1","events":[{"type":"view","at_ms":1,"at_ms":2}]}'
        assert edge.post("/v1/events", body).code == "duplicate_key"

    @both
    @pytest.mark.parametrize("name", ["extra", "__class__", "Clip", "clip ", "a` - at `$<script>", ""])
    def test_an_unknown_field_is_refused_and_not_repeated(self, edge: Edge, path: str, name: str) -> None:
        received = edge.post(path, {**DOCUMENTS[path], name: 1})
        assert (received.status, received.code) == (422, "unknown_field")
        assert b"<script>" not in received.body

    @both
    def test_each_required_field_is_required(self, edge: Edge, path: str) -> None:
        for missing in DOCUMENTS[path]:
            document = {name: value for name, value in DOCUMENTS[path].items() if name != missing}
            assert edge.post(path, document).code == "invalid_field", missing

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"quantity": 0}, id="quantity of nothing"),
            pytest.param({"quantity": -1}, id="negative quantity"),
            pytest.param({"quantity": 101}, id="quantity beyond all"),
            pytest.param({"quantity": 10**30}, id="endless quantity"),
            pytest.param({"quantity": 1.5}, id="fractional quantity"),
            pytest.param({"quantity": "1"}, id="quantity as text"),
            pytest.param({"quantity": True}, id="quantity as truth"),
            pytest.param({"quantity": None}, id="quantity of null"),
            pytest.param({"quantity": [1]}, id="quantity as list"),
            pytest.param({"clip": 1}, id="clip as number"),
            pytest.param({"clip": ""}, id="empty clip"),
            pytest.param({"clip": "a" * 64}, id="clip too long"),
            pytest.param({"clip": "clip-1\n"}, id="clip with newline"),
            pytest.param({"clip": "../clip"}, id="clip with path"),
            pytest.param({"offer": "Offer"}, id="offer in upper case"),
            pytest.param({"viewer": samples.VIEWER + "\n"}, id="viewer with newline"),
            pytest.param({"viewer": samples.VIEWER[:-1]}, id="viewer too short"),
            pytest.param({"viewer": samples.VIEWER + "A"}, id="viewer too long"),
            pytest.param({"viewer": samples.VIEWER[:-1] + "="}, id="viewer with padding"),
            pytest.param({"viewer": samples.VIEWER[:-1] + "é"}, id="viewer not ascii"),
            pytest.param({"idempotency_key": samples.TAP + "\n"}, id="key with newline"),
            pytest.param({"idempotency_key": samples.TAP[:-1]}, id="key too short"),
            pytest.param({"idempotency_key": "A" * 65}, id="key too long"),
            pytest.param({"idempotency_key": "A" * 21 + "+"}, id="key not url-safe"),
            pytest.param({"currency": "eur"}, id="currency in lower case"),
            pytest.param({"currency": "EUR\n"}, id="currency with newline"),
            pytest.param({"currency": "EURO"}, id="currency too long"),
        ],
    )
    def test_a_wrong_value_in_a_tap_is_refused(self, edge: Edge, change: dict[str, Any]) -> None:
        received = edge.post("/v1/claims", {**VALID, **change})
        assert (received.status, received.code) == (422, "invalid_field")
        assert received.json["detail"] == f"At $.{next(iter(change))}."

    @pytest.mark.parametrize(
        "beacon",
        [
            pytest.param({**BEACON, "events": []}, id="no event"),
            pytest.param({**BEACON, "events": BEACON["events"] * 51}, id="51 events"),
            pytest.param(event(type="claim_issued"), id="forged type"),
            pytest.param(event(type="view", at_ms=-1), id="before 1970"),
            pytest.param(event(at_ms=2**53), id="beyond what JavaScript counts"),
            pytest.param(event(at_ms=1.5), id="fractional instant"),
            pytest.param(event(name="Überschrift"), id="name"),
            pytest.param(event(name="a\n"), id="name with newline"),
            pytest.param(event(duration_ms=-1), id="negative duration"),
            pytest.param(event(duration_ms=10**9), id="duration of days"),
            pytest.param(event(detail="x" * 201), id="detail too long"),
            pytest.param(event(offer="a b"), id="offer"),
        ],
    )
    def test_a_wrong_value_in_a_beacon_is_refused(self, edge: Edge, beacon: dict[str, Any]) -> None:
        assert edge.post("/v1/events", beacon).code == "invalid_field"

    @both
    @pytest.mark.parametrize("length", ["-1", "1e3", "4097000000", "abc", "9" * 400])
    def test_a_length_that_cannot_be_is_refused(self, edge: Edge, path: str, length: str) -> None:
        if not self.declares_any_length:
            return
        body = json.dumps(DOCUMENTS[path]).encode()
        headers = {"content-type": JSON, "content-length": length}
        assert edge.request("POST", path, headers, body).code == "body_too_large"

    # A real connection cannot carry a wrong length: its server ends the request.
    declares_any_length: bool = False


class RoutingContract:
    """Addresses and methods."""

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/v1",
            "/v1/claims/",
            "/health/",
            "/v2/claims",
            "/v1/clips//overlay",
            "/.env",
            "/%00",
            "/%ff",
            "/shared/",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    def test_an_unknown_address_is_not_found(self, edge: Edge, method: str, path: str) -> None:
        received = edge.request(method, path)
        assert received.status == 404
        assert method == "HEAD" or received.code == "not_found"

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/v1/claims", {"POST"}),
            ("/v1/events", {"POST"}),
            ("/v1/clips/clip-1/overlay", {"GET", "HEAD"}),
            ("/v1/drops/drop-1/stock", {"GET", "HEAD"}),
            ("/health", {"GET", "HEAD"}),
            ("/openapi.json", {"GET", "HEAD"}),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    def test_another_method_is_refused_with_those_allowed(
        self, edge: Edge, method: str, path: str, allowed: set[str]
    ) -> None:
        if method in allowed:
            return
        received = edge.request(method, path)
        assert received.status == 405
        assert {listed.strip() for listed in received.headers["allow"].split(",")} == allowed

    @pytest.mark.parametrize("path", ["/v1/claims", "/v1/events", "/v1/clips/clip-1/overlay", "/nowhere"])
    def test_a_preflight_is_answered_for_every_address(self, edge: Edge, path: str) -> None:
        headers = {
            "origin": "https://creator.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        received = edge.request("OPTIONS", path, headers)
        assert received.status == 204
        assert "POST" in received.headers["access-control-allow-methods"]
        assert "content-type" in received.headers["access-control-allow-headers"].lower()
        assert int(received.headers["access-control-max-age"]) >= 3600
        assert "access-control-allow-credentials" not in received.headers

    def test_health_names_the_isolate(self, edge: Edge) -> None:
        told = edge.get("/health").json
        assert told["status"] == "ok"
        assert told["node"]

    def test_the_description_may_be_kept_for_a_while(self, edge: Edge) -> None:
        received = edge.get("/openapi.json")
        assert received.json == edge.documentation.document
        assert "max-age" in received.headers["cache-control"]

    def test_a_page_may_read_timing_and_retry_after(self, edge: Edge) -> None:
        received = edge.get(f"/v1/clips/{edge.publish().clip}/overlay")
        assert received.headers["timing-allow-origin"] == "*"
        exposed = received.headers["access-control-expose-headers"]
        assert {"retry-after", "server-timing"} <= {name.strip().lower() for name in exposed.split(",")}
        assert received.headers["server-timing"].startswith("edge;dur=")
