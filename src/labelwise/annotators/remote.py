"""What annotators on a server share: credentials, bounded retries, failures as one line, notes of what lies where.

Nothing here knows a tool. A credential is read when it is needed and kept by nobody: not in a run, not in a message.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from labelwise.errors import ConfigError, LabelwiseError, ServerAway, ServerError
from labelwise.ownership import replace_text

T = TypeVar("T")
Kind = Literal["away", "refused", "host", "certificate", "token", "permission", "missing", "request"]

_LIBRARIES = frozenset({"urllib3", "httpx", "httpcore", "requests", "http"})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EPIPE})
_MAY_PASS = frozenset({"away", "refused", "host"})


@dataclass(frozen=True, slots=True)
class Server:
    """The server that is asked: the tool's name, its address, and where its credentials come from, for messages.

    ``secrets`` are taken out of every message.
    """

    tool: str
    url: str
    credentials: str
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a call is tried again: ``tries`` in all, pauses that double from ``first`` seconds up to
    ``longest``, each shortened at random by up to a half, all of them together at most ``total`` seconds."""

    tries: int = 6
    first: float = 0.5
    longest: float = 20.0
    total: float = 90.0


def credential(*names: str, file: Path = Path(".env")) -> str | None:
    """The first of these names that has a value in the environment, or else in the file ``.env`` of the working folder.

    Raises ConfigError if that file cannot be read.
    """
    found = [os.environ.get(name, "").strip() for name in names]
    if any(found):
        return next(value for value in found if value)
    kept = read_dotenv(file)
    return next((kept[name] for name in names if kept.get(name)), None)


def read_dotenv(file: Path) -> dict[str, str]:
    """``NAME=value`` lines of a file, perhaps quoted, perhaps after ``export``; nothing if it is absent."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file}: expected lines NAME=value, cannot read it ({reason}); mend or remove it") from None
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", line)
        if match is None:
            continue
        name, value = match.groups()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0]
        found[name] = value
    return found


def checked_url(url: str, key: str) -> str:
    """The address without a slash at its end; it begins with http:// or https:// and holds no credentials.

    Raises ConfigError naming ``key``, and never repeats a password that stands in it.
    """
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits, parts = False, urlsplit("")
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ConfigError(f"{key}: expected an address without user and password; put these into the environment")
    if not fits or parts.query or parts.fragment:
        raise ConfigError(f"{key}: expected an address such as https://host:8080, found {url!r}")
    return url.strip().rstrip("/")


def asked(
    call: Callable[[], T],
    server: Server,
    *,
    patience: Patience | None = None,
    doing: str = "",
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What ``call`` returns; tried again while the server may come back, and every failure of it told in one line.

    ``call`` must be safe to repeat, since the server may have done its work before the connection broke: what creates
    something looks for it by its key first. ``doing`` says what was tried ("uploading images"). Raises ServerAway once
    patience is spent (running again goes on), ServerError for what a person must mend. What is no failure of the
    network or the server passes through.
    """
    limits = patience or Patience()
    left = limits.total
    for attempt in range(1, limits.tries + 1):
        try:
            return call()
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            pause = min(limits.longest, limits.first * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            asked_for = _wished(error)
            if asked_for is not None:
                pause = max(pause, min(asked_for, limits.longest))
            if kind not in _MAY_PASS or attempt == limits.tries or pause > left:
                raise explained(error, kind, server, doing) from None
        left -= pause
        sleep(pause)
    raise AssertionError("patience has at least one try")


def kind_of(error: BaseException) -> Kind | None:
    """What kind of failure of a network or server this is, whichever library raised it; None if it is none."""
    if isinstance(error, LabelwiseError):
        return None
    chain = list(_causes(error))
    status = next((s for s in map(status_of, chain) if s), 0)
    if status:
        by_status: dict[int, Kind] = {401: "token", 403: "permission", 404: "missing"}
        return "away" if status in _PASSING or status >= 500 else by_status.get(status, "request")
    texts = " ".join(f"{type(e).__name__} {e}" for e in chain)
    if any(isinstance(e, ssl.SSLError) for e in chain) or "SSLError" in texts or "CERTIFICATE" in texts:
        return "certificate"
    if any(isinstance(e, socket.gaierror) for e in chain) or "NameResolution" in texts:
        return "host"
    if any(isinstance(e, ConnectionRefusedError) for e in chain) or "onnection refused" in texts:
        return "refused"
    network = any(
        isinstance(e, ConnectionError | TimeoutError)
        or (isinstance(e, OSError) and e.errno in _UNREACHABLE)
        or type(e).__module__.partition(".")[0] in _LIBRARIES
        for e in chain
    )
    return "away" if network else None


def status_of(error: BaseException) -> int:
    """The HTTP status that an exception of a client library carries; 0 if there is none."""
    places = (error, getattr(error, "response", None))
    for value in (getattr(place, name, None) for place in places for name in ("status", "status_code")):
        if isinstance(value, int) and value >= 400:
            return value
    return 0


def explained(error: BaseException, kind: Kind, server: Server, doing: str = "") -> ServerError:
    """The failure as one line for people: what was tried, what was found, what to do; without credentials."""
    where = f"{server.tool} at {server.url}" + (f", {doing}" if doing else "")
    status = next((s for s in map(status_of, _causes(error)) if s), 0)
    detail = _detail(error)
    said = f" ({detail})" if detail else ""
    ways: dict[Kind, str] = {
        "away": f"no answer that can be used{said}; what was done is kept, run again to go on",
        "refused": "nothing listens there; is it running, and is the port right?",
        "host": "no such host; check the address and the network",
        "certificate": f"its certificate is not trusted{said}; give the right address, or make its authority known by "
        "SSL_CERT_FILE",
        "token": f"it refuses the credentials (401): wrong or expired; renew {server.credentials}",
        "permission": f"not permitted (403){said}; ask for the right, or name the organisation and the project that "
        "these credentials may use",
        "missing": f"it knows no such thing (404){said}; is the address that of {server.tool}, and was nothing deleted "
        "there?",
        "request": f"it refuses the request ({status}){said}",
    }
    made = ServerAway if kind in _MAY_PASS else ServerError
    return made(hidden(f"{where}: {ways[kind]}", server.secrets))


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """The text in one line, every secret in it replaced by dots."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "...")
    return " ".join(text.split())


def read_notes(file: Path) -> dict[str, Any]:
    """What `write_notes` wrote; nothing if it is absent or cannot be read: then the server is searched by key."""
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def write_notes(file: Path, notes: Mapping[str, Any]) -> None:
    """Write down, whole or not at all, what lies where on a server: a mapping that JSON holds, without credentials."""
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps(notes, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what stands behind it, each once; libraries keep that in several places."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]


def _wished(error: BaseException) -> float | None:
    """Seconds that the server asks to wait (Retry-After), if it says so."""
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None)
    with suppress(Exception):
        return max(0.0, float((headers or {}).get("Retry-After")))  # type: ignore[arg-type]
    return None


def _detail(error: BaseException) -> str:
    """A few words of what the server or the library said."""
    body = getattr(error, "body", None) or getattr(getattr(error, "response", None), "text", None)
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    status = next((s for s in map(status_of, _causes(error)) if s), 0)
    text = body if isinstance(body, str) else json.dumps(body, default=str) if body else ""
    if "<html" in text.lower() or "<!doctype" in text.lower():
        text = ""
    if not text and not status:
        innermost = list(_causes(error))[-1]
        text = str(innermost) or type(innermost).__name__
    words = " ".join(text.split())
    short = words if len(words) <= 160 else words[:157] + "..."
    return f"{status}: {short}" if status and short else str(status) if status else short
