"""A real Label Studio on this machine, a person who answers in it, and a proxy before it where calls go wrong."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

TOKEN = "0123456789abcdef0123456789abcdef01234567"
EMAIL = "ann@example.org"
_STARTING = 600  # seconds at most: its first start makes the database


@dataclass
class Real:
    """A running server, and what a person does in it, through its own interface."""

    url: str
    documents: Path
    token: str = TOKEN

    def call(self, method: str, path: str, body: Any = None) -> Any:
        import httpx

        headers = {"Authorization": f"Token {self.token}"}
        response = httpx.request(method, f"{self.url}/api/{path}", json=body, headers=headers, timeout=60)
        assert response.status_code < 300, (method, path, response.status_code, response.text)
        return response.json() if response.content else None

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found = self.call("GET", f"tasks/?project={project}&page_size=1000&fields=all")
        return sorted(found["tasks"], key=lambda task: task["id"])

    def answer(self, task: int, results: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.call("POST", f"tasks/{task}/annotations/", {"result": results, **more})
        return made

    def projects(self, key: str) -> list[dict[str, Any]]:
        found = self.call("GET", "projects/?page_size=1000")["results"]
        return [project for project in found if key in (project["description"] or "")]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Label Studio with SQLite in a temporary folder, served on 127.0.0.1 only."""
    pytest.importorskip("label_studio_sdk")
    program = os.environ.get("LABELWISE_LABEL_STUDIO") or shutil.which("label-studio")
    if not program:
        pytest.skip("Label Studio is not installed: name its program in LABELWISE_LABEL_STUDIO")
    folder, documents = tmp_path_factory.mktemp("label_studio"), tmp_path_factory.mktemp("documents")
    port = _free_port()
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(documents),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    others = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
    options = ["--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    person = ["--username", EMAIL, "--password", "password-1", "--user-token", TOKEN]
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen(
        [program, "start", *options, *person], env=others | settings, stdout=log, stderr=log, start_new_session=True
    )
    try:
        found = Real(f"http://127.0.0.1:{port}", documents)
        _wait_for(found, process, folder / "log.txt")
        yield found
    finally:
        with_children = os.getpgid(process.pid)
        os.killpg(with_children, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(with_children, signal.SIGKILL)
            process.wait()
        log.close()


def _wait_for(real: Real, process: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    until = time.monotonic() + _STARTING
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{real.url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"Label Studio did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def token_in_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.chdir(tmp_path)  # where no .env lies


@dataclass
class Fault:
    """What goes wrong with the next ``times`` calls that match: "before" the server hears of it or "after" it has done
    its work the connection is closed; "late": the server hears of it when the caller has given up; "slow": the answer
    comes when the caller has given up; or an HTTP status, instead of the server's work."""

    what: str
    path: str
    method: str = "POST"
    times: int = 1


@dataclass
class Proxy:
    """Stands before the server; ``calls`` are the calls that came, and what came of them."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    patience: float = 0.0  # seconds after which callers have given up
    on_fault: Callable[[], None] = lambda: None

    def fault(self, method: str, path: str) -> str:
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault.what
        return ""

    def count(self, method: str, path: str) -> int:
        return sum(m == method and re.search(path, p) is not None for m, p, _ in self.calls)


@pytest.fixture
def proxy(real: Real) -> Iterator[Proxy]:
    """A proxy whose faults a test sets."""
    target = urlsplit(real.url)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                what = made.fault(self.command, self.path)
                made.calls.append((self.command, self.path, what or "passed"))
            if what.isdigit():
                self._reply(int(what), b'{"detail": "made up by the test"}', "application/json")
            elif what == "before":
                self._cut()
            elif what == "late":
                time.sleep(made.patience)
                self._forward(body)
                self._cut()
            else:
                status, kind, content = self._forward(body)
                if what == "slow":
                    time.sleep(made.patience)
                if what:
                    made.on_fault()
                    self._cut()
                else:
                    self._reply(status, content, kind)

        do_GET = do_POST = do_PATCH = do_DELETE = do

        def _forward(self, body: bytes) -> tuple[int, str, bytes]:
            assert target.hostname is not None
            connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(self.command, self.path, body, headers | {"Host": target.netloc})
            response = connection.getresponse()
            content = response.read()
            connection.close()
            return response.status, response.headers.get("Content-Type", ""), content

        def _reply(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # callers that have given up

    listening = Quiet(("127.0.0.1", 0), Handler)
    made = Proxy(f"http://127.0.0.1:{listening.server_address[1]}")
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield made
    listening.shutdown()
    listening.server_close()
    thread.join()


def project_of(folder: Path, kind: str) -> int:
    """The number of a run's project."""
    return int(json.loads((folder / "label_studio.json").read_text(encoding="utf-8"))[kind])
