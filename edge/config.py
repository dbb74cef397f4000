"""The edge's settings: read once for an isolate, from the Worker's variables and secrets.

| Name | Kind | Meaning | Default |
|---|---|---|---|
| `ORIGIN_URL` | variable | public base address of the origin: stock is read there, claims are settled there | needed |
| `ISSUER` | variable | issuer name in claims; the origin trusts exactly one | `cliptill-edge` |
| `CLAIM_KEYS` | secret | claim keys, newest first: `kid:base64url[,...]`, 32 bytes or more each | needed |
| `PUBLIC_URL` | variable | base address of this edge, in the overlay as a document; else the request's own | empty |
| `STOCK_TIMEOUT_MS` | variable | how long a request waits for the origin's stock before it goes on without | `400` |
"""

from collections.abc import Mapping
from typing import Final

from shared.claims.keys import ClaimKey, parse_claim_keys
from shared.errors import ConfigurationError
from shared.structs import Strict

NAMES: Final = ("ORIGIN_URL", "ISSUER", "CLAIM_KEYS", "PUBLIC_URL", "STOCK_TIMEOUT_MS")
_MAX_TIMEOUT_MS: Final = 10_000
_MAX_DIGITS: Final = 5


class EdgeConfig(Strict, frozen=True, kw_only=True):
    """All settings of the edge, checked."""

    origin_url: str
    issuer: str
    claim_keys: tuple[ClaimKey, ...]
    public_url: str = ""
    stock_timeout_ms: int = 400


def read_config(values: Mapping[str, str]) -> EdgeConfig:
    """Return the settings in `values`.

    Raises:
        ConfigurationError: when one is missing or wrong; the message names it, never its value.
    """
    timeout = values.get("STOCK_TIMEOUT_MS") or "400"
    if not timeout.isdecimal() or len(timeout) > _MAX_DIGITS or not 0 < int(timeout) <= _MAX_TIMEOUT_MS:
        raise ConfigurationError(f"STOCK_TIMEOUT_MS is not a number of milliseconds from 1 to {_MAX_TIMEOUT_MS}")
    try:
        keys = parse_claim_keys(values.get("CLAIM_KEYS", ""))
    except ConfigurationError as error:
        raise ConfigurationError(f"CLAIM_KEYS: {error}") from error
    return EdgeConfig(
        origin_url=_read_url(values, "ORIGIN_URL", needed=True),
        issuer=values.get("ISSUER") or "cliptill-edge",
        claim_keys=keys,
        public_url=_read_url(values, "PUBLIC_URL", needed=False),
        stock_timeout_ms=int(timeout),
    )


def _read_url(values: Mapping[str, str], name: str, *, needed: bool) -> str:
    url = values.get(name, "").rstrip("/")
    if not url and not needed:
        return ""
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError(f"{name} is not an http(s) address")
    return url
