"""What a bundle must keep to run where it is deployed: found out here, not by its first request there.

Rules:
1. What a file imports is in the bundle, among the vendored wheels, of the runtime, or of the standard library as far as
   the interpreter in WebAssembly has it: no processes, no threads, no sockets of one's own.
2. What is compiled is compiled for that interpreter.

Standard library only, as `scripts.bundling`.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

RUNTIME: Final = frozenset({"js", "pyodide", "workers"})
# Removed there, or there without what they need (https://pyodide.org/en/stable/usage/wasm-constraints.html).
NOT_THERE: Final = frozenset(
    {
        *("curses", "dbm", "ensurepip", "fcntl", "grp", "idlelib", "msvcrt", "pwd", "pty", "readline", "resource"),
        *("syslog", "termios", "tkinter", "tty", "turtle", "turtledemo", "venv", "winreg", "winsound"),
        *("concurrent", "multiprocessing", "signal", "socket", "socketserver", "subprocess", "threading"),
    }
)
COMPILED: Final = (".so", ".pyd", ".dll", ".dylib")
WASM_MAGIC: Final = b"\0asm"
WASM_SUFFIX: Final = "-wasm32-emscripten.so"


def find_problems(bundle: Path, vendored: Path) -> Iterator[str]:
    """Yield what is wrong with a staged Worker and its wheels, each with the file's name."""
    for path in sorted(bundle.rglob("*.py")):
        name = path.relative_to(bundle).as_posix()
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            yield f"{name}, line {getattr(error, 'lineno', None) or 1}: {type(error).__name__}: {error}"
            continue
        for module, line in _imports(tree):
            if not _is_there(module, bundle, vendored):
                yield f"{name}, line {line}: imports {module}, which the edge does not have"
    compiled = (path for suffix in COMPILED for path in vendored.rglob(f"*{suffix}"))
    for path in sorted(compiled):
        with path.open("rb") as file:
            is_wasm = file.read(len(WASM_MAGIC)) == WASM_MAGIC
        if not (is_wasm and path.name.endswith(WASM_SUFFIX)):
            yield f"{path.relative_to(vendored)} is compiled for another platform than the edge's"


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield every module that is imported by its whole name, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def _is_there(module: str, bundle: Path, vendored: Path) -> bool:
    top = module.partition(".")[0]
    own = bundle / module.replace(".", "/")
    if (bundle / top).is_dir():
        return own.is_dir() or own.with_suffix(".py").is_file()
    is_vendored = (vendored / top).is_dir() or (vendored / f"{top}.py").is_file()
    return is_vendored or top in RUNTIME or (top in sys.stdlib_module_names and top not in NOT_THERE)
