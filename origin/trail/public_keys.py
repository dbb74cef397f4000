"""Verifying what an origin has signed, with its public keys alone: an RFC 7517 key set, as it publishes it."""

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.encoding import decode_base64url
from shared.errors import ConfigurationError
from shared.structs import Wire


class _PublicKey(Wire, frozen=True, kw_only=True):
    kty: str
    kid: str = ""
    crv: str = ""
    x: str = ""


class _KeySet(Wire, frozen=True, kw_only=True):
    keys: tuple[_PublicKey, ...]


class PublicKeys:
    """The Ed25519 keys of a key set, by their names; others in it are passed over.

    Raises:
        ConfigurationError: it is no key set.
    """

    def __init__(self, key_set: bytes) -> None:
        try:
            listed = msgspec.json.decode(key_set, type=_KeySet).keys
            self._keys = {
                key.kid: Ed25519PublicKey.from_public_bytes(decode_base64url(key.x) or b"")
                for key in listed
                if (key.kty, key.crv) == ("OKP", "Ed25519")
            }
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ConfigurationError("the key set is not one (RFC 7517) with public Ed25519 keys") from error

    def verify(self, kid: str, signed: bytes, signature: bytes) -> bool:
        """Return whether `signature` over `signed` is that of the key named `kid`."""
        key = self._keys.get(kid)
        if key is None:
            return False
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True
