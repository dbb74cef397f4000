"""One reconciliation, for cron: `python -m origin.reconcile [--json] [--all] [--wait SECONDS] [--last]`.

It takes in what the queue holds (up to `MOST_PULLS` batches), verifies and settles what could not be before, compares
what the edge reports with what was decided, writes manifests that the edge's store lost, makes the next days' tables,
drops what is older than `CLIPTILL_EVENT_RETENTION_DAYS`, signs where audit trails end, and keeps its report in
`reconciliation_runs`. It compares what can have changed since the last run: drops that closed, and payments that
changed, within a week, those that are open, and minutes that are recent, still open, or had claims come late; `--all`
compares all that is kept. `--last` prints the report that was kept last, and does nothing else.

The service runs the same by itself, every `CLIPTILL_RECONCILE_INTERVAL_S`: cron is for those who set that to 0, or want
the exit code.

Exit codes:
  0  in order
  1  there are differences that need a person: the report lists them as findings
  2  wrong use, or a setting is missing or wrong; nothing was done
  3  the database or the provider is away; what could be done without it was done, the next run does the rest
  4  another run is at work, and did not end within the waiting time; it does this run's work

A run may be repeated at any time, may be killed at any time, and two at once follow each other: each step is a
transaction that is there or not there. Right after a run, a second one finds the same and changes nothing.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from origin.catalogue.publishing import Publisher, read_clock_ms
from origin.config import Config, read_config
from origin.database import Database, locate_database
from origin.insight.reconciliation import Reconciler, Run
from origin.insight.reconciliation_text import write_run
from origin.insight.runs_store import hold_run_lock, read_run
from origin.logs import configure_logs
from origin.migrate import check_schema, list_migrations
from origin.money.cashier import Cashier
from origin.money.providers import make_card_provider
from origin.provider import Provider
from origin.settlement.settling import Settler
from shared.errors import ConfigurationError, ServiceAwayError

IN_ORDER: Final = 0
DIFFERENCES: Final = 1
WRONG_USE: Final = 2
AWAY: Final = 3
ANOTHER_RUN: Final = 4

WAIT_S: Final = 30
_LOOK_AGAIN_S: Final = 0.2


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Reconcile once; see the module for the exit codes."""
    options = _parser().parse_args(arguments)
    configure_logs()
    try:
        config, conninfo = read_config(environment), locate_database(environment)
        done = (
            read_last(conninfo) if options.last else reconcile_once(conninfo, config, options.wait, whole=options.all)
        )
        run = asyncio.run(done)
    except ConfigurationError as error:
        return _complain(WRONG_USE, str(error))
    except ServiceAwayError as error:
        return _complain(AWAY, str(error))
    if run is None and options.last:
        return _complain(WRONG_USE, "no reconciliation has ended yet")
    if run is None:
        return _complain(ANOTHER_RUN, "another reconciliation is at work, and does this run's work")
    sys.stdout.write(msgspec.json.encode(run).decode() + "\n" if options.json else write_run(run))
    return judge_run(run)


async def reconcile_once(conninfo: str, config: Config, wait_s: float, *, whole: bool = False) -> Run | None:
    """Run once, or return None when another run does not end in time.

    Raises:
        ConfigurationError: the schema is not this version's.
        ServiceAwayError: the database is away.
    """

    async def reconcile(database: Database) -> Run | None:
        cards = make_card_provider(config.cards)
        try:
            async with Provider(config.provider) as provider:
                cashier = Cashier(database, Settler(config.public_url, config.signing_keys), cards, read_clock_ms)
                reconciler = Reconciler(database, provider, Publisher(database, provider), cashier, config)
                return await _take_turn(database, reconciler, wait_s, whole=whole)
        finally:
            if cards is not None:
                await cards.close()

    return await _on_database(conninfo, reconcile)


async def read_last(conninfo: str) -> Run | None:
    """Return the run that ended last, or None when there is none; raises as `reconcile_once` does."""

    async def read(database: Database) -> Run | None:
        async with database.connection() as connection:
            kept = await read_run(connection, None)
        return None if kept is None else msgspec.json.decode(kept, type=Run)

    return await _on_database(conninfo, read)


async def _on_database(conninfo: str, story: Callable[[Database], Awaitable[Run | None]]) -> Run | None:
    database = Database(conninfo)
    await database.open()
    try:
        async with database.connection() as connection:
            await check_schema(connection, list_migrations())
        return await story(database)
    finally:
        await database.close()


def judge_run(run: Run) -> int:
    """Return the exit code of a finished run."""
    if run.away:
        return AWAY
    return DIFFERENCES if run.report.findings else IN_ORDER


async def _take_turn(database: Database, reconciler: Reconciler, wait_s: float, *, whole: bool) -> Run | None:
    until_s = time.monotonic() + wait_s
    while True:
        async with hold_run_lock(database) as held:
            if held:
                return await reconciler.run(read_clock_ms, whole=whole)
        if time.monotonic() >= until_s:
            return None
        await asyncio.sleep(_LOOK_AGAIN_S)


def _parser() -> argparse.ArgumentParser:
    doc = __doc__ or ""
    parser = argparse.ArgumentParser(
        prog="python -m origin.reconcile",
        description="Compare what the edge reports with what the origin decided; repair, publish, report.",
        epilog=doc[doc.index("Exit codes:") :],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--all", action="store_true", help="compare all that is kept, not only what can have changed")
    parser.add_argument("--last", action="store_true", help="print the report that was kept last, and do nothing else")
    parser.add_argument(
        "--wait", type=_read_seconds, default=float(WAIT_S), metavar="SECONDS",
        help=f"how long to wait for another run to end (default {WAIT_S})",
    )  # fmt: skip
    return parser


def _read_seconds(text: str) -> float:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("not a whole number of seconds")
    return float(text)


def _complain(code: int, message: str) -> int:
    sys.stderr.write(f"cliptill: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
