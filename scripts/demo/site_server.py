"""The demo's web site: static files under the strictest content security policy that the overlay must live with.

    python -m scripts.demo.site_server PORT EDGE_URL ORIGIN_URL CLIP

`$EDGE` and `$CLIP` in the pages stand for the edge's address and the clip.
"""

import sys
from pathlib import Path
from string import Template

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILES = Path(__file__).resolve().parent / "site"
TEMPLATES = {".html"}


class PolicyHeaders:
    """Put the security headers on every answer, errors too."""

    def __init__(self, app: ASGIApp, edge_url: str, origin_url: str) -> None:
        self._app = app
        headers = {
            "content-security-policy": content_security_policy(edge_url, origin_url),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, with the headers added."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def content_security_policy(edge_url: str, origin_url: str) -> str:
    """Return the policy of the demo's pages: scripts from the edge alone, no inline code, no string made into code."""
    directives = {
        "default-src": "'none'",
        "script-src": edge_url,
        "style-src": "'self'",
        "img-src": f"'self' {edge_url}",
        "media-src": "'self'",
        "connect-src": f"{edge_url} {origin_url}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def find_file(folder: Path, path: str) -> Path | None:
    """Return the file of that path if it is one, and lies in the folder."""
    file = (folder / path).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None


def make_app(files: Path, edge_url: str, origin_url: str, clip: str) -> ASGIApp:
    """Return the site over a folder of files."""

    async def serve(request: Request) -> Response:
        wanted = find_file(files, request.path_params["path"] or "index.html")
        if wanted is None:
            raise HTTPException(404)
        if wanted.suffix not in TEMPLATES:
            return FileResponse(wanted)
        page = Template(wanted.read_text(encoding="utf-8")).safe_substitute(EDGE=edge_url, CLIP=clip)
        return Response(page, media_type="text/html")

    return PolicyHeaders(Starlette(routes=[Route("/{path:path}", serve)]), edge_url, origin_url)


def main(arguments: list[str]) -> None:
    """Serve until told to stop."""
    port, edge_url, origin_url, clip = arguments
    app = make_app(FILES, edge_url, origin_url, clip)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1:])
