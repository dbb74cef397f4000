"""The sandbox's HTTP API: charges for the origin, a page for the viewer, and faults for who tests.

For the origin, with `Authorization: Bearer KEY` and `Idempotency-Key` on each POST; every answer is a charge
(`shared.money.payments.Charge`), and an act that is not possible any more changes nothing:

    POST /charges {"payment": NAME, "amount_minor": N, "currency": "EUR"}
    GET  /charges/{reference}
    POST /charges/{reference}/capture
    POST /charges/{reference}/void
    POST /charges/{reference}/refund {"amount_minor": N}

For the viewer:

    GET  /pay/{reference}            a page with two cards, one good and one not
    POST /pay/{reference}            form field `card`: `good` or `declined`

For who tests:

    PUT  /sandbox/faults             `scripts.payments.faults.Faults`, as JSON; `{}` ends all of them
    GET  /sandbox/faults             how many calls stand still
    GET  /sandbox/charges            all charges
    PUT  /sandbox/webhook            {"url": ADDRESS}: where messages go from now on
    GET  /sandbox/messages           what was sent, and how it was answered
    POST /sandbox/messages           {"payment": NAME, "message": ID}: send that, true or not
    POST /sandbox/messages/flush     send what was kept
    GET  /sandbox/health

After each change it posts `{"message": ID, "payment": NAME}` to the origin, signed in `Sandbox-Signature`
(`shared.money.signatures`), again and again until that is answered with 2xx.
"""

import asyncio
import contextlib
import hmac
import html
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from scripts.payments.book import Act, Book
from scripts.payments.courier import Courier
from scripts.payments.faults import Call, Faults, charge_wrongly, tell_wrongly
from shared.money.payments import Charge
from shared.structs import AmountMinor, CurrencyCode, Strict

ACTS: Final[tuple[Act, ...]] = ("capture", "void", "refund")

Handler = Callable[[Request], Awaitable[Response]]


class Wish(Strict, frozen=True, kw_only=True):
    """The body of `POST /charges`."""

    payment: str
    amount_minor: AmountMinor
    currency: CurrencyCode


class RefundWish(Strict, frozen=True, kw_only=True):
    """The body of a refund; other acts have none."""

    amount_minor: AmountMinor = 0


class Webhook(Strict, frozen=True, kw_only=True):
    """The body of `PUT /sandbox/webhook`."""

    url: str


class Hint(Strict, frozen=True, kw_only=True):
    """The body of `POST /sandbox/messages`."""

    payment: str
    message: str = ""


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sandbox payment</title>
<style>body{{font:1.1rem/1.5 system-ui;max-width:26rem;margin:12vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1rem;margin:.3rem 0;width:100%}}</style>
<main><h1>Sandbox payment</h1><p>No money moves here.</p><p><strong>{amount}</strong></p>{body}</main></html>
"""
_FORM: Final = """<form method="post"><button name="card" value="good">Pay with a good card</button>
<button name="card" value="declined">Pay with a card that is declined</button></form>"""
_DONE: Final = '<p role="status">{text} You may close this page.</p>'
_TEXTS: Final = {
    "authorised": "Paid.",
    "captured": "Paid.",
    "failed": "The card was declined.",
    "voided": "Called off.",
}


class Sandbox:
    """The sandbox over one book."""

    def __init__(self, book: Book, courier: Courier, key: str) -> None:
        self._book = book
        self._courier = courier
        self._key = key.encode()
        self._faults = Faults()
        self._standing = 0
        self._replaced = asyncio.Event()

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/charges", self._checked("create", self._create), methods=["POST"]),
            Route("/charges/{reference}", self._checked("read", self._read), methods=["GET"]),
            *(Route(f"/charges/{{reference}}/{act}", self._acting(act), methods=["POST"]) for act in ACTS),
            Route("/pay/{reference}", self._show_page, methods=["GET"]),
            Route("/pay/{reference}", self._take_card, methods=["POST"]),
            Route("/sandbox/faults", self._set_faults, methods=["PUT"]),
            Route("/sandbox/faults", self._count_standing, methods=["GET"]),
            Route("/sandbox/charges", self._list_charges, methods=["GET"]),
            Route("/sandbox/webhook", self._set_webhook, methods=["PUT"]),
            Route("/sandbox/messages", self._list_messages, methods=["GET"]),
            Route("/sandbox/messages", self._send_message, methods=["POST"]),
            Route("/sandbox/messages/flush", self._flush_messages, methods=["POST"]),
            Route("/sandbox/health", self._tell_health, methods=["GET"]),
        ]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        return Starlette(
            routes=routes,
            lifespan=self._lifespan,
            middleware=[hosts],
            exception_handlers={msgspec.DecodeError: _refuse},
        )

    async def _create(self, request: Request) -> Response:
        wish = _decode(await request.body(), Wish)
        amount_minor, currency = charge_wrongly(self._faults.lie, wish.amount_minor, wish.currency)
        charge, _ = self._book.create(request.headers["idempotency-key"], wish.payment, amount_minor, currency)
        return self._tell(charge)

    async def _read(self, request: Request) -> Response:
        charge = self._book.read(request.path_params["reference"])
        return Response(status_code=404) if charge is None else self._tell(charge)

    def _acting(self, act: Act) -> Handler:
        async def answer(request: Request) -> Response:
            charge = self._book.read(request.path_params["reference"])
            if charge is None:
                return Response(status_code=404)
            wish = _decode(await request.body() or b"{}", RefundWish)
            after = self._book.act(charge, request.headers["idempotency-key"], act, wish.amount_minor)
            if after != charge:
                self._send(after)
            return self._tell(after)

        return self._checked(act, answer)

    async def _show_page(self, request: Request) -> Response:
        charge = self._book.read(request.path_params["reference"])
        return Response(status_code=404) if charge is None else _page(charge)

    async def _take_card(self, request: Request) -> Response:
        charge = self._book.read(request.path_params["reference"])
        if charge is None:
            return Response(status_code=404)
        after = self._book.answer_card(charge, good=await request.body() == b"card=good")
        if after != charge:
            self._send(after)
        return _page(after)

    async def _set_faults(self, request: Request) -> Response:
        self._faults = _decode(await request.body(), Faults)
        self._replaced.set()
        self._replaced = asyncio.Event()
        return Response(status_code=204)

    async def _count_standing(self, _: Request) -> Response:
        return _json({"standing": self._standing})

    async def _list_charges(self, _: Request) -> Response:
        return _json({"charges": self._book.list()})

    async def _set_webhook(self, request: Request) -> Response:
        self._courier.url = _decode(await request.body(), Webhook).url
        return Response(status_code=204)

    async def _list_messages(self, _: Request) -> Response:
        return _json({"messages": self._courier.log})

    async def _send_message(self, request: Request) -> Response:
        hint = _decode(await request.body(), Hint)
        self._courier.send(hint.payment, message=hint.message)
        return Response(status_code=202)

    async def _flush_messages(self, _: Request) -> Response:
        return _json({"sent": self._courier.flush(1 + self._faults.duplicates)})

    async def _tell_health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    def _send(self, charge: Charge) -> None:
        faults = self._faults
        if not faults.silent:
            self._courier.send(
                charge.payment, copies=1 + faults.duplicates, late_ms=faults.message_ms, keep=faults.keep_messages
            )

    def _tell(self, charge: Charge) -> Response:
        return _json({**asdict(charge), **tell_wrongly(self._faults.lie, charge)})

    async def _stand(self, call: Call, *, acted: bool) -> None:
        self._standing += 1
        while (self._faults.hang, self._faults.acted) == (call, acted):
            await self._replaced.wait()
        self._standing -= 1

    def _checked(self, call: Call, handler: Handler) -> Handler:
        """Let a call of the origin through, unless it is to fail."""

        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._key):
                return Response(status_code=401)
            if request.method == "POST" and not request.headers.get("idempotency-key"):
                return Response(status_code=400)
            await self._stand(call, acted=False)
            faults = self._faults
            if faults.fail_before:
                self._faults = replace(faults, fail_before=faults.fail_before - 1)
                return Response(status_code=500)
            answer = await handler(request)
            await self._stand(call, acted=True)
            await asyncio.sleep(faults.answer_ms / 1000)
            if faults.fail_after:
                self._faults = replace(self._faults, fail_after=faults.fail_after - 1)
                return Response(status_code=500)
            return answer

        return checked

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await self._courier.close()


async def _refuse(_: Request, __: Exception) -> Response:
    return Response(status_code=400)


def _page(charge: Charge) -> Response:
    amount = html.escape(f"{charge.amount_minor} {charge.currency} (minor units)")
    body = _FORM if charge.state == "pending" else _DONE.format(text=_TEXTS[charge.state])
    return HTMLResponse(_PAGE.format(amount=amount, body=body))


def _decode(body: bytes, kind: type[Any]) -> Any:  # noqa: ANN401 - of that type
    return msgspec.json.decode(body, type=kind)


def _json(document: Mapping[str, object]) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
