"""The README tells what is: its tables are those of the code, its commands exist, its links lead somewhere."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"(<!-- (?:run|node) -->\n)?```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for run, block in BLOCKS if not run for line in block.splitlines() if line]

# Who runs each command of the README that is not in a block marked `run` (tests/emulator/test_readme_commands.py) or
# `node` (tests/emulator/test_readme_node.py).
RUN_BY = {
    "scripts/run": "tests/emulator/test_supervisor.py",
    "scripts/run --once": "tests/emulator/test_supervisor.py",
    "scripts/run --nodes 3 --lateness 2000 --fault nrt:latency=150": "tests/emulator/test_supervisor.py",
    "scripts/test": ".ci/run",
    "scripts/check": "scripts/testing.py",
    "scripts/bundle": "tests/emulator/test_bundling.py",
    "scripts/lock": "tests/unit/test_locks.py",
    "scripts/cost --viewers 10000 --claims 500": "tests/emulator/test_cost.py",
    "scripts/bench --json": "tests/unit/test_benching.py",
    "scripts/bench edge": "tests/emulator/test_bench_edge.py",
    "scripts/bench settle": "tests/postgres/test_bench_settle.py",
    "scripts/bench soak": "tests/emulator/test_bench_soak.py",
    "scripts/bench reconcile": "tests/postgres/test_bench_reconcile.py",
    "python3 -m venv .venv": "scripts/installation.py",
    ".venv/bin/pip install --require-hashes --no-deps -r scripts/requirements/origin.txt": "scripts/installation.py",
    ".venv/bin/python -m origin.migrate": "tests/postgres/test_migrations.py",
    ".venv/bin/python -m origin": "scripts/stack.py",
    "npx wrangler deploy --env staging": "tests/emulator/test_bundling.py",
}


@pytest.mark.parametrize("module", ["edge/config.py", "origin/config.py"])
def test_a_configuration_table_is_the_one_of_the_code(module: str) -> None:
    name = module.removesuffix(".py").replace("/", ".")
    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text())) or ""
    table = "\n".join(line for line in docstring.splitlines() if line.startswith("|"))
    assert table
    assert f"<!-- table: {name} -->\n{table}\n" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_run_by_something(command: str) -> None:
    if command in RUN_BY:
        assert (ROOT / RUN_BY[command]).is_file()
    else:
        assert command.startswith("npx wrangler "), "a command that nothing runs"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("npx wrangler ")])
def test_a_command_of_the_platform_s_tool_has_the_parts_that_the_readme_uses(command: str) -> None:
    words = command.removeprefix("npx wrangler ").split(" --", 1)[0].split()
    known = [word for word in words if word.islower() and "-" not in word]
    node = shutil.which("node")
    assert node
    tool = ROOT / "node_modules" / "wrangler" / "bin" / "wrangler.js"
    told = subprocess.run([node, str(tool), *known, "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert f"wrangler {' '.join(known)}" in told.stdout
    for option in re.findall(r"--[a-z-]+", command):
        assert option in told.stdout


def test_every_link_and_picture_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), target
