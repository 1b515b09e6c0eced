"""Serving the page: a free port, a thread that answers, and its orderly end."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from labelwise.errors import ConfigError
from labelwise.web.app import make_app
from labelwise.web.served import Beside

HERE = "127.0.0.1"
PORT = 8470
_TRIES = 20
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{12,}")  # what stands in an address and in a cookie as it is
_PATIENCE = 10.0  # seconds for the server to begin and to end


@contextmanager
def serving(
    folder: Path,
    *,
    port: int | None = None,
    host: str = HERE,
    token: str = "",
    beside: Beside | None = None,
    stays: float = 0.0,
) -> Iterator[str]:
    """Serve a run's folder, or one of images, while the block runs, and give the address to open.

    ``port`` None takes the first free one from 8470 on. An address that others can reach needs a token: without one it
    is drawn. ``stays``: seconds at most that it goes on after the block for browsers that are there, so that they see
    how it ended. Raises ConfigError if the port is taken or the token cannot stand in an address, RunError if the
    folder holds neither.
    """
    local = host in (HERE, "localhost", "::1")
    if token and not _TOKEN.fullmatch(token):
        raise ConfigError("token: expected at least 12 letters, digits, '.', '_', '~' or '-'; leave it out to get one")
    token = token or ("" if local else secrets.token_urlsafe(24))
    listener = _listener(host, port)
    try:
        number = int(listener.getsockname()[1])
        app = make_app(folder, port=number, token=token, beside=beside)
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="off"
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listener],), name="labelwise-page", daemon=True)
        thread.start()
        _until(lambda: server.started or not thread.is_alive())
        shown = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{shown}:{number}/" + (f"?token={token}" if token else "")
            _until(lambda: not server.server_state.connections, stays)
        finally:
            server.should_exit = True
            thread.join(_PATIENCE)
            app.state.served.close()
    finally:
        listener.close()


def open_in_browser(address: str) -> None:
    """Open an address where there is a desktop; a browser inside the terminal would take it over."""
    if sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)


def _until(happened, patience: float = _PATIENCE) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + patience
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)


def _listener(host: str, port: int | None) -> socket.socket:
    tries = range(PORT, PORT + _TRIES) if port is None else [port]
    last: OSError | None = None
    for number in tries:
        found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, number))
            found.listen(128)
        except OSError as error:
            found.close()
            last = error
            continue
        return found
    assert last is not None
    what = f"port {port}" if port is not None else f"ports {PORT} to {PORT + _TRIES - 1}"
    raise ConfigError(
        f"cannot serve at {host}, {what}: {last.strerror or last}; give another with --port, in a run with "
        "annotator.port=... (0: any free one)"
    )
