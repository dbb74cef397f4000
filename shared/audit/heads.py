"""Opening signed heads (JWS compact serialisation, RFC 7515). Pure: the one step that needs a cipher is the caller's.

Rules:

1. Type and algorithm are fixed; a head that names others, or extensions (`crit`), is none.
2. `Verify` says whether a signature is that of a key which the origin publishes (`/.well-known/jwks.json`).
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from shared.audit.proofs import MAX_HEAD_BYTES, decode_head
from shared.audit.trail import Head
from shared.encoding import decode_base64url
from shared.structs import Wire

Verify = Callable[[str, bytes, bytes], bool]  # (key id, what was signed, Ed25519 signature) -> whether it is good
_PARTS: Final = 3


class SignedHead(NamedTuple):
    """A head as it was signed: by which key, over which bytes, and what it says."""

    kid: str
    signed: bytes
    signature: bytes
    head: Head


class _Header(Wire, frozen=True, kw_only=True):
    alg: Literal["EdDSA"]
    typ: Literal["trail-head+jwt"]
    kid: str
    crit: object = UNSET


_HEADER_DECODER: Final = msgspec.json.Decoder(_Header)


def open_head(token: str) -> SignedHead | None:
    """Return the parts of a signed head, or None when it is none. Its signature is still to be verified."""
    parts = token.split(".")
    if len(parts) != _PARTS or len(token) > MAX_HEAD_BYTES or not token.isascii():
        return None
    header, payload, signature = map(decode_base64url, parts)
    if header is None or payload is None or signature is None:
        return None
    try:
        said = _HEADER_DECODER.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    head = decode_head(payload)
    if head is None or said.crit is not UNSET:
        return None
    return SignedHead(said.kid, token.rpartition(".")[0].encode(), signature, head)


def read_good_head(token: str, verify: Verify) -> Head | None:
    """Return what a head says, or None when it is not one that the origin signed."""
    opened = open_head(token)
    if opened is None or not verify(opened.kid, opened.signed, opened.signature):
        return None
    return opened.head
