"""Each way to present a claim badly: its code, one problem shape, and nothing stored."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from origin.datafolder import make_claim_key_list
from tests.postgres.servers import Server
from tests.postgres.world import CLAIM_KEYS, PUBLIC_URL, OriginProcess, Tap, Viewer, World, base64url

SETTLE_URL = PUBLIC_URL + "/v1/settlements"
Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def quiet(server: Server) -> Iterator[tuple[World, OriginProcess]]:
    """One origin for all of these: not one of them may leave anything behind."""
    with server.database() as conninfo, World(conninfo) as world:
        world.add_drop("drop-1")
        yield world, world.start()


def with_token(token: str, tap: Tap) -> Headers:
    """A proof that is right for whatever the token is."""
    return [("Authorization", f"DPoP {token}"), ("DPoP", tap.viewer.prove("POST", SETTLE_URL, token))]


def with_proof(tap: Tap, proof: str) -> Headers:
    return [("Authorization", f"DPoP {tap.token}"), ("DPoP", proof)]


def proven(tap: Tap, header: dict[str, Any] | None = None, **changes: Any) -> Headers:
    """A proof that is right but for `changes`."""
    return with_proof(tap, tap.viewer.prove("POST", SETTLE_URL, tap.token, header, **changes))


def flip(token: str, segment: int) -> str:
    """Flip the lowest bit of the first byte of one segment."""
    segments = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(segments[segment] + "=="))
    raw[0] ^= 1
    segments[segment] = base64url(bytes(raw))
    return ".".join(segments)


def unsigned(tap: Tap) -> str:
    """The same claim under `alg: none`."""
    header = base64url(b'{"alg":"none","typ":"claim+jwt"}')
    return f"{header}.{tap.token.split('.')[1]}."


def under_rs256(tap: Tap) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    said = {"htm": "POST", "htu": SETTLE_URL, "iat": int(time.time()), "jti": "j"}
    return jwt.encode(said, key, "RS256", {"typ": "dpop+jwt", "jwk": tap.viewer.jwk})


def with_private_key(tap: Tap) -> str:
    secret = base64url(tap.viewer.key.private_numbers().private_value.to_bytes(32, "big"))
    return tap.viewer.prove("POST", SETTLE_URL, tap.token, {"jwk": {**tap.viewer.jwk, "d": secret}})


def prove(viewer: Viewer, tap: Tap) -> str:
    return viewer.prove("POST", SETTLE_URL, tap.token)


def now_s() -> int:
    return int(time.time())


class Case(NamedTuple):
    """The code that is expected, how the claim differs from a good one, and how it is presented."""

    code: str
    build: Callable[[Tap], Headers] = proven
    keys: str = CLAIM_KEYS
    in_s: dict[str, int] = {}  # claims whose instants are relative to now
    changes: dict[str, Any] = {}


CLAIMS = {
    "no headers": Case("claim_missing", lambda _: []),
    "no claim": Case("claim_missing", lambda tap: proven(tap)[1:]),
    "another scheme": Case("claim_missing", lambda tap: [("Authorization", f"Bearer {tap.token}")]),
    "no token": Case("claim_missing", lambda _: [("Authorization", "DPoP")]),
    "two claims": Case("claim_malformed", lambda tap: proven(tap) * 2),
    "nonsense": Case("claim_malformed", lambda tap: with_token("nonsense", tap)),
    "four segments": Case("claim_malformed", lambda tap: with_token(tap.token + ".x", tap)),
    "oversize": Case("claim_malformed", lambda tap: with_token("a" * 4097, tap)),
    "not ASCII": Case("claim_malformed", lambda _: [("Authorization", "DPoP \xe4.\xe4.\xe4")]),
    "alg none": Case("claim_key_unknown", lambda tap: with_token(unsigned(tap), tap)),
    "another key": Case("claim_key_unknown", keys=make_claim_key_list()),
    "flipped header": Case("claim_key_unknown", lambda tap: with_token(flip(tap.token, 0), tap)),
    "flipped payload": Case("claim_forged", lambda tap: with_token(flip(tap.token, 1), tap)),
    "flipped signature": Case("claim_forged", lambda tap: with_token(flip(tap.token, 2), tap)),
    "another issuer": Case("claim_wrong_issuer", changes={"iss": "someone"}),
    "another audience": Case("claim_wrong_audience", changes={"aud": "https://other.example"}),
    "too early": Case("claim_not_yet_valid", in_s={"nbf": 60}),
    "expired": Case("claim_expired", in_s={"exp": -1}),
}
PROOFS = {
    "none": Case("proof_missing", lambda tap: proven(tap)[:1]),
    "empty": Case("proof_missing", lambda tap: with_proof(tap, "")),
    "two": Case("proof_malformed", lambda tap: [*proven(tap), *proven(tap)[1:]]),
    "nonsense": Case("proof_malformed", lambda tap: with_proof(tap, "nonsense")),
    "oversize": Case("proof_malformed", lambda tap: with_proof(tap, "a" * 2049)),
    "another type": Case("proof_malformed", lambda tap: proven(tap, {"typ": "JWT"})),
    "another algorithm": Case("proof_malformed", lambda tap: with_proof(tap, under_rs256(tap))),
    "critical header": Case("proof_malformed", lambda tap: proven(tap, {"crit": ["exp"]})),
    "no key": Case("proof_malformed", lambda tap: proven(tap, {"jwk": None})),
    "private key": Case("proof_malformed", lambda tap: with_proof(tap, with_private_key(tap))),
    "no id": Case("proof_malformed", lambda tap: proven(tap, jti="")),
    "no time": Case("proof_malformed", lambda tap: proven(tap, iat=None)),
    "another viewer": Case("proof_other_key", lambda tap: with_proof(tap, prove(Viewer(), tap))),
    "flipped payload": Case("proof_forged", lambda tap: with_proof(tap, flip(prove(tap.viewer, tap), 1))),
    "flipped signature": Case("proof_forged", lambda tap: with_proof(tap, flip(prove(tap.viewer, tap), 2))),
    "another method": Case("proof_other_request", lambda tap: proven(tap, htm="GET")),
    "another path": Case("proof_other_request", lambda tap: proven(tap, htu=SETTLE_URL + "/x")),
    "another host": Case("proof_other_request", lambda tap: proven(tap, htu="https://other.example/v1/settlements")),
    "no address": Case("proof_other_request", lambda tap: proven(tap, htu="nonsense")),
    "another claim": Case("proof_other_claim", lambda tap: with_proof(tap, prove(tap.viewer, Tap()))),
    "too old": Case("proof_stale", lambda tap: proven(tap, iat=now_s() - 90)),
    "from the future": Case("proof_stale", lambda tap: proven(tap, iat=now_s() + 90)),
}
BODIES = {
    "too large": (b" " * 4097, 413, "body_too_large"),
    "not JSON": (b"{", 400, "malformed_json"),
    "not an object": (b"[]", 422, "invalid_field"),
    "a field": (b'{"quantity": 2}', 422, "unknown_field"),
    "two documents": (b"{}{}", 400, "malformed_json"),
}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    """The one shape, and nothing of what was sent."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() - {"detail"} == {"type", "title", "status", "code"}
    assert (problem["type"], problem["status"]) == (f"urn:cliptill:problem:{code}", status)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("case", [*CLAIMS.values(), *PROOFS.values()], ids=[*CLAIMS, *(f"proof: {p}" for p in PROOFS)])
def test_bad_presentation_has_its_code_and_stores_nothing(quiet: tuple[World, OriginProcess], case: Case) -> None:
    world, origin = quiet
    instants: dict[str, Any] = {name: now_s() + offset_s for name, offset_s in case.in_s.items()}
    headers = case.build(Tap(keys=case.keys, **case.changes, **instants))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = origin.client.post("/v1/settlements", headers=raw)
    assert_problem(answer, 401, case.code)
    assert answer.headers["www-authenticate"].startswith('DPoP error="invalid_')
    assert world.count() == 0
    assert world.stock() == (100, 0, 0)


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_bad_body_has_its_code_and_stores_nothing(
    quiet: tuple[World, OriginProcess], body: bytes, status: int, code: str
) -> None:
    world, origin = quiet
    assert_problem(origin.settle(Tap(), body), status, code)
    assert world.count() == 0


@pytest.mark.parametrize("content_type", ["", "text/plain", "text/xml", "application/x-www-form-urlencoded"])
def test_body_of_another_content_type_is_not_taken_and_stores_nothing(
    quiet: tuple[World, OriginProcess], content_type: str
) -> None:
    world, origin = quiet
    assert_problem(origin.settle(Tap(), b"{}", content_type), 415, "unsupported_media_type")
    assert world.count() == 0


def test_body_of_unstated_length_is_cut_off_too(quiet: tuple[World, OriginProcess]) -> None:
    world, origin = quiet
    answer = origin.settle(Tap(), (b" " * 1000 for _ in range(20)))
    assert_problem(answer, 413, "body_too_large")
    assert world.count() == 0


def test_decision_is_not_told_without_a_proof(quiet: tuple[World, OriginProcess]) -> None:
    _, origin = quiet
    tap = Tap()
    for path in (f"/v1/settlements/{tap.claim.jti}", f"/v1/settlements/{tap.claim.jti}/stream"):
        assert_problem(origin.client.get(path), 401, "claim_missing")
        answer = origin.client.get(path, headers={"Authorization": f"DPoP {tap.token}"})
        assert_problem(answer, 401, "proof_missing")
        answer = origin.client.get(path, headers=tap.headers("POST", PUBLIC_URL + path))
        assert_problem(answer, 401, "proof_other_request")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/settlements/", 404, "not_found"),
        ("GET", "/v1/settlements/a%00b", 404, "not_found"),
        ("GET", "/shared/clips/a%00b/overlay.json", 404, "not_found"),
        ("GET", "/shared/clips/nothing/overlay.json", 404, "clip_unknown"),
        ("GET", "/shared/clips/nothing/overlay.html", 404, "clip_unknown"),
        ("PUT", "/v1/settlements", 405, "method_not_allowed"),
        ("DELETE", "/v1/creators", 405, "method_not_allowed"),
        ("GET", "/v1/stock", 422, "invalid_field"),
        ("GET", "/v1/stock?drops=UPPER", 422, "invalid_field"),
        ("GET", "/v1/stock?drops=a%00b", 422, "invalid_field"),
        ("GET", "/v1/stock?drops=" + ",".join(["a"] * 25), 422, "invalid_field"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_exist_is_a_problem_too(
    quiet: tuple[World, OriginProcess], method: str, path: str, status: int, code: str
) -> None:
    _, origin = quiet
    assert_problem(origin.client.request(method, path), status, code)
