"""Start everything on this machine, keep it running, end all of it. Behind `scripts/run`.

    scripts/run [--port BASE] [--nodes N] [--lateness MS] [--fault NODE:FAULT=VALUE ...]
                                                              until Ctrl-C
    scripts/run --once [--json]                               the whole loop once, on free ports, with throwaway data

The order: the database, its schema; at the same time the emulated provider and the edge; then the origin; then the
demo's campaign, through the origin's operator API; then the demo site and the emulator's page; then the faults that
were asked for, such as `--fault fra:origin=dead` or `--fault all:latency=200` (`scripts.emulator.faults` lists them).
Whatever ends the run (Ctrl-C, SIGTERM, SIGHUP, a failed step, a process that dies) ends every process that it started.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from origin.datafolder import VARIABLE, locate_data_folder
from scripts import loop
from scripts.children import Children, RunError
from scripts.emulator.faults import FaultError, read_faults
from scripts.progress import Progress, tell
from scripts.settings import PLACES, Options
from scripts.stack import ROOT, Stack, start_stack
from scripts.watching import Follower

INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run as the arguments say; the exit code is 0 when the user ended a good run, or the loop was all right."""
    chosen = read_arguments(arguments)
    progress = Progress()
    try:
        if chosen.once:
            return asyncio.run(_run_once(progress, as_json=chosen.json))
        data = locate_data_folder(os.environ).resolve()
        options = Options(
            data=data,
            port=chosen.port,
            nodes=chosen.nodes,
            lateness_ms=chosen.lateness,
            database_url=os.environ.get("DATABASE_URL", ""),
            faults=tuple(chosen.fault),
        )
        with hold_data_folder(data):
            return asyncio.run(_run_on(options, progress))
    except asyncio.CancelledError:
        return INTERRUPTED
    except RunError as problem:
        return _complain(str(problem), as_json=chosen.json)
    except OSError as problem:
        if problem.filename is None:
            raise
        remedy = f"is there room, may you write there? {VARIABLE} and TMPDIR name other folders"
        return _complain(f"{problem.filename} cannot be used: {problem.strerror} - {remedy}", as_json=chosen.json)


def _complain(problem: str, *, as_json: bool) -> int:
    if as_json:
        tell(loop.write_json([loop.Step(name="start", ok=False, ms=0, why=problem)]))
    print(f"cliptill: {problem}", file=sys.stderr)
    return 1


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; wrong use ends the program with a usage line."""
    parser = argparse.ArgumentParser(prog="scripts/run", description="Start everything on this machine.")
    parser.add_argument("--port", type=int, default=8780, metavar="BASE", help="first of a row of ports; 0: any free")
    parser.add_argument("--nodes", type=int, default=1, choices=range(1, len(PLACES) + 1), help="edge nodes")
    parser.add_argument("--lateness", type=int, default=0, metavar="MS", help="how late further nodes see manifests")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NODE:FAULT=VALUE",
        help="what is wrong with a node, or with all",
    )
    parser.add_argument("--once", action="store_true", help="the whole loop once, without a browser, then end")
    parser.add_argument("--json", action="store_true", help="with --once: say what happened as one JSON document")
    chosen = parser.parse_args(arguments)
    if chosen.json and not chosen.once:
        parser.error("--json goes with --once")
    if not (chosen.port == 0 or 1024 <= chosen.port <= 65_535 - 16) or chosen.lateness < 0:  # noqa: PLR2004
        parser.error("--port takes 0 or 1024 to 65519, --lateness no negative number")
    try:
        read_faults(chosen.fault, (name for name, _country, _colo in PLACES[: chosen.nodes]))
    except FaultError as problem:
        parser.error(str(problem))
    return chosen


@contextlib.contextmanager
def hold_data_folder(data: Path) -> Iterator[None]:
    """Have the data folder to ourselves, until this process ends, however it does.

    Raises:
        RunError: another run has it.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "run.lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another scripts/run uses the data folder {data}: stop it, or set CLIPTILL_DATA to another folder"
            ) from None
        yield


async def _run_on(options: Options, progress: Progress) -> int:
    """Start the stack, say where it is, and keep it until a process dies or this task is cancelled."""
    async with _running(options, progress) as (children, stack):
        _print_addresses(stack, progress)
        # Told to end: that is how a good run ends, and no failure.
        with contextlib.suppress(asyncio.CancelledError):
            await children.guard(Follower(ROOT, stack.control, progress.say).follow())
        progress.say("stopping")
    return 0


async def _run_once(progress: Progress, *, as_json: bool) -> int:
    """Start a stack of its own, send one viewer through the whole loop, end it."""
    with tempfile.TemporaryDirectory(prefix="cliptill-once-", ignore_cleanup_errors=True) as folder:
        options = Options(data=Path(folder), port=0, with_site=False)
        began = time.monotonic()
        async with _running(options, progress) as (children, stack):
            started = loop.Step(name="start", ok=True, ms=round((time.monotonic() - began) * 1000, 1))
            steps = [started, *await children.guard(loop.run_loop(stack))]
        tell(loop.write_json(steps) if as_json else loop.write_text(steps))
        return 0 if loop.is_right(steps) else 1


@contextlib.asynccontextmanager
async def _running(options: Options, progress: Progress) -> AsyncIterator[tuple[Children, Stack]]:
    """Have a stack while the block runs; a signal cancels the block, a second one kills what is still there."""
    children = Children(options.data / "logs", ROOT)
    task, event_loop = asyncio.current_task(), asyncio.get_running_loop()
    told = False

    def tell() -> None:
        nonlocal told
        if told or task is None:
            children.kill()
        else:
            task.cancel()
        told = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # as nohup leaves it
            event_loop.add_signal_handler(number, tell)
    try:
        yield children, await children.guard(start_stack(children, options, progress.say))
    finally:
        await children.stop()


def _print_addresses(stack: Stack, progress: Progress) -> None:
    addresses = stack.addresses
    progress.say("ready; Ctrl-C ends everything")
    for name, url in (
        ("demo page", addresses.site_url),
        ("emulator", addresses.page_url),
        *(("edge", url) for url in addresses.edge_urls),
        ("origin", addresses.origin_url),
        ("edge health", addresses.edge_urls[0] + "/health"),
        ("origin health", addresses.origin_url + "/health"),
        ("logs", stack.options.data / "logs"),
    ):
        tell(f"  {name:<14} {url}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
