"""Run the origin: `python -m origin`. All settings come from the environment (`origin.config`).

Exit codes: 0 told to stop (SIGTERM, SIGINT) and stopped, with all that was taken answered; 1 cannot start.
"""

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

import structlog
import uvicorn

from origin.app import build_app
from origin.config import read_config
from origin.connections import Connection
from origin.database import Database, locate_database
from origin.logs import configure_logs
from origin.memory import calm_collector
from origin.migrate import check_schema, list_migrations
from shared.errors import CliptillError

GRACE_S: Final = 20  # for requests that were taken, when told to stop
IDLE_S: Final = 30  # for a browser that owes something: its next request, or the rest of one


def main() -> int:
    """Start, serve until told to stop, stop."""
    configure_logs()
    # The server gives a signal back once it has stopped. The default would end the process there and then, and leave
    # the embedded database running.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        config = read_config(os.environ)
        conninfo = locate_database(os.environ)
        asyncio.run(_refuse_other_schema(conninfo))
    except CliptillError as error:
        sys.stderr.write(f"cliptill: {error}\n")
        return 1
    calm_collector()
    structlog.get_logger().info("starting", address=f"{config.host}:{config.port}", public_url=config.public_url)
    uvicorn.run(
        build_app(config, conninfo),
        host=config.host,
        port=config.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the address of a client is of no interest here
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
        http=Connection,
        ws="none",
    )
    return 0


async def _refuse_other_schema(conninfo: str) -> None:
    database = Database(conninfo)
    await database.open()
    try:
        async with database.connection() as connection:
            await check_schema(connection, list_migrations())
    finally:
        await database.close()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
