"""`GET /metrics`: this process in numbers, in Prometheus' text format, version 0.0.4.

Rules:

1. No label names a person, a drop, a clip or an address: kinds and stages only.
2. Nothing is asked of the database: the numbers are there while it is away. Whoever scrapes adds processes up.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from origin.responses import NOT_KEPT, Handler
from origin.settlement.confirming import Confirmations
from origin.settlement.streams import Watcher
from origin.settlement.writer import Writer
from shared.claims.budgets import BUDGETS
from shared.openapi import Answer, Operation

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

OPERATIONS: Final = (
    Operation(
        id="read_metrics",
        method="GET",
        path="/metrics",
        summary="Read this process's numbers: confirmations against their deadlines, and what waits.",
        answers={200: Answer(description="Prometheus' text format.", media_types=("text/plain",))},
    ),
)


class Metrics:
    """The handler of `OPERATIONS`."""

    def __init__(self, confirmations: Confirmations, writer: Writer, watcher: Watcher) -> None:
        self._confirmations = confirmations
        self._writer = writer
        self._watcher = watcher

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {"read_metrics": self._read}

    async def _read(self, _: Request) -> Response:
        return Response("\n".join(self._lines()) + "\n", 200, NOT_KEPT, MEDIA_TYPE)

    def _lines(self) -> Iterator[str]:
        yield from _head("cliptill_confirmations_total", "counter", "Settlements confirmed within their deadline.")
        for kind in BUDGETS:
            yield f'cliptill_confirmations_total{{kind="{kind}"}} {self._confirmations.count(kind, None)}'
        yield from _head("cliptill_budget_misses_total", "counter", "Deadlines missed, by the stage that was slow.")
        for kind, budget in BUDGETS.items():
            for stage in budget.shares_ms:
                missed = self._confirmations.count(kind, stage)
                yield f'cliptill_budget_misses_total{{kind="{kind}",stage="{stage}"}} {missed}'
        yield from _head("cliptill_deadline_seconds", "gauge", "How soon a settlement is to be confirmed.")
        for kind, budget in BUDGETS.items():
            yield f'cliptill_deadline_seconds{{kind="{kind}"}} {budget.deadline_ms / 1000}'
        for name, help_text, value in (
            ("cliptill_claims_waiting", "Claims that wait for a transaction.", self._writer.waiting),
            ("cliptill_transactions_running", "Transactions that settle claims now.", self._writer.running),
            ("cliptill_streams_waiting", "Clients that wait for a decision.", self._watcher.waiting),
        ):
            yield from _head(name, "gauge", help_text)
            yield f"{name} {value}"


def _head(name: str, kind: str, help_text: str) -> tuple[str, str]:
    return f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"
