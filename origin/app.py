"""The origin's application: its parts, put together from the settings, and their life.

Start: database pool, then intake, reconciliation and caretaker. End, after the server has answered all requests: these
stop, the writer finishes what it has, the connections close.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from origin.catalogue.editing import Catalogue
from origin.catalogue.operators import Operators
from origin.catalogue.publishing import Publisher, read_clock_ms
from origin.catalogue.windows import Windows
from origin.config import Config
from origin.database import Database
from origin.fulfilment.courier import Courier
from origin.fulfilment.handoffs import Handoffs
from origin.fulfilment.partners import Partners
from origin.fulfilment.reporting import Reporting
from origin.insight.edges import Edges
from origin.insight.intake import Intake, QueueReader
from origin.insight.reconcile_loop import ReconcileLoop
from origin.insight.reconciliation import Reconciler
from origin.insight.reports import Reports
from origin.metrics import Metrics
from origin.middleware import Front, Shell, tell_http_exception
from origin.money.caretaking import Caretaker
from origin.money.cashier import Cashier
from origin.money.crediting import Credits
from origin.money.dues import Dues
from origin.money.paying import Payments
from origin.money.providers import make_card_provider
from origin.money.refunding import Refunds
from origin.pickup.page import ScannerPage
from origin.pickup.passes import Passes
from origin.pickup.scanners import Scanners
from origin.pickup.syncing import Syncing
from origin.provider import Provider
from origin.responses import Handler
from origin.routes import describe, make_routes
from origin.service import Service
from origin.settlement.confirming import Confirmations, CountKeeper
from origin.settlement.counter import Counter
from origin.settlement.holding import Holding
from origin.settlement.presenting import Trust
from origin.settlement.settlements import PATH as SETTLEMENTS
from origin.settlement.settlements import Settlements
from origin.settlement.settling import Settler
from origin.settlement.streams import Watcher
from origin.settlement.writer import Writer
from origin.trail.heads import Signer
from origin.trail.proving import Proving


class Parts:
    """What one process has one of."""

    def __init__(self, config: Config, conninfo: str) -> None:
        self.config = config
        self.database = Database(conninfo)
        self.provider = Provider(config.provider)
        self.settler = Settler(config.public_url, config.signing_keys)
        self.confirmations = Confirmations()
        self.counting = CountKeeper(self.confirmations, self.database, read_clock_ms)
        self.writer = Writer(self.database, self.settler, read_clock_ms, self.confirmations)
        self.watcher = Watcher(self.database)
        self.cards = make_card_provider(config.cards)
        self.cashier = Cashier(self.database, self.settler, self.cards, read_clock_ms)
        self.trust = Trust(keys=config.claim_keys, issuer=config.issuer, audience=config.public_url)
        self.intake = Intake(self.database, self.settler, self.trust, read_clock_ms, self.confirmations)
        self.reader = QueueReader(self.database, self.provider, self.intake, config.intake_interval_ms, read_clock_ms)

        self.publisher = Publisher(self.database, self.provider, read_clock_ms)
        reconciler = Reconciler(self.database, self.provider, self.publisher, self.cashier, config)
        self.reconciling = ReconcileLoop(self.database, reconciler, config.reconcile_interval_s, read_clock_ms)

    def handlers(self) -> dict[str, Handler]:
        """Return all handlers, by the id of their operation."""
        config = self.config
        settlements = Settlements(
            database=self.database,
            writer=self.writer,
            watcher=self.watcher,
            trust=self.trust,
            keys=config.signing_keys,
            clock_ms=read_clock_ms,
        )
        holding = Holding(self.database, self.settler, self.trust, read_clock_ms)
        windows = Windows(self.database, config.public_url, config.edge_url, read_clock_ms)
        service = Service(self.database, config.signing_keys.key_set, cache(describe))
        catalogue = Catalogue(self.database, read_clock_ms)
        operators = Operators(self.database, catalogue, self.publisher)
        return {
            **settlements.handlers(),
            **holding.handlers(),
            **Passes(self.database, self.trust, config.signing_keys, read_clock_ms).handlers(),
            **Payments(self.cashier, self.confirmations, self.trust, read_clock_ms).handlers(),
            **Metrics(self.confirmations, self.writer, self.watcher).handlers(),
            **Counter(self.database, self.settler, self.confirmations, config.signing_keys, read_clock_ms).handlers(),
            **Credits(self.database, self.trust, read_clock_ms).handlers(),
            **Dues(self.database).handlers(),
            **Refunds(self.database, self.settler, self.cashier, read_clock_ms).handlers(),
            **Partners(self.database, read_clock_ms, loopback=config.loopback_partners).handlers(),
            **Handoffs(self.database, read_clock_ms).handlers(),
            **Reporting(self.database, read_clock_ms).handlers(),
            **Scanners(self.database, read_clock_ms).handlers(),
            **Syncing(self.database, config.public_url, config.signing_keys, read_clock_ms).handlers(),
            **ScannerPage().handlers(),
            **windows.handlers(),
            **service.handlers(),
            **operators.handlers(),
            **Edges(self.database, self.intake).handlers(),
            **Reports(self.database).handlers(),
            **Proving(self.database, Signer(config.public_url, config.signing_keys), read_clock_ms).handlers(),
        }

    @contextlib.asynccontextmanager
    async def run(self, _: Starlette) -> AsyncIterator[None]:
        """Start the parts, and end them in the order that loses nothing."""
        await self.database.open()
        courier = Courier(self.database, read_clock_ms, loopback=self.config.loopback_partners)
        running = (self.reader, self.reconciling, Caretaker(self.cashier), courier, self.counting)
        loops = [asyncio.create_task(loop.run()) for loop in running]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            await self.writer.close()
            await self.confirmations.close()
            await self.counting.store()
            await self.watcher.close()
            await self.provider.close()
            if self.cards is not None:
                await self.cards.close()
            await self.database.close()


def build_app(config: Config, conninfo: str) -> Front:
    """Return the application; nothing is opened before its lifespan starts."""
    parts = Parts(config, conninfo)
    handlers = parts.handlers()
    app = Starlette(
        routes=make_routes(handlers),
        middleware=[Middleware(Shell)],
        exception_handlers={HTTPException: tell_http_exception},
        lifespan=parts.run,
    )
    app.router.redirect_slashes = False
    return Front(app, SETTLEMENTS, handlers["settle_claim"])
