"""Write scripts/requirements/*.txt anew from pyproject.toml: every version exact, every file by its hash.

The locks name no package index and no path of this machine: whoever installs from them uses an index of their own. The
resolver (uv) runs in a throwaway environment made from its own lock, so that a broken lock can always be mended.

Versions stay as they are while pyproject.toml allows them; `scripts/lock --upgrade` takes the newest.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "scripts" / "requirements"
# Which parts of pyproject.toml each lock covers. The development lock holds the origin's too: one environment has both.
PARTS = {
    "edge": (),
    "origin": ("--extra", "origin"),
    "development": ("--extra", "origin", "--group", "development"),
}
RESOLVER = "uv>=0.13,<0.14"
# The interpreter that the edge bundle runs in: its wheels must be in the lock (see `scripts/bundle`).
EDGE_TARGET = (
    *("--python-version", "3.14", "--implementation", "cp", "--abi", "cp314", "--abi", "none"),
    *("--platform", "pyemscripten_2026_0_wasm32", "--only-binary=:all:", "--no-deps"),
)


def main(arguments: list[str]) -> int:
    """Resolve and write every lock, then check that the edge's names its WebAssembly wheels."""
    if arguments not in ([], ["--upgrade"]):
        print("usage: scripts/lock [--upgrade]", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="cliptill-lock-") as folder:
        try:
            _write_locks(Path(folder), arguments)
        except subprocess.CalledProcessError as problem:
            print(f"cliptill: `{' '.join(problem.cmd[1:5])} ...` failed; its output is above", file=sys.stderr)
            return 1
    return 0


def _write_locks(folder: Path, arguments: list[str]) -> None:
    """Resolve in `folder`; the locks in the clone are replaced only after all of it has worked."""
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS / "resolver.txt")], check=True)
    common = [python, "-m", "uv", "pip", "compile", "--universal", "--generate-hashes", "--quiet", "--no-annotate"]
    common += ["--no-header", "--python-version", "3.11", "--no-emit-index-url", "--no-emit-find-links", *arguments]
    written = {}
    for name, part in {**PARTS, "resolver": None}.items():
        output = folder / f"{name}.txt"
        current = REQUIREMENTS / output.name
        output.write_text(current.read_text() if current.exists() else "")
        command = [*common, "--output-file", str(output), *(("pyproject.toml", *part) if part is not None else ("-",))]
        subprocess.run(command, cwd=ROOT, check=True, input=RESOLVER, text=True, stdout=subprocess.DEVNULL)
        written[current] = output.read_text()
        print(f"lock: {current.relative_to(ROOT)}", flush=True)
    target = str(folder / "edge")
    edge = [*pip, *EDGE_TARGET, "--dry-run", "--target", target, "-r", str(folder / "edge.txt")]
    subprocess.run(edge, check=True)
    print("lock: every edge dependency has a wheel for the bundle's interpreter", flush=True)
    for file, text in written.items():
        file.write_text(text)
