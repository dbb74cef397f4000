"""Audit a drop from its rows: `python -m origin.audit DROP [--export FILE] [--head FILE] [--json]`.

It computes the hash chain, the totals, the run numbers and the stock again from what is stored, checks the signatures
of all heads, and names what was changed, removed or inserted. What the database alone cannot show (a trail that was cut
off or made again from some point on, with its heads) is shown by heads that others have kept: give them with `--head`,
one signed head a line; `GET /v1/drops/DROP/trail/heads` publishes them.

`--export FILE` also writes the trail to a file that anyone can check, without the database:

    python -m origin.audit --check FILE --keys KEYS

where KEYS is the origin's key set, as it is at `/.well-known/jwks.json`.

Exit codes:
  0  everything fits
  1  something does not: the faults are listed
  2  wrong use, a setting is missing or wrong, or nothing is known of the drop
  3  the database is away
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from origin.catalogue.publishing import read_clock_ms
from origin.config import Config, read_config
from origin.database import Database, locate_database
from origin.insight.reconciliation_store import read_only_snapshot
from origin.logs import configure_logs
from origin.migrate import check_schema, list_migrations
from origin.trail.audit_text import write_audit, write_check
from origin.trail.auditing import Audit, audit_drop
from origin.trail.exporting import export_lines
from origin.trail.heads import Signer, sign_open_end
from origin.trail.public_keys import PublicKeys
from shared.audit.exports import check_export
from shared.errors import ConfigurationError, ServiceAwayError

FITS: Final = 0
FAULTS: Final = 1
WRONG_USE: Final = 2
AWAY: Final = 3


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Audit one drop, or check one file; see the module for the exit codes."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.drop is None) == (options.check is None) or (options.check is None) != (options.keys is None):
        parser.error("give either DROP, or --check with --keys")
    configure_logs()
    try:
        published = _read_heads(options.head)
        if options.check is not None:
            return _check_file(options, published)
        config = read_config(environment)
        audit = asyncio.run(_audit(locate_database(environment), config, options, published))
    except (ConfigurationError, OSError) as error:
        return _complain(WRONG_USE, str(error))
    except ServiceAwayError as error:
        return _complain(AWAY, str(error))
    if audit is None:
        return _complain(WRONG_USE, f"nothing is known of a drop {options.drop}")
    sys.stdout.write(msgspec.json.encode(audit).decode() + "\n" if options.json else write_audit(audit))
    return FAULTS if audit.fault_count else FITS


async def _audit(
    conninfo: str, config: Config, options: argparse.Namespace, published: tuple[str, ...]
) -> Audit | None:
    database = Database(conninfo)
    await database.open()
    try:
        async with database.connection() as connection:
            await check_schema(connection, list_migrations())
        async with read_only_snapshot(database) as connection:
            keys = PublicKeys(config.signing_keys.key_set)
            audit = await audit_drop(connection, options.drop, keys.verify, published)
        if audit is not None and options.export is not None:
            await _export(database, config, audit, Path(options.export))
        return audit
    finally:
        await database.close()


async def _export(database: Database, config: Config, audit: Audit, file: Path) -> None:
    now_ms = read_clock_ms()
    if not audit.fault_count:  # what does not fit is written as it is, and not signed
        async with database.transaction() as connection:
            await sign_open_end(connection, audit.drop, Signer(config.public_url, config.signing_keys), now_ms)
    async with read_only_snapshot(database) as connection:
        with file.open("wb") as output:
            async for lines in export_lines(connection, audit.drop, config.public_url, now_ms):
                output.write(lines)


def _check_file(options: argparse.Namespace, published: tuple[str, ...]) -> int:
    keys = PublicKeys(Path(options.keys).read_bytes())
    with Path(options.check).open("rb") as lines:
        checked = check_export(lines, keys.verify, published)
    sys.stdout.write(msgspec.json.encode(checked).decode() + "\n" if options.json else write_check(checked))
    return FAULTS if checked.fault_count else FITS


def _read_heads(file: str | None) -> tuple[str, ...]:
    text = "" if file is None else Path(file).read_text(encoding="utf-8", errors="replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _parser() -> argparse.ArgumentParser:
    doc = __doc__ or ""
    parser = argparse.ArgumentParser(
        prog="python -m origin.audit",
        description="Compute a drop's audit trail, totals and stock again, and name what does not fit.",
        epilog=doc[doc.index("Exit codes:") :],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("drop", nargs="?", metavar="DROP", help="the drop to audit")
    parser.add_argument("--export", metavar="FILE", help="write the trail to a file that anyone can check")
    parser.add_argument("--head", metavar="FILE", help="signed heads that were published before, one a line")
    parser.add_argument("--check", metavar="FILE", help="check an exported file instead; needs no database")
    parser.add_argument("--keys", metavar="FILE", help="the origin's public keys, for --check")
    parser.add_argument("--json", action="store_true", help="say what was found as JSON")
    return parser


def _complain(code: int, message: str) -> int:
    sys.stderr.write(f"cliptill: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
