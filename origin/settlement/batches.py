"""Deciding a batch of claims, and what is to be stored of it. No database here: `origin.settlement.settling` has it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from origin.settlement.answers import Decision, HeldClaim
from origin.settlement.asking import add_parts
from origin.settlement.bundles import DecidedPart, decide_parts, write_bundle
from origin.settlement.holds_store import NewHold, describe_hold
from origin.settlement.receipts import SigningKeys
from origin.settlement.rows import NewDecision, encode_row
from origin.settlement.sales import SaleForm, append_sale
from origin.settlement.settlements_store import Known
from origin.trail.appending import Trail
from shared.audit.trail import Tail
from shared.claims.allotments import is_released, release_allotments
from shared.claims.bundles import list_parts, release_linked, settle_linked
from shared.claims.receipts import Paid
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

_FINAL: Final = (Settled, Refused)
_LINKED: Final = ""  # no drop's id: where claims are decided together that bundles tie to each other


class Conflict(NamedTuple):
    """Another request was decided under this claim's id; nothing is stored of this one."""

    claim_id: str


Told = Decision | HeldClaim | Conflict


class Batch:
    """One batch on its way: what was known before, and what was decided since.

    Receipts and trail entries are made while the rows go out (`make_rows`): the server stores the first of a batch
    while the last are still being made.

    Args:
        issuer: the origin's public address, which receipts state.
        keys: receipts will be signed with the newest, and heads of the audit trail are.
        known: what the database knows, read under the drops' locks.
        source: how the claims were presented.
        now_ms: the instant of the decision.
    """

    def __init__(self, issuer: str, keys: SigningKeys, known: Known, source: Source, now_ms: int) -> None:
        self._issuer, self._keys, self._kid = issuer, keys, keys.newest.kid
        self._known = known
        self._source: Source = source
        self._now_ms = now_ms
        self._fingerprints = {claim_id: decision.fingerprint for claim_id, decision in known.decided.items()}
        self._decisions: dict[str, Decision] = dict(known.decided)
        self._judged: list[tuple[Claim, Verdict]] = []
        self.drops = dict(known.drops)
        self.trails: dict[str, Trail] = {}
        self.moved: dict[str, Hold] = {}
        self._held: dict[str, NewHold] = {}
        self._forms: dict[tuple[object, ...], SaleForm] = {}
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

    def changed_drops(self) -> list[DropStock]:
        """Return the rows of drops whose stock has changed."""
        before = self._known.drops
        return [drop for drop in self.drops.values() if drop.version != before[drop.drop].version]

    def new_holds(self) -> list[NewHold]:
        """Return what is held now and was not before."""
        return [
            msgspec.structs.replace(held, hold=self.moved[claim_id])
            for claim_id, held in self._held.items()
            # What was held and given back within one instant, twice, is as it was: its row says so already.
            if claim_id in self.moved
        ]

    def moved_holds(self) -> list[Hold]:
        """Return what was held before and is in another state now."""
        return [hold for claim_id, hold in self.moved.items() if claim_id not in self._held]

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
            self._take_up(claim, verdict)

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
            self._take_up(claim, verdict)
            if isinstance(verdict, Held) and verdict.fresh and verdict.parts:
                for part, held in zip(list_parts(claim, self.drops), verdict.parts, strict=True):
                    self._add_hold(part, held)

    def _all_holds(self) -> dict[str, list[Hold]]:
        return {drop_id: self.holds_of(drop_id) for drop_id in self.drops}

    def _take_up(self, claim: Claim, verdict: Verdict) -> None:
        self._judged.append((claim, verdict))
        if isinstance(verdict, _FINAL):
            self._fingerprints[claim.jti] = verdict.claim.fingerprint
        elif isinstance(verdict, Held) and verdict.fresh:
            self._add_hold(claim, verdict)

    def _add_hold(self, claim: Claim, held: Held) -> None:
        self._held[claim.jti] = NewHold(claim=claim, hold=held.hold, payment=self._known.paid_by[claim.offer])

    def answers(self) -> Iterator[Told]:
        """Return what is told of each claim, in the order of `decide`, once all is written."""
        for claim, verdict in self._judged:
            decision = self._decisions.get(claim.jti)
            if isinstance(verdict, Held):
                yield self._describe_held(claim)
            elif decision is None or isinstance(verdict, Conflicting):
                yield Conflict(claim.jti)
            else:
                yield decision

    def make_rows(self) -> Iterator[bytes]:
        """Make the rows of all that is decided for good, one after the other."""
        for claim, verdict in self._judged:
            if isinstance(verdict, Settled):
                if verdict.parts:
                    yield from self._sell_bundle(claim, verdict)
                else:
                    yield self._sell(claim, verdict)
            elif isinstance(verdict, Refused):
                yield self._refuse(claim, verdict)

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
        new, issuer = self._held.get(claim.jti), self._issuer
        if new is not None:
            return describe_hold(new.claim, issuer, new.payment, held_at_ms=self._now_ms, until_ms=new.hold.until_ms)
        return self._known.holds[claim.jti].describe(issuer)

    def _sell(self, claim: Claim, settled: Settled) -> bytes:
        form = self._form_of(claim, self._paid_how(claim, settled.claim.way))
        decision, row = form.sell(claim, settled, self._trail_of(claim.drop))
        self._decisions[claim.jti] = decision
        return row

    def _form_of(self, claim: Claim, paid: Paid | None) -> SaleForm:
        """Return the form of a claim: claims on one offer share it."""
        # A claim of an earlier run is among them, when it was held.
        key = (
            claim.drop,
            claim.run,
            claim.lines,
            claim.currency,
            claim.creator,
            claim.clip,
            claim.offer,
            claim.arm,
            paid,
        )
        form = self._forms.get(key)
        if form is None:
            drop = self.drops[claim.drop]
            form = self._forms[key] = SaleForm(
                claim,
                issuer=self._issuer,
                kid=self._kid,
                source=self._source,
                now_ms=self._now_ms,
                total=drop.total,
                paid=paid,
                pickup=None if self._source == "pos" else drop.pickup,
            )
        return form

    def _refuse(self, claim: Claim, refused: Refused) -> bytes:
        decision = self._decide(claim, refused)
        return encode_row(NewDecision(claim, decision, 0, None))

    def _sell_bundle(self, claim: Claim, settled: Settled) -> Iterator[bytes]:
        """Make the rows of a bundle, and of its parts."""
        places = {drop: self._trail_of(drop).place for drop in (claim.drop, *(p.claim.drop for p in settled.parts))}
        paid, handed_over = self._paid_how(claim, settled.claim.way), self._source == "pos"
        issuer, drops = self._issuer, self.drops
        receipt = write_bundle(claim, settled, drops, places, issuer, self._now_ms, paid, handed_over=handed_over)
        whole = self._decide(claim, settled, receipt)
        own = DecidedPart(claim, whole, receipt, settled.quantity, settled.first_number)
        for part in (own, *decide_parts(claim, settled, whole, drops)):
            append_sale(self._trail_of(part.claim.drop), part.claim, part.decision, part.receipt, part.quantity)
            yield encode_row(NewDecision(part.claim, part.decision, part.quantity, part.first_number))

    def _decide(self, claim: Claim, verdict: Settled | Refused, receipt: bytes | None = None) -> Decision:
        drop = self.drops.get(claim.drop)
        decision = self._decisions[claim.jti] = Decision(
            claim_id=claim.jti,
            drop=claim.drop,
            fingerprint=verdict.claim.fingerprint,
            code=verdict.code if isinstance(verdict, Refused) else None,
            receipt=receipt,
            kid=None if receipt is None else self._kid,
            source=self._source,
            decided_at_ms=self._now_ms,
            stock_total=None if drop is None else drop.total,
            stock_remaining=None if drop is None else verdict.remaining,
            stock_version=None if drop is None else verdict.version,
        )
        return decision

    def _trail_of(self, drop: str) -> Trail:
        trail = self.trails.get(drop)
        if trail is None:
            tail = self._known.tails.get(drop, Tail())
            trail = self.trails[drop] = Trail(drop, tail, self._issuer, self._keys)
        return trail


def _refuse_unknown(claim: Presented, fingerprints: dict[str, str]) -> Verdict:
    """Decide a claim on an unknown drop, by the first rule of `shared.claims.settlement`; note it as decided."""
    known = fingerprints.get(claim.claim_id)
    if known is not None:
        return Repeated(claim=claim) if known == claim.fingerprint else Conflicting(claim=claim)
    fingerprints[claim.claim_id] = claim.fingerprint
    return Refused(claim=claim, code=Code.DROP_UNKNOWN, remaining=0, version=0)
