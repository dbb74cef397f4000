"""The scanner's page: static files, all that a device needs to check passes with no network.

Rules:

1. The browser keeps all files of one version together (`worker.js`): opened once, the page opens without network.
2. `worker.js` carries the hash of all files as its version, so a change of any of them reaches devices as a whole.
3. The page may run its own scripts, talk to its own origin and use the camera, and nothing else.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from origin.responses import Handler
from shared.encoding import encode_base64url
from shared.openapi import Answer, Operation

_FOLDER: Final = Path(__file__).parent / "site"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES: Final = tuple(sorted(file.name for file in _FOLDER.iterdir() if file.suffix in _TYPES))
DOCUMENT: Final = "scanner.html"
_VERSION: Final = b'"development"'
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "Service-Worker-Allowed": "/scanner",
}


def _path(name: str) -> str:
    return "/scanner" if name == DOCUMENT else f"/scanner/{name}"


def _id(name: str) -> str:
    return "read_scanner_" + name.replace(".", "_")


OPERATIONS: Final = tuple(
    Operation(
        id=_id(name),
        method="GET",
        path=_path(name),
        summary="Open the scanner's page." if name == DOCUMENT else f"Read a file of the scanner's page: {name}.",
        answers={200: Answer(description="The file.", media_types=(_TYPES[Path(name).suffix],))},
    )
    for name in FILES
)


class ScannerPage:
    """The handlers of `OPERATIONS`; the files are read once."""

    def __init__(self) -> None:
        contents = {name: (_FOLDER / name).read_bytes() for name in FILES}
        whole = b"".join(name.encode() + hashlib.sha256(contents[name]).digest() for name in FILES)
        version = encode_base64url(hashlib.sha256(whole).digest())
        contents["worker.js"] = contents["worker.js"].replace(_VERSION, f'"{version}"'.encode())
        self._contents = contents

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {_id(name): self._reader(name) for name in FILES}

    def _reader(self, name: str) -> Handler:
        async def answer(_: Request) -> Response:
            return Response(self._contents[name], 200, _HEADERS, _TYPES[Path(name).suffix])

        return answer
