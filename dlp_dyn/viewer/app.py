"""The viewer over HTTP: the page, and JSON for what it asks."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dlp_dyn.errors import InputError
from dlp_dyn.settings import parse_json
from dlp_dyn.viewer import requests
from dlp_dyn.viewer.session import Sessions
from dlp_dyn.viewer.studio import Studio

_LARGEST_BODY = 1 << 20  # bytes; an edit has a few hundred

PAGE = Path(__file__).parent / "page"
# The page loads nothing from anywhere else, and no other page may frame it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


def application(studio: Studio, hosts: list[str], max_sessions: int = 64) -> Starlette:
    """The page and its server side. hosts: names that a browser may call this server by, `*` for any."""
    sessions = Sessions(studio, max_sessions)

    async def page(request: Request) -> Response:  # noqa: ARG001
        return FileResponse(PAGE / "index.html", headers=_HEADERS)

    async def ask(request: Request) -> Response:
        try:
            _check_origin(request)
            asked = _json(request.headers.get("content-type", ""), await _body(request))
            async with _waiting(request) as wanted:
                answer = await run_in_threadpool(
                    requests.answer, sessions, request.path_params["verb"], asked, wanted
                )
            return JSONResponse(answer)
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)

    routes = [
        Route("/", page),
        Route("/api/{verb}", ask, methods=["POST"]),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    # A page of another site that has its own name resolve to this machine is refused by the name it calls.
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)])


def _check_origin(request: Request) -> None:
    """InputError for a page of another site, which a browser names; what is no browser names none."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise InputError(f"a page of {origin!r} asks: use the page that this server shows")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_BODY:
            raise InputError(f"the request is larger than {_LARGEST_BODY} bytes")
    return bytes(body)


@contextlib.asynccontextmanager
async def _waiting(request: Request) -> AsyncIterator[Callable[[], bool]]:
    """Tells whether the page still waits for the answer to a request that was read."""
    gone = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watching = asyncio.create_task(watch())
    try:
        yield lambda: not gone.is_set()
    finally:
        watching.cancel()


def _json(kind: str, body: bytes) -> requests.Json:
    if kind != "application/json":  # which other sites' pages cannot send here unasked
        raise InputError(f"the request is {kind!r}, not application/json")
    try:
        asked = parse_json(body)
    except ValueError as error:
        raise InputError(f"the request is not JSON ({error})") from None
    if not isinstance(asked, dict):
        raise InputError("the request is not a JSON object")
    return asked
