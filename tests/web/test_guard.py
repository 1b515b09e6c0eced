"""The guard refuses what the page itself cannot have sent, each way in turn."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from labelwise.web.guard import MAX_BODY, Guard

PORT, TOKEN = 8470, "a-long-enough.token_1"
HERE = ("host", f"127.0.0.1:{PORT}")
JSON = ("content-type", "application/json")


class Answer:
    """What came back, and what the application behind the guard saw."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, seen: bytes | None) -> None:
        self.status, self.body, self.seen = status, body, seen
        self.headers = {name.decode(): value.decode() for name, value in headers}

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


def send(
    *headers: tuple[str, str],
    method: str = "GET",
    path: str = "/api/x",
    query: str = "",
    token: str = "",
    chunks: tuple[bytes, ...] = (b"",),
    port: int = PORT,
    swallow: bool = False,
) -> Answer:
    """Send a request through a guard to an application that reads it all; ``swallow``: and hides what goes wrong."""
    seen: list[bytes] = []
    sent: list[dict[str, Any]] = []
    parts = iter(chunks)
    left = len(chunks)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        whole = b""
        try:
            while True:
                message = await receive()
                whole += message.get("body", b"")
                if not message.get("more_body"):
                    break
        except Exception:
            if not swallow:
                raise
        seen.append(whole)
        own = [(b"cache-control", b"max-age=7")]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": next(parts), "more_body": left > 0}

    async def keep(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(Guard(application, port=port, token=token)(scope, receive, keep))
    starts = [m for m in sent if m["type"] == "http.response.start"]
    assert len(starts) == 1, "one answer, and only one"
    body = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return Answer(starts[0]["status"], starts[0]["headers"], body, seen[0] if seen else None)


@pytest.mark.parametrize("host", ["127.0.0.1:8470", "localhost:8470", "LOCALHOST:8470", "[::1]:8470"])
def test_names_of_this_machine_pass(host: str) -> None:
    assert send(("host", host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8470", "127.0.0.1", "127.0.0.1:8471", "localhost.evil.example:8470", "", "[::1]", "::1:8470",
     "0.0.0.0:8470", "127.0.0.1:8470@evil.example", "[::ffff:127.0.0.1]:8470", "\xe9:8470"],
)  # fmt: skip
def test_other_hosts_are_refused(host: str) -> None:
    answer = send(("host", host))
    assert answer.status == 403
    assert answer.seen is None
    assert "127.0.0.1" in answer.error


def test_no_host_is_refused() -> None:
    assert send().status == 403


def test_port_80_is_not_named() -> None:
    assert send(("host", "localhost"), port=80).status == 200
    assert send(("host", "localhost"), port=8080).status == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:9999", "http://127.0.0.1", "http://127.0.0.1:8470.evil.example",
     "file://", "HTTP://EVIL.EXAMPLE"],
)  # fmt: skip
@pytest.mark.parametrize("token", ["", TOKEN])
def test_other_origins_are_refused(origin: str, token: str) -> None:
    known = [("authorization", f"Bearer {token}")] if token else []
    answer = send(HERE, JSON, ("origin", origin), *known, method="POST", token=token)
    assert answer.status == 403
    assert answer.seen is None


def test_the_pages_own_posts_pass() -> None:
    same = [("origin", f"http://127.0.0.1:{PORT}"), ("sec-fetch-site", "same-origin")]
    answer = send(HERE, JSON, *same, method="POST", chunks=(b"{", b"}"))
    assert (answer.status, answer.seen) == (200, b"{}")
    assert send(HERE, ("content-type", "Application/JSON; charset=utf-8"), method="POST").status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "other"])
def test_another_sites_requests_are_refused(site: str) -> None:
    assert send(HERE, JSON, ("sec-fetch-site", site), method="POST").status == 403
    assert send(HERE, ("sec-fetch-site", site)).status == 403  # a picture of it, shown elsewhere
    assert send(HERE, ("sec-fetch-site", site), path="/rounds").status == 200  # a link to the page


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_a_form_can_send_is_refused(kind: str | None, method: str) -> None:
    headers = [HERE] if kind is None else [HERE, ("content-type", kind)]
    assert send(*headers, method=method).status == 415


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("host", f"127.0.0.1:{PORT}", "evil.example"), ("origin", f"http://127.0.0.1:{PORT}", "http://evil.example"),
     ("content-length", "1", "2"), ("content-type", "application/json", "text/plain"),
     ("sec-fetch-site", "same-origin", "cross-site"), ("authorization", "Bearer x", "Bearer y")],
)  # fmt: skip
def test_what_comes_twice_is_refused(name: str, first: str, second: str) -> None:
    others = [pair for pair in (HERE, JSON) if pair[0] != name]
    for pair in ((first, second), (second, first), (first, first)):
        answer = send(*others, *((name, value) for value in pair), method="POST")
        assert answer.status == 400
        assert answer.seen is None


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", " ", "²", "9" * 30, "12, 12", "+5"])
def test_lengths_that_are_none_are_refused(length: str) -> None:
    assert send(HERE, JSON, ("content-length", length), method="POST").status == 400


def test_two_ways_of_telling_the_length_are_refused() -> None:
    assert send(HERE, JSON, ("content-length", "2"), ("transfer-encoding", "chunked"), method="POST").status == 400


def test_too_much_is_refused_before_it_comes() -> None:
    answer = send(HERE, JSON, ("content-length", str(MAX_BODY + 1)), method="POST")
    assert answer.status == 413
    assert answer.seen is None


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("length", [[], [("content-length", "10")]])
def test_too_much_is_refused_as_it_comes(length: list[tuple[str, str]], swallow: bool) -> None:
    """Whatever length was told, and whatever the application makes of a body that ends early."""
    chunks = (b"x" * (MAX_BODY // 2),) * 3
    answer = send(HERE, JSON, *length, method="POST", chunks=chunks, swallow=swallow)
    assert answer.status == 413
    assert b"ok" not in answer.body


def test_just_enough_passes() -> None:
    assert send(HERE, JSON, method="POST", chunks=(b"x" * MAX_BODY,)).status == 200


@pytest.mark.parametrize("path", ["/static/\x00", "/a\nb", "/\x7f"])
def test_control_characters_in_the_address_are_refused(path: str) -> None:
    assert send(HERE, path=path).status == 400


def test_answers_have_the_headers_and_keep_their_own() -> None:
    for answer in (send(HERE), send(("host", "evil.example"))):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe-eval" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert send(HERE).headers["cache-control"] == "max-age=7"


# --- with a token -------------------------------------------------------------------------------------


def test_without_the_token_nothing_passes() -> None:
    for headers in ([], [("authorization", "Bearer wrong")], [("cookie", f"labelwise-{PORT}=wrong")],
                    [("cookie", f"labelwise={TOKEN}")], [("authorization", TOKEN)],
                    [("authorization", f"Basic {TOKEN}")], [("cookie", f"labelwise-1={TOKEN}")]):  # fmt: skip
        assert send(HERE, *headers, token=TOKEN).status == 401
    assert send(HERE, token=TOKEN, query="token=wrong").status == 401
    assert send(HERE, token=TOKEN, query=f"token={TOKEN[:-1]}").status == 401
    assert send(HERE, token=TOKEN, query="token=%ff%fe&token=é").status == 401


@pytest.mark.parametrize(
    "header",
    [("authorization", f"Bearer {TOKEN}"), ("authorization", f"bearer  {TOKEN}"),
     ("cookie", f"labelwise-{PORT}={TOKEN}"), ("cookie", f'odd="; x y=[]{{}}; labelwise-{PORT}={TOKEN}; b')],
)  # fmt: skip
def test_the_token_opens_under_any_name(header: tuple[str, str]) -> None:
    assert send(("host", "labels.lan:8470"), header, token=TOKEN).status == 200


def test_cookies_in_several_headers_count_as_one() -> None:
    assert send(HERE, ("cookie", "a=b"), ("cookie", f"labelwise-{PORT}={TOKEN}"), token=TOKEN).status == 200


def test_the_token_leaves_the_address() -> None:
    answer = send(HERE, path="/rounds", query=f"a=1&token={TOKEN}&b=%C3%BC", token=TOKEN)
    assert answer.status == 303
    assert answer.headers["location"] == "/rounds?a=1&b=%C3%BC"
    assert answer.headers["set-cookie"] == f"labelwise-{PORT}={TOKEN}; HttpOnly; SameSite=Lax; Path=/"
    assert answer.seen is None


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example/x", "/\\evil.example"])
def test_the_way_on_stays_here(path: str) -> None:
    where = send(HERE, path=path, query=f"token={TOKEN}", token=TOKEN).headers["location"]
    assert where.startswith("/")
    assert not where.startswith(("//", "/\\"))


def test_a_wrong_token_sets_no_cookie() -> None:
    assert "set-cookie" not in send(HERE, query="token=wrong", token=TOKEN).headers
    # Without a token to know, one in the address means nothing.
    answer = send(HERE, path="/rounds", query="token=x")
    assert (answer.status, "set-cookie" in answer.headers) == (200, False)


def test_with_a_token_other_origins_stay_out() -> None:
    known = [("host", "labels.lan:8470"), ("cookie", f"labelwise-{PORT}={TOKEN}"), JSON]
    for origin, status in (("http://evil.example", 403), ("http://labels.lan:8470", 200)):
        assert send(*known, ("origin", origin), method="POST", token=TOKEN).status == status


# --- what is no request -------------------------------------------------------------------------------


def test_web_sockets_are_closed() -> None:
    sent = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("never asked")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def keep(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "headers": [(b"host", b"127.0.0.1:8470")], "path": "/", "query_string": b""}
    asyncio.run(Guard(application, port=PORT)(scope, receive, keep))
    assert sent == [{"type": "websocket.close", "code": 1008}]
