"""API keys, from the command line: `python -m origin.keys create NAME [--for KIND] | list | revoke NAME`.

A key is an operator's (the catalogue, reports), a self-hosted edge's (`POST /v1/edge/events`) or a register's
(`POST /v1/counter/sales`); it opens nothing else.
A new key is printed once, alone, on standard output; it cannot be shown again. The database is the one that the
environment names (`DATABASE_URL`, or the embedded server).

Exit codes: 0 done; 1 the name is taken (create) or not known (revoke); 2 wrong use; 3 the database is away.
"""

import argparse
import asyncio
import datetime as dt
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from origin.apikeys import KINDS, KeyKind, add_key, is_key_name, list_keys, make_key, revoke_key
from origin.database import Connection, Database, locate_database
from origin.migrate import check_schema, list_migrations
from shared.errors import CliptillError, ConfigurationError

DONE: Final = 0
REFUSED: Final = 1
WRONG_USE: Final = 2
AWAY: Final = 3

Command = Callable[[Connection, str, KeyKind], Awaitable[int]]


async def create(connection: Connection, name: str, kind: KeyKind) -> int:
    """Make a key and print it."""
    key = make_key()
    if not await add_key(connection, name, key, _now_ms(), kind):
        return _complain(f"there is already a key of the name {name}")
    sys.stdout.write(f"{key}\n")
    sys.stderr.write("cliptill: keep this key safe, it cannot be shown again\n")
    return DONE


async def show(connection: Connection, _: str, __: KeyKind) -> int:
    """Print all keys' names, what they open, and when they were made and revoked."""
    for entry in await list_keys(connection):
        state = "active" if entry.revoked_ms is None else f"revoked {_write_instant(entry.revoked_ms)}"
        sys.stdout.write(f"{entry.name:<24} {entry.kind:<8} created {_write_instant(entry.created_ms)}  {state}\n")
    return DONE


async def revoke(connection: Connection, name: str, _: KeyKind) -> int:
    """Make a key worthless, at once."""
    if not await revoke_key(connection, name, _now_ms()):
        return _complain(f"there is no key of the name {name}")
    return DONE


COMMANDS: Final[dict[str, Command]] = {"create": create, "list": show, "revoke": revoke}


def main(arguments: list[str]) -> int:
    """Run one command; see the module for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m origin.keys",
        description="Make, list and revoke API keys of operators, self-hosted edges and registers.",
        epilog="Exit codes: 0 done; 1 the name is taken or not known; 2 wrong use; 3 the database is away.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    creating = commands.add_parser("create", help="make a key and print it, once")
    creating.add_argument("name", type=_read_name)
    creating.add_argument("--for", dest="kind", choices=KINDS, default=KINDS[0], help=f"what it opens ({KINDS[0]})")
    commands.add_parser("list", help="list all keys")
    commands.add_parser("revoke", help="make a key worthless").add_argument("name", type=_read_name)
    options = parser.parse_args(arguments)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # one line of our own says it
    try:
        conninfo = locate_database(os.environ)
        return asyncio.run(_run(conninfo, COMMANDS[options.command], options))
    except ConfigurationError as error:
        return _complain(str(error), WRONG_USE)
    except CliptillError:
        return _complain("the database is away", AWAY)


async def _run(conninfo: str, command: Command, options: argparse.Namespace) -> int:
    database = Database(conninfo)
    await database.open()
    try:
        async with database.connection() as connection:
            await check_schema(connection, list_migrations())
            return await command(connection, getattr(options, "name", ""), getattr(options, "kind", KINDS[0]))
    finally:
        await database.close()


def _read_name(text: str) -> str:
    if not is_key_name(text):
        raise argparse.ArgumentTypeError("a name has 1 to 63 letters, digits, dots, hyphens and underscores")
    return text


def _complain(message: str, code: int = REFUSED) -> int:
    sys.stderr.write(f"cliptill: {message}\n")
    return code


def _write_instant(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
