"""The viewer without a browser: proofs that another JOSE library, and the origin's own check, find good."""

import hashlib
import json

import jwt
from jwt.algorithms import ECAlgorithm

from scripts.viewer import Viewer, settlements_url
from shared.encoding import decode_base64url, encode_base64url

URL = "http://127.0.0.1:8782/v1/settlements"


def test_a_proof_is_bound_to_method_address_claim_and_key() -> None:
    viewer = Viewer()
    proof = viewer.proof("POST", URL + "?x=1", "claim", 1_790_000_000)
    header = jwt.get_unverified_header(proof)
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    key = ECAlgorithm.from_jwk(json.dumps(header["jwk"]))
    claims = jwt.decode(proof, key, algorithms=["ES256"], options={"verify_iat": False})  # type: ignore[arg-type]
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", URL, 1_790_000_000)
    assert decode_base64url(claims["ath"]) == hashlib.sha256(b"claim").digest()


def test_the_private_key_is_never_shown() -> None:
    assert "d" not in jwt.get_unverified_header(Viewer().proof("GET", URL, "claim", 1))["jwk"]


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    viewer = Viewer()
    public = jwt.get_unverified_header(viewer.proof("GET", URL, "claim", 1))["jwk"]
    canonical = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    assert viewer.thumbprint == encode_base64url(hashlib.sha256(canonical.encode()).digest())


def test_each_tap_has_a_key_of_its_own_unless_one_is_given() -> None:
    viewer = Viewer()
    keys = {viewer.tap("clip", "offer")["idempotency_key"] for _ in range(3)}
    assert len(keys) == 3
    assert all(len(key) >= 22 for key in keys)
    assert viewer.tap("clip", "offer", key="k" * 22)["idempotency_key"] == "k" * 22


def test_a_settlement_is_below_the_claims_origin() -> None:
    answer = {"settle_url": "http://o"}
    assert settlements_url(answer) == "http://o/v1/settlements"
    assert settlements_url(answer, "id", "stream") == "http://o/v1/settlements/id/stream"
