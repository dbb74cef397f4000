"""Claims that are alike: what tokens and answers have in common is encoded once.

Nearly all taps that an isolate answers are for a few offers, each at one price: their claims differ in little.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.claims.keys import ClaimKey
from shared.claims.tokens import Claim, Confirmation, Line, encode_claim, sign_payload
from shared.structs import AmountMinor, ClaimId, CurrencyCode, InstantMs, Wire

_ENCODE: Final = msgspec.json.Encoder().encode


class ClaimAnswer(Wire, frozen=True, kw_only=True):
    """A claim, and what to do with it.

    Attributes:
        claim: compact JWS; to be settled with a proof of the viewer key.
        settles: `event` when it settles by itself, `request` when the viewer must ask for it.
        settle_url: the origin's public address.
    """

    claim: Annotated[str, Meta(description="compact JWS, type claim+jwt")]
    claim_id: ClaimId
    expires_at_ms: InstantMs
    settles: Literal["event", "request"]
    settle_url: str
    lines: tuple[Line, ...]
    total_minor: AmountMinor
    currency: CurrencyCode


class ClaimForm:
    """The claims that differ in viewer, id, instant and stock version only.

    Args:
        alike: one of them. Whether it has a stock version counts, its instants are not looked at but for how long it
            is valid.
        key: that signs them.
        settle_url: the origin's public address.
    """

    __slots__ = ("_answer", "_has_version", "_key", "_payload", "_valid_s")

    def __init__(self, alike: Claim, key: ClaimKey, settle_url: str) -> None:
        self._key, self._valid_s = key, alike.exp - alike.iat
        self._has_version = alike.stock_version > 0  # none is not written
        blank = msgspec.structs.replace(
            alike, cnf=Confirmation(jkt=""), jti="", iat=0, nbf=0, exp=0, stock_version=int(self._has_version)
        )
        version = ('"stock_version":', "1") if self._has_version else ("", "")
        gaps = (('"jkt":"', ""), ('"jti":"', ""), ('"iat":', "0"), ('"nbf":', "0"), ('"exp":', "0"), version)
        self._payload = _open(encode_claim(blank), *gaps)
        answer = ClaimAnswer(
            claim="",
            claim_id="",
            expires_at_ms=0,
            settles="request" if alike.total_minor else "event",
            settle_url=settle_url,
            lines=alike.lines,
            total_minor=alike.total_minor,
            currency=alike.currency,
        )
        self._answer = _open(_ENCODE(answer), ('"claim":"', ""), ('"claim_id":"', ""), ('"expires_at_ms":', "0"))

    def fill(self, viewer: str, claim_id: str, now_s: int, stock_version: int) -> tuple[str, bytes, int]:
        """Return the token of one of them, its answer, and when it expires (milliseconds since the epoch).

        They are the very bytes of the claim and the answer as encoded alone. All texts are base64url.
        """
        expires_s = now_s + self._valid_s
        a, b, c, d, e, f, g = self._payload
        version = stock_version if self._has_version else ""
        payload = f"{a}{viewer}{b}{claim_id}{c}{now_s}{d}{now_s}{e}{expires_s}{f}{version}{g}"
        token = sign_payload(payload.encode(), self._key)
        a, b, c, d = self._answer
        return token, f"{a}{token}{b}{claim_id}{c}{expires_s}000{d}".encode(), expires_s * 1000


def _open(encoded: bytes, *gaps: tuple[str, str]) -> tuple[str, ...]:
    """Return what stands around some values of a document, each told by its name and the value that is left out."""
    pieces, rest = [], encoded.decode()
    # Within a text, a quote stands behind a backslash: nobody's text can look like one of these.
    for name, left_out in gaps:
        before, _, rest = rest.partition(name + left_out) if name else ("", "", rest)
        pieces.append(before + name)
    return (*pieces, rest)
