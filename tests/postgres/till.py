"""A sandbox provider as a process, viewers who pay there, and what must be so of money afterwards."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Self

import httpx
import psycopg

from origin.money.orphans_store import find_orphans
from shared.money.signatures import sign_message
from tests.postgres.world import PATIENCE_S, ROOT, OriginProcess, Tap, World, free_port, until

KEY: Final = "sandbox-key"
SECRET: Final = "sandbox-webhook-secret"


class SandboxProcess:
    """`python -m scripts.payments`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        configuration = {
            "port": self.port,
            "key": KEY,
            "webhook_url": "http://127.0.0.1:9",
            "webhook_secret": SECRET,
            "database": str(folder / "sandbox.sqlite"),
        }
        file = folder / "sandbox.json"
        file.write_text(json.dumps(configuration))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.payments", str(file)], cwd=ROOT, env=dict(os.environ)
        )
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)
        until(self._answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the sandbox ended"
        try:
            return self.client.get("/sandbox/health").is_success
        except httpx.TransportError:
            return False

    def settings(self) -> dict[str, str]:
        """Return what an origin is told of it."""
        return {
            "CLIPTILL_CARDS": "sandbox",
            "CLIPTILL_CARDS_URL": self.url,
            "CLIPTILL_CARDS_KEY": KEY,
            "CLIPTILL_CARDS_WEBHOOK_SECRET": SECRET,
        }

    def fault(self, **faults: Any) -> None:
        assert self.client.put("/sandbox/faults", json=faults).status_code == 204

    def tell(self, origin: OriginProcess) -> None:
        """Have messages sent to an origin."""
        url = f"{origin.url}/v1/payment-messages/sandbox"
        assert self.client.put("/sandbox/webhook", json={"url": url}).status_code == 204

    def stands_still(self) -> bool:
        return bool(self.client.get("/sandbox/faults").json()["standing"])

    def charges_of(self, tap: Tap) -> list[dict[str, Any]]:
        charges = self.client.get("/sandbox/charges").json()["charges"]
        return [charge for charge in charges if charge["payment"].startswith(tap.claim.jti)]

    def statuses_of(self, tap: Tap) -> list[int]:
        """Return what messages about a tap's payments were answered with, in no order."""
        sent = self.client.get("/sandbox/messages").json()["messages"]
        return [status for each in sent if each["payment"].startswith(tap.claim.jti) for status in each["statuses"]]

    def pay(self, tap: Tap, card: str = "good") -> None:
        """Give a card on the page of the tap's last charge."""
        page = f"/pay/{self.charges_of(tap)[-1]['reference']}"
        assert "<form" in self.client.get(page).text
        assert self.client.post(page, content=f"card={card}").is_success


RETURN_KEYS: Final = (f"return-key-{number:022d}" for number in itertools.count())


class Till:
    """A world with a sandbox and one offer that is paid by card."""

    def __init__(self, world: World, sandbox: SandboxProcess) -> None:
        self.world = world
        self.sandbox = sandbox

    def begin(self, origin: OriginProcess, **changes: Any) -> Tap:
        """Hold a tap and begin its payment."""
        tap = Tap(**changes)
        assert origin.settle(tap).status_code == 202
        assert origin.post(tap, "/payment").json()["state"] == "begun"
        return tap

    def state_of(self, tap: Tap) -> list[str]:
        """Return the states of a tap's payments, oldest first."""
        rows = self.world.execute("SELECT state FROM payments WHERE claim_id = %s ORDER BY payment", tap.claim.jti)
        return [state for (state,) in rows]

    def lapse(self) -> None:
        """Have all holds lapse at this moment; nobody writes it down."""
        self.world.execute("UPDATE holds SET until_ms = %s WHERE state = 'held'", time.time_ns() // 1_000_000)

    def pass_time(self) -> None:
        """Have open payments looked at now."""
        self.world.execute("UPDATE payments SET next_look_ms = 1 WHERE next_look_ms IS NOT NULL")

    def until_states(self, tap: Tap, *states: str) -> None:
        def there() -> bool:
            self.pass_time()
            return self.state_of(tap) == list(states)

        until(there)

    def assert_in_order(self) -> None:
        """Paid means goods or refund, the ledger is balanced, and nothing is taken that is not accounted for."""
        wallets = "SELECT 'wallet:' || viewer, currency, balance_minor FROM wallets WHERE balance_minor <> 0 ORDER BY 1"
        of_ledger = "SELECT * FROM ledger_accounts WHERE account LIKE 'wallet:%%' AND balance_minor <> 0 ORDER BY 1"
        assert self.world.execute(wallets) == self.world.execute(of_ledger)
        assert find(self.world.conninfo) == []
        assert self.world.execute("SELECT sum(balance_minor) FROM ledger_accounts HAVING sum(balance_minor) <> 0") == []
        (free, held, settled), total = self.world.stock(), 100
        assert free + held + settled == total
        # What the provider has is what was paid for goods.
        has = self.world.execute(
            "SELECT coalesce(-sum(balance_minor), 0) FROM ledger_accounts WHERE account LIKE 'provider:%%'"
        )
        paid = self.world.execute(
            "SELECT coalesce(sum(captured_minor - refunded_minor), 0) FROM payments WHERE provider <> 'wallet'"
        )
        assert has == paid


def find(conninfo: str, later_ms: int = 0, since_ms: int = 0) -> list[tuple[str, str]]:
    """Return what the audit finds, as (subject, code)."""

    async def ask() -> list[tuple[str, str]]:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            found = await find_orphans(connection, time.time_ns() // 1_000_000 + later_ms, since_ms)
        return [(orphan.subject, orphan.code) for orphan in found]

    return asyncio.run(ask())


def post_message(
    origin: OriginProcess, payment: str, *, message: str = "msg-1", secret: str = SECRET, late_s: int = 0
) -> httpx.Response:
    """Post a message to an origin as the provider would, or as somebody else."""
    body = json.dumps({"message": message, "payment": payment}).encode()
    headers = {"Sandbox-Signature": sign_message(body, secret.encode(), int(time.time()) - late_s)}
    return origin.client.post("/v1/payment-messages/sandbox", content=body, headers=headers)


def take_back(
    origin: OriginProcess, tap: Tap, way: str, operator: dict[str, str], key: str = "", **order: Any
) -> httpx.Response:
    """Cancel or refund as an operator does."""
    path = f"/v1/settlements/{tap.claim.jti}/{way}"
    return origin.client.post(path, json={"key": key or next(RETURN_KEYS), **order}, headers=operator)


def free_tap(**changes: Any) -> Tap:
    """Return a tap on something that costs nothing."""
    return Tap(lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": 0}], **changes)


def sell_free(origin: OriginProcess) -> Tap:
    """Return a tap that is settled, and cost nothing."""
    tap = free_tap()
    assert origin.settle(tap).status_code == 200
    return tap


def sell(till: Till, origin: OriginProcess, **changes: Any) -> Tap:
    """Return a tap that is paid by card, and settled."""
    tap = till.begin(origin, **changes)
    till.sandbox.fault(silent=True)
    till.sandbox.pay(tap)
    assert origin.post(tap, "/payment").json()["state"] == "captured"
    return tap


def bring(till: Till, origin: OriginProcess, stands: str, operator: dict[str, str]) -> Tap:
    """Return a tap that stands there."""
    if stands == "settled":
        return sell_free(origin)
    if stands in ("paid", "returned"):
        tap = sell(till, origin)
        if stands == "returned":
            assert take_back(origin, tap, "refund", operator).status_code == 200
        return tap
    tap = free_tap(run="run-0") if stands == "refused" else Tap()
    if stands != "claimed":
        origin.settle(tap)
    if stands == "lapsed":
        till.lapse()
    if stands == "released":
        origin.post(tap, "/release")
    assert origin.read(tap, "/standing").json()["state"] == stands
    return tap
