"""Passes: what follows from a receipt, and what a scanner without network makes of a token."""

import json
import re
from typing import Any, Final

import jwt
import msgspec
import pytest
import segno
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from origin.pickup.passes import draw_code
from origin.settlement.answers import sign_pass, tell_decision
from shared.claims.passes import (
    Gate,
    Pass,
    PassKey,
    hash_code,
    judge_pass,
    read_code,
    read_pass,
    write_code,
    write_pass,
)
from shared.claims.receipts import Pickup, Receipt, encode_receipt, write_receipt
from shared.encoding import decode_base64url
from tests.contract.golden_overlays import FOLDER
from tests.contract.golden_passes import FILE, KEYS
from tests.samples import HOUR_MS, NOW_MS, NOW_S, ORIGIN_URL, make_claim
from tests.unit.test_origin_answers import SETTLED

GOLDEN: Final[dict[str, Any]] = json.loads((FOLDER / FILE).read_bytes())
WINDOW: Final = Pickup(place="kiln", from_ms=NOW_MS, until_ms=NOW_MS + HOUR_MS)


def trusted(jwk: dict[str, str]) -> PassKey:
    public = Ed25519PublicKey.from_public_bytes(decode_base64url(jwk["x"]) or b"")

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return PassKey(jwk["kid"], verify)


TRUSTED: Final = [trusted(jwk) for jwk in GOLDEN["keys"]]
GATE: Final = Gate(
    issuer=GOLDEN["gate"]["issuer"],
    place=GOLDEN["gate"]["place"],
    revoked=frozenset(GOLDEN["gate"]["revoked"]),
    used=frozenset(GOLDEN["gate"]["used"]),
)


def make_receipt(**changes: Any) -> Receipt:
    return write_receipt(make_claim(**changes), ORIGIN_URL, 7, NOW_MS, pickup=WINDOW)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=[case["name"] for case in GOLDEN["cases"]])
def test_a_token_at_the_gate_has_its_verdict(case: dict[str, Any]) -> None:
    said = read_pass(case["token"], TRUSTED)
    verdict = judge_pass(said, GATE, case["now_s"]) or "good" if isinstance(said, Pass) else said
    assert verdict == case["verdict"]


@pytest.mark.parametrize("code", GOLDEN["codes"], ids=[code["typed"] or "nothing" for code in GOLDEN["codes"]])
def test_a_typed_code_is_found_by_its_hash(code: dict[str, Any]) -> None:
    read = read_code(code["typed"])
    assert (None if read is None else hash_code(read)) == code["hash"]


def test_any_flipped_bit_of_a_pass_is_refused() -> None:
    token = GOLDEN["cases"][0]["token"]
    raw = token.encode()
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        assert not isinstance(read_pass(changed.decode("latin-1"), TRUSTED), Pass), at


def test_a_pass_states_what_the_receipt_does() -> None:
    lines = [{"sku": "sku-1", "quantity": 2, "unit_minor": 990}]
    assert write_pass(make_receipt(lines=lines)) == Pass(
        iss=ORIGIN_URL, jti="CCCCCCCCCCCCCCCCCCCCCA", nbf=NOW_S, exp=NOW_S + 3600, place="kiln", drop="drop-1",
        units=2, first=7, due_minor=1980, currency="EUR",
    )  # fmt: skip


@pytest.mark.parametrize(
    "receipt",
    [
        pytest.param(make_receipt(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}]), id="free"),
        pytest.param(write_receipt(make_claim(), ORIGIN_URL, 7, NOW_MS, "card", pickup=WINDOW), id="paid by card"),
    ],
)
def test_nothing_is_due_for_what_is_free_or_paid(receipt: Receipt) -> None:
    said = write_pass(receipt)
    assert said is not None
    assert (said.due_minor, said.currency) == (0, None)


def test_what_is_not_picked_up_has_no_pass() -> None:
    assert write_pass(write_receipt(make_claim(), ORIGIN_URL, 7, NOW_MS)) is None
    assert "pass" not in json.loads(tell_decision(SETTLED, KEYS).body)


def test_the_answer_of_a_settlement_has_the_pass_and_any_jose_library_can_check_it() -> None:
    decision = msgspec.structs.replace(SETTLED, receipt=encode_receipt(make_receipt()))
    told = json.loads(tell_decision(decision, KEYS).body)
    key = jwt.PyJWK.from_dict(GOLDEN["keys"][0])
    said = jwt.decode(told["pass"], key, algorithms=["EdDSA"], issuer=ORIGIN_URL, options={"verify_nbf": False})
    assert (said["jti"], said["first"]) == (told["claim_id"], 7)
    assert jwt.get_unverified_header(told["pass"])["typ"] == "pass+jwt"
    assert tell_decision(decision, KEYS).body == tell_decision(decision, KEYS).body


def test_a_pass_does_not_tell_the_viewer() -> None:
    claim = make_claim()
    token = sign_pass(encode_receipt(make_receipt()), "r-1", KEYS) or ""
    assert claim.cnf.jkt.encode() not in (decode_base64url(token.split(".")[1]) or b"")


def test_the_longest_names_still_make_a_code_that_a_phone_shows_well() -> None:
    # 93 modules: four pixels each on the narrowest phones that are sold (375 CSS pixels).
    token = sign_pass(
        encode_receipt(
            write_receipt(
                make_claim(drop="d" * 63), "https://" + "o" * 40 + ".example", 7, NOW_MS,
                pickup=Pickup(place="p" * 63, from_ms=NOW_MS, until_ms=NOW_MS + HOUR_MS),
            )
        ),
        "r-1",
        KEYS,
    )  # fmt: skip
    assert segno.make(token or "", error="l").symbol_size(border=0) <= (93, 93)


def test_a_code_has_eighty_bits_and_its_first_is_pinned() -> None:
    code = write_code(GOLDEN["cases"][0]["token"])
    assert code == GOLDEN["code_of_first"]
    assert len(code.replace("-", "")) * 5 == 80


def test_the_picture_s_path_is_the_code_module_by_module() -> None:
    token = GOLDEN["cases"][0]["token"]
    picture = draw_code(token)
    drawn = [bytearray(picture.side) for _ in range(picture.side)]
    for x, y, length, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", picture.path):
        assert length == back
        drawn[int(y)][int(x) : int(x) + int(length)] = b"\x01" * int(length)
    assert drawn == [bytearray(row) for row in segno.make(token, error="l", micro=False).matrix_iter(border=4)]
    assert not any(any(row[:4]) or any(row[-4:]) for row in drawn)
