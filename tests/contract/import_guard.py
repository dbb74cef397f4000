"""A program that imports modules while clock, randomness, environment, files and network raise.

    python -m tests.contract.import_guard preload <modules...> guard <modules...>
    python -m tests.contract.import_guard try < snippets.json

A deployed Worker's memory is a snapshot taken after import: what is read then is frozen for all isolates. Modules of
others are imported first (`preload`), unguarded: what they do at import is the platform's business.
"""

import builtins
import datetime as dt
import importlib
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, NoReturn

MODULE_SUFFIXES: Final = (".py", ".pyc")
AUDITED: Final = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.putenv", "urllib.")

CLOCK: Final = (
    *((time, name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *((time, name) for name in ("process_time", "thread_time", "gmtime", "localtime", "strftime", "ctime", "sleep")),
)
RANDOMNESS: Final = (
    *((os, name) for name in ("urandom", "getrandom")),
    *((secrets, name) for name in ("token_bytes", "token_hex", "token_urlsafe", "choice", "randbelow", "randbits")),
    *((random, name) for name in ("random", "randint", "randrange", "choice", "shuffle", "getrandbits", "uniform")),
    *((random, name) for name in ("Random", "SystemRandom", "seed")),
    *((uuid, name) for name in ("uuid1", "uuid4")),
)
OUTSIDE: Final = ((socket, "socket"), (subprocess, "Popen"), (threading.Thread, "start"), (os, "getenv"))


class TouchedError(Exception):
    """Something was touched that must not be at import."""


class GuardedEnvironment(MutableMapping[str, str]):
    """An environment that must not be read."""

    def __getitem__(self, key: str) -> NoReturn:
        raise TouchedError(f"environment: {key}")

    def __setitem__(self, key: str, value: str) -> NoReturn:
        raise TouchedError(f"environment: {key}")

    def __delitem__(self, key: str) -> NoReturn:
        raise TouchedError(f"environment: {key}")

    def __iter__(self) -> Iterator[str]:
        raise TouchedError("environment")

    def __len__(self) -> NoReturn:
        raise TouchedError("environment")


class GuardedDatetime(dt.datetime):
    """Instants that are made of numbers only."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> NoReturn:
        """Refuse."""
        raise TouchedError(f"clock: datetime.now({tz})")

    utcnow = today = now


def _refuse(what: str) -> Callable[..., NoReturn]:
    def raises(*_: object, **__: object) -> NoReturn:
        raise TouchedError(what)

    return raises


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and not str(arguments[0]).endswith(MODULE_SUFFIXES):
        raise TouchedError(f"file: {arguments[0]}")
    if event.startswith(AUDITED):
        raise TouchedError(event)


def install_guards() -> None:
    """Have everything raise, for the rest of this process."""
    for owner, name in (*CLOCK, *RANDOMNESS, *OUTSIDE):
        if hasattr(owner, name):
            setattr(owner, name, _refuse(f"{getattr(owner, '__name__', owner)}.{name}"))
    vars(dt)["datetime"] = GuardedDatetime
    vars(os)["environ"] = vars(os)["environb"] = GuardedEnvironment()
    vars(builtins)["input"] = _refuse("input")
    sys.addaudithook(_audit)


def import_guarded(arguments: list[str]) -> None:
    """Import the first list as they are, then the second under guards; then make what a Worker makes at import."""
    split = arguments.index("guard")
    for name in arguments[1:split]:
        importlib.import_module(name)
    install_guards()
    for name in arguments[split + 1 :]:
        importlib.import_module(name)
    app, isolate = sys.modules.get("edge.app"), sys.modules.get("edge.isolate")
    if app is not None and isolate is not None:
        app.create_app()
        isolate.Isolate()


def try_snippets() -> dict[str, str]:
    """Run each snippet under guards; return what each was caught at, or `passed`."""
    snippets: dict[str, str] = json.load(sys.stdin)
    install_guards()
    return {name: _try(snippet) for name, snippet in snippets.items()}


def _try(snippet: str) -> str:
    try:
        exec(compile(snippet, "<snippet>", "exec"), {})  # noqa: S102 - the snippets are this project's own
    except TouchedError as error:
        return f"caught: {error}"
    return "passed"


if __name__ == "__main__":
    if sys.argv[1] == "try":
        sys.stdout.write(json.dumps(try_snippets()))
    else:
        import_guarded(sys.argv[1:])
        sys.stdout.write("imported\n")
