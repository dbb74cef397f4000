"""Settling a batch of claims inside a transaction: read, decide (`shared.claims.settlement`), write.

All share it, so that there is no second way to settle: the writer (claims that browsers present), the intake (claims
that edge events report, in the transaction that stores the events), and payments (held claims whose money has come, in
the transaction that notes the money).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from origin.database import Connection
from origin.settlement.answers import Decision, HeldClaim
from origin.settlement.asking import add_parts, present_all
from origin.settlement.bundles import decide_parts, write_bundle
from origin.settlement.holds_store import NewHold, StoredHold, add_holds, describe_hold, move_holds
from origin.settlement.receipts import SigningKeys
from origin.settlement.settlements_store import (
    Known,
    NewDecision,
    keep_text,
    lock_and_read,
    write_decisions,
    write_drops,
)
from origin.trail.appending import NewEntry, Trail, collect
from origin.trail.facts import list_facts
from origin.trail.trail_store import add_heads, write_trail
from shared.audit.trail import Tail
from shared.claims.allotments import is_released, release_allotments
from shared.claims.bundles import list_parts, release_linked, settle_linked
from shared.claims.receipts import Paid, ReceiptForm
from shared.claims.settlement import (
    Conflicting,
    DropStock,
    Held,
    Hold,
    Outcome,
    Presented,
    Refused,
    Repeated,
    Settled,
    Source,
    Way,
    release_hold,
    settle_batch,
)
from shared.claims.settlement import Decision as Verdict
from shared.claims.tokens import Claim
from shared.problems import Code

_LINKED: Final = ""  # no drop's id: where claims are decided together that bundles tie to each other


class Conflict(NamedTuple):
    """Another request was decided under this claim's id; nothing is stored of this one."""

    claim_id: str


Told = Decision | HeldClaim | Conflict


class Settler:
    """Settles in the name of one origin.

    Args:
        issuer: the origin's public address, which receipts state.
        keys: receipts will be signed with the newest, and heads of the audit trail are.
    """

    def __init__(self, issuer: str, keys: SigningKeys) -> None:
        self.issuer = issuer
        self.keys = keys
        self.kid = keys.newest.kid

    async def settle_in(
        self,
        connection: Connection,
        claims: Sequence[Claim],
        source: Source,
        now_ms: int,
        sent: Callable[[], None] = lambda: None,
    ) -> list[Told]:
        """Settle verified claims within the caller's transaction, and return what was decided of each, in order.

        The drops' rows stay locked until the transaction ends. Claims of several drops may come together.

        Args:
            connection: in a transaction that holds no other drop's lock.
            claims: verified; a claim may come several times, and may have been decided before.
            source: how they were presented.
            now_ms: the instant of the decision.
            sent: called when the last rows are on their way, and this process has little left to do for the batch.

        Raises:
            ClashError: from the transaction, when a claim was decided elsewhere at the same moment. Do it all again.
        """
        if not claims:
            return []
        presented = await present_all(claims, source)
        places: dict[str, list[int]] = {}
        for place, claim in enumerate(claims):
            places.setdefault(claim.drop, []).append(place)
        batch = _Batch(self, await lock_and_read(connection, list(places), claims, now_ms), source, now_ms)
        if batch.is_linked:
            places = batch.link(places)
        for drop in sorted(places):
            batch.decide(drop, [(claims[at], presented[at]) for at in places[drop]])
        await batch.write(connection, sent)
        order = (place for drop in sorted(places) for place in places[drop])
        answers = dict(zip(order, batch.answers(), strict=True))
        return [answers[place] for place in range(len(claims))]

    async def release_in(self, connection: Connection, held: StoredHold, now_ms: int) -> None:
        """Give a hold back within the caller's transaction; one that is over stays as it is."""
        known = await lock_and_read(connection, [held.drop], [held.to_claim()], now_ms)
        batch = _Batch(self, known, "request", now_ms)
        batch.release(held.drop, held.claim_id)
        await batch.write(connection)

    async def tidy_in(self, connection: Connection, drops: Sequence[str], now_ms: int) -> int:
        """Write down what has lapsed of these drops, and return how many holds that were.

        It decides nothing: whoever reads or takes stock compares the instants for themselves.
        """
        known = await lock_and_read(connection, drops, (), now_ms)
        batch = _Batch(self, known, "request", now_ms)
        for drop in known.drops:
            batch.lapse(drop)
        await batch.write(connection)
        return len(batch.moved)


class _Judged(NamedTuple):
    """A claim, and what the core says of it."""

    claim: Claim
    verdict: Verdict
    drop: DropStock | None


class _Batch:
    """One batch on its way: what was known before, and what was decided since.

    Receipts and trail entries are made while the rows go out (`_make_decisions`): the server stores the first of a
    batch while the last are still being made.
    """

    def __init__(self, settler: Settler, known: Known, source: Source, now_ms: int) -> None:
        self._settler = settler
        self._known = known
        self._source: Source = source
        self._now_ms = now_ms
        self._fingerprints = {claim_id: decision.fingerprint for claim_id, decision in known.decided.items()}
        self._decisions: dict[str, Decision] = dict(known.decided)
        self._judged: list[_Judged] = []
        self.drops = dict(known.drops)
        self.trails: dict[str, Trail] = {}
        self.moved: dict[str, Hold] = {}
        self._held: dict[str, NewHold] = {}
        self._forms: dict[tuple[object, ...], ReceiptForm] = {}
        self.is_linked = any(drop.parts for drop in self.drops.values())
        self._release_allotments()

    def holds_of(self, drop_id: str) -> list[Hold]:
        """Return what is known of a drop's holds, as they are by now."""
        stored = [hold for hold in self._known.holds.values() if hold.drop == drop_id]
        return [self.moved.get(hold.claim_id) or hold.to_core() for hold in stored]

    def note(self, outcome: Outcome) -> None:
        """Take up what a decision changed."""
        self.drops[outcome.drop.drop] = outcome.drop
        self.moved.update({hold.claim_id: hold for hold in outcome.holds})

    def link(self, places: Mapping[str, list[int]]) -> dict[str, list[int]]:
        """Return where claims are decided when bundles tie their drops to each other: together, as they came."""
        linked = sorted(place for drop_id in places if drop_id in self.drops for place in places[drop_id])
        return {_LINKED: linked, **{drop_id: places[drop_id] for drop_id in places if drop_id not in self.drops}}

    def release(self, drop_id: str, claim_id: str) -> None:
        """Give a hold back, with all its parts."""
        if self.is_linked:
            for outcome in release_linked(self.drops, self._all_holds(), drop_id, claim_id, self._now_ms):
                self.note(outcome)
            return
        hold = next(hold for hold in self.holds_of(drop_id) if hold.claim_id == claim_id)
        self.note(release_hold(self.drops[drop_id], hold, self._now_ms))

    def lapse(self, drop_id: str) -> None:
        """Free what has lapsed of a drop."""
        holds = self.holds_of(drop_id)
        self.note(settle_batch(self.drops[drop_id], {}, {}, (), holds=holds, now_ms=self._now_ms))

    def _release_allotments(self) -> None:
        """Give pools what is theirs by now, before anything is decided."""
        released = [drop.drop for drop in self.drops.values() if is_released(drop, self._now_ms)]
        for drop_id in released:
            self.lapse(drop_id)
        if released:
            self.drops.update(release_allotments(self.drops.values(), self._now_ms))

    async def write(self, connection: Connection, sent: Callable[[], None] = lambda: None) -> None:
        """Store all that is new; `sent` is called when nearly all is on its way."""
        if any(isinstance(judged.verdict, Settled | Refused) for judged in self._judged):
            await write_decisions(connection, self._make_decisions())
        entries, heads = collect(self.trails.values())
        await write_trail(connection, _tell_end(entries, sent))
        async with connection.pipeline():  # one round trip for all that are few
            await add_heads(connection, heads)
            await self._write_stock(connection)

    async def _write_stock(self, connection: Connection) -> None:
        before = self._known.drops
        changed = [drop for drop in self.drops.values() if drop.version != before[drop.drop].version]
        await write_drops(connection, changed, self._now_ms)
        new = [
            msgspec.structs.replace(held, hold=self.moved[claim_id])
            for claim_id, held in self._held.items()
            # What was held and given back within one instant, twice, is as it was: its row says so already.
            if claim_id in self.moved
        ]
        await add_holds(connection, new, self._now_ms)
        await move_holds(
            connection, [hold for claim_id, hold in self.moved.items() if claim_id not in self._held], self._now_ms
        )

    def decide(self, drop_id: str, claims: Sequence[tuple[Claim, Presented]]) -> None:
        """Decide the claims of one drop, or of all that are linked, in order."""
        presented = [self._with_way(*one) for one in claims] if self._known.paid_by else [made for _, made in claims]
        if drop_id == _LINKED:
            self._decide_linked([claim for claim, _ in claims], presented)
            return
        drop = self.drops.get(drop_id)
        verdicts: Sequence[Verdict]
        if drop is None:
            verdicts = [_refuse_unknown(claim, self._fingerprints) for claim in presented]
        else:
            taken = {viewer: n for (d, run, viewer), n in self._known.taken.items() if (d, run) == (drop_id, drop.run)}
            holds = self.holds_of(drop_id)
            outcome = settle_batch(drop, self._fingerprints, taken, presented, holds=holds, now_ms=self._now_ms)
            verdicts = outcome.decisions
            self.note(outcome)
        for (claim, _), verdict in zip(claims, verdicts, strict=True):
            self._take_up(claim, verdict, drop)

    def _decide_linked(self, claims: Sequence[Claim], presented: Sequence[Presented]) -> None:
        """Decide claims of several drops, bundles among them, in the order in which they came."""
        whole = [add_parts(claim, made, self.drops) for claim, made in zip(claims, presented, strict=True)]
        taken: dict[str, dict[str, int]] = {}
        for (drop_id, run, viewer), units in self._known.taken.items():
            if drop_id in self.drops and run == self.drops[drop_id].run:
                taken.setdefault(drop_id, {})[viewer] = units
        holds, now_ms = self._all_holds(), self._now_ms
        linked = settle_linked(self.drops, self._fingerprints, taken, whole, holds=holds, now_ms=now_ms)
        for outcome in linked.outcomes:
            self.note(outcome)
        for claim, verdict in zip(claims, linked.decisions, strict=True):
            self._take_up(claim, verdict, self.drops[claim.drop])
            if isinstance(verdict, Held) and verdict.fresh and verdict.parts:
                for part, held in zip(list_parts(claim, self.drops), verdict.parts, strict=True):
                    self._add_hold(part, held)

    def _all_holds(self) -> dict[str, list[Hold]]:
        return {drop_id: self.holds_of(drop_id) for drop_id in self.drops}

    def _take_up(self, claim: Claim, verdict: Verdict, drop: DropStock | None) -> None:
        self._judged.append(_Judged(claim, verdict, drop))
        if isinstance(verdict, Settled | Refused):
            self._fingerprints[claim.jti] = verdict.claim.fingerprint
        elif isinstance(verdict, Held) and verdict.fresh:
            self._add_hold(claim, verdict)

    def _add_hold(self, claim: Claim, held: Held) -> None:
        self._held[claim.jti] = NewHold(claim=claim, hold=held.hold, payment=self._known.paid_by[claim.offer])

    def answers(self) -> Iterator[Told]:
        """Return what is told of each claim, in the order of `decide`, once all is written."""
        for claim, verdict, _ in self._judged:
            if isinstance(verdict, Conflicting):
                yield Conflict(claim.jti)
            elif isinstance(verdict, Held):
                yield self._describe_held(claim)
            else:
                yield self._decisions[claim.jti]

    def _make_decisions(self) -> Iterator[NewDecision]:
        """Make the rows of all that is decided for good, one after the other."""
        for claim, verdict, drop in self._judged:
            if isinstance(verdict, Settled | Refused):
                yield self._keep(claim, verdict, drop)
                if isinstance(verdict, Settled) and verdict.parts:
                    yield from self._keep_parts(claim, verdict)

    def _with_way(self, claim: Claim, presented: Presented) -> Presented:
        """Let a claim wait for its payment, where its offer says so and it was not made with the money."""
        if self._source in {"payment", "pos"} or claim.offer not in self._known.paid_by or not claim.total_minor:
            return presented
        return msgspec.structs.replace(presented, way="hold")

    def _paid_how(self, claim: Claim, way: Way) -> Paid | None:
        """Return how a claim was paid before it settled, if it was: as it was held, else as it is offered."""
        if self._source == "pos":
            return "at_counter" if claim.total_minor else None
        if way != "paid":
            return None
        stored = self._known.holds.get(claim.jti)
        return self._known.paid_by.get(claim.offer) if stored is None else stored.payment

    def _describe_held(self, claim: Claim) -> HeldClaim:
        new, issuer = self._held.get(claim.jti), self._settler.issuer
        if new is not None:
            return describe_hold(new.claim, issuer, new.payment, held_at_ms=self._now_ms, until_ms=new.hold.until_ms)
        return self._known.holds[claim.jti].describe(issuer)

    def _keep(self, claim: Claim, verdict: Settled | Refused, drop: DropStock | None) -> NewDecision:
        receipt = None
        if isinstance(verdict, Settled):
            paid = self._paid_how(claim, verdict.claim.way)
            if verdict.parts:
                receipt = self._write_bundle(claim, verdict, paid)
            else:
                form = self._form_of(claim, paid, drop)
                receipt = form.fill(claim, verdict.first_number, self._trail_of(claim.drop).place)
        decision = Decision(
            claim_id=claim.jti,
            drop=claim.drop,
            fingerprint=verdict.claim.fingerprint,
            code=verdict.code if isinstance(verdict, Refused) else None,
            receipt=receipt,
            kid=None if receipt is None else self._settler.kid,
            source=self._source,
            decided_at_ms=self._now_ms,
            stock_total=None if drop is None else drop.total,
            stock_remaining=None if drop is None else verdict.remaining,
            stock_version=None if drop is None else verdict.version,
        )
        self._decisions[claim.jti] = decision
        given = (verdict.quantity, verdict.first_number) if isinstance(verdict, Settled) else (0, None)
        if receipt is not None:
            self._append(claim, decision, receipt, given[0])
        return NewDecision(claim, decision, *given)

    def _form_of(self, claim: Claim, paid: Paid | None, drop: DropStock | None) -> ReceiptForm:
        """Return the form of a claim's receipt: claims on one offer share it."""
        key = (claim.drop, claim.run, claim.lines, claim.currency, claim.creator, claim.clip, claim.offer, paid)
        form = self._forms.get(key)
        if form is None:
            pickup = None if drop is None or self._source == "pos" else drop.pickup
            form = self._forms[key] = ReceiptForm(claim, self._settler.issuer, self._now_ms, paid, pickup)
        return form

    def _write_bundle(self, claim: Claim, settled: Settled, paid: Paid | None) -> bytes:
        places = {drop: self._trail_of(drop).place for drop in (claim.drop, *(p.claim.drop for p in settled.parts))}
        issuer, handed_over = self._settler.issuer, self._source == "pos"
        return write_bundle(claim, settled, self.drops, places, issuer, self._now_ms, paid, handed_over=handed_over)

    def _keep_parts(self, claim: Claim, settled: Settled) -> Iterator[NewDecision]:
        """Make the rows of a bundle's parts, once its own is made."""
        for part in decide_parts(claim, settled, self._decisions[claim.jti], self.drops):
            self._append(part.claim, part.decision, part.receipt, part.quantity)
            yield NewDecision(part.claim, part.decision, part.quantity, part.first_number)

    def _trail_of(self, drop: str) -> Trail:
        trail = self.trails.get(drop)
        if trail is None:
            tail = self._known.tails.get(drop, Tail())
            trail = self.trails[drop] = Trail(drop, tail, self._settler.issuer, self._settler.keys)
        return trail

    def _append(self, claim: Claim, decision: Decision, receipt: bytes, units: int) -> None:
        """Append a settlement to its drop's audit trail."""
        facts = list_facts(
            viewer=claim.cnf.jkt,
            fingerprint=decision.fingerprint,
            arm=keep_text(claim.arm),
            kid=decision.kid,
            source=decision.source,
            stock_total=decision.stock_total,
            stock_remaining=decision.stock_remaining,
            stock_version=decision.stock_version,
        )
        self._trail_of(claim.drop).append("settled", claim.jti, units, receipt, facts, self._now_ms)


def _tell_end(entries: Iterable[NewEntry], told: Callable[[], None]) -> Iterator[NewEntry]:
    """Give entries, and tell when the last of them is being stored."""
    yield from entries
    told()


def _refuse_unknown(claim: Presented, fingerprints: dict[str, str]) -> Verdict:
    """Decide a claim on an unknown drop, by the first rule of `shared.claims.settlement`; note it as decided."""
    known = fingerprints.get(claim.claim_id)
    if known is not None:
        return Repeated(claim=claim) if known == claim.fingerprint else Conflicting(claim=claim)
    fingerprints[claim.claim_id] = claim.fingerprint
    return Refused(claim=claim, code=Code.DROP_UNKNOWN, remaining=0, version=0)
