"""The rules of what may import what, as functions over parsed modules. `test_import_rules` applies them to the files.

Each rule takes a `Source` (or all of them) and yields what is wrong, so that each can be shown to fail.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("shared", "edge", "origin", "scripts", "tests")
PRODUCT: Final = ("shared", "edge", "origin")
MAX_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 40

# What the core may use of the standard library: nothing with a clock, randomness, environment or I/O.
SHARED_MAY_IMPORT: Final = frozenset(
    {
        "base64",
        "binascii",
        "collections.abc",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "html",
        "json",
        "re",
        "typing",
        "msgspec",
    }
)
EDGE_MAY_IMPORT: Final = frozenset(
    {
        "collections.abc",
        "dataclasses",
        "functools",
        "re",
        "typing",
        "urllib.parse",
        "cachetools",
        "msgspec",
        "starlette",
    }
)
# The two files that touch the runtime: entry class and ports. They may read clock and entropy too.
RUNTIME_FILES: Final = frozenset({"edge/worker.py", "edge/engine.py", "edge/runtime.py"})
RUNTIME_MODULES: Final = frozenset({"js", "pyodide", "workers"})
RUNTIME_FILES_MAY_IMPORT: Final = EDGE_MAY_IMPORT | RUNTIME_MODULES | {"secrets", "time", "traceback"}
# What talks to PostgreSQL: stores by name, and those that connect, start and migrate it.
STORAGE_FILES: Final = frozenset({"origin/database.py", "origin/embedded.py", "origin/migrate.py"})
DRIVERS: Final = frozenset({"psycopg", "psycopg_pool"})


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    module: str
    line: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One parsed module."""

    path: str
    tree: ast.Module
    lines: int

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.path.partition("/")[0]

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def parse(path: str, text: str) -> Source:
    """Return a module's source, parsed."""
    return Source(path=path, tree=ast.parse(text), lines=len(text.splitlines()))


def read_sources(packages: Iterable[str] = PACKAGES) -> list[Source]:
    """Return every Python module of the packages."""
    files = (file for package in packages for file in sorted((ROOT / package).rglob("*.py")))
    return [parse(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


def imports_of(source: Source) -> Iterator[Import]:
    """Yield all imports of a module, wherever they stand."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(source, node)
            yield Import(module, node.lineno, tuple(alias.name for alias in node.names))


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    depth = node.level - source.path.endswith("/__init__.py")
    parents = source.module.split(".")[: -depth or None]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _is_in(module: str, allowed: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def check_shared(source: Source) -> Iterator[str]:
    """Rule 1: `shared` imports msgspec, a listed part of the standard library, and itself."""
    if source.package == "shared":
        for found in imports_of(source):
            if not _is_in(found.module, {*SHARED_MAY_IMPORT, "shared"}):
                yield f"{source.path}:{found.line}: shared imports {found.module}"


def check_edge(source: Source) -> Iterator[str]:
    """Rule 2: `edge` imports its few dependencies; two files touch the runtime."""
    if source.package == "edge":
        allowed = RUNTIME_FILES_MAY_IMPORT if source.path in RUNTIME_FILES else EDGE_MAY_IMPORT
        for found in imports_of(source):
            if not _is_in(found.module, {*allowed, "shared", "edge"}):
                yield f"{source.path}:{found.line}: this file of edge imports {found.module}"


def check_driver(source: Source) -> Iterator[str]:
    """Rule 3: only storage modules of `origin` import the database driver."""
    is_storage = source.path in STORAGE_FILES or (source.package == "origin" and source.path.endswith("_store.py"))
    if source.package in PRODUCT and not is_storage:
        for found in imports_of(source):
            if _is_in(found.module, DRIVERS):
                yield f"{source.path}:{found.line}: no storage module, but imports {found.module}"


def check_packages(source: Source) -> Iterator[str]:
    """Rule 4: `edge` and `origin` never import each other; nothing imports `tests` or `scripts`."""
    forbidden = {
        "shared": {"edge", "origin", "scripts", "tests"},
        "edge": {"origin", "scripts", "tests"},
        "origin": {"edge", "scripts", "tests"},
        "scripts": {"tests"},
    }.get(source.package, set())
    for found in imports_of(source):
        if _is_in(found.module, forbidden):
            yield f"{source.path}:{found.line}: {source.package} imports {found.module}"


def check_form(source: Source) -> Iterator[str]:
    """Rule 5: no `import *`; no import inside a function; no import by name that a reader cannot see."""
    if source.package not in PRODUCT:
        return
    for found in imports_of(source):
        if "*" in found.names:
            yield f"{source.path}:{found.line}: import *"
        if found.module == "importlib" or _is_in(found.module, {"importlib.machinery", "runpy"}):
            yield f"{source.path}:{found.line}: imports by name"
    for function in _functions(source):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom) and not _is_runtime_import(source, node):
                yield f"{source.path}:{node.lineno}: import inside {function.name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            yield f"{source.path}:{node.lineno}: imports by name"


def _is_runtime_import(source: Source, node: ast.Import | ast.ImportFrom) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return source.path in RUNTIME_FILES and all(_is_in(name, RUNTIME_MODULES) for name in names)


def check_handlers(source: Source) -> Iterator[str]:
    """Rule 6: no handler is a plain `def`: Starlette would run it in a thread.

    A handler is what takes a `Request` and returns a response, or is handed to a route by name.
    """
    if source.package not in {"edge", "origin"}:
        return
    handed = [handler for call in _route_calls(source) for handler in [*call.args, *_endpoints(call)]]
    routed = {handler.id for handler in handed if isinstance(handler, ast.Name)}
    for function in _functions(source):
        if isinstance(function, ast.FunctionDef) and (function.name in routed or _looks_like_handler(function)):
            yield f"{source.path}:{function.lineno}: handler {function.name} is a plain def"
    for handler in handed:
        if isinstance(handler, ast.Lambda):
            yield f"{source.path}:{handler.lineno}: a handler is a lambda"


def _route_calls(source: Source) -> Iterator[ast.Call]:
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"Route", "WebSocketRoute"}
        ):
            yield node


def _endpoints(call: ast.Call) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords if keyword.arg == "endpoint"]


def _looks_like_handler(function: ast.FunctionDef) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args]
    takes_request = any(_says(argument.annotation, "Request") for argument in arguments)
    return takes_request and _says(function.returns, "Response")


def _says(annotation: ast.expr | None, word: str) -> bool:
    return annotation is not None and word in ast.unparse(annotation)


def _functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def check_sizes(source: Source) -> Iterator[str]:
    """Modules of at most 400 lines; functions of the product of at most 40."""
    if source.lines > MAX_LINES:
        yield f"{source.path}: {source.lines} lines"
    if source.package in PRODUCT:
        for function in _functions(source):
            lines = _code_lines(function)
            if lines > MAX_FUNCTION_LINES:
                yield f"{source.path}:{function.lineno}: {function.name} has {lines} lines"


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines from its `def`, its docstring left out."""
    docstring = function.body[0]
    is_text = isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    told = (docstring.end_lineno or 0) - docstring.lineno + 1 if is_text else 0
    return (function.end_lineno or 0) - function.lineno + 1 - told


def check_cycles(sources: Iterable[Source]) -> Iterator[str]:
    """Rule 5: inside a package, imports run one way."""
    listed = {source.module: source for source in sources}
    graph = {name: sorted(_imported_modules(source, listed)) for name, source in listed.items()}
    done: set[str] = set()
    for start in graph:
        cycle = _find_cycle(graph, start, [], done)
        if cycle:
            yield " -> ".join(cycle)
            return


def _imported_modules(source: Source, listed: Mapping[str, Source]) -> set[str]:
    found: set[str] = set()
    for imported in imports_of(source):
        candidates = [imported.module, *(f"{imported.module}.{name}" for name in imported.names)]
        found.update(name for name in candidates if name in listed and name != source.module)
    return found


def _find_cycle(graph: Mapping[str, list[str]], name: str, path: list[str], done: set[str]) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done:
        return []
    for following in graph[name]:
        cycle = _find_cycle(graph, following, [*path, name], done)
        if cycle:
            return cycle
    done.add(name)
    return []


RULES: Final[dict[str, Callable[[Source], Iterator[str]]]] = {
    "shared": check_shared,
    "edge": check_edge,
    "driver": check_driver,
    "packages": check_packages,
    "form": check_form,
    "handlers": check_handlers,
    "sizes": check_sizes,
}
