"""In front of the framework: CORS preflights for every path, and a short way to what is asked for most.

The framework's own routing and middleware take longer than an overlay does. The two operations that a drop's viewers
ask for are recognised here by method and path; all else, and whatever is unusual about them, goes the framework's way.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.answers import PREFLIGHT

Handler = Callable[[Scope, Receive], Awaitable[Response]]

_CLIPS: Final = "/v1/clips/"
_OVERLAY: Final = "/overlay"
_CLAIMS: Final = "/v1/claims"


class Front:
    """Answers preflights, overlays and claims; hands on the rest.

    Attributes:
        app: the framework's app, which answers everything.
        get_overlay, post_claim: what its handlers call.
        answer_error: what it answers when a handler fails; the error is raised too, so that it is logged.
    """

    def __init__(
        self, app: ASGIApp, get_overlay: Handler, post_claim: Handler, answer_error: Callable[[], Response]
    ) -> None:
        self.app, self.get_overlay, self.post_claim, self.answer_error = app, get_overlay, post_claim, answer_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        handler = self.find(scope) if scope["type"] == "http" else None
        if handler is None:
            await self.app(scope, receive, send)
            return
        try:
            response = await handler(scope, receive)
        except Exception:
            await self.answer_error()(scope, receive, send)
            raise
        await response(scope, receive, send)

    def find(self, scope: Scope) -> Handler | None:
        """Return the handler of what is answered here, or None; it may be called without the framework's messages."""
        method, path = scope["method"], scope["path"]
        if method == "GET" and path.startswith(_CLIPS) and path.endswith(_OVERLAY):
            clip = path[len(_CLIPS) : -len(_OVERLAY)]
            if clip and "/" not in clip:
                scope["path_params"] = {"clip": clip}
                return self.get_overlay
        if method == "POST" and path == _CLAIMS:
            return self.post_claim
        return _answer_preflight if method == "OPTIONS" else None


async def _answer_preflight(_: Scope, __: Receive) -> Response:
    return Response(None, 204, PREFLIGHT)
