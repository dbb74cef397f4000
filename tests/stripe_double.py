"""Stripe's API as far as the adapter uses it, in the shapes that its reference documents: form bodies in, objects out.

Intents of manual capture, their charges, refunds; idempotency keys whose first answer is told again, also when it was
an error; errors with `type`, `code` and `message`. A test says what the viewer does in the browser.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, dict[str, Any]]


class StripeDouble:
    """What it knows.

    Attributes:
        fail: that many of the next calls are answered 500; `after`: they do what was asked before.
        asked: method, path and idempotency key of each call.
    """

    def __init__(self) -> None:
        self.url = ""
        self.intents: dict[str, dict[str, Any]] = {}
        self.fail, self.after = 0, False
        self.asked: list[tuple[str, str, str]] = []
        self._saved: dict[str, tuple[dict[str, str], Reply]] = {}
        self._lock = threading.Lock()

    def confirm(self, payment: str) -> None:
        """The viewer confirms in the browser: money is authorised."""
        intent = self.of(payment)
        assert intent["status"] == "requires_payment_method"
        charge = {"id": f"ch_{intent['id']}", "object": "charge", "amount": intent["amount"], "amount_refunded": 0}
        intent.update(status="requires_capture", amount_capturable=intent["amount"], latest_charge=charge)

    def of(self, payment: str) -> dict[str, Any]:
        """Return the intent of a payment of ours."""
        return next(intent for intent in self.intents.values() if intent["metadata"]["payment"] == payment)

    def answer(self, method: str, path: str, key: str, form: dict[str, str]) -> Reply:
        with self._lock:
            self.asked.append((method, path, key))
            if self.fail and not self.after:
                self.fail -= 1
                return _error(500, "api_error", "", "we fail")
            if key in self._saved:
                before, reply = self._saved[key]
                wrong = _error(400, "idempotency_error", "", "Keys can only be used with the same parameters.")
                return reply if before == form else wrong
            reply = self._act(method, path.removeprefix("/v1/").split("/"), form)
            if key:
                self._saved[key] = (form, reply)
            if self.fail:
                self.fail -= 1
                return _error(500, "api_error", "", "we fail")
            return reply

    def _act(self, method: str, path: list[str], form: dict[str, str]) -> Reply:
        match method, path:
            case "POST", ["payment_intents"]:
                return self._create(form)
            case "GET", ["payment_intents", name] if name in self.intents:
                return 200, self.intents[name]
            case "POST", ["payment_intents", name, act] if name in self.intents:
                return self._move(self.intents[name], act)
            case "POST", ["refunds"] if form["payment_intent"] in self.intents:
                return self._refund(self.intents[form["payment_intent"]], int(form["amount"]))
            case _:
                return _error(404, "invalid_request_error", "resource_missing", "No such thing")

    def _create(self, form: dict[str, str]) -> Reply:
        amount = int(form["amount"])
        if amount > 99_999_999:
            return _error(400, "invalid_request_error", "amount_too_large", "Amount must be no more than")
        name = f"pi_{len(self.intents) + 1}"
        self.intents[name] = {
            "id": name, "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_received": 0,
            "currency": form["currency"], "capture_method": form["capture_method"], "latest_charge": None,
            "client_secret": f"{name}_secret_x", "status": "requires_payment_method",
            "metadata": {"payment": form["metadata[payment]"]}, "created": int(time.time()), "livemode": False,
        }  # fmt: skip
        return 200, self.intents[name]

    def _move(self, intent: dict[str, Any], act: str) -> Reply:
        if act == "capture" and intent["status"] == "requires_capture":
            intent.update(status="succeeded", amount_received=intent["amount"], amount_capturable=0)
        elif act == "cancel" and intent["status"] in ("requires_payment_method", "requires_capture"):
            intent.update(status="canceled", amount_capturable=0)
        else:
            said = f"This PaymentIntent could not be {act}d because it has a status of {intent['status']}."
            return _error(400, "invalid_request_error", "payment_intent_unexpected_state", said)
        return 200, intent

    def _refund(self, intent: dict[str, Any], amount: int) -> Reply:
        charge = intent["latest_charge"]
        if amount > intent["amount_received"] - charge["amount_refunded"]:
            return _error(400, "invalid_request_error", "charge_already_refunded", "Refund amount is too large")
        charge["amount_refunded"] += amount
        return 200, {"id": "re_1", "object": "refund", "amount": amount, "status": "succeeded"}


@contextmanager
def serve_stripe() -> Iterator[StripeDouble]:
    """Serve a double until the block ends."""
    double = StripeDouble()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def _reply(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            form = {name: values[0] for name, values in parse_qs(self.rfile.read(size).decode()).items()}
            if self.headers.get("Authorization") != "Bearer sk_test_double":
                status, document = _error(401, "invalid_request_error", "", "Invalid API Key provided")
            else:
                key = self.headers.get("Idempotency-Key") or ""
                status, document = double.answer(self.command, urlsplit(self.path).path, key, form)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _error(status: int, kind: str, code: str, message: str) -> Reply:
    return status, {"error": {"type": kind, "code": code, "message": message}}
