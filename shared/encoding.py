"""Base64url without padding (RFC 7515, section 2), and framed hashing.

`digest_fields` never joins fields with a separator: each is preceded by its length, so that no two different
lists of fields hash alike.
"""

import hashlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import Final

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")  # what is of the other alphabet becomes what is of none
# By the characters beyond the last four: what completes them, and which may be last, no bit beyond a byte being set.
_PADDING: Final = (b"", b"", b"==", b"=")
_LAST: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
_LENGTHS: Final = tuple(number.to_bytes(4, "big") for number in range(256))  # of nearly all fields


def encode_base64url(raw: bytes) -> str:
    """Return `raw` as base64url without padding."""
    return b2a_base64(raw).translate(_URL_SAFE, b"=\n").decode()


def decode_base64url(text: str | bytes) -> bytes | None:
    """Return the bytes that `text` encodes, or None when it is not the one canonical encoding of them."""
    try:
        encoded = text.encode("ascii") if isinstance(text, str) else text
        rest = len(encoded) % 4
        raw = a2b_base64(encoded.translate(_STANDARD) + _PADDING[rest], strict_mode=True)
    except ValueError:
        return None
    return raw if not rest or encoded[-1] in _LAST[rest] else None


def digest_fields(domain: str, fields: Iterable[str]) -> bytes:
    """Return the SHA-256 over `domain` and `fields`, each framed by its length in bytes."""
    return hashlib.sha256(frame_fields((domain, *fields))).digest()


def frame_fields(fields: Iterable[str]) -> bytes:
    """Return the bytes that are hashed for these fields: for who hashes many lists that begin or end alike."""
    return b"".join([frame_field(field) for field in fields])


def frame_field(field: str) -> bytes:
    """Return the bytes that are hashed for one field."""
    raw = field.encode()
    size = len(raw)
    return (_LENGTHS[size] if size < len(_LENGTHS) else size.to_bytes(4, "big")) + raw
