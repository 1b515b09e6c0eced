"""What every request must pass: the host it names, where it comes from, its token, its size; and headers of answers.

A page of another site can make a browser send requests to this machine: by a form (the origin tells), by a picture or
script (the browser tells the site), or by a name that suddenly means 127.0.0.1 (the host tells).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "labelwise"
MAX_BODY = 32 * 2**20  # bytes; a painted mask is far below
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What must come once at most: two of them could mean one thing here and another further in.
_ONCE = frozenset(
    {"host", "origin", "content-length", "content-type", "authorization", "sec-fetch-site", "transfer-encoding"}
)
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
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)
Refusal = tuple[int, str]


class TooLarge(Exception):
    """More was sent than an answer can need."""


class Guard:
    """Refuse requests that the page itself cannot have sent.

    Without a token only names of this machine are hosts. With one, any host is, but each request must know it: from
    the header ``Authorization: Bearer``, a cookie, or once from ``?token=`` in the address, which sets the cookie and
    goes on to the address without it, so that it stays in no history.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str = "") -> None:
        self.app, self.token = app, token
        # Cookies are shared by all ports of a host: two pages on one machine must not take each other's.
        self.cookie = f"{COOKIE}-{port}"
        names = ("127.0.0.1", "localhost", "[::1]")
        self.hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # nothing here speaks it
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        asked = next((value for name, value in query if name == "token"), "")
        headers = _headers(scope["headers"])
        refused = (
            _misshapen(path, headers)
            or self._stranger(headers, asked)
            or _foreign(method, path, headers)
            or _oversized(headers)
        )
        if refused:
            await _refuse(send, *refused)
        elif self.token and asked and method == "GET" and not path.startswith("/api/"):
            await self._without_token(send, path, [pair for pair in query if pair[0] != "token"])
        else:
            await self._bounded(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, but no more of its body than is allowed, whatever length it told."""
        size, begun = 0, False

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal begun
            if size > MAX_BODY and not begun:  # whatever was made of it: nobody may see half a body as a whole one
                return
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _with_ours(message.get("headers", ()))
            await send(message)

        try:
            await self.app(scope, bounded, guarded)
        except TooLarge:
            if begun:
                raise
        if size > MAX_BODY and not begun:
            await _refuse(send, 413, f"expected at most {MAX_BODY:,} bytes")

    async def _without_token(self, send: Send, path: str, query: list[tuple[str, str]]) -> None:
        """Set the cookie, and go on to the same address without the token."""
        # Of a path that begins with two slashes a browser would make another host.
        where = "/" + path.lstrip("/") + (f"?{urlencode(query)}" if query else "")
        # Lax: a link to the page from elsewhere may open it; what changes something is asked for its origin as well.
        cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path=/"
        headers = [(b"location", _quoted(where)), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": _with_ours(headers)})
        await send({"type": "http.response.body", "body": b""})

    def _stranger(self, headers: Mapping[str, str], asked: str) -> Refusal | None:
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
        return None

    def _knows(self, headers: Mapping[str, str], asked: str) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = [bearer.strip() if scheme.lower() == "bearer" else "", asked]
        # By hand: one odd cookie of another program on this host would make a parser drop them all.
        pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        given += [value for name, _, value in pairs if name == self.cookie]
        known = self.token.encode()
        return any(hmac.compare_digest(text.encode("utf-8", "replace"), known) for text in given)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; those that came more than once joined as their rules say."""
    found: dict[str, list[str]] = {}
    for name, value in raw:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    joined = {name: ("; " if name == "cookie" else ", ").join(values) for name, values in found.items()}
    return joined | {f"{name} repeated": name for name in _ONCE if len(found.get(name, ())) > 1}


def _misshapen(path: str, headers: Mapping[str, str]) -> Refusal | None:
    for name in _ONCE:
        if f"{name} repeated" in headers:
            return 400, f"expected one header {name}, found more"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        return 400, "expected an address without control characters"
    length = headers.get("content-length", "0").strip()
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        return 400, f"expected a number of bytes as content-length, found {length[:40]!r}"
    if "content-length" in headers and "transfer-encoding" in headers:
        return 400, "expected one way of telling the body's length, found two"
    return None


def _foreign(method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
    site = headers.get("sec-fetch-site", "same-origin").lower()
    if (method not in _SAFE or path.startswith("/api/")) and site not in ("same-origin", "none"):
        return 403, "expected a request of this page, found one of another site"
    # A form of another site cannot send this type without asking first.
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in _SAFE and kind != "application/json":
        return 415, "expected application/json"
    return None


def _oversized(headers: Mapping[str, str]) -> Refusal | None:
    if int(headers.get("content-length", "0")) > MAX_BODY:
        return 413, f"expected at most {MAX_BODY:,} bytes"
    return None


def _with_ours(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers with ours, where it does not bring its own."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return [*own, *(pair for pair in _HEADERS if pair[0] not in names)]


def _quoted(address: str) -> bytes:
    return quote(address, safe="/?&=%+-._~:@!$'()*,;").encode("ascii")


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": _with_ours(headers)})
    await send({"type": "http.response.body", "body": body})
