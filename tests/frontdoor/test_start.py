"""The start: what newcomers read, where it listens, and the statuses of a start that fails."""

from __future__ import annotations

import http.client
import os
import pwd
import re
import signal
import socket
from pathlib import Path

import pytest

from greenproxy import __version__
from tests.frontdoor.edge import BROKEN_IN_WORKERS, HANGS_IN_WORKERS, edge, get
from tests.processes import Proxy, wait_until

EVERYWHERE = """
[greenproxy]
workers = 1
access-log = off

[listener:web]
bind = 127.0.0.1:0, [::1]:0
    unix:web.sock

[listener:other]
bind = 127.0.0.1:0

[upstream:shop]
backends =
    http://127.0.0.1:1 name=blue
    http://127.0.0.1:2

[route:everything]
path = /
status = 404
"""


def status_over(sock: socket.socket) -> int:
    """Return the status of a request on a connected socket, and close it."""
    with sock:
        sock.settimeout(10)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = http.client.HTTPResponse(sock)
        response.begin()
        response.close()
        return response.status


def test_log_tells_version_file_addresses_upstreams_and_readiness(tmp_path: Path) -> None:
    with Proxy(EVERYWHERE, tmp_path) as proxy:
        log = [re.sub(r"^\S+ \S+ \[\d+\] ", "", line) for line in proxy.log().splitlines()]
    assert log[0] == f"info: greenproxy {__version__} starts with {proxy.file} (pid {proxy.pid})"
    assert [line.rpartition(" on ")[0] for line in log[1:5]] == ["info: listening"] * 4
    assert log[5] == "info: upstream shop: 127.0.0.1:1 (blue), 127.0.0.1:2"
    assert log[6:] == ["info: greenproxy is ready: 1 worker"]


def test_every_address_of_every_listener_answers(tmp_path: Path) -> None:
    with Proxy(EVERYWHERE, tmp_path) as proxy:
        ports = [int(port) for port in re.findall(r"listening on http://\S+:(\d+) ", proxy.log())]
        local = socket.socket(socket.AF_UNIX)
        local.connect(str(tmp_path / "web.sock"))
        addresses = zip(("127.0.0.1", "::1", "127.0.0.1"), ports, strict=True)
        clients = [socket.create_connection(address) for address in addresses]
        assert [status_over(client) for client in [*clients, local]] == [404] * 4


def test_same_port_can_be_had_for_ipv4_and_ipv6(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Proxy(EVERYWHERE.replace("127.0.0.1:0, [::1]:0", f":{port}, [::]:{port}"), tmp_path) as proxy:
        assert status_over(socket.create_connection(("127.0.0.1", port))) == 404
        assert status_over(socket.create_connection(("::1", port))) == 404
        assert proxy.stop() == 0


def test_unix_socket_that_a_dead_process_left_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Proxy(EVERYWHERE, tmp_path) as proxy:
        assert path.is_socket()
        assert proxy.stop() == 0
    assert not path.exists()


def test_second_instance_leaves_the_unix_socket_to_the_one_that_runs(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    path = tmp_path / "web.sock"
    with Proxy(EVERYWHERE, tmp_path) as proxy:
        second = Proxy(EVERYWHERE.replace("unix:web.sock", f"unix:{path}"), tmp_path / "second")
        second.start()
        assert second.wait() == 1
        assert f"cannot listen on unix:{path} (web): Address already in use\n" in second.log()
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        assert status_over(client) == 404
        assert proxy.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("is_replaced", [False, True], ids=["removed", "replaced"])
def test_unix_socket_that_is_not_there_any_more_disturbs_no_stop(tmp_path: Path, is_replaced: bool) -> None:
    path = tmp_path / "web.sock"
    with Proxy(EVERYWHERE, tmp_path, "--pid-file", str(tmp_path / "pid")) as proxy:
        path.unlink()
        if is_replaced:
            path.write_text("somebody else's")
        assert proxy.stop() == 0
    assert "Traceback" not in proxy.log()
    assert not (tmp_path / "pid").exists()
    assert path.exists() == is_replaced


def test_file_in_the_place_of_a_unix_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "web.sock").write_text("precious")
    proxy = Proxy(EVERYWHERE, tmp_path)
    proxy.start()
    assert proxy.wait() == 1
    assert (tmp_path / "web.sock").read_text() == "precious"
    assert "cannot listen on unix:" in proxy.log()


def test_address_in_use_is_status_one_and_names_every_such_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        taken = [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
        proxy = Proxy(EVERYWHERE.replace("127.0.0.1:0, [::1]:0", ", ".join(taken)), tmp_path)
        proxy.start()
        assert proxy.wait() == 1
    for address in taken:
        assert f"cannot listen on {address} (web): Address already in use\n" in proxy.log()
    assert "Traceback" not in proxy.log()


def test_pid_file_holds_the_master_and_is_gone_after_the_stop(tmp_path: Path) -> None:
    with edge(tmp_path, pid_file="greenproxy.pid") as proxy:
        assert int((tmp_path / "greenproxy.pid").read_text()) == proxy.pid
        assert proxy.stop() == 0
    assert not (tmp_path / "greenproxy.pid").exists()


def test_second_start_with_the_same_pid_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "greenproxy.pid"
    file.write_text(f"{os.getpid()}\n")
    proxy = edge(tmp_path, pid_file="greenproxy.pid")
    proxy.start()
    assert proxy.wait() == 1
    assert f"error: pid-file {file} names process {os.getpid()}, which is running: " in proxy.log().splitlines()[-1]
    assert file.exists()


def test_workers_that_cannot_start_are_status_three(tmp_path: Path) -> None:
    proxy = edge(tmp_path, BROKEN_IN_WORKERS)
    proxy.start()
    assert proxy.wait() == 3
    assert "not in workers" in proxy.log()
    assert proxy.log().splitlines()[-1].endswith("greenproxy has stopped: workers cannot start")
    assert "Traceback" not in proxy.log()


def test_worker_that_hangs_before_it_serves_is_ended_and_status_three(tmp_path: Path) -> None:
    proxy = edge(tmp_path, HANGS_IN_WORKERS, worker_timeout="1s")
    proxy.start()
    assert proxy.wait() == 3
    assert "gave no heartbeat" in proxy.log()


def test_stop_during_the_start_is_heard(tmp_path: Path) -> None:
    proxy = edge(tmp_path)
    proxy.start()
    proxy.wait_for_log("listening on")
    assert proxy.stop(signal.SIGTERM, within_s=10) == 0


def test_soft_limit_of_open_files_is_raised_and_the_ceiling_fits(tmp_path: Path) -> None:
    proxy = edge(tmp_path, worker_connections="100000")
    proxy.command = ["bash", "-c", 'ulimit -n 1024; ulimit -Sn 256; exec "$@"', "bash", *proxy.command]
    with proxy:
        limits = Path(f"/proc/{proxy.workers()[0]}/limits").read_text()
        assert re.search(r"Max open files +1024 +1024", limits)
        assert proxy.log().count("worker-connections = 100000 does not fit") == 1
        assert get(proxy.port()) in proxy.workers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")
def test_workers_of_another_user_have_none_of_the_rights_of_root(tmp_path: Path) -> None:
    with Proxy(EVERYWHERE, tmp_path, "--user", "nobody") as proxy:
        status = Path(f"/proc/{proxy.workers()[0]}/status").read_text()
        nobody = pwd.getpwnam("nobody")
        ids = dict(re.findall(r"^(Uid|Gid|Groups):\t(.*)", status, re.M))
        assert ids["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert ids["Gid"].split() == [str(nobody.pw_gid)] * 4
        assert ids["Groups"].split() == [str(nobody.pw_gid)]
        assert status_over(socket.create_connection(("127.0.0.1", proxy.port()))) == 404
        assert proxy.stop() == 0


def test_closed_standard_streams_are_no_place_for_other_files(tmp_path: Path) -> None:
    proxy = edge(tmp_path, error_log="error.log")
    proxy.command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *proxy.command]
    proxy.start()
    try:
        log = tmp_path / "error.log"
        wait_until(lambda: log.exists() and "greenproxy is ready" in log.read_text(), "it is ready")
        assert [os.readlink(f"/proc/{proxy.pid}/fd/{descriptor}") for descriptor in range(3)] == ["/dev/null"] * 3
        assert proxy.stop() == 0
    finally:
        proxy.kill_all()
