"""Write a self-hosted edge node: a folder that plain `workerd serve` runs, on a machine without Node or this clone.

Rules:
1. The Python files are those that deploy to the CDN. What differs is JavaScript around them: manifests and stock come
   from the origin over HTTP, events go there from a spool on disk.
2. Nothing is compiled at run time: the modules that the interpreter generates were recorded here, and no binding in the
   configuration allows code generation.
3. The folder holds no secret, and changes in no byte when it is configured: settings are the environment's.
4. `manifest.json` has the hash of every file; `verify` tells which are missing, changed, or not of the node.
5. The folder is made aside and then renamed. A folder that is not a node is never replaced; a node's own settings and
   state stay.

Standard library only, as `scripts.bundling`.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from scripts.vendoring import BundleError, replace
from scripts.worker_settings import read_rate_limits

FORMAT: Final = "cliptill-edge-node/1"
MANIFEST: Final = "manifest.json"
# What an operator puts beside the node's files: never written over.
KEPT: Final = ("cliptill-edge.env", "state")
PROGRAMS: Final = frozenset({"cliptill-edge", "bin/workerd"})
SETTINGS: Final = "cliptill-edge.env.example"


def write_node(root: Path, target: Path, bundle: Path | None = None) -> dict[str, Any]:
    """Write a node from the staged bundle of the clone at `root`, and return its manifest.

    Args:
        root: of a clone whose bundle has been staged.
        target: the folder; made, or replaced when it is a node.
        bundle: another staged bundle than the clone's own.

    Raises:
        BundleError: `target` is something else, or the node cannot be made. What was there stays.
    """
    if target.exists() and not _is_node(target):
        raise BundleError(f"{target} exists and is no edge node: name another folder, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".edge-node-", dir=target.parent) as name:
        fresh = Path(name) / "fresh"
        shutil.copytree(root / "scripts" / "selfhosted", fresh)
        _write_runtime(root, bundle or root / "build" / "bundle", fresh)
        _set_modes(fresh)
        manifest = {"format": FORMAT, "files": describe(fresh)}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        _put_in_place(fresh, target)
    return manifest


def describe(node: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file of a node, but for those that an operator changes."""
    paths = (path for path in sorted(node.rglob("*")) if path.is_file())
    named = ((path.relative_to(node), path.read_bytes()) for path in paths)
    return {
        name.as_posix(): {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in named
        if name.parts[0] not in KEPT and name.as_posix() != MANIFEST
    }


def verify(node: Path) -> list[str]:
    """Return the names of all files that are not as the node's manifest says."""
    told = json.loads((node / MANIFEST).read_text())["files"]
    found = describe(node)
    return sorted(name for name in {*told, *found} if told.get(name) != found.get(name))


def _is_node(folder: Path) -> bool:
    try:
        told: Any = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return folder.is_dir() and not any(folder.iterdir())
    return isinstance(told, dict) and told.get("format") == FORMAT


def _write_runtime(root: Path, bundle: Path, fresh: Path) -> None:
    """Have Node write what it knows of: the interpreter, its modules and snapshot, the configuration, the program."""
    build = root / "build"
    document = {
        "bundle": str(bundle),
        "python_modules": str(root / "python_modules"),
        "assets": str(build / "assets"),
        "cache_dir": str(build / "emulator"),
        "rate_limits": read_rate_limits(root),
        "directory": str(fresh),
    }
    command = ["node", str(root / "scripts" / "emulator" / "selfhost.mjs")]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"the edge node cannot be made: {done.stderr.strip() or done.stdout.strip()}")


def _set_modes(fresh: Path) -> None:
    """Have everybody read and nobody write, but for the settings, which are their owner's alone."""
    for path in fresh.rglob("*"):
        name = path.relative_to(fresh).as_posix()
        path.chmod(0o755 if path.is_dir() or name in PROGRAMS else 0o644)
    (fresh / SETTINGS).chmod(0o600)
    fresh.chmod(0o755)


def _put_in_place(fresh: Path, target: Path) -> None:
    """Have the new folder take over what an operator put into the old one, and its name; or leave all as it was."""
    kept = [name for name in KEPT if (target / name).exists()]
    try:
        for name in kept:
            (target / name).rename(fresh / name)
        replace(fresh, target)
    except BaseException:
        if not target.exists():
            (fresh.parent / "replaced").rename(target)
        for name in kept:
            if (fresh / name).exists():
                (fresh / name).rename(target / name)
        raise
