"""Claims: what is signed is what is verified, and nothing else ever is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Final

import jwt
import msgspec
import pytest

from shared.claims.keys import ClaimKey, make_claim_key
from shared.claims.tokens import (
    CLOCK_LEEWAY_S,
    MAX_TOKEN_BYTES,
    Claim,
    ClaimFault,
    derive_claim_id,
    fingerprint_claim,
    hash_token,
    read_claim,
    sign_claim,
    verify_claim,
)
from shared.encoding import encode_base64url
from shared.problems import Code
from tests import samples
from tests.samples import ISSUER, NEW_KEY, NOW_S, OLD_KEY, ORIGIN_URL

GOLDEN_TOKEN: Final = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjIwMjYtMTEiLCJ0eXAiOiJjbGFpbStqd3QifQ.eyJpc3MiOiJjbGlwdGlsbC1lZGdlIiwiY"
    "XVkIjoiaHR0cHM6Ly9vcmlnaW4uZXhhbXBsZSIsImNuZiI6eyJqa3QiOiIwWmNPQ09SWk5ZeS1EV3BxcTMwalp5SkdIVE4wZDJIZ"
    "2xCVjN1aWd1QTRJIn0sImp0aSI6IkNDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0EiLCJpYXQiOjE4MDAwMDAwMDAsIm5iZiI6MTgwMDAwM"
    "DAwMCwiZXhwIjoxODAwMDAwMzAwLCJkcm9wIjoiZHJvcC0xIiwicnVuIjoicnVuLTEiLCJsaW5lcyI6W3sic2t1Ijoic2t1LTEiL"
    "CJxdWFudGl0eSI6MSwidW5pdF9taW5vciI6OTkwfV0sImN1cnJlbmN5IjoiRVVSIiwiY3JlYXRvciI6ImNyZWF0b3ItMSIsImNsa"
    "XAiOiJjbGlwLTEiLCJvZmZlciI6Im9mZmVyLTEifQ.HUk-OqyTRinlHZRT3Ib_UQzs0pYdVXp9F3ZKmjkSqTE"
)


def verify(token: str, *keys: ClaimKey, now_s: int = NOW_S) -> Claim | ClaimFault:
    return verify_claim(token, keys or (NEW_KEY,), issuer=ISSUER, audience=ORIGIN_URL, now_s=now_s)


def code_of(verified: Claim | ClaimFault) -> Code | None:
    return verified.code if isinstance(verified, ClaimFault) else None


def forge(header: Any, payload: Any, secret: bytes = NEW_KEY.secret) -> str:
    """Sign anything, as someone who has the key would."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(encode_base64url(part) for part in parts)
    return f"{signed}.{encode_base64url(hmac.digest(secret, signed.encode(), 'sha256'))}"


def sign(payload: Any) -> str:
    """Sign any payload under the newest key's own header."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{NEW_KEY.header}.{encode_base64url(raw)}"
    return f"{signed}.{encode_base64url(hmac.digest(NEW_KEY.secret, signed.encode(), 'sha256'))}"


def test_a_claim_is_signed_as_it_always_was() -> None:
    assert sign_claim(samples.make_claim(), NEW_KEY) == GOLDEN_TOKEN


def test_another_implementation_reads_what_is_signed() -> None:
    payload = jwt.decode(
        GOLDEN_TOKEN,
        NEW_KEY.secret,
        algorithms=["HS256"],
        audience=ORIGIN_URL,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert payload == samples.claim_document()
    assert jwt.get_unverified_header(GOLDEN_TOKEN) == {"alg": "HS256", "kid": NEW_KEY.kid, "typ": "claim+jwt"}


def test_a_signed_claim_verifies_to_itself() -> None:
    claim = samples.make_claim(arm="b", colo="FRA", stock_version=3)
    assert verify(sign_claim(claim, NEW_KEY)) == claim


def test_totals_are_over_all_lines() -> None:
    lines = [
        {"sku": "a", "quantity": 2, "unit_minor": 150},
        {"sku": "b", "quantity": 1, "unit_minor": 5},
        {"sku": "a", "quantity": 3, "unit_minor": 100},
    ]
    claim = samples.make_claim(lines=lines)
    assert (claim.quantity, claim.total_minor) == (6, 605)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"iss": "someone-else"}, Code.CLAIM_WRONG_ISSUER, id="another issuer"),
        pytest.param({"iss": ISSUER[:-1]}, Code.CLAIM_WRONG_ISSUER, id="a part of the issuer"),
        pytest.param({"aud": ORIGIN_URL + "/"}, Code.CLAIM_WRONG_AUDIENCE, id="another audience"),
        pytest.param({"aud": ORIGIN_URL[:-1]}, Code.CLAIM_WRONG_AUDIENCE, id="a part of the audience"),
        pytest.param({"aud": ""}, Code.CLAIM_WRONG_AUDIENCE, id="no audience"),
        pytest.param({"exp": NOW_S}, Code.CLAIM_EXPIRED, id="expired in this very second"),
        pytest.param({"exp": NOW_S + 1}, None, id="expires in the next second"),
        pytest.param({"nbf": NOW_S + CLOCK_LEEWAY_S}, None, id="early, within the leeway"),
        pytest.param({"nbf": NOW_S + CLOCK_LEEWAY_S + 1}, Code.CLAIM_NOT_YET_VALID, id="too early"),
    ],
)
def test_issuer_audience_and_validity_are_checked(changes: dict[str, Any], code: Code | None) -> None:
    assert code_of(verify(sign_claim(samples.make_claim(**changes), NEW_KEY))) == code


def test_reading_a_claim_that_expired_long_ago_still_needs_its_signature() -> None:
    token = sign_claim(samples.make_claim(exp=1), NEW_KEY)
    assert code_of(verify(token)) == Code.CLAIM_EXPIRED
    assert isinstance(read_claim(token, [NEW_KEY]), Claim)
    assert code_of(read_claim(token[:-1] + ("A" if token[-1] != "A" else "B"), [NEW_KEY])) == Code.CLAIM_FORGED


def test_forged_is_told_before_expired() -> None:
    token = sign_claim(samples.make_claim(exp=1), make_claim_key(NEW_KEY.kid, b"x" * 32))
    assert code_of(verify(token)) == Code.CLAIM_FORGED


def test_during_a_rotation_two_generations_verify_and_retired_ones_do_not() -> None:
    claim = samples.make_claim()
    old, new = sign_claim(claim, OLD_KEY), sign_claim(claim, NEW_KEY)
    assert verify(old, NEW_KEY, OLD_KEY) == verify(new, NEW_KEY, OLD_KEY) == claim
    assert code_of(verify(old, NEW_KEY)) == Code.CLAIM_KEY_UNKNOWN
    assert code_of(verify(new, OLD_KEY)) == Code.CLAIM_KEY_UNKNOWN


def test_the_name_of_one_key_with_the_signature_of_another_is_forged() -> None:
    header, payload, _ = sign_claim(samples.make_claim(), NEW_KEY).split(".")
    signature = sign_claim(samples.make_claim(), OLD_KEY).split(".")[2]
    assert code_of(verify(f"{header}.{payload}.{signature}", NEW_KEY, OLD_KEY)) == Code.CLAIM_FORGED


def test_every_single_bit_flip_is_refused() -> None:
    token = sign_claim(samples.make_claim(), NEW_KEY).encode()
    for position in range(len(token)):
        for bit in range(8):
            flipped = bytearray(token)
            flipped[position] ^= 1 << bit
            assert isinstance(verify(flipped.decode("latin-1")), ClaimFault), (position, bit)


KID: Final = NEW_KEY.kid
HEADERS: Final = {
    "none": {"alg": "none", "kid": KID, "typ": "claim+jwt"},
    "None": {"alg": "None", "kid": KID, "typ": "claim+jwt"},
    "HS512": {"alg": "HS512", "kid": KID, "typ": "claim+jwt"},
    "EdDSA": {"alg": "EdDSA", "kid": KID, "typ": "claim+jwt"},
    "no algorithm": {"kid": KID, "typ": "claim+jwt"},
    "no key id": {"alg": "HS256", "typ": "claim+jwt"},
    "another key id": {"alg": "HS256", "kid": "2026-12", "typ": "claim+jwt"},
    "a receipt": {"alg": "HS256", "kid": KID, "typ": "receipt+jwt"},
    "a proof": {"alg": "HS256", "kid": KID, "typ": "dpop+jwt"},
    "any JWT": {"alg": "HS256", "kid": KID, "typ": "JWT"},
    "no type": {"alg": "HS256", "kid": KID},
    "with an embedded key": {"alg": "HS256", "kid": KID, "typ": "claim+jwt", "jwk": {}},
    "with crit": {"alg": "HS256", "kid": KID, "typ": "claim+jwt", "crit": ["b64"], "b64": False},
    "another order": {"typ": "claim+jwt", "kid": KID, "alg": "HS256"},
    "spaces": b'{"alg": "HS256","kid":"2026-11","typ":"claim+jwt"}',
    "a path as key id": {"alg": "HS256", "kid": "../../dev/null", "typ": "claim+jwt"},
    "not JSON": b"header",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_not_letter_for_letter_ours_is_refused(header: Any) -> None:
    assert code_of(verify(forge(header, samples.claim_document()))) == Code.CLAIM_KEY_UNKNOWN


def test_without_a_signature_there_is_no_claim() -> None:
    header, payload, _ = sign_claim(samples.make_claim(), NEW_KEY).split(".")
    assert code_of(verify(f"{header}.{payload}.")) == Code.CLAIM_FORGED
    unsigned = encode_base64url(b'{"alg":"none"}')
    assert code_of(verify(f"{unsigned}.{payload}.")) == Code.CLAIM_KEY_UNKNOWN


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("a.b", id="two segments"),
        pytest.param("a.b.c.d", id="four segments"),
        pytest.param("a.b.c.d.e", id="encrypted"),
        pytest.param(NEW_KEY.header + "." + "A" * MAX_TOKEN_BYTES + ".A", id="oversize"),
        pytest.param("é.b.c", id="not ASCII"),
        pytest.param(NEW_KEY.header + ".A.\ud800", id="lone surrogate"),
        pytest.param("\uff41.b.c", id="full-width letters"),
    ],
)
def test_what_has_not_the_form_of_a_token_is_malformed(token: str) -> None:
    assert code_of(verify(token)) == Code.CLAIM_MALFORMED


def test_a_token_of_the_largest_size_is_looked_at() -> None:
    length = MAX_TOKEN_BYTES - len(NEW_KEY.header) - 2
    assert code_of(verify(f"{NEW_KEY.header}.{'A' * (length - 43)}.{'A' * 43}")) == Code.CLAIM_FORGED


def pad(segment: str) -> str:
    return segment + "=" * (-len(segment) % 4)


def spare_bits(segment: str) -> str:
    """Return another text that lenient decoders take for the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) + 1]


@pytest.mark.parametrize("change", [pad, spare_bits, lambda text: text + "\n", lambda text: " " + text])
def test_a_second_form_of_the_same_signature_is_forged(change: Callable[[str], str]) -> None:
    signed, _, signature = sign_claim(samples.make_claim(), NEW_KEY).rpartition(".")
    changed = change(signature)
    assert base64.urlsafe_b64decode(pad(changed.strip().rstrip("="))) == base64.urlsafe_b64decode(pad(signature))
    assert code_of(verify(f"{signed}.{changed}")) == Code.CLAIM_FORGED


def test_a_payload_in_a_form_that_is_not_canonical_is_refused_even_when_it_is_signed() -> None:
    payload = base64.urlsafe_b64encode(json.dumps(samples.claim_document(colo="x")).encode()).decode()
    for changed in (payload.rstrip("=") + "=", payload.rstrip("=") + "\n"):
        signed = f"{NEW_KEY.header}.{changed}"
        token = f"{signed}.{encode_base64url(hmac.digest(NEW_KEY.secret, signed.encode(), 'sha256'))}"
        assert code_of(verify(token)) == Code.CLAIM_MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 3000, id="nested"),
        pytest.param(samples.claim_document(lines=[]), id="no line"),
        pytest.param(samples.claim_document(admin=True), id="unknown field"),
        pytest.param({**samples.claim_document(), "exp": "never"}, id="instant as text"),
        pytest.param({**samples.claim_document(), "exp": NOW_S + 0.5}, id="fractional instant"),
        pytest.param({**samples.claim_document(), "jti": "C" * 21}, id="id too short"),
        pytest.param(samples.claim_document(cnf={}), id="bound to no key"),
        pytest.param(samples.claim_document(cnf={"jkt": "x"}), id="bound to nonsense"),
        pytest.param(samples.claim_document(lines=[{"sku": "a", "quantity": 0, "unit_minor": 1}]), id="of nothing"),
        pytest.param(samples.claim_document(lines=[{"sku": "a", "quantity": 1, "unit_minor": -1}]), id="negative"),
    ],
)
def test_a_signed_payload_that_is_no_claim_is_malformed(payload: Any) -> None:
    assert code_of(verify(sign(payload))) == Code.CLAIM_MALFORMED


def test_a_fault_carries_nothing_of_the_token() -> None:
    fault = verify(sign_claim(samples.make_claim(), OLD_KEY))
    assert msgspec.to_builtins(fault) == {"code": "claim_key_unknown"}


def test_the_id_of_a_claim_depends_on_each_part_and_on_where_it_ends() -> None:
    assert derive_claim_id("drop-1", samples.VIEWER, samples.TAP) == "IKsx1bgfkNXFASKe1ccg9Q"
    parts = [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("abc", "", "d"), ("", "abc", "d"), ("ab", "cd", "")]
    assert len({derive_claim_id(*part) for part in parts}) == len(parts)


def test_a_fingerprint_sums_the_lines_of_one_sku() -> None:
    def lines(*units: tuple[str, int]) -> list[dict[str, Any]]:
        return [{"sku": sku, "quantity": quantity, "unit_minor": 1} for sku, quantity in units]

    split = samples.make_claim(lines=lines(("a", 1), ("b", 1), ("a", 2)))
    joined = samples.make_claim(lines=lines(("b", 1), ("a", 3)))
    assert fingerprint_claim(split) == fingerprint_claim(joined)
    assert fingerprint_claim(split) != fingerprint_claim(samples.make_claim(lines=lines(("a", 3), ("b", 2))))


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({"iat": 1, "nbf": 1, "exp": 2}, True, id="instants"),
        pytest.param({"colo": "FRA", "stock_version": 9}, True, id="place and stock"),
        pytest.param({"lines": [{"sku": "sku-1", "quantity": 1, "unit_minor": 5}]}, True, id="price"),
        pytest.param({"lines": [{"sku": "sku-1", "quantity": 2, "unit_minor": 990}]}, False, id="quantity"),
        pytest.param({"lines": [{"sku": "sku-2", "quantity": 1, "unit_minor": 990}]}, False, id="SKU"),
        pytest.param({"drop": "drop-2"}, False, id="drop"),
        pytest.param({"run": "run-2"}, False, id="run"),
        pytest.param({"currency": "USD"}, False, id="currency"),
        pytest.param({"cnf": {"jkt": samples.OTHER_VIEWER}}, False, id="viewer"),
    ],
)
def test_a_fingerprint_is_of_what_was_asked_for(changes: dict[str, Any], *, same: bool) -> None:
    claim, other = samples.make_claim(), samples.make_claim(**changes)
    assert (fingerprint_claim(claim) == fingerprint_claim(other)) is same


def test_the_hash_of_a_token_is_that_of_the_proof_of_possession_standard() -> None:
    # RFC 9449, section 7.1: the access token of its example, and the `ath` of the proof that goes with it.
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert hash_token(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert hash_token("a.b.c") == encode_base64url(hashlib.sha256(b"a.b.c").digest())
