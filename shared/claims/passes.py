"""Passes: what the origin signs where something is to be picked up, and a scanner without network can check. Pure.

Rules:

1. A pass follows from its receipt, and from nothing else: it is the same pass however often it is asked for.
2. EdDSA (Ed25519, RFC 8037) JWS of type `pass+jwt`. The header must be, letter for letter, the one that a trusted key
   signs under, so the algorithm is never read from the token (RFC 8725, section 3.1). The signature is checked over the
   exact bytes, before anything is decoded.
3. A pass is good at one place, from one instant (inclusive) to another (exclusive), once. What tells it from others is
   the claim's id: however often a pass is copied, it is one.
4. It is small, so that its QR code can be scanned off a phone: what is not needed at the counter is not in it.
5. Where there is no camera, its code is typed: 80 bits of a hash over the whole pass, so only who has the pass has the
   code. A scanner knows codes by their hashes; a lost scanner gives none of them away.

The scanner's page does the same in JavaScript (`origin/pickup/site/passes.js`); `tests/contract/golden` has the tokens
and verdicts that both are held to.
"""

import hashlib
from base64 import b32encode
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

import msgspec

from shared.claims.receipts import Receipt
from shared.encoding import decode_base64url, digest_fields, encode_base64url
from shared.structs import AmountMinor, ClaimId, CurrencyCode, Identifier, InstantS, Strict, Units

TYPE: Final = "pass+jwt"
MAX_PASS_BYTES: Final = 1024
CODE_LENGTH: Final = 16
_CODE_BYTES: Final = 10
_SEGMENTS: Final = 3
_RFC_4648: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U: they are misread, or spell things
_TO_CROCKFORD: Final = str.maketrans(_RFC_4648, _CROCKFORD)
_MISREAD: Final = str.maketrans("ILO", "110", "- ")

PassFault = Literal["malformed", "foreign", "forged", "other_place", "revoked", "used", "too_early", "expired"]


class Pass(Strict, frozen=True, kw_only=True):
    """What is to be handed out, where, when, and for how much.

    Attributes:
        iss: the origin's public address.
        jti: the claim's id; a pass is used once.
        nbf, exp: picked up from (inclusive) and until (exclusive), in seconds.
        first: run number of the first of the units.
        due_minor, currency: what is to be paid on fetching; absent where nothing is.
    """

    iss: str
    jti: ClaimId
    nbf: InstantS
    exp: InstantS
    place: Identifier
    drop: Identifier
    units: Units
    first: Units
    due_minor: AmountMinor = 0
    currency: CurrencyCode | None = None


class PassKey(NamedTuple):
    """A key that passes are trusted under.

    Attributes:
        kid: its name.
        verify: whether a signature (first) is this key's over a message (second).
    """

    kid: str
    verify: Callable[[bytes, bytes], bool]


class Gate(NamedTuple):
    """Where passes are looked at, and what is known there.

    Attributes:
        issuer: the origin whose passes count.
        place: of the gate.
        revoked, used: claim ids.
    """

    issuer: str
    place: str
    revoked: frozenset[str]
    used: frozenset[str]


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Pass)


def write_pass(receipt: Receipt) -> Pass | None:
    """Return the pass of what was settled, or None where nothing is to be picked up."""
    pickup = receipt.pickup
    if pickup is msgspec.UNSET:
        return None
    due = receipt.total_minor if receipt.payment == "at_pickup" else 0
    return Pass(
        iss=receipt.iss,
        jti=receipt.jti,
        nbf=pickup.from_ms // 1000,
        exp=pickup.until_ms // 1000,
        place=pickup.place,
        drop=receipt.drop,
        units=len(receipt.run_numbers),
        first=receipt.run_numbers[0],
        due_minor=due,
        currency=receipt.currency if due else None,
    )


def encode_pass(said: Pass) -> bytes:
    """Return the payload that is signed."""
    return _ENCODER.encode(said)


def read_pass(token: str, keys: Iterable[PassKey]) -> Pass | PassFault:
    """Check a pass's form and signature alone: `malformed`, `foreign` (not a key of ours), or `forged`."""
    segments = token.split(".")
    if len(token) > MAX_PASS_BYTES or not token.isascii() or len(segments) != _SEGMENTS:
        return "malformed"
    header, payload, signature = segments
    key = next((key for key in keys if write_header(key.kid) == header), None)
    if key is None:
        return "foreign"
    signed = decode_base64url(signature)
    if signed is None or not key.verify(signed, f"{header}.{payload}".encode()):
        return "forged"
    try:
        return _DECODER.decode(decode_base64url(payload) or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "malformed"


def judge_pass(said: Pass, gate: Gate, now_s: int) -> PassFault | None:
    """Return why a genuine pass is refused at a gate, or None.

    What can be helped by going elsewhere or coming later is looked at last, but for the place: what is known of a pass
    of another place is not known here.
    """
    if said.iss != gate.issuer:
        return "foreign"
    if said.place != gate.place:
        return "other_place"
    if said.jti in gate.revoked:
        return "revoked"
    if said.jti in gate.used:
        return "used"
    if now_s < said.nbf:
        return "too_early"
    return "expired" if now_s >= said.exp else None


def write_header(kid: str) -> str:
    """Return the one header (base64url) that passes of a key have."""
    return encode_base64url(f'{{"alg":"EdDSA","kid":"{kid}","typ":"{TYPE}"}}'.encode())


def write_code(token: str) -> str:
    """Return a pass's code, in four groups of four: Crockford's base 32."""
    raw = digest_fields("cliptill pass code 1", (token,))[:_CODE_BYTES]
    code = b32encode(raw).decode().translate(_TO_CROCKFORD)
    return "-".join(code[at : at + 4] for at in range(0, CODE_LENGTH, 4))


def read_code(typed: str) -> str | None:
    """Return a code as somebody meant to type it, without its hyphens; None when it cannot be one."""
    code = typed.upper().translate(_MISREAD)
    return code if len(code) == CODE_LENGTH and set(code) <= set(_CROCKFORD) else None


def hash_code(code: str) -> str:
    """Return what a scanner knows a code by: base64url of the SHA-256 of it, without its hyphens."""
    return encode_base64url(hashlib.sha256(code.replace("-", "").encode()).digest())
