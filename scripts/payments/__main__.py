"""Run the sandbox provider: `python -m scripts.payments CONFIGURATION.json`.

The configuration: `port`, `key` (of the origin), `webhook_url` and `webhook_secret` (where its messages go, and what
they are signed with), `database` (a file).
"""

import contextlib
import sqlite3
import sys
from pathlib import Path

import msgspec
import uvicorn

from scripts.payments.book import Book
from scripts.payments.courier import Courier
from scripts.payments.server import Sandbox


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says."""

    port: int
    key: str
    webhook_url: str
    webhook_secret: str
    database: str


def main(arguments: list[str]) -> None:
    """Serve until told to stop."""
    configuration = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Configuration)
    with contextlib.closing(sqlite3.connect(configuration.database)) as database:
        book = Book(database, f"http://127.0.0.1:{configuration.port}/pay")
        app = Sandbox(book, Courier(configuration.webhook_url, configuration.webhook_secret), configuration.key).app()
        uvicorn.run(app, host="127.0.0.1", port=configuration.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1:])
