"""What an entry of the trail covers of a settlement beside its receipt: one list, used when it is made and audited."""

import hashlib

from shared.audit.trail import Facts, frame_facts


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


class FactsForm:
    """The facts of settlements that differ in viewers, fingerprints and the stock that each leaves only.

    Arguments as of `list_facts`.
    """

    def __init__(self, *, arm: str, kid: str, source: str, stock_total: int) -> None:
        blank = list_facts(
            viewer="", fingerprint="", arm=arm, kid=kid, source=source, stock_total=stock_total, stock_remaining=0,
            stock_version=0,
        )  # fmt: skip
        # Two texts stand in front, and two numbers at the end.
        self._start, _, rest = frame_facts(blank).decode().partition('","')
        self._rest = rest.removesuffix("0,0]")

    def digest(self, viewer: str, fingerprint: str, remaining: int, version: int) -> bytes:
        """Return `hash_facts` of one of them; both texts are base64url."""
        return hashlib.sha256(
            f'{self._start}{viewer}","{fingerprint}{self._rest}{remaining},{version}]'.encode()
        ).digest()
