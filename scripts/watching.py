"""Follow changes of the edge's files: check them, stage the bundle again, and let the emulator run it.

What does not compile, or cannot be imported, is told with its file and line, and goes no further: the last good
bundle is not even stopped. Modification times are looked at several times a second: a few dozen files, and no further
dependency.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from scripts import bundling
from scripts.vendoring import BundleError

LOOK_EVERY_S = 0.2
RELOAD_S = 120.0
WATCHED = ("edge", "shared")
SUFFIXES = {".py", ".js", ".css", ".html"}
# All but the two modules that need the runtime itself; those are tried when the emulator boots them.
IMPORT_APP = "import sys; sys.path.insert(0, sys.argv[1]); import edge.app"

Say = Callable[[str], None]


def list_files(root: Path) -> dict[Path, int]:
    """Return the files that go into the bundle, each with its modification time."""
    found = {}
    for folder in WATCHED:
        for file in (root / folder).rglob("*"):
            if file.suffix in SUFFIXES and "__pycache__" not in file.parts:
                with contextlib.suppress(FileNotFoundError):  # editors replace files
                    found[file] = file.stat().st_mtime_ns
    return found


def find_syntax_error(root: Path, files: list[Path]) -> str | None:
    """Return where and why the first of `files` that does not compile fails to, or None."""
    for file in files:
        if file.suffix != ".py" or not file.exists():
            continue
        try:
            compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        except SyntaxError as error:
            shown = f"\n    {error.text.strip()}" if error.text else ""
            return f"{file.relative_to(root)}, line {error.lineno}: {type(error).__name__}: {error.msg}{shown}"
        except ValueError as error:  # a null byte
            return f"{file.relative_to(root)}: {error}"
    return None


async def find_import_error(root: Path) -> str | None:
    """Return the traceback of importing the app from `root`, with the repository's own file names, or None."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-B", "-c", IMPORT_APP, str(root)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _nothing, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return None if process.returncode == 0 else complaint.decode(errors="replace").replace(f"{root}/", "").strip()


class Follower:
    """Bring changes of one tree of sources to one running emulator."""

    def __init__(self, root: Path, control: str, say: Say) -> None:
        """Look at the tree as it is now.

        Args:
            root: holds `edge/` and `shared/`, and `build/`, from where the emulator runs the bundle.
            control: the base address of the emulator's control.
            say: takes what the user should know.
        """
        self._root, self._control, self._say = root, control, say
        self._before = list_files(root)

    async def follow(self) -> None:
        """Reload on every change, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Reload if something has changed since the last look."""
        now = list_files(self._root)
        if now == self._before:
            return
        changed = sorted({file for file, _time in now.items() ^ self._before.items()})
        self._say(f"changed: {', '.join(file.relative_to(self._root).as_posix() for file in changed)}")
        self._before = now
        self._say(await self._reload(changed))

    async def _reload(self, changed: list[Path]) -> str:
        """Check, stage and reload, and return what to tell the user."""
        problem = find_syntax_error(self._root, changed)
        if problem:
            return _refused(problem)
        try:
            # At once, to save time: what was staged is run only if the check finds nothing.
            problem, _ = await asyncio.gather(
                find_import_error(self._root), asyncio.to_thread(bundling.stage, self._root)
            )
            if problem:
                return _refused(problem)
            async with httpx.AsyncClient(timeout=RELOAD_S, trust_env=False) as client:
                answer = await client.post(self._control + "/reload")
        except (BundleError, OSError, httpx.HTTPError) as error:
            return _refused(str(error) or type(error).__name__)
        return describe_reload(answer)


def describe_reload(answer: httpx.Response) -> str:
    """Return what the emulator's answer to a reload means to the user: a refusal comes with the app's traceback."""
    if answer.is_success:
        return "the edge runs the changed bundle"
    return _refused(answer.json().get("detail", answer.text))


def _refused(why: str) -> str:
    return f"not reloaded, the edge runs the bundle before: {why}"
