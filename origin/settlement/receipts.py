"""Signing receipts: Ed25519 keys, newest first, and the public key set that anyone checks receipts with.

Rules:

1. The newest key signs what is settled now. A decision remembers the key that it was made under, and is always told
   with that key: Ed25519 (RFC 8032) gives the same signature each time, so the answer stays the same byte for byte.
2. So a key stays in the list, in second place or later, as long as what was settled under it may be asked about.
3. The key set (RFC 7517) never has a private part.
"""

from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.claims.receipts import TYPE
from shared.encoding import encode_base64url
from shared.errors import CliptillError, ConfigurationError

ALGORITHM: Final = "EdDSA"
_CURVE: Final = "Ed25519"


class SigningKey:
    """One generation of the receipt key.

    Attributes:
        kid: its name in the header of what it signs; the RFC 7638 thumbprint where none was given.
        public: its public half, as a JWK.
    """

    def __init__(self, key: OKPKey) -> None:
        private = key.private_key
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigurationError("a signing key must be a private Ed25519 key")
        self._private = private
        self.kid = key.kid or key.thumbprint()
        described = key.as_dict(private=False)
        self.public: dict[str, str] = {
            "kty": "OKP", "crv": _CURVE, "x": str(described["x"]), "kid": self.kid, "use": "sig", "alg": ALGORITHM
        }  # fmt: skip

    def sign(self, payload: bytes, kind: str = TYPE) -> str:
        """Return `payload` as a compact JWS (RFC 7515, section 7.1) of a type."""
        header = f'{{"alg":"{ALGORITHM}","kid":"{self.kid}","typ":"{kind}"}}'
        signed = encode_base64url(header.encode()) + "." + encode_base64url(payload)
        return signed + "." + encode_base64url(self._private.sign(signed.encode()))


class SigningKeys:
    """All generations, newest first."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self._by_kid = {key.kid: key for key in keys}
        if not keys or len(self._by_kid) != len(keys):
            raise ConfigurationError("signing keys must be at least one, each with a name of its own")
        self.newest = keys[0]
        self.public = tuple(key.public for key in keys)
        self.key_set = msgspec.json.encode({"keys": self.public})

    def sign(self, payload: bytes, kid: str, kind: str = TYPE) -> str:
        """Return `payload` signed by the key of that name, as a JWS of a type.

        Raises:
            CliptillError: the key is no longer in the list.
        """
        key = self._by_kid.get(kid)
        if key is None:
            raise CliptillError(f"signing key {kid} is not in the list, but decisions were made under it")
        return key.sign(payload, kind)


def parse_signing_keys(text: str) -> SigningKeys:
    """Read a PEM (PKCS #8), a JWK, or a JWK set whose keys are newest first.

    Raises:
        ConfigurationError: it is none of them, or not private Ed25519 keys. The message never has a part of a key.
    """
    try:
        return SigningKeys(tuple(SigningKey(OKPKey.import_key(source)) for source in _split(text)))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError("the signing key is not a PEM, JWK or JWK set of private Ed25519 keys") from error


def make_signing_key_set() -> str:
    """Return a new JWK set with one key."""
    key = OKPKey.generate_key(_CURVE)
    described: dict[str, Any] = {**key.as_dict(private=True), "kid": f"r-{key.thumbprint()[:8]}"}
    return msgspec.json.encode({"keys": [described]}).decode()


def _split(text: str) -> list[Any]:
    if text.lstrip().startswith("-----"):
        return [text.replace("\\n", "\n")]  # as environment files often have it
    document = msgspec.json.decode(text)
    return list(document["keys"]) if "keys" in document else [document]
