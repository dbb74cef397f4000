"""The origin's settings: read once from the environment. A process with a wrong setting does not start.

| Variable | Meaning | Default |
|---|---|---|
| `DATABASE_URL` | connection string of PostgreSQL (`origin.database`) | the embedded server |
| `CLIPTILL_DATA` | data folder (`origin.datafolder`) | `.cliptill` in the project's root |
| `CLIPTILL_PUBLIC_URL` | base address that browsers and the edge know the origin by: audience of claims, issuer of receipts | needed |
| `CLIPTILL_EDGE_URL` | base address of the edge, for shared overlays | needed |
| `CLIPTILL_ISSUER` | the one issuer whose claims count | `cliptill-edge` |
| `CLIPTILL_CLAIM_KEYS` | claim keys, newest first: `kid:base64url[,...]` | made on the first start |
| `CLIPTILL_SIGNING_KEY` | Ed25519 key of receipts: PEM, JWK, or JWK set, newest first | made on the first start |
| `CLIPTILL_PROVIDER_URL`, `CLIPTILL_PROVIDER_ACCOUNT`, `CLIPTILL_PROVIDER_TOKEN` | the edge provider's REST API | needed |
| `CLIPTILL_KV_NAMESPACE`, `CLIPTILL_QUEUE` | where manifests go, and where edge events come from | needed |
| `CLIPTILL_CARDS` | who takes cards: `sandbox` or `stripe` | nobody: offers to be paid by card cannot be paid |
| `CLIPTILL_CARDS_KEY`, `CLIPTILL_CARDS_WEBHOOK_SECRET` | API key there, and what its messages are signed with | needed with `CLIPTILL_CARDS` |
| `CLIPTILL_CARDS_URL` | base address of its API | needed with `sandbox`; with `stripe`, Stripe's own |
| `CLIPTILL_PARTNERS` | where partners may be: `loopback` also allows plain http to this machine, for development | at https addresses only |
| `CLIPTILL_LISTEN` | `host:port` to listen at | 127.0.0.1, port of `CLIPTILL_PUBLIC_URL` |
| `CLIPTILL_INTAKE_INTERVAL_MS` | pause between two looks into an empty queue | `500` |
| `CLIPTILL_RECONCILE_INTERVAL_S` | pause between two reconciliations by the service itself; `0`: only cron's | `60` |
| `CLIPTILL_EVENT_RETENTION_DAYS` | for how long the edge's reports are kept, and what reconciliation found in them | `90` |
"""  # noqa: E501 - a table

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from origin.datafolder import keep_secret, locate_data_folder, make_claim_key_list
from origin.provider import ProviderConfig
from origin.settlement.receipts import SigningKeys, make_signing_key_set, parse_signing_keys
from shared.claims.keys import ClaimKey, parse_claim_keys
from shared.errors import ConfigurationError

_DEFAULT_PORT: Final = 8782
_MAX_INTERVAL_MS: Final = 60_000
CARD_PROVIDERS: Final = ("sandbox", "stripe")
_MAX_RECONCILE_INTERVAL_S: Final = 86_400
_MAX_RETENTION_DAYS: Final = 3_650
_PROVIDER: Final = {
    "url": "CLIPTILL_PROVIDER_URL",
    "account": "CLIPTILL_PROVIDER_ACCOUNT",
    "token": "CLIPTILL_PROVIDER_TOKEN",
    "kv_namespace": "CLIPTILL_KV_NAMESPACE",
    "queue": "CLIPTILL_QUEUE",
}


class CardsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes cards.

    Attributes:
        url: base address of its API; empty for its own.
    """

    provider: str
    url: str
    key: str
    webhook_secret: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of the origin but the database's, checked."""

    public_url: str
    edge_url: str
    issuer: str
    claim_keys: tuple[ClaimKey, ...]
    signing_keys: SigningKeys
    provider: ProviderConfig
    host: str
    port: int
    intake_interval_ms: int
    reconcile_interval_s: int = 60
    event_retention_days: int = 90
    cards: CardsConfig | None = None
    loopback_partners: bool = False


def read_config(environment: Mapping[str, str]) -> Config:
    """Return the settings; secrets that are neither given nor in the data folder are made there.

    Raises:
        ConfigurationError: one is missing or wrong; the message names all that are missing, and never a value.
    """
    needed = ("CLIPTILL_PUBLIC_URL", "CLIPTILL_EDGE_URL", *_PROVIDER.values())
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}")
    public_url = _read_url(environment, "CLIPTILL_PUBLIC_URL")
    host, port = _read_listen(environment, urlsplit(public_url).port)
    folder = locate_data_folder(environment)
    claim_keys = environment.get("CLIPTILL_CLAIM_KEYS") or keep_secret(folder, "claim_keys", make_claim_key_list)
    signing_key = environment.get("CLIPTILL_SIGNING_KEY") or keep_secret(folder, "signing_key", make_signing_key_set)
    return Config(
        public_url=public_url,
        edge_url=_read_url(environment, "CLIPTILL_EDGE_URL"),
        issuer=environment.get("CLIPTILL_ISSUER") or "cliptill-edge",
        claim_keys=parse_claim_keys(claim_keys),
        signing_keys=parse_signing_keys(signing_key),
        provider=ProviderConfig(**{field: environment[name] for field, name in _PROVIDER.items()}),
        host=host,
        port=port,
        intake_interval_ms=_read_number(environment, "CLIPTILL_INTAKE_INTERVAL_MS", 500, 1, _MAX_INTERVAL_MS),
        reconcile_interval_s=_read_number(
            environment, "CLIPTILL_RECONCILE_INTERVAL_S", 60, 0, _MAX_RECONCILE_INTERVAL_S
        ),
        event_retention_days=_read_number(environment, "CLIPTILL_EVENT_RETENTION_DAYS", 90, 1, _MAX_RETENTION_DAYS),
        cards=_read_cards(environment),
        loopback_partners=_read_partners(environment),
    )


def _read_cards(environment: Mapping[str, str]) -> CardsConfig | None:
    provider = environment.get("CLIPTILL_CARDS")
    if not provider:
        return None
    if provider not in CARD_PROVIDERS:
        raise ConfigurationError(f"CLIPTILL_CARDS is none of {', '.join(CARD_PROVIDERS)}")
    needed = ["CLIPTILL_CARDS_KEY", "CLIPTILL_CARDS_WEBHOOK_SECRET"]
    needed += ["CLIPTILL_CARDS_URL"] if provider == "sandbox" else []
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}")
    return CardsConfig(
        provider=provider,
        url=_read_url(environment, "CLIPTILL_CARDS_URL") if environment.get("CLIPTILL_CARDS_URL") else "",
        key=environment["CLIPTILL_CARDS_KEY"],
        webhook_secret=environment["CLIPTILL_CARDS_WEBHOOK_SECRET"],
    )


def _read_partners(environment: Mapping[str, str]) -> bool:
    given = environment.get("CLIPTILL_PARTNERS")
    if given not in (None, "", "loopback"):
        raise ConfigurationError("CLIPTILL_PARTNERS is not loopback")
    return given == "loopback"


def _read_url(environment: Mapping[str, str], name: str) -> str:
    url = environment[name].rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise ConfigurationError(f"{name} is not an http(s) address without query")
    return url


def _read_listen(environment: Mapping[str, str], public_port: int | None) -> tuple[str, int]:
    listen = environment.get("CLIPTILL_LISTEN") or f"127.0.0.1:{public_port or _DEFAULT_PORT}"
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:  # noqa: PLR2004 - the ports that there are
        raise ConfigurationError("CLIPTILL_LISTEN is not host:port")
    return host.strip("[]"), int(port)


def _read_number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigurationError(f"{name} is not a number from {least} to {most}")
    return int(text)
