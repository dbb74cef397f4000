"""Answers of decisions: pinned byte for byte, because what was told once must be told so for ever."""

import json

import jwt
import msgspec
import pytest

from origin.settlement.answers import Decision, tell_decision
from origin.settlement.receipts import parse_signing_keys
from shared.claims.receipts import encode_receipt, write_receipt
from shared.errors import CliptillError
from shared.problems import Code
from tests.samples import NOW_MS, ORIGIN_URL, make_claim

# RFC 8037, appendix A.1.
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "r-1",
}
KEYS = parse_signing_keys(json.dumps(JWK))
SETTLED = Decision(
    claim_id="CCCCCCCCCCCCCCCCCCCCCA",
    drop="drop-1",
    fingerprint="f",
    code=None,
    receipt=encode_receipt(write_receipt(make_claim(), ORIGIN_URL, 7, NOW_MS, place=(1, "A" * 43))),
    kid="r-1",
    source="request",
    decided_at_ms=NOW_MS,
    stock_total=100,
    stock_remaining=93,
    stock_version=8,
)
REFUSED = msgspec.structs.replace(SETTLED, code=Code.SOLD_OUT, receipt=None, kid=None, stock_remaining=0)
UNKNOWN = msgspec.structs.replace(
    REFUSED, code=Code.DROP_UNKNOWN, stock_total=None, stock_remaining=None, stock_version=None
)
GOLDEN = {
    "settled": (
        SETTLED,
        200,
        (
            '{"claim_id":"CCCCCCCCCCCCCCCCCCCCCA","status":"settled","settled_at_ms":1800000000000,"d'
            'rop":"drop-1","run":"run-1","run_numbers":[7],"lines":[{"sku":"sku-1","quantity":1,"unit'
            '_minor":990}],"total_minor":990,"currency":"EUR","payment":"at_pickup","receipt":"eyJhbG'
            "ciOiJFZERTQSIsImtpZCI6InItMSIsInR5cCI6InJlY2VpcHQrand0In0.eyJpc3MiOiJodHRwczovL29yaWdpbi"
            "5leGFtcGxlIiwianRpIjoiQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQSIsImlhdCI6MTgwMDAwMDAwMCwiaG9sZGVyIj"
            "oidTN0UUk2REprUG8xbEtEUVhxTWhNY2RFdGdtRlREaTRISU9PZTFaUzQ1byIsImRyb3AiOiJkcm9wLTEiLCJydW"
            "4iOiJydW4tMSIsInJ1bl9udW1iZXJzIjpbN10sImxpbmVzIjpbeyJza3UiOiJza3UtMSIsInF1YW50aXR5IjoxLC"
            "J1bml0X21pbm9yIjo5OTB9XSwiY3VycmVuY3kiOiJFVVIiLCJ0b3RhbF9taW5vciI6OTkwLCJwYXltZW50IjoiYX"
            "RfcGlja3VwIiwiY3JlYXRvciI6ImNyZWF0b3ItMSIsImNsaXAiOiJjbGlwLTEiLCJvZmZlciI6Im9mZmVyLTEiLC"
            "Jwb3NpdGlvbiI6MSwicHJldmlvdXMiOiJBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
            "FBIn0.G1ymY-lXuqkoP7woKqLEIa38f7g6miXyS-WNaRD2_679yuYc7grSt7mUVIGciYZt1V5QYT9XhCygteAz-8"
            '5PDQ","position":1,"stock":{"drop":"drop-1","state":"available","remaining":93,"version"'
            ':8,"as_of_ms":1800000000000}}'
        ),
    ),
    "refused": (
        REFUSED,
        409,
        (
            '{"type":"urn:cliptill:problem:sold_out","title":"Nothing is left","status":409,"code":"s'
            'old_out","claim_id":"CCCCCCCCCCCCCCCCCCCCCA","outcome":"refused","decided_at_ms":1800000'
            '000000,"stock":{"drop":"drop-1","state":"sold_out","remaining":0,"version":8,"as_of_ms":'
            "1800000000000}}"
        ),
    ),
    "unknown drop": (
        UNKNOWN,
        404,
        (
            '{"type":"urn:cliptill:problem:drop_unknown","title":"The drop is not known","status":404'
            ',"code":"drop_unknown","claim_id":"CCCCCCCCCCCCCCCCCCCCCA","outcome":"refused","decided_'
            'at_ms":1800000000000}'
        ),
    ),
}


@pytest.mark.parametrize(("decision", "status", "body"), GOLDEN.values(), ids=GOLDEN)
def test_answer_is_told_in_these_bytes(decision: Decision, status: int, body: str) -> None:
    reply = tell_decision(decision, KEYS)
    assert (reply.status, reply.body.decode()) == (status, body)


def test_receipt_in_the_answer_is_signed() -> None:
    receipt = json.loads(tell_decision(SETTLED, KEYS).body)["receipt"]
    key = jwt.PyJWK.from_dict(json.loads(KEYS.key_set)["keys"][0])
    said = jwt.decode(receipt, key, algorithms=["EdDSA"], options={"verify_iat": False})
    assert said["run_numbers"] == [7]


def test_answer_under_a_key_that_is_gone_is_an_error_not_another_answer() -> None:
    with pytest.raises(CliptillError, match="not in the list"):
        tell_decision(msgspec.structs.replace(SETTLED, kid="r-0"), KEYS)
