"""Settlements of one batch that are alike: what they have in common is decided and encoded once.

Nearly all claims of a batch are of one drop and one offer. They differ in their ids and viewers, in their run numbers
and places in the audit trail, and in the stock that each leaves. Everything else of receipt and row is here.
"""

from origin.settlement.answers import Decision
from origin.settlement.rows import NewDecision, RowForm, keep_text
from origin.trail.appending import Trail
from origin.trail.facts import FactsForm, list_facts
from shared.audit.trail import hash_content
from shared.claims.receipts import Paid, Pickup, ReceiptForm
from shared.claims.settlement import Settled, Source
from shared.claims.tokens import Claim


class SaleForm:
    """Settles claims that are alike.

    Args:
        claim: one of them.
        issuer, kid: of the receipts.
        source: how they were presented.
        now_ms: the instant of the decision.
        total: of the drop's stock.
        paid: how, when they are paid already.
        pickup: where and when they are picked up, if they are.
    """

    def __init__(  # noqa: PLR0913 - what they have in common
        self,
        claim: Claim,
        *,
        issuer: str,
        kid: str,
        source: Source,
        now_ms: int,
        total: int,
        paid: Paid | None,
        pickup: Pickup | None,
    ) -> None:
        self._receipt = ReceiptForm(claim, issuer, now_ms, paid, pickup)
        self._facts = FactsForm(arm=keep_text(claim.arm), kid=kid, source=source, stock_total=total)
        self._kid, self._source, self._now_ms, self._total = kid, source, now_ms, total
        self._row = RowForm(NewDecision(claim, self._decide(claim.jti, claim.drop, "", b"", 0, 0), claim.quantity, 0))

    def sell(self, claim: Claim, settled: Settled, trail: Trail) -> tuple[Decision, bytes]:
        """Settle one of them: append it to its drop's trail, and return the decision and its row."""
        fingerprint, left, version = settled.claim.fingerprint, settled.remaining, settled.version
        receipt = self._receipt.fill(claim, settled.first_number, trail.place)
        beside = self._facts.digest(claim.cnf.jkt, fingerprint, left, version)
        trail.append_digests("settled", claim.jti, settled.quantity, hash_content(receipt), beside, self._now_ms)
        decision = self._decide(claim.jti, claim.drop, fingerprint, receipt, left, version)
        return decision, self._row.fill(claim, decision, receipt, settled.first_number)

    def _decide(self, claim_id: str, drop: str, fingerprint: str, receipt: bytes, left: int, version: int) -> Decision:  # noqa: PLR0913, PLR0917 - what differs
        return Decision(
            claim_id=claim_id,
            drop=drop,
            fingerprint=fingerprint,
            code=None,
            receipt=receipt,
            kid=self._kid,
            source=self._source,
            decided_at_ms=self._now_ms,
            stock_total=self._total,
            stock_remaining=left,
            stock_version=version,
        )


def append_sale(trail: Trail, claim: Claim, decision: Decision, receipt: bytes, units: int) -> None:
    """Append a settlement to its drop's trail; `receipt` is the decision's."""
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
    trail.append("settled", claim.jti, units, receipt, facts, decision.decided_at_ms)
