"""Eight people answer at once while the run trains and the server is killed twice: every answer is there once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from labelwise import api
from labelwise.store import Store
from labelwise.testing import make_images

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow
NAMES = ("blue", "red")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The page in a process of its own, ready to answer."""
    command = [sys.executable, "-c", "from labelwise.cli import main; main()", "serve", str(folder)]
    started = subprocess.Popen([*command, "--port", str(port), "--no-open"], env={**os.environ, "LABELWISE_TOKEN": ""})
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/annotate/state")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    return started


class Everybody:
    """Eight people who answer whatever is open, and remember what was acknowledged."""

    def __init__(self, port: int) -> None:
        self.base, self.stop = f"http://127.0.0.1:{port}/api/annotate", threading.Event()
        self.acknowledged: list[tuple[str, str, str]] = []
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self._work, args=(f"p{i}",), daemon=True) for i in range(8)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def _work(self, who: str) -> None:
        with httpx.Client(timeout=30) as client:
            while not self.stop.is_set():
                for question in self._post(client, "next", {"annotator": who, "count": 2}).get("questions", []):
                    name = NAMES[int(Path(question["sample"]).stem) % 2]
                    body = {"query": question["id"], "annotator": who, "answer": {"kind": "class", "name": name}}
                    if "state" in self._post(client, "answer", body, who) or self.stop.is_set():
                        continue
                time.sleep(0.1)

    def _post(self, client: Any, path: str, body: dict[str, Any], who: str = "") -> dict[str, Any]:
        """Send until there is a reply: a person's page does not give up while the server is away."""
        while not self.stop.is_set():
            try:
                reply = client.post(f"{self.base}/{path}", json=body)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if reply.status_code == 200 and path == "answer":
                self.acknowledged.append((body["query"], who, body["answer"]["name"]))
            elif reply.status_code not in (200, 409):
                self.wrong.append(f"{path}: {reply.status_code} {reply.text}")
            return dict(reply.json()) if reply.status_code == 200 else {}
        return {}


def test_every_acknowledged_answer_is_there_once(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 160, size=8)
    plan = {
        "name": "r", "data": {"format": "images_folder", "path": str(tmp_path / "images"), "test": 0}, "audit": 10,
        "model": {"name": "frozen", "backbone": "pixels", "size": 4}, "annotator": "web", "strategy": "margin",
        "budget": {"initial": 40, "per_round": 20, "rounds": 5}, "threads": 1,
        "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    folder = api.run(plan, report=False, wait=False).folder
    port = free_port()
    server = serve(folder, port)
    for name in NAMES:
        httpx.post(f"http://127.0.0.1:{port}/api/annotate/class", json={"name": name, "annotator": "p0"})
    people = Everybody(port)
    try:
        ended: list[Any] = []
        loop = threading.Thread(target=lambda: ended.append(api.run(plan, report=False, wait=0.2)), daemon=True)
        loop.start()
        for _ in range(2):
            time.sleep(1.5)
            server.kill()
            server.wait()
            server = serve(folder, port)
        loop.join(120)
    finally:
        people.end()
        server.terminate()
        server.wait()
    assert people.wrong == []
    assert ended
    assert ended[0].state == "finished"
    with Store(folder / "run.db") as store:
        annotations, answers = store.annotations(), store.people.answers()
        asked = [q.id for q in store.queries()]
    assert sorted(annotations) == sorted(asked)
    assert all(len(answers[id]) == 1 for id in asked)
    by_query = Counter(id for id, _, _ in set(people.acknowledged))
    assert set(by_query.values()) == {1}
    for id, who, name in people.acknowledged:
        assert annotations[id].annotator == who
        assert annotations[id].target is not None
        assert annotations[id].target.classes == (name,)
