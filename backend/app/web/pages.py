"""The built pages, answered from memory.

Laws:
- What is served is what was there at the start, by exact name: an address leads to no file system, and an update of the
  files under a running server does not mix two builds.
- What is under `/assets/` has its content's hash in its name and never changes; all else is asked for anew each time.
- No code and no style comes from anywhere but our own files (`_POLICY`). Surroundings adds the headers that every answer has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app.core.errors import NotFound
from app.protocols.content_coding import best_coding, is_unchanged

__all__ = ["Pages"]

_STATIC: Final = Path(__file__).with_name("static")
_PAGES: Final = {"/": "index.html", "/ops": "ops.html"}
_ASSETS: Final = "/assets/"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_MEDIA_TYPES: Final = {  # the system's own table may say anything
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_CODINGS: Final = {".br": "br", ".gz": "gzip"}
_NOT_BUILT: Final = "The page is not built here: `make setup` builds it. The API is at /docs.\n"


@dataclass(frozen=True, slots=True)
class _Content:
    """A file in the forms in which it is there; "" is the file itself."""

    media_type: str
    digest: str
    forms: Mapping[str, bytes]

    @classmethod
    def read(cls, path: Path) -> Self:
        plain = path.read_bytes()
        forms = {"": plain}
        for suffix, coding in _CODINGS.items():
            packed = path.with_name(path.name + suffix)
            if packed.is_file():
                forms[coding] = packed.read_bytes()
        return cls(_MEDIA_TYPES[path.suffix], hashlib.sha256(plain).hexdigest()[:32], forms)


class Pages:
    """What is built, by address."""

    def __init__(self, directory: Path = _STATIC) -> None:
        """Read what the build has left in `directory`; nothing where it was never run."""
        self._contents: dict[str, _Content] = {}
        if not all((directory / name).is_file() for name in _PAGES.values()):
            return
        page_of = {name: address for address, name in _PAGES.items()}
        for path in sorted(directory.rglob("*")):
            if path.is_file() and path.suffix in _MEDIA_TYPES:
                name = path.relative_to(directory).as_posix()
                self._contents[page_of.get(name, f"/{name}")] = _Content.read(path)

    def router(self) -> APIRouter:
        """Routes for all that is there."""
        router = APIRouter(include_in_schema=False)
        single = {address for address in self._contents if not address.startswith(_ASSETS)}
        for address in sorted(single | _PAGES.keys()):
            router.add_api_route(address, self._page, methods=["GET", "HEAD"])
        router.add_api_route(f"{_ASSETS}{{name:path}}", self._asset, methods=["GET", "HEAD"])
        return router

    async def _page(self, request: Request) -> Response:
        content = self._contents.get(request.scope["path"])
        if content is None:
            return PlainTextResponse(_NOT_BUILT, status_code=503, headers={"cache-control": "no-store"})
        return _answer(request, content, "no-cache")

    async def _asset(self, request: Request, name: str) -> Response:
        content = self._contents.get(_ASSETS + name)
        if content is None:
            raise NotFound
        return _answer(request, content, "public, max-age=31536000, immutable")


def _answer(request: Request, content: _Content, cache: str) -> Response:
    coding = best_coding(request.headers.get("accept-encoding"), content.forms) or ""
    etag = f'"{content.digest}{coding and f"-{coding}"}"'
    headers = {
        "etag": etag,
        "cache-control": cache,
        "vary": "accept-encoding",
        "content-security-policy": _POLICY,
    }
    if is_unchanged(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if coding:
        headers["content-encoding"] = coding
    return Response(content.forms[coding], media_type=content.media_type, headers=headers)
