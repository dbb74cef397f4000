"""The payment port: what the cashier asks of a provider. Adapters are `origin.money.sandbox` and `origin.money.stripe`.

Rules of every adapter:

1. Each call carries a key of ours. The same key again is the same act: it may be repeated after any failure.
2. A provider that is away, slow or broken is a `ServiceAwayError`: whether it acted is not known, so call again.
3. What it answers is a `Charge` as it stands after the call. An act that is not possible any more is no error: the
   charge says how it stands, such as `captured` after a `void` that came too late, or `failed` where it will take no
   money of this kind.
"""

from collections.abc import Mapping
from typing import Annotated, Protocol

from msgspec import Meta

from shared.money.payments import Charge
from shared.problems import Code
from shared.structs import Wire

MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,200}$(?!\n)")]
PaymentName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,100}$(?!\n)")]


class Message(Wire, frozen=True, kw_only=True):
    """A hint of a provider that a payment has changed.

    Attributes:
        message: its id at the provider; the same id is the same message.
        payment: our own name for the payment; empty when the message does not tell it.
        reference: the provider's name for it; looked at where ours is not told.
    """

    message: MessageId
    payment: PaymentName
    reference: str = ""


class PaymentProvider(Protocol):
    """Who takes money for us."""

    @property
    def name(self) -> str:
        """Return the name that stored payments have."""

    async def authorise(self, payment: str, amount_minor: int, currency: str) -> Charge:
        """Ask for money; `payment` is the key."""

    async def read(self, reference: str) -> Charge:
        """Return how a payment stands."""

    async def capture(self, reference: str, key: str) -> Charge:
        """Take the money that was authorised."""

    async def refund(self, reference: str, key: str, amount_minor: int) -> Charge:
        """Give money back."""

    async def void(self, reference: str, key: str) -> Charge:
        """Let go of money that was not taken."""

    def read_message(self, headers: Mapping[str, str], body: bytes, now_s: int) -> Message | Code:
        """Return the message that a webhook brings, once its signature and time are good."""

    async def close(self) -> None:
        """Let go of connections."""
