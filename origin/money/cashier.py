"""The cashier: takes held claims and their payments to goods, or the money back. Every way in leads to `advance`.

Rules:

1. A browser that returns, a webhook, and the loop that looks after what is open all do the same: look at what the
   provider says now, and take the next step (`shared.money.payments`). So their order and number do not matter.
2. A payment is stored before its provider is asked. What is done at the provider is done before it is noted, under a
   key that belongs to the act: a process that is killed in between does it again, and the provider does it once.
3. Goods and money meet in one transaction: the claim's settlement, the payment's new state, the ledger's entries with
   the creators' shares. The drop's row is locked first, then the payment's.
4. What a provider tells of a payment that is not known here is kept, and looked into once the payment begins.
5. Nothing is noted of a payment that was moved on meanwhile: the transaction ends without a trace, goods included.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace

from origin.database import ClashError, Connection, Database
from origin.money import ledger_store as ledger
from origin.money import payments_store as store
from origin.money.booking import book_refund, note_difference
from origin.money.payments_store import FIRST_LOOK_MS, StoredPayment
from origin.money.port import Message, PaymentProvider
from origin.money.returning import return_claim
from origin.money.shares_store import share_out
from origin.money.wallet import WALLET, describe_new, has_bought, pay_from_wallet, settle_paid
from origin.settlement.confirming import spend
from origin.settlement.holds_store import StoredHold, list_overdue_drops, read_hold
from origin.settlement.settling import Settler
from shared.claims.budgets import Kind, Stage
from shared.claims.returns import ReturnOrder
from shared.claims.states import Actor, State
from shared.claims.tokens import Claim, fingerprint_claim
from shared.errors import CliptillError, ServiceAwayError
from shared.money.payments import Charge, PaymentState, Step, decide_step, is_sound
from shared.problems import Code

MOST_STEPS: Final = 8  # begun to refunded takes five
BATCH: Final = 50
_OPEN: Final = ("begun", "refund_due")
_STILL: Final = ("wait", "nothing")
_OVER: Final = ("voided", "failed", "refunded")
_NOT_HELD: Final = {State.LAPSED: Code.HOLD_LAPSED, State.RELEASED: Code.HOLD_RELEASED}

log = structlog.get_logger(__name__)


class _OvertakenError(CliptillError):
    """Ends a transaction without a trace: another one moved the payment on."""


class Paying(NamedTuple):
    """A payment as it stands, and what the provider says of it where it was asked."""

    stored: StoredPayment
    charge: Charge | None = None


class Cashier:
    """The one cashier of a process.

    Args:
        database: open, or about to be.
        settler: what decides and writes.
        cards: who takes cards; None when nobody does.
        clock_ms: the origin's clock.
    """

    def __init__(
        self, database: Database, settler: Settler, cards: PaymentProvider | None, clock_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._settler = settler
        self.cards = cards
        self._clock_ms = clock_ms

    async def pay(self, claim: Claim) -> Paying | Code:
        """Begin the payment of a held claim, or go on with it: what a browser asks before and after paying.

        Raises:
            ServiceAwayError: the database or the provider is away; ask again.
        """
        async with self._database.connection() as connection:
            held = await read_hold(connection, claim.jti)
            payments = await store.list_payments(connection, claim.jti)
        if held is None or held.fingerprint != fingerprint_claim(claim):
            return Code.NOT_HELD if held is None else Code.IDEMPOTENCY_CONFLICT
        last = payments[-1] if payments else None
        if last is None or last.state in _OVER:
            began = await self._begin(held, len(payments) + 1)
            if isinstance(began, Code):
                return began if last is None else Paying(last)
            last = began
        return await self.advance(last.payment)

    async def find_kind(self, claim_id: str) -> Kind | None:
        """Return how a held claim is paid; None when it is not held."""
        async with self._database.connection() as connection:
            held = await read_hold(connection, claim_id)
        return None if held is None else Kind(held.payment)

    async def give_up(self, claim_id: str) -> bool:
        """Free what is held for a claim, and return whether it is free: what is paid for meanwhile stays settled."""
        async with self._database.transaction() as connection:
            held = await read_hold(connection, claim_id)
            if held is not None:
                await self._settler.release_in(connection, held, self._clock_ms())
                held = await read_hold(connection, claim_id)
        return held is not None and held.state in _NOT_HELD

    async def advance(self, payment: str) -> Paying:
        """Take a payment as far as it goes now; messages about it that were there before have had their effect then.

        Raises:
            ServiceAwayError: the database or the provider is away; what was done stays done.
        """
        async with self._database.connection() as connection:
            messages = await store.list_waiting(connection, payment)
        paying = await self._go_on(payment, told=bool(messages))
        if messages:
            async with self._database.transaction() as connection:
                await store.apply_messages(connection, paying.stored, messages, self._clock_ms())
        return paying

    async def _go_on(self, payment: str, *, told: bool) -> Paying:
        for _ in range(MOST_STEPS):
            async with self._database.connection() as connection:
                stored = await store.read_payment(connection, payment)
                if stored is None:
                    raise AssertionError(f"payment {payment} is not stored")
                takes = await self._takes_money(connection, stored)
            if stored.state not in _OPEN and not (told and stored.reference is not None):
                return Paying(stored)
            provider = self._provider_of(stored)
            with spend(Stage.PAYMENT):
                charge = await self._look(provider, stored)
            step = decide_step(stored.wanted, charge, takes_money=takes)
            if step in _STILL:
                return Paying(stored, charge)
            try:
                await self._take(provider, step, stored, charge)
            except _OvertakenError:
                told = True  # what was noted need not be what the provider says
        raise ServiceAwayError(
            f"payment {payment} does not come to an end: the provider says one thing and does another"
        )

    async def note(self, provider: str, message: Message) -> None:
        """Keep what a provider told, and look into it; what cannot be looked into now is done by the loop.

        What is about no payment of ours is not kept.
        """
        async with self._database.transaction() as connection:
            payment = message.payment or await store.find_payment(connection, provider, message.reference)
            if not payment:
                return
            await store.add_message(connection, provider, message.message, payment, self._clock_ms())
            known = await store.read_payment(connection, payment)
        if known is not None and known.provider == provider:
            await self._look_into(payment)

    async def look_after(self) -> int:
        """Do what is due: write down what has lapsed, take open payments on; return how many were looked at."""
        now_ms = self._clock_ms()
        async with self._database.transaction() as connection:
            drops = await list_overdue_drops(connection, now_ms, BATCH)
            if drops:
                await self._settler.tidy_in(connection, drops, now_ms)
        async with self._database.transaction() as connection:
            due = await store.take_due(connection, now_ms, BATCH)
        for payment in due:
            await self._look_into(payment)
        return len(due)

    async def _takes_money(self, connection: Connection, stored: StoredPayment) -> bool:
        """Return whether money may still buy the units: they are to be had, and at the price that is paid."""
        held = await read_hold(connection, stored.claim_id)
        if held is None or not _is_price_of(stored, held.to_claim()):
            return False
        return await store.takes_money(connection, stored.claim_id, self._clock_ms())

    async def _look_into(self, payment: str) -> None:
        """Take a payment on; one that cannot go on now has its next turn later."""
        try:
            await self.advance(payment)
        except (ServiceAwayError, ClashError) as error:
            log.warning("payment_waits", payment=payment, reason=str(error))

    async def _begin(self, held: StoredHold, attempt: int) -> StoredPayment | Code:
        now_ms = self._clock_ms()
        state = held.state_at(now_ms)
        if state is not State.HELD:
            return _NOT_HELD.get(state, Code.NOT_HELD)
        if held.payment == WALLET:
            return await pay_from_wallet(self._database, self._settler, held, attempt, now_ms)
        if self.cards is None:
            return Code.PAYMENT_UNAVAILABLE
        new = describe_new(held, attempt, self.cards.name, now_ms)
        async with self._database.transaction() as connection:
            await store.add_payment(connection, new)
        return new

    def _provider_of(self, stored: StoredPayment) -> PaymentProvider:
        if self.cards is None or self.cards.name != stored.provider:
            raise ServiceAwayError(f"nobody here speaks for provider {stored.provider}")
        return self.cards

    async def _look(self, provider: PaymentProvider, stored: StoredPayment) -> Charge:
        if stored.reference is not None:
            return _sound(await provider.read(stored.reference), stored)
        charge = _sound(await provider.authorise(stored.payment, stored.amount_minor, stored.currency), stored)
        if charge.reference:
            async with self._database.connection() as connection:
                await store.note_reference(connection, stored.payment, charge.reference)
        return charge

    async def _take(self, provider: PaymentProvider, step: Step, stored: StoredPayment, charge: Charge) -> None:
        key = f"{stored.payment}:{step}"
        match step:
            case "capture":
                with spend(Stage.PAYMENT):
                    await provider.capture(charge.reference, key)
            case "void":
                await provider.void(charge.reference, key)
            case "refund":
                await provider.refund(charge.reference, key, stored.refund_minor - charge.refunded_minor)
            case "settle" | "give_back":
                await self._note_captured(stored, charge, goods=step == "settle")
            case "take_back":
                await self._take_back(stored)
            case "note_refund" | "note_difference":
                async with self._database.transaction() as connection:
                    book = book_refund if step == "note_refund" else note_difference
                    await book(connection, stored, charge, self._clock_ms())
            case "close":
                await self._close(stored, charge)

    async def _note_captured(self, stored: StoredPayment, charge: Charge, *, goods: bool) -> None:
        """Money is there: give the goods for it, or note that it goes back (rule 3)."""
        now_ms = self._clock_ms()
        async with self._database.transaction() as connection:
            held = await read_hold(connection, stored.claim_id)
            if held is None:
                raise AssertionError(f"payment {stored.payment} has no hold")
            claim = held.to_claim()
            goods = goods and _is_price_of(stored, claim)
            decision = await settle_paid(self._settler, connection, claim, now_ms) if goods else None
            locked = await store.read_payment(connection, stored.payment, lock=True)
            if locked is None or locked.state != stored.state:
                raise _OvertakenError(f"payment {stored.payment} was moved on")
            others = await store.list_payments(connection, stored.claim_id)
            bought = decision is not None and decision.code is None and not any(map(has_bought, others))
            taken = charge.captured_minor
            moved = replace(
                locked, state="captured" if bought else "refund_due", captured_minor=taken,
                captured_currency=charge.currency, refund_minor=0 if bought else taken,
                changed_ms=now_ms, next_look_ms=None if bought else now_ms + FIRST_LOOK_MS,
            )  # fmt: skip
            await store.move_payment(connection, moved)
            sold = (claim.drop, claim.creator, claim.jti)
            got = await share_out(connection, *sold, 0, taken) if bought else {"refunds_due": taken}
            amounts = {f"provider:{stored.provider}": -taken, **got}
            await ledger.post(connection, f"{stored.payment}:captured", charge.currency, amounts, now_ms)

    async def _take_back(self, stored: StoredPayment) -> None:
        """Take the goods back for money that the provider gave back without being asked."""
        order = ReturnOrder(key=f"provider-{stored.claim_id}", reason="the payment provider gave the money back")
        now_ms, wanted = self._clock_ms(), State.REFUNDED
        async with self._database.transaction() as connection:
            await return_claim(connection, self._settler, stored.claim_id, wanted, order, Actor.WEBHOOK, now_ms)

    async def _close(self, stored: StoredPayment, charge: Charge) -> None:
        now_ms = self._clock_ms()
        async with self._database.transaction() as connection:
            locked = await store.read_payment(connection, stored.payment, lock=True)
            if locked is not None and locked.state == "begun":
                state: PaymentState = "failed" if charge.state == "failed" else "voided"
                await store.move_payment(connection, replace(locked, state=state, changed_ms=now_ms, next_look_ms=None))


def _is_price_of(stored: StoredPayment, claim: Claim) -> bool:
    """Return whether a payment is of a claim's price: held again, the same tap may have another one."""
    return (stored.amount_minor, stored.currency) == (claim.total_minor, claim.currency)


def _sound(charge: Charge, stored: StoredPayment) -> Charge:
    if not is_sound(charge, stored.payment) or stored.reference not in (None, charge.reference):
        raise ServiceAwayError(f"what the provider says of payment {stored.payment} contradicts itself")
    return charge
