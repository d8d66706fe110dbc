"""The demo backend, as an application and as a process."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from greenproxy.apps.demo import CannotListen, DemoApp, serve
from greenproxy.config.settings import Address
from tests.processes import is_running, wait_until

SERVE = """
import sys
from greenproxy.apps.demo import serve
from greenproxy.config.settings import Address
serve(Address(**eval(sys.argv[1])), "blue", dies_with_parent=bool(sys.argv[2:]))
"""


def ask(target: str, body: bytes = b"", **environ: str) -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers and body of the application's answer."""
    path, _, query = target.partition("?")
    told: list[Any] = []
    given = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO(body), **environ}
    page = b"".join(DemoApp("blue")(given, lambda *args: told.extend(args)))
    return told[0], dict(told[1]), page


def test_it_names_itself_and_tells_what_it_was_asked() -> None:
    status, headers, page = ask(
        "/a b?x=1", b"12345", REQUEST_METHOD="POST", HTTP_HOST="h", HTTP_X_FORWARDED_FOR="1.2.3.4", CONTENT_LENGTH="5"
    )
    assert (status, headers["Content-Type"], headers["Content-Length"]) == ("200 OK", "application/json", str(len(page)))
    assert json.loads(page) == {
        "name": "blue",
        "pid": os.getpid(),
        "method": "POST",
        "path": "/a b",
        "query": "x=1",
        "host": "h",
        "forwarded_for": "1.2.3.4",
        "headers": 3,
        "bytes": 5,
    }


def test_it_is_healthy() -> None:
    assert ask("/healthz?status=503")[::2] == ("200 OK", b"ok\n")


@pytest.mark.parametrize(("asked", "told"), [("503", "503 Service Unavailable"), ("200", "200 OK"), ("599", "599 Status")])
def test_it_answers_with_the_status_it_is_told(asked: str, told: str) -> None:
    status, _, page = ask(f"/?status={asked}")
    assert (status, json.loads(page)["name"]) == (told, "blue")


@pytest.mark.parametrize("target", ["/?status=204", "/?status=304"])
def test_statuses_without_a_body_have_none(target: str) -> None:
    assert ask(target)[1:] == ({}, b"")


def test_head_has_the_length_but_no_body() -> None:
    _, headers, page = ask("/", REQUEST_METHOD="HEAD")
    assert int(headers["Content-Length"]) > 0
    assert page == b""


@pytest.mark.parametrize(("asked", "delay_s"), [("250ms", 0.25), ("2s", 2), ("1.5", 1.5), ("1m", 60), ("0", None)])
def test_it_waits_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch, asked: str, delay_s: float | None) -> None:
    slept: list[float] = []
    monkeypatch.setattr(gevent, "sleep", slept.append)
    ask(f"/?delay={asked}")
    assert slept == ([] if delay_s is None else [delay_s])


@pytest.mark.parametrize(
    "query",
    ["delay=x", "delay=-1s", "delay=1h", "delay=301s", "delay=1e9", "status=99", "status=600", "status=x", "status=%C2%B2"],
)
def test_nonsense_is_a_400_with_a_sentence(query: str) -> None:
    status, _, page = ask(f"/?{query}")
    assert status == "400 Bad Request"
    assert page.startswith(query.partition("=")[0].encode())


# ------------------------------------------------------------------ the process


@pytest.fixture
def started() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Return a function that starts a demo backend and returns it with the address it says it listens on."""
    processes: list[subprocess.Popen[str]] = []

    def start(**address: object) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen([sys.executable, "-c", SERVE, repr(address)], stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stderr is not None
        words = process.stderr.readline().split()
        assert words[:5] == ["demo", "backend", "blue", "listens", "on"]
        return process, words[5]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def fetch(address: str, target: str) -> tuple[int, bytes]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_serves_until_it_is_told_to_stop(started: Start, number: signal.Signals) -> None:
    process, address = started(host="127.0.0.1", port=0)
    status, page = fetch(address, "/x?status=503")
    assert (status, json.loads(page)["pid"]) == (503, process.pid)
    process.send_signal(number)
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""  # no log of requests, no traceback


def test_process_serves_on_a_unix_socket_and_takes_it_away(started: Start, tmp_path: Path) -> None:
    path = tmp_path / "demo.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    process, shown = started(path=str(path))
    assert shown == str(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    process.terminate()
    assert process.wait(10) == 0
    assert not path.exists()


PARENT = """
import os, socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], repr({"path": sys.argv[2]}), "die"])
with socket.socket(socket.AF_UNIX) as client:
    while client.connect_ex(sys.argv[2]):
        assert child.poll() is None
        time.sleep(0.01)
print(child.pid, flush=True)
os._exit(0)
"""


def test_process_ends_with_its_parent_and_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "demo.sock"
    output = tmp_path / "output"
    with output.open("wb") as file:
        subprocess.run([sys.executable, "-c", PARENT, SERVE, str(path)], stdout=file, stderr=file, check=True, timeout=30)
    pid = int(output.read_text())
    wait_until(lambda: not path.exists(), "its socket is gone")
    wait_until(lambda: not is_running(pid), "it has ended")
    assert output.read_text() == f"{pid}\n"


def test_address_that_is_taken_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"):
            serve(Address(host="127.0.0.1", port=port), "blue")


def test_unix_socket_that_somebody_listens_on_is_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "demo.sock"
    with socket.socket(socket.AF_UNIX) as running:
        running.bind(str(path))
        running.listen(1)
        with pytest.raises(CannotListen, match=r": Address already in use$"):
            serve(Address(path=str(path)), "blue")
        assert path.is_socket()


def test_process_leaves_what_somebody_else_has_put_in_the_place_of_its_socket(started: Start, tmp_path: Path) -> None:
    path = tmp_path / "demo.sock"
    process, _ = started(path=str(path))
    path.unlink()
    path.write_text("precious")
    process.terminate()
    assert process.wait(10) == 0
    assert path.read_text() == "precious"


def test_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(CannotListen):
        serve(Address(path=str(file)), "blue")
    assert file.read_text() == "data"
