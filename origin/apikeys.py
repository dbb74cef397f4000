"""API keys of operators, self-hosted edges, registers and scanners: made at random, shown once, kept as a hash.

Rules:

1. A key is `ct_` and 256 bits of the system's randomness. Nobody can guess or enumerate that, so one fast SHA-256 is
   what is stored: slow hashes (scrypt, Argon2) protect secrets that people choose, by making each guess dear, and here
   there is nothing to guess. It also keeps authentication from being a way to load the server.
2. A key is looked up by its hash, and what is found is compared in constant time. Which part of a wrong key was right
   can therefore not be told from the time that the answer takes.
3. A key opens one kind of door, and is nobody's at the others.
4. A revoked key stays listed, and its name stays taken: what was done under a name has one owner for ever.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final, Literal

from origin.database import Connection
from shared.encoding import encode_base64url
from shared.structs import Wire

KeyKind = Literal["operator", "edge", "register", "scanner"]

KINDS: Final[tuple[KeyKind, ...]] = (
    "operator",
    "edge",
    "register",
)  # made by hand; a scanner's is made when it is enrolled
KEY_PREFIX: Final = "ct_"
KEY_BYTES: Final = 32
_KEY: Final = re.compile(r"ct_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class KeyEntry(Wire, frozen=True, kw_only=True):
    """A key as it is listed: everything but the key."""

    name: str
    kind: KeyKind
    created_ms: int
    revoked_ms: int | None


def is_key_name(name: str) -> bool:
    """Return whether a key may have this name."""
    return _NAME.fullmatch(name) is not None


def make_key() -> str:
    """Return a new key."""
    return KEY_PREFIX + encode_base64url(secrets.token_bytes(KEY_BYTES))


def hash_key(key: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


async def add_key(connection: Connection, name: str, key: str, now_ms: int, kind: KeyKind = "operator") -> bool:
    """Store a key under a name; False when the name is taken."""
    added = await connection.execute(
        "INSERT INTO api_keys (key_hash, name, created_ms, kind) VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO NOTHING",
        (hash_key(key), name, now_ms, kind),
    )
    return added.rowcount == 1


async def list_keys(connection: Connection) -> tuple[KeyEntry, ...]:
    """Return all keys, oldest first."""
    found = await connection.execute(
        "SELECT name, kind, created_ms, revoked_ms FROM api_keys ORDER BY created_ms, name"
    )
    return tuple(
        KeyEntry(name=name, kind=kind, created_ms=created, revoked_ms=revoked)
        for name, kind, created, revoked in await found.fetchall()
    )


async def revoke_key(connection: Connection, name: str, now_ms: int) -> bool:
    """Revoke the key of that name, at once; False when there is none. Revoking again changes nothing."""
    changed = await connection.execute(
        "UPDATE api_keys SET revoked_ms = coalesce(revoked_ms, %s) WHERE name = %s", (now_ms, name)
    )
    return changed.rowcount == 1


async def find_holder(connection: Connection, key: str, kind: KeyKind) -> str | None:
    """Return the name that a key stands for, or None: it is not a key, not known, revoked, or of another kind."""
    if not _KEY.fullmatch(key):
        return None
    wanted = hash_key(key)
    found = await connection.execute(
        "SELECT name, key_hash FROM api_keys WHERE key_hash = %s AND kind = %s AND revoked_ms IS NULL", (wanted, kind)
    )
    row = await found.fetchone()
    if row is None:
        return None
    name: str = row[0]
    return name if hmac.compare_digest(row[1], wanted) else None
