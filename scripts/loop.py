"""The whole loop, once, without a browser: overlay, claim, settlement, acknowledgement, reconciliation, new stock.

Each step states what must hold, and takes its time; the first one that does not hold is the last.
"""

import asyncio
import json
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
from joserfc import jws
from joserfc.jwk import KeySet

from scripts.children import RunError
from scripts.demo.campaign import CLIP, SAMPLE, SHIRT
from scripts.stack import Stack, run_to_end
from scripts.viewer import Viewer, settlements_url

STOCK_S = 2.0
STREAM_S = 15.0
POLL_S = 0.05

Facts = dict[str, Any]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step: whether it was right, how long it took, and what it saw (or, with `why`, what was wrong)."""

    name: str
    ok: bool
    ms: float
    facts: Facts = {}
    why: str = ""


class WrongError(Exception):
    """What a step saw is not what must hold."""


def expect(*, holds: bool, otherwise: str) -> None:
    """Go on only if it holds.

    Raises:
        WrongError: it does not.
    """
    if not holds:
        raise WrongError(otherwise)


class Journey:
    """One viewer's way through a running stack."""

    def __init__(self, stack: Stack, client: httpx.AsyncClient) -> None:
        self._stack, self._client = stack, client
        self._edge = stack.addresses.edge_urls[0]
        self._viewer = Viewer()
        self._free: Facts = {}
        self._priced: Facts = {}
        self._settled = b""
        self._shirts = 0

    def steps(self) -> list[tuple[str, Callable[[], Awaitable[Facts]]]]:
        """Return the steps, in order."""
        return [
            ("overlay as a document", self.see_document),
            ("overlay as JSON", self.see_overlay),
            ("free claim", self.claim_free),
            ("the same tap again is the same claim", self.repeat_tap),
            ("settled from the queued event, learned over the stream", self.learn_over_stream),
            ("acknowledgement asked again", self.ask_again),
            ("priced claim", self.claim_priced),
            ("settled with a proof of possession", self.settle_priced),
            ("settling again gives the same bytes", self.settle_again),
            ("receipt checked with the published keys", self.check_receipt),
            ("reconciliation", self.reconcile),
            ("overlay with the new stock", self.see_new_stock),
        ]

    async def see_document(self) -> Facts:
        """The overlay is an HTML document in the viewer's language."""
        headers = {"Accept": "text/html", "Accept-Language": "de"}
        answer = await self._client.get(self._overlay_url(), headers=headers)
        expect(holds=answer.status_code == 200, otherwise=f"status {answer.status_code}")  # noqa: PLR2004
        expect(holds="Gratis-Sticker" in answer.text, otherwise="the free sample's German name is not in it")
        return {"bytes": len(answer.content), "server_timing": answer.headers.get("server-timing", "")}

    async def see_overlay(self) -> Facts:
        """The overlay has three offers, with stock."""
        overlay = await self._overlay()
        offers = {offer["offer"]: offer for offer in overlay["offers"]}
        expect(holds={SAMPLE, SHIRT} <= offers.keys(), otherwise=f"offers: {sorted(offers)}")
        self._shirts = offers[SHIRT]["stock"]["remaining"]
        return {"offers": sorted(offers), "manifest_version": overlay["manifest_version"], "shirts": self._shirts}

    async def claim_free(self) -> Facts:
        """A tap on what is free gives a claim that settles by itself."""
        self._tap = self._viewer.tap(CLIP, SAMPLE)
        self._free = await self._claim(self._tap)
        expect(holds=self._free["settles"] == "event", otherwise=f"settles: {self._free['settles']}")
        return {"claim_id": self._free["claim_id"]}

    async def repeat_tap(self) -> Facts:
        """The tap sent again is the same claim."""
        again = await self._claim(self._tap)
        expect(holds=again["claim_id"] == self._free["claim_id"], otherwise=f"another claim: {again['claim_id']}")
        return {"claim_id": again["claim_id"]}

    async def learn_over_stream(self) -> Facts:
        """The stream of the settlement brings the answer."""
        async with asyncio.timeout(STREAM_S):
            async for answer in self._stream(self._free):
                expect(holds=answer.get("status") == "settled", otherwise=f"the answer is {answer}")
                return {"status": answer["status"], "run_numbers": answer["run_numbers"]}
        raise WrongError("the stream ended without an answer")

    async def ask_again(self) -> Facts:
        """A lost acknowledgement is no lost claim: asked twice, the answer is the same bytes."""
        first, second = await self._ask(self._free), await self._ask(self._free)
        expect(holds=first == second, otherwise="two answers differ")
        return {"bytes": len(first)}

    async def claim_priced(self) -> Facts:
        """A tap on what has a price gives a claim that is settled by request."""
        self._priced = await self._claim(self._viewer.tap(CLIP, SHIRT))
        expect(holds=self._priced["settles"] == "request", otherwise=f"settles: {self._priced['settles']}")
        return {"claim_id": self._priced["claim_id"], "total_minor": self._priced["total_minor"]}

    async def settle_priced(self) -> Facts:
        """The origin settles it for who has the key."""
        answer = await self._settle(self._priced)
        expect(holds=answer.status_code == 200, otherwise=f"{answer.status_code} {answer.text[:200]}")  # noqa: PLR2004
        self._settled = answer.content
        settlement = answer.json()
        expect(holds=settlement["status"] == "settled", otherwise=f"status: {settlement['status']}")
        return {"run_numbers": settlement["run_numbers"], "payment": settlement["payment"]}

    async def settle_again(self) -> Facts:
        """The same claim again is the same answer, byte for byte, posted or asked for."""
        again = await self._settle(self._priced)
        expect(holds=again.content == self._settled, otherwise="posted again, the answer differs")
        asked = await self._ask(self._priced)
        expect(holds=asked == self._settled, otherwise="asked for, the answer differs")
        return {"bytes": len(asked)}

    async def check_receipt(self) -> Facts:
        """Anyone can check the receipt with the origin's published keys."""
        published = await self._client.get(f"{self._stack.addresses.origin_url}/.well-known/jwks.json")
        receipt = json.loads(self._settled)["receipt"]
        keys = KeySet.import_key_set(published.json())
        with warnings.catch_warnings():
            # RFC 9864 renames what RFC 8037 calls EdDSA; this library wants the new name, others know only the old.
            warnings.simplefilter("ignore")
            checked = jws.deserialize_compact(receipt, keys, algorithms=["EdDSA"])
        facts = json.loads(checked.payload)
        expect(holds=facts["jti"] == self._priced["claim_id"], otherwise=f"it is about {facts['jti']}")
        return {"kid": checked.headers()["kid"]}

    async def reconcile(self) -> Facts:
        """Reconciliation, as cron starts it, ends well."""
        command = [sys.executable, "-m", "origin.reconcile", "--json"]
        run: Facts = json.loads(await run_to_end(command, self._stack.environment, "reconciliation"))
        findings, drops = run["report"]["findings"], run["report"]["drops"]
        expect(holds=not findings, otherwise=f"findings: {findings}")
        expect(holds=all(drop["adds_up"] for drop in drops), otherwise=f"stock does not add up: {drops}")
        settled = {drop["drop"]: drop["settled_units"] for drop in drops}
        return {"findings": len(findings), "settled_units": settled, "events": run["taken"]["events"]}

    async def see_new_stock(self) -> Facts:
        """Within two seconds the overlay shows one shirt less."""
        remaining, began = None, time.monotonic()
        while time.monotonic() - began < STOCK_S:
            overlay = await self._overlay()
            remaining = next(offer["stock"]["remaining"] for offer in overlay["offers"] if offer["offer"] == SHIRT)
            if remaining == self._shirts - 1:
                return {"shirts": remaining}
            await asyncio.sleep(POLL_S)
        raise WrongError(f"{remaining} shirts are shown, not {self._shirts - 1}")

    def _overlay_url(self) -> str:
        return f"{self._edge}/v1/clips/{CLIP}/overlay"

    async def _overlay(self) -> Facts:
        answer = await self._client.get(self._overlay_url(), headers={"Accept": "application/json"})
        expect(holds=answer.is_success, otherwise=f"{answer.status_code} {answer.text[:200]}")
        overlay: Facts = answer.json()
        return overlay

    async def _claim(self, tap: Facts) -> Facts:
        # As the component sends it: plain text needs no preflight, so a tap is one request.
        headers = {"Content-Type": "text/plain"}
        answer = await self._client.post(f"{self._edge}/v1/claims", headers=headers, content=json.dumps(tap))
        expect(holds=answer.status_code == 201, otherwise=f"{answer.status_code} {answer.text[:200]}")  # noqa: PLR2004
        claim: Facts = answer.json()
        return claim

    async def _settle(self, claim: Facts) -> httpx.Response:
        return await self._viewer.settle(self._client, claim, int(time.time()))

    async def _ask(self, claim: Facts) -> bytes:
        url = settlements_url(claim, claim["claim_id"])
        headers = self._viewer.headers("GET", url, claim["claim"], int(time.time()))
        answer = await self._client.get(url, headers=headers)
        expect(holds=answer.is_success, otherwise=f"{answer.status_code} {answer.text[:200]}")
        return answer.content

    async def _stream(self, claim: Facts) -> AsyncIterator[Facts]:
        """Yield the answers of the settlement's stream (server-sent events)."""
        url = settlements_url(claim, claim["claim_id"], "stream")
        headers = self._viewer.headers("GET", url, claim["claim"], int(time.time()))
        async with self._client.stream("GET", url, headers=headers, timeout=STREAM_S) as answer:
            expect(holds=answer.is_success, otherwise=f"the stream answers {answer.status_code}")
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))


async def run_loop(stack: Stack) -> list[Step]:
    """Send one viewer through the loop."""
    done: list[Step] = []
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        for name, step in Journey(stack, client).steps():
            began = time.monotonic()
            facts: Facts = {}
            why = ""
            try:
                facts = await step()
            except (WrongError, RunError, TimeoutError, httpx.HTTPError, LookupError, ValueError) as problem:
                why = f"{type(problem).__name__}: {problem}"
            ms = round((time.monotonic() - began) * 1000, 1)
            done.append(Step(name=name, ok=not why, ms=ms, facts=facts, why=why))
            if why:
                break
    return done


def is_right(steps: list[Step]) -> bool:
    """Return whether every step was right; a loop without steps is not."""
    return bool(steps) and all(step.ok for step in steps)


def write_json(steps: list[Step]) -> str:
    """Return what happened as one JSON document."""
    return msgspec.json.encode({"ok": is_right(steps), "steps": steps}).decode()


def write_text(steps: list[Step]) -> str:
    """Return what happened, a line for each step."""
    lines = [f"{'ok  ' if step.ok else 'FAIL'} {step.ms:9.1f} ms  {step.name}  {_details(step)}" for step in steps]
    verdict = "the whole loop works" if is_right(steps) else "the loop is broken"
    return "\n".join([*lines, verdict])


def _details(step: Step) -> str:
    return step.why or ", ".join(f"{name}: {value}" for name, value in step.facts.items() if value not in ("", None))
