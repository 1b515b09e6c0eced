"""What annotators on a server share: credentials, retries, one line for each failure, and notes of what lies where."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from labelwise.annotators.remote import (
    Patience,
    Server,
    asked,
    checked_url,
    credential,
    hidden,
    kind_of,
    read_dotenv,
    read_notes,
    write_notes,
)
from labelwise.errors import ConfigError, DataError, ServerAway, ServerError

SERVER = Server("CVAT", "http://host", "CVAT_ACCESS_TOKEN", ("s3cret",))


class Answered(Exception):
    """An exception of a client library: a status, a body, perhaps headers."""

    def __init__(self, status, body="", headers=None):
        super().__init__(f"status {status}")
        self.status, self.body, self.headers = status, body, headers


class Clock:
    """Time that passes only in pauses."""

    def __init__(self):
        self.now, self.pauses = 0.0, []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def run(outcomes, patience=None, **options):
    """What comes of a call that fails or returns as listed, and the clock."""
    clock, left = Clock(), list(outcomes)

    def call():
        found = left.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    return lambda: asked(call, SERVER, patience=patience, sleep=clock.sleep, **options), clock, left


def test_a_call_that_works_is_made_once():
    call, clock, _ = run(["done"])
    assert call() == "done"
    assert clock.pauses == []


@pytest.mark.parametrize(
    "error",
    [
        Answered(500),
        Answered(503),
        Answered(429),
        ConnectionResetError("gone"),
        TimeoutError("late"),
        BrokenPipeError(32, "pipe"),
        http.client.IncompleteRead(b"half"),
        urllib3.exceptions.ProtocolError("aborted"),
        urllib3.exceptions.ReadTimeoutError(None, "u", "late"),
        ConnectionRefusedError(111, "Connection refused"),
        socket.gaierror(-2, "Name or service not known"),
    ],
)
def test_what_may_pass_is_tried_again_with_growing_pauses(error):
    call, clock, _ = run([error, error, error, "done"], Patience(first=1.0, longest=100))
    assert call() == "done"
    assert [0.5 <= p / 2**i <= 1 for i, p in enumerate(clock.pauses)] == [True] * 3


def test_a_pause_is_at_least_what_the_server_asks_for_within_bounds():
    call, clock, _ = run([Answered(429, headers={"Retry-After": "7"}), Answered(503, headers={"Retry-After": "x"}), 1])
    assert call() == 1
    assert clock.pauses[0] == 7
    call, clock, _ = run([Answered(429, headers={"Retry-After": "3600"}), 1], Patience(longest=9))
    assert call() == 1
    assert clock.pauses == [9]


@given(tries=st.integers(1, 12), first=st.floats(0.01, 5), longest=st.floats(0.01, 60), total=st.floats(0, 100))
def test_patience_bounds_number_and_time(tries, first, longest, total):
    call, clock, left = run([ConnectionResetError()] * 20, Patience(tries, first, longest, total))
    with pytest.raises(ServerAway, match="run again to go on"):
        call()
    assert 20 - len(left) <= tries
    assert clock.now <= total + 1e-9
    assert all(pause <= longest for pause in clock.pauses)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Answered(401), "wrong or expired; renew CVAT_ACCESS_TOKEN"),
        (Answered(403, '{"detail": "not a member"}'), "not a member"),
        (Answered(404), "knows no such thing"),
        (Answered(400, b'{"name": ["too long"]}'), "too long"),
        (Answered(413, "<html><body>nginx</body></html>"), r"refuses the request \(413\) \(413\)"),
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "certificate is not trusted"),
    ],
)
def test_what_a_person_must_mend_is_said_at_once_in_one_line(error, words):
    call, clock, _ = run([error] * 9, doing="uploading images")
    with pytest.raises(ServerError, match=words) as caught:
        call()
    assert clock.pauses == []
    assert str(caught.value).startswith("CVAT at http://host, uploading images: ")
    assert "\n" not in str(caught.value)
    assert type(caught.value) is ServerError


def test_an_error_is_known_wherever_a_library_keeps_its_cause():
    reason = urllib3.exceptions.NameResolutionError("host", None, socket.gaierror(-2, "unknown"))
    assert kind_of(urllib3.exceptions.MaxRetryError(None, "u", reason)) == "host"
    wrapped = RuntimeError("no connection")
    wrapped.__cause__ = ssl.SSLCertVerificationError(1, "self-signed")
    assert kind_of(wrapped) == "certificate"
    loop = RuntimeError("a")
    loop.__context__ = other = RuntimeError("b")
    other.__context__ = loop
    assert kind_of(loop) is None


@pytest.mark.parametrize(
    "error", [ValueError("bug"), KeyError("x"), DataError("bad image"), FileNotFoundError(2, "no"), KeyboardInterrupt()]
)
def test_what_is_no_failure_of_the_network_passes_through(error):
    call, clock, _ = run([error])
    with pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error
    assert clock.pauses == []


def test_our_own_error_stays_although_the_network_failed_before():
    error = DataError("mend it")
    error.__context__ = ConnectionResetError()
    assert kind_of(error) is None


def test_no_message_holds_a_secret():
    call, *_ = run([Answered(400, "token s3cret is bad\nline two")])
    with pytest.raises(ServerError) as caught:
        call()
    assert "s3cret" not in str(caught.value)
    assert "token ... is bad line two" in str(caught.value)
    assert "s3cret" not in repr(SERVER)
    assert hidden("a ab", ("a", "ab", "")) == "... ..."


def test_credentials_come_from_the_environment_then_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("A_KEY", "B_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert credential("A_KEY", "B_KEY") is None
    (tmp_path / ".env").write_text("B_KEY=from file\n", encoding="utf-8")
    assert credential("A_KEY", "B_KEY") == "from file"
    monkeypatch.setenv("A_KEY", "  ")
    assert credential("A_KEY", "B_KEY") == "from file"
    monkeypatch.setenv("A_KEY", "from environment")
    assert credential("A_KEY", "B_KEY") == "from environment"


def test_a_file_of_credentials_is_read_as_shells_write_it(tmp_path):
    file = tmp_path / ".env"
    file.write_text(
        "\ufeff# comment\nexport A = 'x # y'\nB=\"q\"\nC= plain # note\nD=\nE=a=b#c\n not a line\n1X=no\nÜ=ü\n",
        encoding="utf-8",
    )
    assert read_dotenv(file) == {"A": "x # y", "B": "q", "C": "plain", "D": "", "E": "a=b#c"}
    file.write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_dotenv(file)
    with pytest.raises(ConfigError, match="cannot read it"):
        read_dotenv(tmp_path)
    assert read_dotenv(tmp_path / "none") == {}


@pytest.mark.parametrize("url", ["http://h", "https://h:8080/cvat/", " http://127.0.0.1:1 ", "http://[::1]:80"])
def test_addresses(url):
    assert checked_url(url, "annotator.url") == url.strip().rstrip("/")


@pytest.mark.parametrize("url", ["", "host", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://h?q=1"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match=r"annotator\.url: expected an address such as"):
        checked_url(url, "annotator.url")


def test_an_address_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="environment") as caught:
        checked_url("https://me:s3cret@host", "annotator.url")
    assert "s3cret" not in str(caught.value)


def test_notes_are_whole_or_absent(tmp_path):
    file = tmp_path / "000" / "cvat.json"
    assert read_notes(file) == {}
    write_notes(file, {"tasks": {"ü": 1}})
    assert read_notes(file) == {"tasks": {"ü": 1}}
    assert [p.name for p in file.parent.iterdir()] == ["cvat.json"]
    for broken in ("", "{", "[1]", "\x00"):
        file.write_text(broken, encoding="utf-8")
        assert read_notes(file) == {}
