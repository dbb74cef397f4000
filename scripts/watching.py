"""Follow changes of the edge's files: stage the bundle again, and let the emulator run it.

By looking at modification times twice a second: a few dozen files, and no further dependency.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import httpx

from scripts.children import RunError
from scripts.stack import ROOT, Stack, run_to_end

LOOK_EVERY_S = 0.5
RELOAD_S = 120.0
WATCHED = ("edge", "shared")
SUFFIXES = {".py", ".js", ".css", ".html"}


def list_files(root: Path) -> dict[Path, int]:
    """Return the files that go into the bundle, each with its modification time."""
    found = {}
    for folder in WATCHED:
        for file in (root / folder).rglob("*"):
            if file.suffix in SUFFIXES and "__pycache__" not in file.parts:
                with contextlib.suppress(FileNotFoundError):  # editors replace files
                    found[file] = file.stat().st_mtime_ns
    return found


async def follow_changes(stack: Stack, say: Callable[[str], None]) -> None:
    """Restage and reload on every change, for ever; a change that cannot be staged is said, and the old one runs on."""
    before = list_files(ROOT)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = list_files(ROOT)
        if now == before:
            continue
        changed = sorted(file.relative_to(ROOT).as_posix() for file, _time in now.items() ^ before.items())
        say(f"changed: {', '.join(dict.fromkeys(changed))}")
        before = now
        say(await _reload(stack))


async def _reload(stack: Stack) -> str:
    """Stage and reload, and return what to tell the user."""
    try:
        await run_to_end([str(ROOT / "scripts" / "bundle")], stack.environment, "staging the bundle")
        async with httpx.AsyncClient(timeout=RELOAD_S, trust_env=False) as client:
            answer = await client.post(stack.control + "/reload")
    except (RunError, httpx.HTTPError) as problem:
        return f"not reloaded: {problem}"
    return describe_reload(answer)


def describe_reload(answer: httpx.Response) -> str:
    """Return what the emulator's answer to a reload means to the user: a refusal comes with the app's traceback."""
    if answer.is_success:
        return "the edge runs the changed bundle"
    return f"not reloaded, the edge runs the bundle before: {answer.json().get('detail', answer.text)}"
