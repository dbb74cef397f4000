"""What imports what, and how large things get: the rules, over the real files, and each of them shown to fail."""

import inspect

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from edge.app import create_app
from edge.routing import Front
from tests.contract.import_rules import (
    MAX_FUNCTION_LINES,
    MAX_LINES,
    RULES,
    RUNTIME_FILES,
    RUNTIME_MODULES,
    check_cycles,
    imports_of,
    parse,
    read_sources,
)

SOURCES = read_sources()


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps_the_rule(rule: str) -> None:
    assert [fault for source in SOURCES for fault in RULES[rule](source)] == []


def test_imports_run_one_way() -> None:
    assert list(check_cycles(SOURCES)) == []


def test_the_files_are_really_read() -> None:
    paths = {source.path for source in SOURCES}
    assert {"shared/claims/tokens.py", "edge/app.py", "origin/__init__.py", "tests/samples.py"} <= paths


def test_the_runtime_is_touched_in_two_files() -> None:
    touching = {
        source.path
        for source in SOURCES
        for found in imports_of(source)
        if source.package in {"shared", "edge", "origin"} and found.module.partition(".")[0] in RUNTIME_MODULES
    }
    assert touching == RUNTIME_FILES


def test_no_endpoint_of_the_edge_is_a_plain_function() -> None:
    app = create_app()
    assert isinstance(app, Front)
    assert isinstance(app.app, Starlette)
    endpoints = [route.endpoint for route in app.app.routes if isinstance(route, Route)]
    assert len(endpoints) == len(app.app.routes) > 0
    for handler in [*endpoints, *app.app.exception_handlers.values()]:
        assert inspect.iscoroutinefunction(handler), handler


@pytest.mark.parametrize(
    ("rule", "path", "text", "fault"),
    [
        pytest.param("shared", "shared/a.py", "import time", "shared imports time", id="clock in the core"),
        pytest.param("shared", "shared/a.py", "from os import environ", "shared imports os", id="environment"),
        pytest.param("shared", "shared/a.py", "import starlette.types", "starlette", id="framework in the core"),
        pytest.param("shared", "shared/a.py", "import jsonschema", "jsonschema", id="name with an allowed beginning"),
        pytest.param("shared", "shared/a.py", "def f():\n import random", "random", id="hidden in a function"),
        pytest.param("edge", "edge/a.py", "import js", "imports js", id="a third runtime file"),
        pytest.param("edge", "edge/a.py", "from pyodide.ffi import to_js", "pyodide", id="runtime package"),
        pytest.param("edge", "edge/a.py", "import asyncio", "asyncio", id="event loop at the edge"),
        pytest.param("edge", "edge/runtime.py", "import httpx", "httpx", id="other dependency"),
        pytest.param("driver", "origin/app.py", "import psycopg", "psycopg", id="driver in the routes"),
        pytest.param("driver", "origin/a.py", "from psycopg_pool import X", "psycopg_pool", id="pool"),
        pytest.param("driver", "edge/a_store.py", "import psycopg", "psycopg", id="store elsewhere"),
        pytest.param("packages", "edge/a.py", "from origin import keys", "edge imports origin", id="edge to origin"),
        pytest.param("packages", "origin/a.py", "import edge.app", "origin imports edge", id="origin to edge"),
        pytest.param("packages", "shared/a.py", "from edge import app", "shared imports edge", id="core to shell"),
        pytest.param("packages", "origin/a.py", "import tests.samples", "tests", id="tests in the product"),
        pytest.param("packages", "edge/a.py", "from scripts import x", "scripts", id="scripts in the product"),
        pytest.param("packages", "scripts/a.py", "import tests", "tests", id="tests in scripts"),
        pytest.param("form", "edge/a.py", "from shared.catalogue.stock import *", "import *", id="star"),
        pytest.param("form", "origin/a.py", "def f():\n import json", "import inside f", id="in a function"),
        pytest.param("form", "edge/runtime.py", "async def f():\n import json", "inside f", id="in a coroutine"),
        pytest.param("form", "edge/a.py", "def f():\n import js", "import inside f", id="runtime, but elsewhere"),
        pytest.param("form", "shared/a.py", "import importlib", "by name", id="importlib"),
        pytest.param("form", "shared/a.py", "x = __import__('os')", "by name", id="__import__"),
        pytest.param("handlers", "edge/a.py", "def h(r): ...\nRoute('/', h)", "plain def", id="routed"),
        pytest.param("handlers", "edge/a.py", "def h(r): ...\nRoute('/', endpoint=h)", "plain def", id="by keyword"),
        pytest.param("handlers", "edge/a.py", "Route('/', lambda r: r)", "lambda", id="lambda"),
        pytest.param("handlers", "origin/a.py", "def h(r: Request) -> JSONResponse: ...", "plain def", id="by types"),
        pytest.param("sizes", "edge/a.py", "x = 1\n" * (MAX_LINES + 1), "401 lines", id="module"),
        pytest.param("sizes", "edge/a.py", "def f():\n" + " x = 1\n" * MAX_FUNCTION_LINES, "41 lines", id="function"),
    ],
)
def test_the_rule_can_fail(rule: str, path: str, text: str, fault: str) -> None:
    (found,) = RULES[rule](parse(path, text))
    assert fault in found


def test_what_is_allowed_passes() -> None:
    core = parse(
        "shared/a.py", "import re\nfrom collections.abc import Iterable\nfrom shared.catalogue.stock import X\n"
    )
    late = parse("edge/runtime.py", "def f():\n from pyodide.ffi import to_js\n")
    handler = parse("edge/a.py", "async def h(r: Request) -> Response: ...\nRoute('/', h)\n")
    store = parse("origin/a_store.py", "import psycopg\n")
    for source in (core, late, handler, store):
        assert [fault for rule in RULES.values() for fault in rule(source)] == []


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param({"edge/a.py": "from edge import b", "edge/b.py": "import edge.a"}, id="two"),
        pytest.param(
            {"edge/a.py": "from edge.b import x", "edge/b.py": "from edge.c import x", "edge/c.py": "import edge.a"},
            id="three",
        ),
        pytest.param({"edge/a.py": "from . import b", "edge/b.py": "from .a import x"}, id="relative"),
    ],
)
def test_a_cycle_is_found(texts: dict[str, str]) -> None:
    (cycle,) = check_cycles([parse(path, text) for path, text in texts.items()])
    assert cycle.startswith("edge.a -> edge.")
    assert cycle.endswith("-> edge.a")
