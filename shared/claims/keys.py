"""Symmetric keys of claims: a list, newest first. The newest signs, all in the list verify, retired ones are gone.

Written in configuration as `kid:base64url[,kid:base64url...]`.
"""

import re
from typing import Final

from shared.encoding import decode_base64url, encode_base64url
from shared.errors import ConfigurationError
from shared.structs import Strict

KEY_BYTES: Final = 32  # RFC 7518, section 3.2: an HS256 key has at least the size of the hash
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


class ClaimKey(Strict, frozen=True, kw_only=True):
    """One generation of the claim key.

    Attributes:
        kid: its name in the header of what it signs.
        secret: at least 32 bytes.
        header: the one JWS header (base64url) that this key signs under. A token's header is compared with it as
            text, so the algorithm is never read from the token (RFC 8725, section 3.1).
    """

    kid: str
    secret: bytes
    header: str


def make_claim_key(kid: str, secret: bytes) -> ClaimKey:
    """Return the key `kid`, with its header."""
    header = f'{{"alg":"HS256","kid":"{kid}","typ":"claim+jwt"}}'
    return ClaimKey(kid=kid, secret=secret, header=encode_base64url(header.encode()))


def parse_claim_keys(text: str) -> tuple[ClaimKey, ...]:
    """Read a key list, newest first.

    Raises:
        ConfigurationError: when it is empty, a name is used twice, or a key is not at least 32 bytes. The message
            never has a part of a key.
    """
    keys: list[ClaimKey] = []
    for position, item in enumerate(text.split(","), start=1):
        kid, _, encoded = item.strip().partition(":")
        secret = decode_base64url(encoded)
        if not _KEY_ID.fullmatch(kid) or secret is None or len(secret) < KEY_BYTES:
            raise ConfigurationError(
                f"claim key {position} is not `kid:base64url` with at least {KEY_BYTES} bytes of key"
            )
        if any(kid == other.kid for other in keys):
            raise ConfigurationError(f"claim key {position} has the same name as an earlier one")
        keys.append(make_claim_key(kid, secret))
    return tuple(keys)
