"""Passes and what becomes of each at one gate: both verifiers, in Python and in the scanner's page, are held to it."""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from origin.settlement.receipts import SigningKeys, parse_signing_keys
from shared.claims.passes import TYPE, hash_code, write_code
from shared.encoding import decode_base64url, encode_base64url
from tests.samples import NOW_S, ORIGIN_URL

FILE: Final = "pass-verdicts.json"
# RFC 8037, appendix A.1; and RFC 8032, section 7.1, test 2, whose key is nobody's here.
JWK: Final = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "r-1",
}
OTHER_JWK: Final = {
    **JWK,
    "d": "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs",
    "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
    "kid": "r-9",
}
KEYS: Final = parse_signing_keys(json.dumps(JWK))
OTHER_KEYS: Final = parse_signing_keys(json.dumps(OTHER_JWK))
IMPOSTORS: Final = parse_signing_keys(json.dumps({**OTHER_JWK, "kid": "r-1"}))

USED: Final = "UUUUUUUUUUUUUUUUUUUUUA"
REVOKED: Final = "RRRRRRRRRRRRRRRRRRRRRA"
SAID: Final[dict[str, Any]] = {
    "iss": ORIGIN_URL,
    "jti": "CCCCCCCCCCCCCCCCCCCCCA",
    "nbf": NOW_S - 600,
    "exp": NOW_S + 600,
    "place": "kiln",
    "drop": "drop-1",
    "units": 2,
    "first": 7,
    "due_minor": 1980,
    "currency": "EUR",
}
GATE: Final[dict[str, Any]] = {"issuer": ORIGIN_URL, "place": "kiln", "revoked": [REVOKED], "used": [USED]}


def sign(keys: SigningKeys = KEYS, kind: str = TYPE, **changes: Any) -> str:
    """Return a pass, signed as the origin does it."""
    said = {name: value for name, value in {**SAID, **changes}.items() if value is not None}
    return keys.newest.sign(msgspec.json.encode(said), kind)


def cases() -> Iterator[tuple[str, str, int, str]]:
    """Yield (name, token, now in seconds, verdict)."""
    good = sign()
    header, payload, signature = good.split(".")
    flipped = bytearray(decode_base64url(signature) or b"")
    flipped[0] ^= 1
    unsigned = encode_base64url(b'{"alg":"none","kid":"r-1","typ":"pass+jwt"}')
    yield "good", good, NOW_S, "good"
    yield "good, with nothing due", sign(due_minor=None, currency=None), NOW_S, "good"
    yield "good, in its first second", good, SAID["nbf"], "good"
    yield "good, in its last second", good, SAID["exp"] - 1, "good"
    yield "before its window", good, SAID["nbf"] - 1, "too_early"
    yield "at the end of its window", good, SAID["exp"], "expired"
    yield "used", sign(jti=USED), NOW_S, "used"
    yield "used, and expired since", sign(jti=USED), SAID["exp"], "used"
    yield "revoked", sign(jti=REVOKED), NOW_S, "revoked"
    yield "of another place", sign(place="harbour"), NOW_S, "other_place"
    yield "of another origin", sign(iss="https://else.example"), NOW_S, "foreign"
    yield "under a key that is not ours", sign(OTHER_KEYS), NOW_S, "foreign"
    yield "under our key's name by another", sign(IMPOSTORS), NOW_S, "forged"
    yield "a receipt", sign(kind="receipt+jwt"), NOW_S, "foreign"
    yield "without algorithm", f"{unsigned}.{payload}.{signature}", NOW_S, "foreign"
    yield "one bit of the signature flipped", f"{header}.{payload}.{encode_base64url(bytes(flipped))}", NOW_S, "forged"
    yield "another payload", f"{header}.{sign(units=9).split('.')[1]}.{signature}", NOW_S, "forged"
    yield "no signature", f"{header}.{payload}.", NOW_S, "forged"
    yield "a field too much", sign(price=1), NOW_S, "malformed"
    yield "a field missing", sign(drop=None), NOW_S, "malformed"
    yield "units that are text", sign(units="2"), NOW_S, "malformed"
    yield "two segments", f"{header}.{payload}", NOW_S, "malformed"
    yield "some other QR code", "https://example.com/menu", NOW_S, "malformed"
    yield "nothing", "", NOW_S, "malformed"
    yield "endless", f"{header}.{'A' * 5000}.{signature}", NOW_S, "malformed"


def codes() -> Iterator[tuple[str, str | None]]:
    """Yield what is typed, and the hash that it stands for; None when it is no code."""
    code = write_code(sign())
    known = hash_code(code)
    yield code, known
    yield code.lower().replace("-", " "), known
    yield "0il0-0000-0000-000o", hash_code("0110000000000000")
    yield code[:-1], None
    yield "UUUU-0000-0000-0000", None
    yield "", None


def pass_files() -> Iterator[tuple[str, bytes]]:
    """Yield the golden file: its name and what it must hold."""
    document = {
        "gate": GATE,
        "keys": json.loads(KEYS.key_set)["keys"],
        "cases": [
            {"name": name, "token": token, "now_s": now_s, "verdict": verdict}
            for name, token, now_s, verdict in cases()
        ],
        "codes": [{"typed": typed, "hash": known} for typed, known in codes()],
        "code_of_first": write_code(sign()),
    }
    yield FILE, f"{json.dumps(document, indent=1)}\n".encode()
