"""Proofs of possession: the RFC's own example, what they bind together, and the one spelling of an address."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from origin.settlement.proofs import Proof, ProofKey, check_proof, judge_proof, normalise_url, thumbprint_of
from shared.problems import Code
from tests.samples import NOW_S, VIEWER

URL = "https://origin.example/v1/settlements"
ATH = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
SAID = Proof(htm="POST", htu=URL, iat=NOW_S, jti="e1j3V_bKic8-LAEB", ath=ATH)

# RFC 9449, section 7.1: a proof for a protected resource, and what it was made for.
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJ"
    "oRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.ey"
    "JqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZX"
    "NvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35y"
    "RqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
RFC_URL = "https://resource.example.org/protectedresource"
RFC_INSTANT_S = 1_562_262_618


def check_rfc(**changes: object) -> Code | None:
    facts = {"method": "GET", "url": RFC_URL, "token_hash": ATH, "thumbprint": VIEWER, "now_s": RFC_INSTANT_S}
    return check_proof(RFC_PROOF, **{**facts, **changes})  # type: ignore[arg-type]


def test_proof_of_the_rfc_counts() -> None:
    assert check_rfc() is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"thumbprint": "A" * 43}, Code.PROOF_OTHER_KEY),
        ({"method": "POST"}, Code.PROOF_OTHER_REQUEST),
        ({"url": RFC_URL + "/"}, Code.PROOF_OTHER_REQUEST),
        ({"token_hash": "A" * 43}, Code.PROOF_OTHER_CLAIM),
        ({"now_s": RFC_INSTANT_S + 61}, Code.PROOF_STALE),
        ({"now_s": RFC_INSTANT_S - 61}, Code.PROOF_STALE),
        ({"now_s": RFC_INSTANT_S + 60}, None),
        ({"now_s": RFC_INSTANT_S - 60}, None),
    ],
    ids=["key", "method", "address", "claim", "old", "early", "just in time", "just not early"],
)
def test_proof_counts_for_nothing_else(changes: dict[str, object], code: Code | None) -> None:
    assert check_rfc(**changes) is code


def test_each_flipped_bit_of_a_proof_refuses() -> None:
    segments = RFC_PROOF.split(".")
    for place, segment in enumerate(segments):
        raw = base64.urlsafe_b64decode(segment + "==")
        for bit in range(0, len(raw) * 8, 7):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            text = base64.urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode()
            proof = ".".join([*segments[:place], text, *segments[place + 1 :]])
            facts = {"method": "GET", "url": RFC_URL, "token_hash": ATH, "now_s": RFC_INSTANT_S}
            assert check_proof(proof, thumbprint=VIEWER, **facts) is not None, (place, bit)  # type: ignore[arg-type]


def test_thumbprint_is_that_of_the_rfc() -> None:
    header = json.loads(base64.urlsafe_b64decode(RFC_PROOF.split(".", maxsplit=1)[0] + "=="))
    del header["jwk"]["kty"], header["jwk"]["crv"]
    assert thumbprint_of(ProofKey(kty="EC", crv="P-256", **header["jwk"])) == VIEWER


def test_key_that_is_no_point_of_the_curve_is_refused() -> None:
    key = ProofKey(kty="EC", crv="P-256", x="A" * 43, y="A" * 43)
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "x": key.x, "y": key.y}}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    proof = ".".join([encoded, *RFC_PROOF.split(".")[1:]])
    with pytest.raises(ValueError, match="EC key"):
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + bytes(64))
    facts = {"method": "GET", "url": RFC_URL, "token_hash": ATH, "now_s": RFC_INSTANT_S}
    assert check_proof(proof, thumbprint=thumbprint_of(key), **facts) is Code.PROOF_FORGED  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        URL,
        URL + "?a=b",
        URL + "#part",
        "HTTPS://ORIGIN.example/v1/settlements",
        "https://origin.example:443/v1/settlements",
    ],
)
def test_other_spellings_of_an_address_are_the_same(url: str) -> None:
    assert judge_proof(SAID, method="POST", url=url, token_hash=ATH, now_s=NOW_S) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "/v1/settlements",
        "http://[::1/x",
        "https://origin.example:99999/x",
        "https://user@origin.example/v1/settlements",
        "javascript://origin.example/v1/settlements",
    ],
)
def test_what_is_no_address_of_ours_has_no_spelling(url: str) -> None:
    assert normalise_url(url) is None


@pytest.mark.parametrize(
    ("url", "spelling"),
    [
        ("http://HOST", "http://host/"),
        ("http://host:80/a", "http://host/a"),
        ("http://host:8080/A", "http://host:8080/A"),
        ("https://host:80/a", "https://host:80/a"),
    ],
)
def test_address_has_one_spelling(url: str, spelling: str) -> None:
    assert normalise_url(url) == spelling
