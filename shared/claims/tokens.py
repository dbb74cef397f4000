"""Claims: what a viewer key may settle, at which price, until when. Signed at the edge, verified at the origin.

Rules, from RFC 7515 (JWS), RFC 7519 (JWT) and RFC 8725 (JWT best practice):

1. One algorithm, HS256. A header that is not, letter for letter, that of a key in the list is refused.
2. The signature is checked over the exact bytes received, in constant time, before anything is decoded.
3. Issuer and audience are compared, and both ends of the validity, with the caller's clock.
4. The type is explicit (`claim+jwt`): no other token of ours can pass for a claim.
5. A claim is bound to a key (`cnf.jkt`, RFC 7800 and RFC 9449): holding the text is not enough to settle it.

Whether the claim may settle (stock, caps, earlier decisions) is `shared.claims.settlement`'s business.
"""

import hashlib
import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shared.claims.keys import ClaimKey
from shared.encoding import decode_base64url, encode_base64url, frame_field, frame_fields
from shared.problems import Code
from shared.structs import (
    AmountMinor,
    ClaimId,
    CurrencyCode,
    Identifier,
    InstantS,
    Quantity,
    Strict,
    Thumbprint,
)

MAX_TOKEN_BYTES: Final = 4096
CLOCK_LEEWAY_S: Final = 5  # two NTP clocks: how early a claim may come
_SEGMENTS: Final = 3


class Line(Strict, frozen=True, kw_only=True):
    """A number of units of one SKU, at one price."""

    sku: Identifier
    quantity: Quantity
    unit_minor: AmountMinor


class Confirmation(Strict, frozen=True, kw_only=True):
    """The key that the claim is bound to (RFC 7800, section 3.1; RFC 9449, section 6.1)."""

    jkt: Thumbprint


class Claim(Strict, frozen=True, kw_only=True):
    """The statement that a viewer key may settle these lines at this price until this instant.

    Attributes:
        iss: who signed: the edge's issuer name.
        aud: who settles: the origin's public address.
        cnf: the viewer key.
        jti: the claim's id, from `derive_claim_id`.
        iat, nbf, exp: issued, valid from, valid until (exclusive), in seconds.
        drop, run: what it draws on.
        lines: never empty; quantities and prices as promised to the viewer.
        currency: of every price in it.
        creator, clip, offer: what sold it; attribution that no URL parameter can change.
        arm: the experiment's arm; empty outside experiments.
        mode: the admission mode that let it in.
        stock_version: of the snapshot that admission was decided on; 0 when none was at hand.
        colo: where at the edge.
    """

    iss: str
    aud: str
    cnf: Confirmation
    jti: ClaimId
    iat: InstantS
    nbf: InstantS
    exp: InstantS
    drop: Identifier
    run: Identifier
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=20)]
    currency: CurrencyCode
    creator: Identifier
    clip: Identifier
    offer: Identifier
    arm: str = ""
    mode: str = "open"
    stock_version: int = 0
    colo: str = ""

    @property
    def total_minor(self) -> int:
        """What all lines cost together, in minor units."""
        if len(self.lines) == 1:  # nearly all of them
            return self.lines[0].quantity * self.lines[0].unit_minor
        return sum([line.quantity * line.unit_minor for line in self.lines])

    @property
    def quantity(self) -> int:
        """The units of all lines."""
        return self.lines[0].quantity if len(self.lines) == 1 else sum([line.quantity for line in self.lines])


class ClaimFault(Strict, frozen=True, kw_only=True):
    """Why a token is not a claim that counts. It never carries a part of the token."""

    code: Code


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Claim)


def derive_claim_id(drop: str, viewer: str, idempotency_key: str) -> str:
    """Return the id of the one claim that a tap can make, however often and at whichever node it is asked for.

    128 bits of a SHA-256. It cannot be guessed by others, because the idempotency key has at least 128 random bits.
    """
    framed = _frame_drop(drop) + frame_field(viewer) + frame_field(idempotency_key)
    return encode_base64url(hashlib.sha256(framed).digest()[:16])


@lru_cache(maxsize=128)
def _frame_drop(drop: str) -> bytes:
    return frame_fields(("cliptill claim id 1", drop))


def sign_claim(claim: Claim, key: ClaimKey) -> str:
    """Return `claim` as a compact JWS (RFC 7515, section 7.1)."""
    return sign_payload(encode_claim(claim), key)


def encode_claim(claim: Claim) -> bytes:
    """Return the payload that is signed."""
    return _ENCODER.encode(claim)


def sign_payload(payload: bytes, key: ClaimKey) -> str:
    """Return an encoded claim as `sign_claim` does: for who encodes many that are nearly alike."""
    signed = key.header + "." + encode_base64url(payload)
    return signed + "." + _signature(signed, key)


def verify_claim(token: str, keys: Iterable[ClaimKey], *, issuer: str, audience: str, now_s: int) -> Claim | ClaimFault:
    """Check a token, and return the claim that it is.

    Args:
        token: compact JWS, as received.
        keys: all generations that are trusted now.
        issuer: the one issuer that counts.
        audience: the one audience that this verifier is.
        now_s: seconds since the epoch, by the verifier's clock.
    """
    claim = read_claim(token, keys)
    if isinstance(claim, ClaimFault):
        return claim
    if claim.iss != issuer:
        return ClaimFault(code=Code.CLAIM_WRONG_ISSUER)
    if claim.aud != audience:
        return ClaimFault(code=Code.CLAIM_WRONG_AUDIENCE)
    if claim.nbf > now_s + CLOCK_LEEWAY_S:
        return ClaimFault(code=Code.CLAIM_NOT_YET_VALID)
    if claim.exp <= now_s:
        return ClaimFault(code=Code.CLAIM_EXPIRED)
    return claim


def read_claim(token: str, keys: Iterable[ClaimKey]) -> Claim | ClaimFault:
    """Check a token's form and signature alone.

    Issuer, audience and time are not looked at: for those who ask about a claim that was decided long ago. To let
    something happen, use `verify_claim`.
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        return ClaimFault(code=Code.CLAIM_MALFORMED)
    segments = token.split(".")
    if len(segments) != _SEGMENTS:
        return ClaimFault(code=Code.CLAIM_MALFORMED)
    header, payload, signature = segments
    key = next((key for key in keys if key.header == header), None)
    if key is None:
        return ClaimFault(code=Code.CLAIM_KEY_UNKNOWN)
    # Text against text: a second encoding of the same signature bytes is refused too.
    if not hmac.compare_digest(_signature(f"{header}.{payload}", key), signature):
        return ClaimFault(code=Code.CLAIM_FORGED)
    raw = decode_base64url(payload)
    try:
        return _DECODER.decode(raw or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ClaimFault(code=Code.CLAIM_MALFORMED)


def count_units(claim: Claim) -> tuple[tuple[str, int], ...]:
    """Return (SKU, units) of a claim, summed per SKU, in the order of the SKUs."""
    if len(claim.lines) == 1:  # nearly all of them
        return ((claim.lines[0].sku, claim.lines[0].quantity),)
    units: dict[str, int] = {}
    for line in claim.lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    return tuple(sorted(units.items()))


def fingerprint_claim(claim: Claim) -> str:
    """Return a hash of what a claim id stands for: drop, run, viewer, currency, units of each SKU.

    Not of the instants, the price or the place: the same tap, asked for again at another node a second later, is the
    same request. Lines of one SKU are summed first.
    """
    return fingerprint_units(claim, count_units(claim))


def fingerprint_units(claim: Claim, units: tuple[tuple[str, int], ...]) -> str:
    """Return `fingerprint_claim` for who has counted the units already."""
    before, after = _frame_around(claim.drop, claim.run, claim.currency, units)
    return encode_base64url(hashlib.sha256(before + frame_field(claim.cnf.jkt) + after).digest())


def hash_token(token: str) -> str:
    """Return the `ath` of a token: base64url of its SHA-256 (RFC 9449, section 4.2)."""
    return encode_base64url(hashlib.sha256(token.encode("ascii", "replace")).digest())


@lru_cache(maxsize=128)  # a batch is of few drops, and of few selections
def _frame_around(drop: str, run: str, currency: str, units: tuple[tuple[str, int], ...]) -> tuple[bytes, bytes]:
    """Return what is hashed before and after the viewer."""
    selected = (f"{sku}*{quantity}" for sku, quantity in units)
    return frame_fields(("cliptill claim content 1", drop, run)), frame_fields((currency, *selected))


def _signature(signed: str, key: ClaimKey) -> str:
    return encode_base64url(hmac.digest(key.secret, signed.encode(), "sha256"))
