"""The adapter of Stripe, over its own library: PaymentIntents that are confirmed in the browser and captured here.

Facts that it rests on (docs.stripe.com: "Place a hold on a payment method", "Idempotent requests", "Currencies"):

1. An intent of manual capture goes from waiting for the viewer to `requires_capture`, then to `succeeded` or
   `canceled`; each happens once. So capture and cancel go without an idempotency key: the state itself keeps them from
   happening twice, and a failure that is saved under a key would be told again for a day.
2. What could happen twice, creating and refunding, goes under our key. A refund that has outlived its key (a day) is
   found by looking at the intent first, as the cashier does.
3. Amounts are in minor units, with exceptions: ISK and UGX have two digits there, MGA none, and the third digit of
   currencies of three is always zero.
4. Metadata of an intent is on its charge, too, and not on refunds that are made in the dashboard: their events
   (`refund.created`, `refund.failed`) name the intent.
5. A refund may fail after it succeeded: then the charge's `amount_refunded` goes down again.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final

import msgspec
import stripe
import structlog

from origin.money.port import Message
from shared.catalogue.money import MINOR_DIGITS
from shared.errors import ServiceAwayError
from shared.money.payments import Charge, ChargeState
from shared.money.signatures import check_message
from shared.problems import Code
from shared.structs import Wire

SIGNATURE: Final = "stripe-signature"
TIMEOUT_S: Final = 10.0
RETRIES: Final = 1
_EXPAND: Final = ["latest_charge"]
_STATES: Final[dict[str, ChargeState]] = {
    "requires_payment_method": "pending",
    "requires_confirmation": "pending",
    "requires_action": "pending",
    "processing": "pending",
    "requires_capture": "authorised",
    "succeeded": "captured",
    "canceled": "voided",
}
_TWO_DIGITS_THERE: Final = ("ISK", "UGX")
_NO_DIGITS_THERE: Final = ("MGA",)
_THREE_DIGITS: Final = 3

log = structlog.get_logger(__name__)


class _Subject(Wire, frozen=True, kw_only=True):
    """What an event is about: an intent, its charge, or a refund (which has no metadata when a person made it)."""

    metadata: dict[str, str] | None = None
    payment_intent: str | dict[str, object] | None = None


class _Data(Wire, frozen=True, kw_only=True):
    object: _Subject


class _Event(Wire, frozen=True, kw_only=True):
    id: str
    data: _Data


_EVENT: Final = msgspec.json.Decoder(_Event)


class Stripe:
    """Speaks to Stripe, or to whoever answers in its stead at `url`."""

    name = "stripe"

    def __init__(self, url: str, key: str, webhook_secret: str) -> None:
        self._secret = webhook_secret.encode()
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_S)
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": url} if url else None,
            http_client=self._http,
            max_network_retries=RETRIES,
        )

    async def authorise(self, payment: str, amount_minor: int, currency: str) -> Charge:
        """See `origin.money.port`."""
        amount = to_stripe(amount_minor, currency)
        refused = Charge(reference="", payment=payment, state="failed", amount_minor=amount_minor, currency=currency)
        if amount is None:
            return refused
        asked = self._client.v1.payment_intents.create_async(
            {
                "amount": amount,
                "currency": currency.lower(),
                "capture_method": "manual",
                "automatic_payment_methods": {"enabled": True},
                "metadata": {"payment": payment},
                "expand": _EXPAND,
            },
            {"idempotency_key": payment},
        )
        intent = await _answer(asked)
        return refused if intent is None else _read(intent)

    async def read(self, reference: str) -> Charge:
        """See `origin.money.port`."""
        intent = await _answer(self._client.v1.payment_intents.retrieve_async(reference, {"expand": _EXPAND}))
        if intent is None:
            raise ServiceAwayError("Stripe does not know the payment any more")
        return _read(intent)

    async def capture(self, reference: str, key: str) -> Charge:  # noqa: ARG002 - rule 1
        """See `origin.money.port`."""
        await _answer(self._client.v1.payment_intents.capture_async(reference))
        return await self.read(reference)

    async def refund(self, reference: str, key: str, amount_minor: int) -> Charge:
        """See `origin.money.port`."""
        charge = await self.read(reference)
        amount = to_stripe(amount_minor, charge.currency)
        if amount is None:
            raise ServiceAwayError(f"Stripe cannot give back {amount_minor} of {charge.currency}")
        await _answer(
            self._client.v1.refunds.create_async(
                {"payment_intent": reference, "amount": amount, "metadata": {"payment": charge.payment}},
                {"idempotency_key": key},
            )
        )
        return await self.read(reference)

    async def void(self, reference: str, key: str) -> Charge:  # noqa: ARG002 - rule 1
        """See `origin.money.port`."""
        await _answer(self._client.v1.payment_intents.cancel_async(reference, {"cancellation_reason": "abandoned"}))
        return await self.read(reference)

    def read_message(self, headers: Mapping[str, str], body: bytes, now_s: int) -> Message | Code:
        """See `origin.money.port`."""
        code = check_message(body, headers.get(SIGNATURE, ""), self._secret, now_s)
        if code is not None:
            return code
        try:
            event = _EVENT.decode(body)
            subject = event.data.object
            intent = subject.payment_intent if isinstance(subject.payment_intent, str) else ""
            told = {"message": event.id, "payment": (subject.metadata or {}).get("payment", ""), "reference": intent}
            return _convert(told)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Code.MALFORMED_JSON

    async def close(self) -> None:
        """See `origin.money.port`."""
        await self._http.close_async()  # type: ignore[no-untyped-call] # the library says no type for it


def _convert(told: dict[str, str]) -> Message:
    """Return what an event tells; another shop's metadata of the same name is no name of ours."""
    try:
        return msgspec.convert(told, Message)
    except msgspec.ValidationError:
        return msgspec.convert({**told, "payment": ""}, Message)


def to_stripe(amount_minor: int, currency: str) -> int | None:
    """Return an amount as Stripe counts it; None where it cannot be charged there."""
    if currency in _TWO_DIGITS_THERE:
        return amount_minor * 100
    if currency in _NO_DIGITS_THERE:
        whole, rest = divmod(amount_minor, 100)
        return None if rest else whole
    if MINOR_DIGITS.get(currency) == _THREE_DIGITS and amount_minor % 10:
        return None
    return amount_minor


def from_stripe(amount: int, currency: str) -> int:
    """Return an amount of Stripe's in minor units of ISO 4217."""
    if currency in _TWO_DIGITS_THERE:
        return amount // 100
    return amount * 100 if currency in _NO_DIGITS_THERE else amount


async def _answer(asked: Awaitable[Any]) -> Any:  # noqa: ANN401 - the library's objects
    """Return what Stripe answers; None when it refuses what was asked, for good.

    Raises:
        ServiceAwayError: it is away, or does not let us in: whether it acted is not known.
    """
    try:
        return await asked
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        log.warning("stripe_refused", code=error.code, status=error.http_status)
        return None
    except stripe.StripeError as error:
        raise ServiceAwayError(f"Stripe is away: {type(error).__name__}") from error


def _read(intent: "stripe.PaymentIntent") -> Charge:
    currency = intent.currency.upper()
    state = _STATES.get(intent.status)
    if state is None:
        raise ServiceAwayError(f"Stripe says {intent.status} of a payment, which is not known here")
    charge = intent.latest_charge
    refunded = charge.amount_refunded if isinstance(charge, stripe.Charge) and state == "captured" else 0
    return Charge(
        reference=intent.id,
        payment=intent.metadata["payment"] if "payment" in intent.metadata else "",  # noqa: SIM401 - it is no dict
        state=state,
        amount_minor=from_stripe(intent.amount, currency),
        currency=currency,
        captured_minor=from_stripe(intent.amount_received, currency) if state == "captured" else 0,
        refunded_minor=from_stripe(refunded, currency),
        client_secret=(intent.client_secret or "") if state == "pending" else "",
    )
