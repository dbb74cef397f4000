"""The adapter of Stripe, with Stripe's own library, against a double that answers in the documented shapes."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from origin.money.port import Message
from origin.money.stripe import Stripe, from_stripe, to_stripe
from shared.errors import ServiceAwayError
from shared.money.payments import Charge
from shared.money.signatures import sign_message
from shared.problems import Code
from tests.samples import NOW_S
from tests.stripe_double import StripeDouble, serve_stripe

# Stripe's library hands httpx its bodies by an argument that httpx has a newer name for.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SECRET = "whsec_double"


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with serve_stripe() as started:
        yield started


def with_stripe(double: StripeDouble, story: Callable[[Stripe], Awaitable[Any]], key: str = "sk_test_double") -> Any:
    async def run() -> Any:
        adapter = Stripe(double.url, key, SECRET)
        try:
            return await story(adapter)
        finally:
            await adapter.close()

    return asyncio.run(run())


def test_a_payment_goes_from_pending_to_captured_to_refunded(double: StripeDouble) -> None:
    async def story(adapter: Stripe) -> list[Charge]:
        begun = await adapter.authorise("p.1", 990, "EUR")
        double.confirm("p.1")
        held = await adapter.read(begun.reference)
        taken = await adapter.capture(begun.reference, "p.1:capture")
        back = await adapter.refund(begun.reference, "p.1:refund", 990)
        return [begun, held, taken, back]

    charges = with_stripe(double, story)
    assert [charge.state for charge in charges] == ["pending", "authorised", "captured", "captured"]
    assert [charge.client_secret for charge in charges] == ["pi_1_secret_x", "", "", ""]
    assert {(charge.payment, charge.amount_minor, charge.currency) for charge in charges} == {("p.1", 990, "EUR")}
    assert [(charge.captured_minor, charge.refunded_minor) for charge in charges[2:]] == [(990, 0), (990, 990)]
    assert double.intents["pi_1"]["capture_method"] == "manual"


def test_what_could_happen_twice_goes_under_our_key(double: StripeDouble) -> None:
    async def story(adapter: Stripe) -> None:
        first = await adapter.authorise("p.1", 990, "EUR")
        assert (await adapter.authorise("p.1", 990, "EUR")).reference == first.reference
        double.confirm("p.1")
        for _ in range(2):
            await adapter.capture(first.reference, "p.1:capture")
            await adapter.refund(first.reference, "p.1:refund", 400)

    with_stripe(double, story)
    assert len(double.intents) == 1
    assert double.intents["pi_1"]["latest_charge"]["amount_refunded"] == 400
    keys = {key for method, path, key in double.asked if path in ("/v1/payment_intents", "/v1/refunds")}
    assert keys == {"p.1", "p.1:refund"}


def test_an_act_that_is_not_possible_any_more_is_told_as_it_stands(double: StripeDouble) -> None:
    async def story(adapter: Stripe) -> list[str]:
        first, second = [await adapter.authorise(name, 990, "EUR") for name in ("p.1", "p.2")]
        early = await adapter.capture(first.reference, "k1")
        double.confirm("p.1")
        await adapter.capture(first.reference, "k2")
        late = await adapter.void(first.reference, "k3")
        gone = await adapter.void(second.reference, "k4")
        again = await adapter.capture(second.reference, "k5")
        too_much = await adapter.refund(first.reference, "k6", 991)
        assert too_much.refunded_minor == 0
        return [early.state, late.state, gone.state, again.state]

    assert with_stripe(double, story) == ["pending", "captured", "voided", "voided"]


@pytest.mark.parametrize(
    ("amount_minor", "currency"),
    [
        pytest.param(10**9, "EUR", id="more than Stripe takes"),
        pytest.param(1_005, "KWD", id="a third digit"),
        pytest.param(150, "MGA", id="a part of a unit that Stripe does not have"),
    ],
)
def test_what_stripe_never_takes_is_a_payment_that_failed(
    double: StripeDouble, amount_minor: int, currency: str
) -> None:
    charge = with_stripe(double, lambda adapter: adapter.authorise("p.1", amount_minor, currency))
    assert (charge.state, charge.reference, charge.captured_minor) == ("failed", "", 0)


@pytest.mark.parametrize(
    ("key", "fail"), [pytest.param("sk_test_double", 9, id="it fails"), pytest.param("wrong", 0, id="it knows us not")]
)
def test_a_stripe_that_is_away_is_asked_again_later(double: StripeDouble, key: str, fail: int) -> None:
    double.fail = fail
    with pytest.raises(ServiceAwayError):
        with_stripe(double, lambda adapter: adapter.authorise("p.1", 990, "EUR"), key)
    assert double.intents == {}


@pytest.mark.parametrize(
    ("ours", "currency", "theirs"),
    [
        (990, "EUR", 990),
        (500, "JPY", 500),
        (12_000, "KRW", 12_000),
        (500, "ISK", 50_000),
        (7, "UGX", 700),
        (5_120, "BHD", 5_120),
        (300, "MGA", 3),
    ],
)
def test_amounts_are_counted_as_stripe_counts_them(ours: int, currency: str, theirs: int) -> None:
    assert to_stripe(ours, currency) == theirs
    assert from_stripe(theirs, currency) == ours


def event(metadata: Any, name: str = "evt_1", **said: Any) -> bytes:
    subject = {"id": "pi_1", "object": "payment_intent", "metadata": metadata, "status": "requires_capture", **said}
    document = {"id": name, "object": "event", "type": "payment_intent.amount_capturable_updated"}
    return json.dumps({**document, "data": {"object": subject}}).encode()


@pytest.mark.parametrize(
    ("body", "header", "read"),
    [
        pytest.param(event({"payment": "p.1"}), None, Message(message="evt_1", payment="p.1"), id="ours"),
        pytest.param(event({}), None, Message(message="evt_1", payment=""), id="of another shop"),
        pytest.param(event(None), None, Message(message="evt_1", payment=""), id="without metadata"),
        pytest.param(event({"payment": "Order #12"}), None, Message(message="evt_1", payment=""), id="another's name"),
        pytest.param(
            event({}, payment_intent="pi_1"),
            None,
            Message(message="evt_1", payment="", reference="pi_1"),
            id="a refund by hand",
        ),
        pytest.param(
            event({}, payment_intent={"id": "pi_1"}), None, Message(message="evt_1", payment=""), id="an intent in full"
        ),
        pytest.param(b"{}", None, Code.MALFORMED_JSON, id="no event"),
        pytest.param(event({"payment": "p.1"}), "t=1,v1=00", Code.MESSAGE_FORGED, id="forged"),
        pytest.param(event({}), sign_message(event({}), SECRET.encode(), NOW_S - 301), Code.MESSAGE_STALE, id="old"),
    ],
)
def test_an_event_is_read_once_its_signature_is_good(
    double: StripeDouble, body: bytes, header: str | None, read: Message | Code
) -> None:
    headers = {"stripe-signature": header or sign_message(body, SECRET.encode(), NOW_S)}

    async def story(adapter: Stripe) -> Any:
        return adapter.read_message(headers, body, NOW_S)

    assert with_stripe(double, story) == read
