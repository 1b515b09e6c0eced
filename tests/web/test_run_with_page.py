"""A run with its page inside: people answer over HTTP, the run goes on; interrupted or killed, no answer is lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from labelwise import api
from labelwise.errors import ConfigError
from labelwise.store import Store

CLASSES = ("dark", "light")
STRESS = float(os.environ.get("LABELWISE_STRESS_SECONDS", "12"))
ANNOTATORS = 8


def images(folder: Path, count: int) -> Path:
    """Tiny pictures, every second one light."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        pixels = rng.integers(0, 90, (8, 8, 3)) + (150 if i % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:04d}.png")
    return folder


def config(tmp_path: Path, count: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "r", "out": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "threads": 1,
        "data": {"format": "images_folder", "path": str(images(tmp_path / "images", count)), "classes": list(CLASSES)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 8}, "strategy": "random", "cold_start": "random",
        "annotator": {"name": "web", "port": 0, "open": False, "poll": 0.05},
        "budget": {"initial": 4, "per_round": 4, "rounds": 3}, **more,
    }  # fmt: skip


def send(request: urllib.request.Request | str) -> tuple[int, Any]:
    """The status and what was answered; OSError also where the server died in the middle of its answer."""
    try:
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, json.load(answer)
    except http.client.HTTPException as error:
        raise ConnectionError(f"half an answer: {error!r}") from error


def post(address: str, path: str, **body: Any) -> tuple[int, Any]:
    return send(
        urllib.request.Request(
            f"{address}api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
    )


def get(address: str, path: str) -> Any:
    return send(f"{address}api/{path}")[1]


def right(sample: str) -> str:
    return CLASSES[int(sample[:4]) % 2]


def answer_all(address: str, who: str = "ann") -> None:
    """Answer whatever is asked until the page is gone."""
    while True:
        try:
            _, found = post(address, "annotate/next", annotator=who, count=3)
            for question in found["questions"]:
                said = {"kind": "class", "name": right(question["sample"])}
                post(address, "annotate/answer", query=question["id"], annotator=who, answer=said, seconds=1.5)
            time.sleep(0.02)
        except OSError:
            return


def test_people_answer_and_the_run_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    states: list[dict[str, Any]] = []
    people: list[threading.Thread] = []

    def tell(line: str) -> None:
        told.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            address = found[0]
            states.append(get(address, "rounds/state"))
            people.append(threading.Thread(target=answer_all, args=(address,)))
            people[0].start()
        if line.startswith("round 1"):
            address = re.search(r"http\S+", " ".join(told))[0]  # type: ignore[index]
            states.append(get(address, "rounds/figures"))

    result = api.run(config(tmp_path, 30, audit=6), tell=tell, report=False)
    for person in people:
        person.join(60)
    assert result.state == "finished"
    assert result.labels(2) == 12
    assert {a.annotator for a in result.annotations.values()} == {"ann"}
    assert all(a.seconds == 1.5 for a in result.annotations.values())
    assert result.curve("accuracy").values[-1] == 1  # type: ignore[union-attr]
    assert states[0]["at_work"]
    assert states[0]["state"] == "unfinished"
    assert [point["labels"] for point in states[1]["curve"]] == [4, 8]
    assert any("the page is closed" in line for line in told)
    assert not (result.folder / "progress.json").exists()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    tree = config(tmp_path, 10)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        tree["annotator"] |= {"port": other.getsockname()[1]}
        with pytest.raises(ConfigError, match=r"cannot serve .*annotator\.port"):
            api.run(tree)


def test_without_waiting_there_is_no_page(tmp_path: Path) -> None:
    told: list[str] = []
    result = api.run(config(tmp_path, 10), tell=told.append, wait=False, report=False)
    assert result.state == "waiting"
    assert not any("http" in line for line in told)
    assert any("labelwise serve" in line for line in told)


class Running:
    """``labelwise run`` as a process of its own, and the address of its page."""

    def __init__(self, file: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "labelwise.cli", "run", str(file), f"annotator.port={port}", "--no-report"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self.address = ""
        ready = threading.Event()

        def read() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.lines.append(line)
                if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                    self.address = found[0]
                    ready.set()
            self.process.stdout.close()
            ready.set()

        self.reader = threading.Thread(target=read)
        self.reader.start()
        ready.wait(120)
        assert self.address, "".join(self.lines)

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def end(self, how: int) -> int:
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.reader.join(60)
        return code


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Any]:
    begun: list[Running] = []

    def begin(tree: dict[str, Any] | None = None, port: int = 0) -> Running:
        file = tmp_path / "run.yaml"
        if tree is not None:
            file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        begun.append(Running(file, port))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def until(happened: Any, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.mark.slow
def test_interrupted_while_people_answer(tmp_path: Path, running: Any) -> None:
    run = running(config(tmp_path, 20))
    found = until(lambda: post(run.address, "annotate/next", annotator="ann", count=2)[1]["questions"])
    for question in found:
        said = {"kind": "class", "name": right(question["sample"])}
        assert post(run.address, "annotate/answer", query=question["id"], annotator="ann", answer=said)[0] == 200
    assert run.end(signal.SIGINT) == 3, "".join(run.lines)
    assert not any("Traceback" in line for line in run.lines)
    with Store(tmp_path / "runs" / "r" / "run.db") as store:
        assert len(store.people.answers()) == len(found) == 2
    # Again, and to the end.
    again = running(port=run.port)
    threading.Thread(target=answer_all, args=(again.address,), daemon=True).start()
    assert again.process.wait(120) == 0
    again.reader.join(60)
    assert "the budget is spent" in again.lines[-2]


class Person(threading.Thread):
    """Answers as fast as it can; remembers what the server has confirmed."""

    def __init__(self, number: int, place: dict[str, str], stop: threading.Event) -> None:
        super().__init__()
        self.who, self.place, self.stop = f"person {number}", place, stop
        self.kept: dict[str, str] = {}
        self.refused: Counter[int] = Counter()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self._round()
            except OSError:  # the server is away, or died in the middle of an answer
                time.sleep(0.05)

    def _round(self) -> None:
        status, found = post(self.place["address"], "annotate/next", annotator=self.who, count=3)
        if status != 200 or not found["questions"]:
            time.sleep(0.02)
            return
        for question in found["questions"]:
            said = {"kind": "class", "name": right(question["sample"])}
            body = {"query": question["id"], "annotator": self.who, "answer": said}
            while not self.stop.is_set():
                try:
                    status, _ = post(self.place["address"], "annotate/answer", **body)
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                return
            if status == 200:
                self.kept[question["id"]] = said["name"]
            else:
                self.refused[status] += 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_eight_people_and_a_server_that_is_killed_twice(tmp_path: Path, running: Any) -> None:
    """Every answer that was confirmed is there exactly once, whatever became of the server meanwhile.

    LABELWISE_STRESS_SECONDS says how long they answer; without it some seconds.
    """
    count = int(200 + 60 * STRESS)
    tree = config(tmp_path, count)
    tree["budget"] = {"initial": 24, "per_round": 24, "rounds": count // 24 - 1}
    tree["annotator"]["overlap"] = 0.0
    run = running(tree)
    place, stop = {"address": run.address}, threading.Event()
    people = [Person(i, place, stop) for i in range(ANNOTATORS)]
    for person in people:
        person.start()
    for _ in range(2):
        time.sleep(STRESS / 3)
        assert run.end(signal.SIGKILL) == -signal.SIGKILL
        run = running(port=run.port)
    time.sleep(STRESS / 3)
    stop.set()
    for person in people:
        person.join(60)
    run.end(signal.SIGKILL)

    with Store(tmp_path / "runs" / "r" / "run.db") as store:
        answers, annotations = store.people.answers(), store.annotations()
        samples = {query.id: query.sample_id for query in store.queries()}
        rounds = {query.round for query in store.queries()}
    confirmed = [(person.who, query, name) for person in people for query, name in person.kept.items()]
    assert len(confirmed) > 24, "too few to say anything"
    assert len(rounds) > 1, "the run went on meanwhile"
    for who, query, name in confirmed:
        theirs = [a for a in answers.get(query, []) if a.annotator == who]
        assert len(theirs) == 1, (who, query)
        assert theirs[0].target is not None
        assert theirs[0].target.classes == (name,)
    # Nobody was asked what another had answered; what was taken in is what was said.
    assert max(Counter(query for _, query, _ in confirmed).values()) == 1
    assert all(len(given) == 1 for given in answers.values())
    for id, annotation in annotations.items():
        assert annotation.annotator == answers[id][0].annotator
        assert annotation.target is not None
        assert annotation.target.classes == (right(samples[id]),)
