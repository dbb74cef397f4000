"""A small edge app in the place of the product's, so that tests of the host depend on nothing but the host."""

from pathlib import Path

WORKER = "from edge.worker import Default\n"

APP = '''
"""Routes that each show one thing that the host must provide."""

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

VERSION = {version!r}


class Version(msgspec.Struct):
    version: str


async def health(request):
    return PlainTextResponse(msgspec.json.encode(Version(VERSION)))


async def place(request):
    cf = request.scope["js"].cf
    return JSONResponse({{"country": cf.country, "colo": cf.colo, "address": request.headers["cf-connecting-ip"]}})


async def key(request):
    value = await request.scope["env"].MANIFESTS.get(request.path_params["key"], "text")
    return PlainTextResponse("nothing" if value is None else value)


async def broken(request):
    raise ValueError("a secret in an exception")


async def deadly(request):
    msgspec.json.decode(b"[" * 100_000)


app = Starlette(routes=[
    Route("/health", health), Route("/place", place), Route("/key/{{key:path}}", key), Route("/broken", broken),
    Route("/deadly", deadly),
])
'''

ENTRY = '''
"""The entry class: plain and waiting answers, work after the answer, the cache."""

import asyncio
from urllib.parse import unquote, urlsplit

import js
from js import Object
from pyodide.ffi import to_js
from workers import Response, WorkerEntrypoint

from edge.app import app

instances = 0


def as_js(value):
    return to_js(value, dict_converter=Object.fromEntries)


def identities():
    """Tell whether objects of the engine are themselves again and no others, however many are held at once."""
    held = js.Array.new()
    kept = []
    for _ in range(300):
        kept.append(js.Object.new())
        held.push(kept[-1])
    same = all(held[place].js_id == kept[place].js_id for place in range(300))
    distinct = len({one.js_id for one in kept}) == 300
    del kept[::2]  # what is let go of in between shifts none of the others
    still = all(held[2 * place + 1].js_id == one.js_id for place, one in enumerate(kept))
    return f"{same} {distinct} {still}"


class Default(WorkerEntrypoint):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        global instances
        instances += 1

    def fetch(self, request):
        path = unquote(urlsplit(request.url).path)
        if path == "/plain":
            return js.Response.new("at once")
        if path == "/sdk":
            return Response("of the SDK", status=201)
        if path == "/promise":
            return js.Promise.resolve(js.Response.new("promised"))
        if path == "/identities":
            return js.Response.new(identities())
        if path == "/instances":
            return js.Response.new(str(instances))
        return self.later(path, request)

    async def later(self, path, request):
        if path == "/wait":
            await asyncio.sleep(0.05)
            return Response("waited")
        if path == "/after":
            self.ctx.waitUntil(self.after(request.js_object.headers.get("key")))
            return Response("answered")
        if path == "/queue":
            await self.env.EVENTS.send(as_js({"number": 7}))
            await self.env.EVENTS.send("as text", as_js({"contentType": "text"}))
            return Response("queued")
        if path == "/cache":
            return await self.cached()
        return await self.app(path, request.js_object)

    async def after(self, key):
        await asyncio.sleep(0)
        await self.env.MANIFESTS.put(key, "written after the answer")

    async def cached(self):
        cache, url = js.caches.default, "http://edge/cached"
        found = await cache.match(url)
        if found:
            return Response("found " + await found.text())
        headers = {"cache-control": "max-age=60"}
        await cache.put(url, js.Response.new("kept", as_js({"headers": headers})))
        return Response("stored")

    async def app(self, path, request):
        sent = []
        headers = [(b"cf-connecting-ip", request.headers.get("cf-connecting-ip").encode())]
        scope = {
            "type": "http", "method": request.method, "path": path, "root_path": "", "query_string": b"",
            "headers": headers, "js": request, "env": self.env,
        }

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return js.Response.new(sent[1]["body"].decode(), as_js({"status": sent[0]["status"]}))
'''

HEADERS = "/*\n  Access-Control-Allow-Origin: *\n  Cache-Control: public, max-age=300\n"


def write_stand_in(folder: Path, version: str = "1") -> None:
    """Write `bundle` and `assets` into a folder."""
    files = {
        "bundle/worker.py": WORKER,
        "bundle/edge/__init__.py": "",
        "bundle/edge/app.py": APP.format(version=version),
        "bundle/edge/worker.py": ENTRY,
        "assets/_headers": HEADERS,
        "assets/component.js": "export default 1;\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
