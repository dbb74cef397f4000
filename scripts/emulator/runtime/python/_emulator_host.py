"""The Python side of the host: finds what a memory snapshot can hold, then answers requests with the entry point.

It takes the place of the production runtime's own glue, and keeps its contract: a new instance of `Default` for each
request, called with the SDK's `Request`; the answer may be the SDK's `Response`, a JavaScript one, or an awaitable of
either.
"""

# ruff: noqa: ANN401 - what crosses from JavaScript has no types here

import asyncio
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections import deque
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

ROOT = "/session/metadata"
VENDORED = f"{ROOT}/python_modules"

# Of each file: the hash of what was compiled, and the code.
_compiled: dict[str, tuple[bytes, CodeType]] = {}


class CompiledLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from the code that was compiled when the snapshot was made, unless the file is another one now."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the kept code, or compile the file."""
        kept = _compiled.get(self.path)
        # Wheels are the same for as long as a snapshot is used; the bundle's own files may have changed.
        if kept and (self.path.startswith(VENDORED) or kept[0] == importlib.util.source_hash(self.get_data(self.path))):
            return kept[1]
        return super().get_code(fullname)


class NotInSnapshotError(BaseException):
    """A compiled package was imported: not an ImportError, so that no `except ImportError` takes another path."""


class CompiledPackageBlock(importlib.abc.MetaPathFinder):
    """Refuses the packages that hold compiled code, while a snapshot is made."""

    def __init__(self, packages: "Iterable[str]") -> None:
        self.packages = frozenset(packages)

    def find_spec(self, fullname: str, _path: "Sequence[str] | None", _target: ModuleType | None = None) -> None:
        """Raise for a blocked package, leave the rest to the other finders."""
        if fullname.partition(".")[0] in self.packages:
            raise NotInSnapshotError(fullname)


def mount() -> None:
    """Put the bundle's root and its vendored packages first on the path."""
    sys.path[:0] = [ROOT, VENDORED]
    hook = importlib.machinery.FileFinder.path_hook(
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
        (CompiledLoader, importlib.machinery.SOURCE_SUFFIXES),
    )
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()


def wanted_modules(main: str) -> list[str]:
    """Import the whole app, and name the modules that this loaded, in their order. For a throw-away interpreter."""
    before = set(sys.modules)
    importlib.import_module(main)
    return [name for name in sys.modules if name not in before]


def compile_rest(names: "Iterable[str]") -> None:
    """Compile what only a restored interpreter can import, and keep the code under its file name.

    Args:
        names: the modules that the app loads; the bundle's own are compiled even if they are not among them.
    """
    files = [path for path in Path(ROOT).rglob("*.py") if not path.is_relative_to(VENDORED)]
    for name in names:
        base = Path(VENDORED, *name.split("."))
        files += [path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()]
    held = {getattr(module, "__file__", None) for module in sys.modules.values()}
    for path in sorted(files):
        file = str(path)
        if file not in held:
            source = path.read_bytes()
            _compiled[file] = importlib.util.source_hash(source), compile(source, file, "exec", dont_inherit=True)


def import_pure(names: "Iterable[str]") -> list[str]:
    """Import what needs no compiled package, and return the names of what a snapshot may hold.

    Nothing of the bundle's own is imported, so that a changed bundle can start from this snapshot too.
    """
    own = {path.stem for path in Path(ROOT).iterdir()}
    compiled = {path.relative_to(VENDORED).parts[0] for path in Path(VENDORED).rglob("*.so")}
    block = CompiledPackageBlock(compiled)
    sys.meta_path.insert(0, block)
    held = []
    for name in names:
        if name.partition(".")[0] in own:
            continue
        try:
            importlib.import_module(name)
            held.append(name)
        except (NotInSnapshotError, ModuleNotFoundError):
            continue  # a list that was kept may name what is no longer there
    sys.meta_path.remove(block)
    return held


def _install_ready_queue(schedule: "Callable[[Callable[[], None]], None]") -> None:
    """Run callbacks that are due at once as one microtask, instead of one timer each.

    Workerd runs all microtasks before it leaves the isolate, so a queue of one request is empty before the next enters.
    """
    from pyodide.ffi import create_proxy  # noqa: PLC0415 (objects of the runtime)

    loop: Any = asyncio.get_running_loop()
    ready: deque[asyncio.Handle] = deque()

    def run_ready() -> None:
        loop._install_running_loop()  # noqa: SLF001
        while ready:
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001

    proxy = create_proxy(run_ready)

    def call_soon(callback: "Callable[..., Any]", *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, loop, context=context)
        if not ready:
            schedule(proxy)
        ready.append(handle)
        return handle

    loop.call_soon = call_soon


def start(main: str, env: Any, schedule: Any) -> "Callable[[Any, Any], Any]":
    """Import the app and return the function that answers one request.

    Args:
        main: the name of the module that holds `Default`.
        env: the bindings, the same object for the isolate's whole life.
        schedule: JavaScript's `queueMicrotask`.
    """
    if random := sys.modules.get("random"):
        random.seed()  # a snapshot restores the generator's state too
    _install_ready_queue(schedule)
    module = importlib.import_module(main)
    from pyodide.ffi import JsProxy  # noqa: PLC0415
    from workers import Request, Response  # noqa: PLC0415
    from workers.rpc import _EnvWrapper  # noqa: PLC0415

    entry = module.Default
    bindings = _EnvWrapper(env)
    loop = asyncio.get_running_loop()
    new_task: Any = asyncio.Task  # `eager_start` is newer than the oldest Python that is type-checked

    async def settled(answer: "Awaitable[Any]") -> Any:
        response = await answer
        return response if isinstance(response, JsProxy) else response.js_object

    def call(request: Any, ctx: Any) -> Any:
        # As `Request(request)` does, which asks JavaScript for its class first.
        wrapped = Request.__new__(Request)
        wrapped._js_request = request  # noqa: SLF001
        answer = entry(ctx, bindings).fetch(wrapped)
        if isinstance(answer, JsProxy):
            return answer
        if isinstance(answer, Response):
            return answer.js_object
        # Runs at once; most requests never wait, and then no event loop is needed.
        task = new_task(settled(answer), loop=loop, eager_start=True)
        return task.result() if task.done() else task

    return call
