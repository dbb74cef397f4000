"""What one run is made of: addresses, secrets, and the documents that configure each process.

Pure but for `keep_secrets` and `free_port`: the supervisor starts what is described here.
"""

import os
import random
import secrets
import socket
from pathlib import Path
from typing import Any

import msgspec

from origin.datafolder import keep_secret, make_claim_key_list
from scripts.children import RunError
from scripts.worker_settings import read_rate_limits

HOST = "127.0.0.1"
ACCOUNT = "local"
NAMESPACE = "manifests"
QUEUE = "cliptill-events"
DEAD_QUEUE = "cliptill-events-dead"
QUEUE_RETRIES = 100
ISSUER = "cliptill-edge"
CARDS = "sandbox"
# Below the range that the kernel gives to outgoing connections: what is free now is not taken the next moment.
FREE_PORTS = range(20_000, 32_000)
FREE_PORT_TRIES = 200
# The provider's places of the nodes that can be asked for: name, country, data centre.
PLACES = (
    ("fra", "DE", "FRA"),
    ("nrt", "JP", "NRT"),
    ("iad", "US", "IAD"),
    ("cdg", "FR", "CDG"),
    ("lhr", "GB", "LHR"),
    ("dxb", "AE", "DXB"),
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for.

    Attributes:
        port: the first of a row of ports, or 0 for any that are free.
        nodes: how many edge nodes.
        lateness_ms: after how long a node sees a published manifest; the first node sees it at once.
        database_url: another database than the embedded one.
        with_site: whether the demo's web site and the emulator's page are started.
        faults: what is wrong with nodes from the start, as the command line says it.
    """

    data: Path
    port: int = 8780
    nodes: int = 1
    lateness_ms: int = 0
    database_url: str = ""
    with_site: bool = True
    faults: tuple[str, ...] = ()

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes that are started."""
        return tuple(name for name, _country, _colo in PLACES[: self.nodes])


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything listens."""

    site: int
    origin: int
    provider: int
    edges: tuple[int, ...]
    page: int
    payments: int

    @property
    def site_url(self) -> str:
        """The demo page."""
        return f"http://{HOST}:{self.site}"

    @property
    def origin_url(self) -> str:
        """The origin, as browsers and the edge see it."""
        return f"http://{HOST}:{self.origin}"

    @property
    def provider_url(self) -> str:
        """The provider's REST paths."""
        return f"http://{HOST}:{self.provider}"

    @property
    def page_url(self) -> str:
        """The emulator's page."""
        return f"http://{HOST}:{self.page}"

    @property
    def payments_url(self) -> str:
        """The sandbox payment provider."""
        return f"http://{HOST}:{self.payments}"

    @property
    def edge_urls(self) -> tuple[str, ...]:
        """The edge nodes; the first is the one that the demo page uses."""
        return tuple(f"http://{HOST}:{port}" for port in self.edges)


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody else may know; made once, and kept in the data folder."""

    claim_keys: str
    provider_token: str
    cards_key: str
    cards_webhook_secret: str


def choose_addresses(options: Options) -> Addresses:
    """Return the ports of this run, all of them free at this moment.

    Raises:
        RunError: one is in use; the message says which, for what, and what to do.
    """
    base = options.port
    if base == 0:
        site, origin, provider, page, payments, *nodes = _free_ports(5 + options.nodes)
        return Addresses(site=site, origin=origin, provider=provider, edges=tuple(nodes), page=page, payments=payments)
    further = range(base + 4, base + 3 + options.nodes)
    edges = (base + 1, *further)
    page = base + 4 + len(PLACES)  # the same, however many nodes there are
    chosen = Addresses(site=base, origin=base + 2, provider=base + 3, edges=edges, page=page, payments=page + 1)
    uses = {chosen.site: "the demo site", chosen.origin: "the origin", chosen.provider: "the emulated provider"}
    uses |= {chosen.page: "the emulator's page", chosen.payments: "the sandbox payment provider"}
    uses |= dict.fromkeys(chosen.edges, "an edge node")
    for port, use in uses.items():
        if not is_free(port):
            raise busy_port(port, use)
    return chosen


def busy_port(port: int, use: str) -> RunError:
    """Return the error that says so."""
    return RunError(
        f"port {port}, wanted for {use}, is in use: stop what uses it, or start with --port BASE "
        f"(another row of ports) or --port 0 (any that are free)"
    )


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As the servers do: connections that are long closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def keep_secrets(data: Path) -> Secrets:
    """Return the secrets of a data folder; those that are missing are made."""
    return Secrets(
        claim_keys=keep_secret(data, "claim_keys", make_claim_key_list),
        provider_token=keep_secret(data, "provider_token", lambda: secrets.token_urlsafe(32)),
        cards_key=keep_secret(data, "cards_key", lambda: secrets.token_urlsafe(32)),
        cards_webhook_secret=keep_secret(data, "cards_webhook_secret", lambda: secrets.token_urlsafe(32)),
    )


def origin_environment(
    inherited: dict[str, str], options: Options, addresses: Addresses, kept: Secrets, database_url: str
) -> dict[str, str]:
    """Return the variables that the origin's programs read."""
    return {
        **inherited,
        "DATABASE_URL": database_url,
        "CLIPTILL_PUBLIC_URL": addresses.origin_url,
        "CLIPTILL_EDGE_URL": addresses.edge_urls[0],
        "CLIPTILL_ISSUER": ISSUER,
        "CLIPTILL_CLAIM_KEYS": kept.claim_keys,
        "CLIPTILL_PROVIDER_URL": addresses.provider_url,
        "CLIPTILL_PROVIDER_ACCOUNT": ACCOUNT,
        "CLIPTILL_PROVIDER_TOKEN": kept.provider_token,
        "CLIPTILL_KV_NAMESPACE": NAMESPACE,
        "CLIPTILL_QUEUE": QUEUE,
        "CLIPTILL_CARDS": CARDS,
        "CLIPTILL_CARDS_URL": addresses.payments_url,
        "CLIPTILL_CARDS_KEY": kept.cards_key,
        "CLIPTILL_CARDS_WEBHOOK_SECRET": kept.cards_webhook_secret,
        "CLIPTILL_PARTNERS": "loopback",
        "CLIPTILL_DATA": str(options.data),
    }


def provider_document(options: Options, addresses: Addresses, kept: Secrets) -> dict[str, Any]:
    """Return the configuration of `scripts.emulator.provider`."""
    return {
        "port": addresses.provider,
        "account": ACCOUNT,
        "token": kept.provider_token,
        "namespace": NAMESPACE,
        "queues": [{"name": QUEUE, "max_retries": QUEUE_RETRIES, "dead_letter": DEAD_QUEUE}],
        "database": str(options.data / "provider.sqlite"),
    }


def payments_document(options: Options, addresses: Addresses, kept: Secrets) -> dict[str, Any]:
    """Return the configuration of `scripts.payments`."""
    return {
        "port": addresses.payments,
        "key": kept.cards_key,
        "webhook_url": f"{addresses.origin_url}/v1/payment-messages/{CARDS}",
        "webhook_secret": kept.cards_webhook_secret,
        "database": str(options.data / "payments.sqlite"),
    }


def edge_document(root: Path, addresses: Addresses, kept: Secrets) -> dict[str, Any]:
    """Return the configuration of `scripts/emulator/edge.mjs`."""
    nodes = [
        {"name": name, "port": port, "country": country, "colo": colo}
        for (name, country, colo), port in zip(PLACES, addresses.edges, strict=False)
    ]
    return {
        "nodes": nodes,
        "vars": {"ORIGIN_URL": addresses.origin_url, "ISSUER": ISSUER},
        "secrets": {"CLAIM_KEYS": kept.claim_keys},
        "origin_url": addresses.origin_url,
        "provider_url": addresses.provider_url,
        "queue": QUEUE,
        "rate_limits": read_rate_limits(root),
        "bundle": str(root / "build" / "bundle"),
        "assets": str(root / "build" / "assets"),
        "cache_dir": str(root / "build" / "emulator"),
        "control_port": 0,
    }


def page_document(addresses: Addresses, control: str) -> dict[str, Any]:
    """Return the configuration of `scripts.emulator.page_server`."""
    shown = {"demo page": addresses.site_url, "origin": addresses.origin_url}
    return {"port": addresses.page, "control": control, "provider_url": addresses.provider_url, "addresses": shown}


def fleet_document(options: Options, control: str) -> dict[str, Any]:
    """Return what the provider must know of the edge nodes that have just started."""
    lateness = [0] + [options.lateness_ms] * (options.nodes - 1)
    nodes = [{"name": place[0], "lateness_ms": late_ms} for place, late_ms in zip(PLACES, lateness, strict=False)]
    return {"control": control, "nodes": nodes}


def write_private(file: Path, document: object) -> None:
    """Write a configuration that holds secrets: readable by its owner alone."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(msgspec.json.encode(document))


def _free_ports(number: int) -> list[int]:
    found: list[int] = []
    for _try in range(FREE_PORT_TRIES):
        port = random.choice(FREE_PORTS)  # noqa: S311 - two runs that start at once shall differ, nothing more
        if port not in found and is_free(port):
            found.append(port)
        if len(found) == number:
            return found
    raise RunError(f"no {number} free ports between {FREE_PORTS.start} and {FREE_PORTS.stop}: stop some servers")
