"""What an entry of the trail covers of a settlement beside its receipt: one list, used when it is made and audited."""

from shared.audit.trail import Facts


def list_facts(  # noqa: PLR0913 - the columns
    *,
    viewer: str,
    fingerprint: str,
    arm: str,
    kid: str | None,
    source: str,
    stock_total: int | None,
    stock_remaining: int | None,
    stock_version: int | None,
) -> Facts:
    """Return the columns of a settlement that its receipt does not say, in the order in which they are hashed."""
    return (viewer, fingerprint, arm, kid, source, stock_total, stock_remaining, stock_version)
