"""Real servers behind and real clients before: nginx, http.server, Flask under gunicorn; curl and httpx."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import ask, get
from tests.e2e.programs import FlaskApp, Nginx, SimpleServer, needs
from tests.running import RunningProxy

INI = """
[listener:web]
bind = 127.0.0.1:0, unix:web.sock
[upstream:shop]
backends = {backend}
"""


def folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder whose path is short enough for a Unix socket."""
    return factory.mktemp(name)


def in_front_of(url: str, where: Path) -> RunningProxy:
    return RunningProxy(where, INI.format(backend=url))


@pytest.fixture(scope="module")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with FlaskApp(folder(tmp_path_factory, "flask")) as app, in_front_of(app.url, folder(tmp_path_factory, "fp")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, Path]]:
    with Nginx(folder(tmp_path_factory, "nginx")) as server, in_front_of(server.url, folder(tmp_path_factory, "np")) as proxy:
        yield proxy, server.files


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, Path]]:
    with (
        SimpleServer(folder(tmp_path_factory, "simple")) as server,
        in_front_of(server.url, folder(tmp_path_factory, "sp")) as proxy,
    ):
        yield proxy, server.files


@pytest.fixture
def browser(flask: RunningProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{flask.port()}", timeout=20, trust_env=False) as client:
        yield client


def curl(*arguments: str) -> str:
    """Run curl and return what it prints."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "--noproxy", "*", *arguments], capture_output=True, text=True, timeout=40
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("gunicorn", "flask")
def test_httpx_talks_to_flask_over_one_connection(browser: httpx.Client) -> None:
    for number in range(10):
        seen = browser.post("/echo", params={"n": number}, content="x" * number).json()
        assert (seen["args"], seen["body"]) == ({"n": str(number)}, "x" * number)


@needs("gunicorn", "flask")
def test_httpx_streams_an_upload_in_chunks_to_flask(browser: httpx.Client) -> None:
    seen = browser.post("/echo", content=(b"part %d," % number for number in range(100))).json()

    assert seen["body"] == "".join(f"part {number}," for number in range(100))


@needs("gunicorn", "flask")
def test_flask_streams_to_httpx(browser: httpx.Client) -> None:
    with browser.stream("GET", "/stream") as answer:
        assert list(answer.iter_lines()) == [f"line {number}" for number in range(1000)]


@needs("gunicorn", "flask")
def test_files_and_cookies_pass(browser: httpx.Client) -> None:
    assert browser.post("/upload", files={"big": os.urandom(3_000_000), "small": b"1"}).json() == {"big": 3_000_000, "small": 1}
    browser.get("/cookies")
    assert browser.get("/cookies").json() == {"a": "1", "b": "2"}


@needs("gunicorn", "flask")
def test_an_error_of_flask_is_its_own_page(browser: httpx.Client) -> None:
    answer = browser.get("/error")

    assert (answer.status_code, "proxy-status" in answer.headers, "<title>" in answer.text) == (500, False, True)


@needs("gunicorn", "flask", "curl")
def test_curl_gets_through_a_unix_socket(flask: RunningProxy) -> None:
    assert '"host":"shop.example.com"' in curl("--unix-socket", str(flask.folder / "web.sock"), "http://shop.example.com/echo")


@needs("gunicorn", "flask", "curl")
def test_curl_expects_100_continue_for_a_large_upload(flask: RunningProxy, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 2_000_000)
    url = f"http://127.0.0.1:{flask.port()}/upload"

    assert curl("-H", "Expect: 100-continue", "-F", f"file=@{tmp_path}/large", url).strip() == '{"file":2000000}'


@needs("gunicorn", "flask", "curl")
@pytest.mark.parametrize("flag", ["--http1.0", "--http1.1", "--head"])
def test_curl_is_happy_with_every_version(flask: RunningProxy, flag: str) -> None:
    assert curl(flag, "-o", os.devnull, "-w", "%{http_code}", f"http://127.0.0.1:{flask.port()}/echo").endswith("200")


@needs("nginx")
def test_a_large_file_of_nginx_arrives_whole(nginx: tuple[RunningProxy, Path]) -> None:
    running, files = nginx
    data = os.urandom(5_000_000)
    (files / "large.bin").write_bytes(data)

    assert hashlib.sha1(ask(running.address(), get("/large.bin")).body).digest() == hashlib.sha1(data).digest()


@needs("nginx")
def test_a_range_of_nginx_is_a_range_of_ours(nginx: tuple[RunningProxy, Path]) -> None:
    running, files = nginx
    (files / "digits").write_text("0123456789")
    told = ask(running.address(), get("/digits", "Range: bytes=2-4"))

    assert (told.status, told.body, told.get("content-range")) == (206, b"234", "bytes 2-4/10")


@needs("nginx")
def test_304_of_nginx_is_a_304_of_ours(nginx: tuple[RunningProxy, Path]) -> None:
    running, files = nginx
    (files / "page.txt").write_text("hello")
    tag = ask(running.address(), get("/page.txt")).get("etag")

    assert ask(running.address(), get("/page.txt", f"If-None-Match: {tag}")).status == 304


@needs("nginx")
def test_compressed_chunks_of_nginx_pass_untouched(nginx: tuple[RunningProxy, Path]) -> None:
    running, files = nginx
    (files / "text.txt").write_text("to be compressed " * 1000)
    told = httpx.get(f"http://127.0.0.1:{running.port()}/text.txt", trust_env=False)

    assert (told.headers["content-encoding"], told.text) == ("gzip", "to be compressed " * 1000)


@needs("nginx")
def test_nginx_is_told_who_asks(nginx: tuple[RunningProxy, Path]) -> None:
    assert ask(nginx[0].address(), get("/fields")).body == b"127.0.0.1|1.1 greenproxy|shop.example.com"


def test_files_of_http_server_arrive_though_it_speaks_http_10(simple: tuple[RunningProxy, Path]) -> None:
    running, files = simple
    (files / "page.txt").write_text("hello")
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port()}", trust_env=False) as client:
        answers = [client.get("/page.txt") for _ in range(10)]

    assert [(answer.status_code, answer.text, answer.http_version) for answer in answers] == [(200, "hello", "HTTP/1.1")] * 10
    assert client.is_closed


def test_http_server_says_501_itself(simple: tuple[RunningProxy, Path]) -> None:
    told = ask(simple[0].address(), get("/page.txt", method="DELETE"))

    assert (told.status, told.get("proxy-status")) == (501, None)
