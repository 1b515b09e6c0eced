"""What every request must pass: the host it names, where it comes from, its token, its size; and headers of answers.

A page of another site can make a browser send requests to this machine: by a form (the origin tells), or by a name that
suddenly means 127.0.0.1 (the host tells).
"""

from __future__ import annotations

import hmac
import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "labelwise"
MAX_BODY = 32 * 2**20  # bytes; a painted mask is far below
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = (
    (
        b"content-security-policy",
        (
            b"default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
            b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class TooLarge(Exception):
    """More was sent than an answer can need."""


class Guard:
    """Refuse requests that the page itself cannot have sent.

    Without a token only names of this machine are hosts. With one, any host is, but each request must know it: from
    the header ``Authorization: Bearer``, a cookie, or once from ``?token=`` in the address, which sets the cookie.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str = "") -> None:
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if refused := self._refusal(scope["method"], headers, asked):
            await _refuse(send, *refused)
            return
        extra = list(_HEADERS)
        if self.token and asked:
            extra.append((b"set-cookie", f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/".encode()))
        begun, size = False, 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        try:
            await self.app(scope, bounded, guarded)
        except TooLarge:
            if not begun:
                await _refuse(send, 413, f"expected at most {MAX_BODY:,} bytes")

    def _refusal(self, method: str, headers: dict[str, str], asked: str) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if self.token:
            if not self._knows(headers, asked):
                return 401, "expected the token that 'labelwise serve' printed; open the address it printed"
        elif host not in self.hosts:
            return (
                403,
                f"expected a request to this machine, found one to {host[:100]!r}; open http://127.0.0.1 and the port",
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return 403, f"expected a request of this page, found one of {origin[:100]!r}"
        if method not in _SAFE:
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "expected a request of this page, found one of another site"
            # A form of another site cannot send this type without asking first.
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return 415, "expected application/json"
        if int(headers.get("content-length") or 0) > MAX_BODY:
            return 413, f"expected at most {MAX_BODY:,} bytes"
        return None

    def _knows(self, headers: dict[str, str], asked: str) -> bool:
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            cookie = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookie = SimpleCookie()
        kept = cookie[COOKIE].value if COOKIE in cookie else ""
        known = self.token.encode()
        return any(hmac.compare_digest(given.encode(), known) for given in (bearer, kept, asked))


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
