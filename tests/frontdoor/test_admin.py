"""The admin listener of a whole greenproxy: who is alive, who is ready, and what all workers do together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from greenproxy import __version__, cli
from tests.client import Address, Answer, RawClient, get
from tests.control.documents import document
from tests.control.test_page import fields
from tests.frontdoor.edge import edge, open_gate, request_in_flight
from tests.frontdoor.guests import INI as GUNICORN_INI
from tests.frontdoor.guests import Gunicorn
from tests.processes import ROOT, Proxy, is_running, wait_until
from tests.scripted import ScriptedBackend

HERE = "127.0.0.1:0"
INI = """
[greenproxy]
workers = {workers}
access-log = access.log
admin = {admin}
{more}

[listener:web]
bind = 127.0.0.1:0

[upstream:shop]
backends = {backend} name=blue
health-interval = 50ms
health-rise = 1
health-fall = 1

[route:other]
path = /other
upstream = shop
"""
DEAD = "http://127.0.0.1:1"


def proxy(folder: Path, backend: str = DEAD, admin: str = HERE, workers: int = 2, more: str = "") -> Proxy:
    return Proxy(INI.format(backend=backend, admin=admin, workers=workers, more=more), folder)


def ask(at: Proxy | Address, path: str, *fields: str, method: str = "GET") -> Answer:
    """Return the answer of an admin listener, over a connection of its own."""
    with RawClient(("127.0.0.1", at.port("admin")) if isinstance(at, Proxy) else at) as client:
        return client.ask(get(path, *fields, method=method, host="localhost"), method=method)


def status(at: Proxy | Address, query: str = "") -> Any:
    """Return the document of /api/status."""
    answer = ask(at, f"/api/status{query}")
    assert answer.status == 200
    return answer.json()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that tests ask and leave as it is."""
    with ScriptedBackend() as backend, proxy(tmp_path_factory.mktemp("shared"), backend.url, workers=1) as running:
        yield running


def test_the_log_tells_where_it_is_and_it_answers(shared: Proxy) -> None:
    shared.wait_for_log(r"listening on http://127\.0\.0\.1:[1-9]\d* \(admin\)")
    answer = ask(shared, "/healthz")
    assert (answer.status, answer.body, answer.get("cache-control")) == (200, b"ok\n", "no-store")


def test_resources_are_told_by_one_worker_and_every_field_is_explained(shared: Proxy) -> None:
    told = ask(shared, "/api/resources").json()
    assert told["pid"] in shared.workers()
    page = (ROOT / "docs" / "admin.md").read_text().partition("## What a worker holds")[2].partition("## greenproxy status")[0]
    counted = {"greenlets", "watchers", "descriptors"}  # by kinds, of which only the telling ones are explained
    plain = {key: {} if key in counted else value for key, value in told.items()}
    assert [field for field in fields(plain) if f"`{field}`" not in page] == []


def test_all_workers_are_told_together_and_each_alone(tmp_path: Path) -> None:
    with ScriptedBackend() as backend, proxy(tmp_path, backend.url) as running:
        for _ in range(20):
            with RawClient(("127.0.0.1", running.port())) as client:
                assert client.ask(get("/", "Connection: close")).status == 200
        document = wait_until(lambda: (found := status(running))["requests"] == 20 and found, "all requests are counted")
        assert (document["version"], document["pid"], document["generation"]) == (__version__, running.pid, 1)
        assert document["reload"] == {"number": 0, "state": "none", "message": ""}
        assert sorted(each["pid"] for each in document["workers"]) == running.workers()
        assert {each["state"] for each in document["workers"]} == {"serving"}
        (listener,) = document["listeners"]
        assert (listener["name"], listener["bind"]) == ("web", [f"127.0.0.1:{running.port()}"])
        assert [route["name"] for route in document["routes"]] == ["other"]
        (upstream,) = document["upstreams"]
        (blue,) = upstream["backends"]
        assert (blue["name"], blue["requests"], blue["failures"]) == ("blue", 20, 0)
        each = [status(running, f"?worker={pid}") for pid in running.workers()]
        assert sum(one["requests"] for one in each) == 20
        assert [len(one["workers"]) for one in each] == [1, 1]
        assert ask(running, f"/api/status?worker={running.pid}").status == 404


def test_a_worker_that_was_killed_is_replaced_and_its_requests_still_count(tmp_path: Path) -> None:
    with ScriptedBackend() as backend, proxy(tmp_path, backend.url, workers=1) as running:
        with RawClient(("127.0.0.1", running.port())) as client:
            client.ask(get("/", "Connection: close"))
        wait_until(lambda: status(running)["requests"] == 1, "the request is counted")
        (worker,) = running.workers()
        os.kill(worker, signal.SIGKILL)
        running.wait_for_log("another one starts")
        document = wait_until(lambda: (found := status(running))["workers"] and found, "a worker serves")
        assert [each["pid"] == worker for each in document["workers"]] == [False]
        assert document["requests"] == 1


def test_admin_requests_are_neither_logged_nor_counted(tmp_path: Path) -> None:
    with ScriptedBackend() as backend, proxy(tmp_path, backend.url, workers=1) as running:
        with RawClient(("127.0.0.1", running.port("admin"))) as client:
            for path in ("/healthz", "/api/status", "/nowhere"):
                client.ask(get(path))
            with RawClient(("127.0.0.1", running.port())) as other:
                other.ask(get("/counted", "Connection: close"))
            document = wait_until(lambda: (found := status(running))["requests"] and found, "the request is counted")
            assert (document["requests"], document["connections"]) == (1, {"active": 0, "idle": 0})
        assert running.stop() == 0
        lines = (tmp_path / "access.log").read_text().splitlines()
        assert ["/counted" in line for line in lines] == [True]


def test_the_document_has_the_fields_that_the_page_explains(shared: Proxy) -> None:
    missing = set(fields(document())) ^ set(fields(status(shared)))
    of_routes = {"host", "header", "listener", "method", "path", "redirect", "status", "upstream"}  # as a route has them
    of_tls = {"certificates", "file", "handshakes", "names", "not_after", "resumed", "tls"}  # as a listener that speaks TLS
    assert missing <= of_routes | of_tls


def test_routes_and_upstreams_of_the_proxy_are_not_behind_it(shared: Proxy) -> None:
    assert ask(shared, "/other").status == 404


def test_admin_may_be_a_unix_socket_for_its_user_alone(tmp_path: Path) -> None:
    with proxy(tmp_path, admin="unix:admin.sock") as running:
        path = tmp_path / "admin.sock"
        assert path.stat().st_mode & 0o777 == 0o660
        assert status(str(path))["pid"] == running.pid


def test_an_admin_that_is_taken_is_told_and_nothing_starts(tmp_path: Path) -> None:
    with proxy(tmp_path) as running:
        second = tmp_path / "second"
        second.mkdir()
        other = proxy(second, admin=f"127.0.0.1:{running.port('admin')}")
        other.start()
        try:
            assert other.wait() == 1
            assert "(admin): Address already in use" in other.log()
        finally:
            other.kill_all()


# ------------------------------------------------------------------ who may ask


def test_with_a_token_the_state_needs_it_and_probes_do_not(tmp_path: Path) -> None:
    with proxy(tmp_path, admin="0.0.0.0:0", more="admin-token = s3cret") as running:
        answer = ask(running, "/api/status")
        assert (answer.status, answer.get("www-authenticate")) == (401, 'Bearer realm="greenproxy"')
        assert ask(running, "/api/status", "Authorization: Bearer wrong").status == 401
        assert ask(running, "/api/status", "Authorization: Bearer s3cret").json()["pid"] == running.pid
        assert ask(running, "/healthz").status == 200


def test_without_a_token_it_starts_on_no_address_that_others_reach(tmp_path: Path) -> None:
    running = proxy(tmp_path, admin="0.0.0.0:0")
    running.start()
    try:
        assert running.wait() == 2
        assert f"{running.file}:5: [greenproxy] admin: 0.0.0.0:0 can be reached from elsewhere" in running.log()
    finally:
        running.kill_all()


# ------------------------------------------------------------------ how it answers


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/status"])
def test_head_has_the_same_length_and_no_body(shared: Proxy, path: str) -> None:
    answer = ask(shared, path, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.get("content-length") or 0) > 0


def test_connections_are_kept_and_bad_requests_refused(shared: Proxy) -> None:
    with RawClient(("127.0.0.1", shared.port("admin"))) as client:
        post = client.ask(get("/healthz", "Content-Length: 3", method="POST") + b"abc")
        assert (post.status, post.get("allow")) == (405, "GET, HEAD")
        assert client.ask(get("/healthz")).status == 200
        assert client.ask(b"GET /healthz HTTP/1.1\r\n\r\n").status == 400


# ------------------------------------------------------------------ readiness


def test_readyz_follows_the_backends(tmp_path: Path) -> None:
    with ScriptedBackend() as backend, proxy(tmp_path, backend.url, workers=1) as running:
        assert ask(running, "/readyz").body == b"ok\n"
        backend.stop()
        answer = wait_until(
            lambda: (found := ask(running, "/readyz")).status == 503 and found, "the only backend is seen to be down"
        )
        assert answer.body == b"upstream shop has no available backend\n"
        assert ask(running, "/healthz").status == 200
        wait_until(lambda: status(running)["upstreams"][0]["backends"][0]["state"] == "down", "the document says so too")


def test_while_all_stop_it_says_so_to_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with edge(tmp_path, admin="unix:admin.sock") as running, request_in_flight(running, running.port()) as client:
        assert ask(path, "/readyz").body == b"ok\n"
        running.send(signal.SIGTERM)
        running.wait_for_log("stopping")
        wait_until(lambda: ask(path, "/readyz").status == 503, "readyz turns")
        wait_until(lambda: len(running.workers()) == 1, "the worker without a request has gone")
        for _ in range(3):
            assert ask(path, "/readyz").body == b"stopping\n"
        assert ask(path, "/healthz").status == 200
        assert [each["state"] for each in status(path)["workers"]] == ["draining"]
        open_gate(running)
        assert client.getresponse().status == 200
        assert running.wait() == 0
        assert not (tmp_path / "admin.sock").exists()


def test_after_ctrl_c_it_says_so_to_the_end_though_the_worker_knows_before_its_master(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with edge(tmp_path, admin="unix:admin.sock", workers="1") as running, request_in_flight(running, running.port()) as client:
        running.send(signal.SIGSTOP)  # a master that is busy for a moment
        os.kill(running.workers()[0], signal.SIGINT)
        wait_until(lambda: status(path)["workers"][0]["state"] == "draining", "the worker leaves")
        running.send(signal.SIGINT)
        running.send(signal.SIGCONT)
        wait_until(lambda: ask(path, "/readyz").status == 503, "readyz turns")
        end_s = monotonic() + 1.5  # by then the worker has found out that nobody goes on
        while monotonic() < end_s:
            assert ask(path, "/readyz").body == b"stopping\n"
        open_gate(running)
        assert client.getresponse().status == 200
        assert running.wait() == 0


def test_while_gunicorn_stops_it_says_so_to_the_end_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "admin.sock")
    gunicorn = Gunicorn(tmp_path, "--pid", "gunicorn.pid")
    gunicorn.write(GUNICORN_INI.replace("[greenproxy]", "[greenproxy]\nadmin = unix:admin.sock"))
    with gunicorn, request_in_flight(gunicorn, gunicorn.port()) as client:
        gunicorn.send(signal.SIGTERM)
        wait_until(lambda: len(gunicorn.workers()) == 1, "the worker without a request has gone")
        for _ in range(3):
            assert (ask(path, "/readyz").status, ask(path, "/readyz").body) == (503, b"stopping\n")
        assert status(path)["state"] == "stopping"
        assert cli.main(["reload", "--pid-file", str(tmp_path / "gunicorn.pid"), "--admin", f"unix:{path}"], {}) == 1
        assert capsys.readouterr().err == f"greenproxy reload: process {gunicorn.pid} is stopping\n"
        open_gate(gunicorn)
        assert client.getresponse().status == 200
        assert gunicorn.wait() == 0


def test_a_worker_that_is_replaced_leaves_the_answers_to_its_successor(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with edge(tmp_path, admin="unix:admin.sock", workers="1") as running, request_in_flight(running, running.port()) as client:
        (old,) = running.workers()
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: len(running.workers()) == 2, "there is a successor")
        states = wait_until(
            lambda: (found := {each["pid"]: each["state"] for each in status(path)["workers"]}) and len(found) == 2 and found,
            "both are on the board",
        )
        assert states[old] == "draining"
        assert {ask(path, "/readyz").status for _ in range(20)} == {200}
        open_gate(running)
        assert client.getresponse().status == 200


def test_clients_of_the_admin_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    with proxy(tmp_path) as running, RawClient(("127.0.0.1", running.port("admin"))) as idle:
        idle.ask(get("/healthz"))
        with RawClient(("127.0.0.1", running.port("admin"))):
            assert running.stop(within_s=8) == 0
        assert idle.until_closed() == b""


def test_after_an_upgrade_the_old_workers_leave_the_answers_to_the_new(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with edge(tmp_path, admin="unix:admin.sock", workers="1") as old, request_in_flight(old, old.port()) as client:
        old.send(signal.SIGUSR2)
        new = int(old.wait_for_log(r"the new program starts \(pid (\d+)\)")[1])
        try:
            old.wait_for_log("the new program is ready")
            old.send(signal.SIGTERM)
            old.wait_for_log("stopping")
            wait_until(lambda: status(path)["pid"] == new, "the new master's worker answers")
            assert {(ask(path, "/readyz").body, status(path)["pid"]) for _ in range(20)} == {(b"ok\n", new)}
            open_gate(old)
            assert client.getresponse().status == 200
            assert old.wait() == 0
            assert status(path)["pid"] == new
        finally:
            os.kill(new, signal.SIGTERM)
            wait_until(lambda: not is_running(new), "the new program has stopped")
