"""An edge that runs as a program of its own, as the contract suite drives it: a client over a socket, and its world."""

import http.client
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from shared.claims.keys import ClaimKey
from shared.insight.events import EventBatch
from tests import samples
from tests.contract.edge_driver import Body, Received, decode_batches
from tests.emulator.origin_double import OriginDouble

CACHED_S: Final = 1.05  # the location's cache keeps stock for one second of the machine's own time
COLO: Final = "FRA"


class Faults(Protocol):
    """How a world reaches into the program that it surrounds."""

    def __call__(self, *, store: str, clock_shift_ms: int, clock_ms: int | None) -> None:
        """Have these faults from now on."""


class Store(Protocol):
    """Where manifests are published."""

    def __call__(self, clip: str, document: bytes | None) -> None:
        """Hold this document for a clip, or none."""


class Clock:
    """The machine's clock, moved on by what tests need not wait for; it can be made to stand still."""

    def __init__(self) -> None:
        self.shift_ms = 0
        self.fixed_ms: int | None = None

    def now_ms(self) -> int:
        """Return the instant."""
        return self.fixed_ms if self.fixed_ms is not None else time.time_ns() // 1_000_000 + self.shift_ms


class ProgramWorld:
    """The world around a running edge. Time that is waited for passes at once, but for what caches keep."""

    issuer = samples.ISSUER
    claim_keys: tuple[ClaimKey, ...] = (samples.NEW_KEY, samples.OLD_KEY)

    def __init__(self, origin: OriginDouble, clock: Clock, set_faults: Faults, publish: Store) -> None:
        self.origin = origin
        self.origin_url = origin.url
        self.country = ""
        self.publish = publish
        self._clock = clock
        self._set_faults = set_faults
        self._store = ""

    def now_ms(self) -> int:
        """Return the edge's clock."""
        return self._clock.now_ms()

    def wait_ms(self, duration_ms: int) -> None:
        """Let that much of the edge's time pass."""
        self._clock.shift_ms += duration_ms
        self._apply()
        time.sleep(min(duration_ms / 1000, CACHED_S))

    def stop_clock(self, at_ms: int | None) -> None:
        """Have the edge's clock and the origin's stand still, or go on."""
        self._clock.fixed_ms = at_ms
        self._apply()

    def set_stock(  # noqa: PLR0913 - a snapshot's own facts
        self,
        drop: str,
        *,
        remaining: int,
        total: int = 100,
        version: int = 1,
        admit_per_s: int | None = None,
        age_ms: int = 0,
    ) -> None:
        """Have the origin tell this stock, dated `age_ms` before it is asked."""
        facts = {"remaining": remaining, "total": total, "version": version, "admit_per_s": admit_per_s}
        self.origin.stock[drop] = {**facts, "age_ms": age_ms}

    def set_place(self, *, country: str = "", colo: str = "") -> None:
        """Have requests come from a country; the place of the node is fixed."""
        assert colo in ("", COLO)
        self.country = country

    def set_store_away(self, *, away: bool) -> None:
        """Have the manifest store not answer."""
        self._store = "dead" if away else ""
        self._apply()

    def set_origin_away(self, *, away: bool) -> None:
        """Have the origin not answer."""
        self.origin.away = away

    def break_store(self, *, broken: bool) -> None:
        """Have the manifest store fail in a way that nobody foresaw."""
        self._store = "broken" if broken else ""
        self._apply()

    def batches(self) -> list[EventBatch]:
        """Return all event batches that arrived so far."""
        return decode_batches(self.origin.messages)

    def heal(self) -> None:
        """Undo what a test has done, but for the time that has passed."""
        self.country, self._store, self.origin.away = "", "", False
        self._apply()

    def _apply(self) -> None:
        self._set_faults(store=self._store, clock_shift_ms=self._clock.shift_ms, clock_ms=self._clock.fixed_ms)


class SocketClient:
    """Carries requests as they are over one connection: nothing is normalised, added or followed."""

    def __init__(self, url: str, country: Callable[[], str], country_header: str) -> None:
        self._address = urlsplit(url).netloc
        self._country = country
        self._country_header = country_header
        self._connection = http.client.HTTPConnection(self._address, timeout=30)

    def request(self, method: str, path: str, headers: Mapping[str, str], body: Body = None) -> Received:
        """Send a request; a body in pieces goes without a declared length."""
        try:
            return self._exchange(method, path, headers, body)
        except (http.client.RemoteDisconnected, ConnectionError):
            # The server ended the connection after the answer before this one, for it had not read all of a body.
            self.close()
            return self._exchange(method, path, headers, body)

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> Received:
        connection = self._connection
        connection.putrequest(method, path, skip_accept_encoding=True)
        sent = {name.lower(): value for name, value in headers.items()}
        if isinstance(body, bytes):
            sent.setdefault("content-length", str(len(body)))
        elif body is not None:
            sent["transfer-encoding"] = "chunked"
        for name, value in {self._country_header: self._country(), **sent}.items():
            connection.putheader(name, value.encode("latin-1"))
        pieces = body if isinstance(body, bytes) else None
        connection.endheaders(pieces or None)
        if body is not None and not isinstance(body, bytes):
            for piece in body:
                connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
        response = connection.getresponse()
        received = response.read()
        given: dict[str, str] = {}
        for name, value in response.getheaders():
            assert name.lower() not in given, f"header {name} twice"
            given[name.lower()] = value
        return Received(response.status, given, received)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
