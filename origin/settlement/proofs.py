"""Proofs of possession: OAuth 2.0 DPoP (RFC 9449), for claims that are bound to a key in the viewer's browser.

Rules (section 4.3 of the RFC, in the order in which they cost least):

1. Type `dpop+jwt`, algorithm ES256, a public P-256 key in the header, no `crit`. Nothing is chosen by the token.
2. The key is the claim's: its RFC 7638 thumbprint equals `cnf.jkt`. It is compared before any signature is checked.
3. The signature is good.
4. Method and address are those of this request, `ath` is the hash of this claim.
5. It was made just now.

Not checked: that a proof is used only once (section 11.1). A proof serves for one claim, and a claim has one answer, so
a proof that is sent again within its minute can only repeat that answer to who has both the claim and the proof.
"""

import hashlib
import hmac
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import UNSET, Meta

from shared.encoding import decode_base64url, encode_base64url
from shared.problems import Code

MAX_PROOF_BYTES: Final = 2048
MAX_AGE_S: Final = 60  # a browser's clock is often off by some seconds; the proof is made for each request
FUTURE_LEEWAY_S: Final = 60
_SEGMENTS: Final = 3
_SIGNATURE_BYTES: Final = 64
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_CURVE: Final = ec.SECP256R1()

Coordinate = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)")]


class ProofKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public key in a proof's header. Browsers add members of their own (`ext`, `key_ops`): they pass."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Coordinate
    y: Coordinate
    d: object = UNSET


class ProofHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The JOSE header of a proof."""

    typ: Literal["dpop+jwt"]
    alg: Literal["ES256"]
    jwk: ProofKey
    crit: object = UNSET


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof says (RFC 9449, section 4.2)."""

    htm: Annotated[str, Meta(max_length=16)]
    htu: Annotated[str, Meta(max_length=1024)]
    iat: Annotated[int, Meta(ge=0, le=2**41)]
    jti: Annotated[str, Meta(min_length=1, max_length=256)]
    ath: Annotated[str, Meta(min_length=43, max_length=43)]


_HEADER_DECODER: Final = msgspec.json.Decoder(ProofHeader)
_PROOF_DECODER: Final = msgspec.json.Decoder(Proof)


def check_proof(proof: str, *, method: str, url: str, token_hash: str, thumbprint: str, now_s: int) -> Code | None:  # noqa: PLR0913 - the facts that a proof binds together
    """Return why a proof does not count for a request, or None when it does.

    Args:
        proof: the `DPoP` header, as received.
        method: of the request.
        url: the address of the request as clients see it, without query.
        token_hash: `ath` of the claim that came with it.
        thumbprint: of the key that the claim is bound to.
        now_s: the server's clock.
    """
    read = _read(proof)
    if isinstance(read, Code):
        return read
    header, signed, payload, signature = read
    if not hmac.compare_digest(thumbprint_of(header.jwk), thumbprint):
        return Code.PROOF_OTHER_KEY
    if not is_signed(header.jwk, signed, signature):
        return Code.PROOF_FORGED
    try:
        said = _PROOF_DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Code.PROOF_MALFORMED
    return judge_proof(said, method=method, url=url, token_hash=token_hash, now_s=now_s)


def judge_proof(said: Proof, *, method: str, url: str, token_hash: str, now_s: int) -> Code | None:
    """Return why what a well-signed proof says does not fit a request, or None when it does."""
    if said.htm != method or not _is_same_url(said.htu, url):
        return Code.PROOF_OTHER_REQUEST
    if not hmac.compare_digest(said.ath.encode(), token_hash.encode()):
        return Code.PROOF_OTHER_CLAIM
    if not now_s - MAX_AGE_S <= said.iat <= now_s + FUTURE_LEEWAY_S:
        return Code.PROOF_STALE
    return None


def _is_same_url(given: str, wanted: str) -> bool:
    """Return whether both are one address. Nearly always they are spelled alike, as `wanted` is normal already."""
    if given == wanted:
        return True
    normal = normalise_url(given)
    return normal is not None and normal == normalise_url(wanted)


def thumbprint_of(key: ProofKey) -> str:
    """Return the RFC 7638 SHA-256 thumbprint of a key: its required members, in the order of their names."""
    canonical = f'{{"crv":"{key.crv}","kty":"{key.kty}","x":"{key.x}","y":"{key.y}"}}'
    return encode_base64url(hashlib.sha256(canonical.encode()).digest())


def normalise_url(url: str) -> str | None:
    """Return an address without query and fragment, in its one spelling (RFC 3986, section 6.2.2), or None."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.username is not None or parts.scheme not in _DEFAULT_PORTS:
        return None
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}{parts.path or '/'}"


def _read(proof: str) -> tuple[ProofHeader, bytes, bytes, bytes] | Code:
    """Split a proof: header, what is signed, payload (not believed yet), signature."""
    segments = proof.split(".")
    if len(proof) > MAX_PROOF_BYTES or not proof.isascii() or len(segments) != _SEGMENTS:
        return Code.PROOF_MALFORMED
    raw_header, payload, signature = (decode_base64url(segment) for segment in segments)
    if raw_header is None or payload is None or signature is None or len(signature) != _SIGNATURE_BYTES:
        return Code.PROOF_MALFORMED
    try:
        header = _HEADER_DECODER.decode(raw_header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Code.PROOF_MALFORMED
    if header.crit is not UNSET or header.jwk.d is not UNSET:
        return Code.PROOF_MALFORMED
    return header, proof.rpartition(".")[0].encode(), payload, signature


def is_signed(key: ProofKey, signed: bytes, signature: bytes) -> bool:
    """Return whether an ES256 signature (RFC 7518, section 3.4) is a key's over what is signed."""
    x, y = decode_base64url(key.x), decode_base64url(key.y)
    if x is None or y is None or len(signature) != _SIGNATURE_BYTES:
        return False
    # RFC 7518, section 3.4: r and s, 32 bytes each; OpenSSL wants them as ASN.1.
    half = _SIGNATURE_BYTES // 2
    encoded = encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + x + y).verify(encoded, signed, _ECDSA)
    except (InvalidSignature, ValueError):  # the latter: not a point of the curve
        return False
    return True
