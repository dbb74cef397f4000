"""Settling a batch of claims inside a transaction: read, decide (`shared.claims.settlement`), write.

Two callers share it, so that there is no second way to settle: the writer (claims that browsers present) and the intake
(claims that edge events report, in the transaction that stores the events).
"""

from collections.abc import Sequence
from typing import NamedTuple

from origin.database import Connection
from origin.settlement.answers import Decision
from origin.settlement.settlements_store import Known, NewDecision, lock_and_read, write_decisions, write_drop
from shared.claims.receipts import encode_receipt, write_receipt
from shared.claims.settlement import Conflicting, DropStock, Presented, Refused, Repeated, Settled, Source, settle_batch
from shared.claims.settlement import Decision as Verdict
from shared.claims.tokens import Claim, fingerprint_claim
from shared.problems import Code


class Conflict(NamedTuple):
    """Another request was decided under this claim's id; nothing is stored of this one."""

    claim_id: str


class Settler:
    """Settles in the name of one origin.

    Args:
        issuer: the origin's public address, which receipts state.
        kid: name of the newest signing key, which receipts will be signed with.
    """

    def __init__(self, issuer: str, kid: str) -> None:
        self.issuer = issuer
        self.kid = kid

    async def settle_in(
        self, connection: Connection, claims: Sequence[Claim], source: Source, now_ms: int
    ) -> list[Decision | Conflict]:
        """Settle verified claims within the caller's transaction, and return what was decided of each, in order.

        The drops' rows stay locked until the transaction ends. Claims of several drops may come together.

        Args:
            connection: in a transaction that holds no other drop's lock.
            claims: verified; a claim may come several times, and may have been decided before.
            source: how they were presented.
            now_ms: the instant of the decision.

        Raises:
            ClashError: from the transaction, when a claim was decided elsewhere at the same moment. Do it all again.
        """
        if not claims:
            return []
        batch = _Batch(self, await lock_and_read(connection, claims), source, now_ms)
        places: dict[str, list[int]] = {}
        for place, claim in enumerate(claims):
            places.setdefault(claim.drop, []).append(place)
        answers: dict[int, Decision | Conflict] = {}
        for drop in sorted(places):
            answers.update(zip(places[drop], batch.decide(drop, [claims[at] for at in places[drop]]), strict=True))
        for stock in batch.changed:
            await write_drop(connection, stock, now_ms)
        if batch.news:
            await write_decisions(connection, batch.news)
        return [answers[place] for place in range(len(claims))]


class _Batch:
    """One batch on its way: what was known before, and what was decided since."""

    def __init__(self, settler: Settler, known: Known, source: Source, now_ms: int) -> None:
        self._settler = settler
        self._known = known
        self._source: Source = source
        self._now_ms = now_ms
        self._decisions: dict[str, Decision] = dict(known.decided)
        self.news: list[NewDecision] = []
        self.changed: list[DropStock] = []

    def decide(self, drop_id: str, claims: Sequence[Claim]) -> list[Decision | Conflict]:
        """Decide the claims of one drop, in order."""
        presented = [present_claim(claim, self._source) for claim in claims]
        fingerprints = {claim_id: decision.fingerprint for claim_id, decision in self._decisions.items()}
        drop = self._known.drops.get(drop_id)
        verdicts: Sequence[Verdict]
        if drop is None:
            verdicts = [_refuse_unknown(claim, fingerprints) for claim in presented]
        else:
            taken = {viewer: n for (d, run, viewer), n in self._known.taken.items() if (d, run) == (drop_id, drop.run)}
            outcome = settle_batch(drop, fingerprints, taken, presented)
            verdicts = outcome.decisions
            if outcome.drop.version != drop.version:
                self.changed.append(outcome.drop)
        return [self._answer(claim, verdict, drop) for claim, verdict in zip(claims, verdicts, strict=True)]

    def _answer(self, claim: Claim, verdict: Verdict, drop: DropStock | None) -> Decision | Conflict:
        if isinstance(verdict, Settled | Refused):
            self._keep(claim, verdict, drop)
        return Conflict(claim.jti) if isinstance(verdict, Conflicting) else self._decisions[claim.jti]

    def _keep(self, claim: Claim, verdict: Settled | Refused, drop: DropStock | None) -> None:
        receipt = None
        if isinstance(verdict, Settled):
            receipt = encode_receipt(write_receipt(claim, self._settler.issuer, verdict.first_number, self._now_ms))
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
        self.news.append(NewDecision(claim, decision, *given))


def present_claim(claim: Claim, source: Source) -> Presented:
    """Return a verified claim as the core takes it: lines summed per SKU."""
    units: dict[str, int] = {}
    for line in claim.lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    return Presented(
        claim_id=claim.jti,
        drop=claim.drop,
        run=claim.run,
        viewer=claim.cnf.jkt,
        fingerprint=fingerprint_claim(claim),
        units=tuple(units.items()),
        source=source,
    )


def _refuse_unknown(claim: Presented, fingerprints: dict[str, str]) -> Verdict:
    """Decide a claim on an unknown drop, by the first rule of `shared.claims.settlement`; note it as decided."""
    known = fingerprints.get(claim.claim_id)
    if known is not None:
        return Repeated(claim=claim) if known == claim.fingerprint else Conflicting(claim=claim)
    fingerprints[claim.claim_id] = claim.fingerprint
    return Refused(claim=claim, code=Code.DROP_UNKNOWN, remaining=0, version=0)
