"""USR2: the program anew beside the one that runs, and either of the two may be the one that stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frontdoor.edge import MODULE, edge, get, ini, open_gate, request_in_flight
from tests.frontdoor.test_reload import HANGS, free_port, with_bind
from tests.processes import Process, Proxy, children_of, is_running, wait_until


class Upgrade:
    """A proxy and its successor, when there is one."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.successor = 0

    def begin(self) -> None:
        """Send USR2 and wait until the successor is ready."""
        before = self.successor
        self.proxy.send(signal.SIGUSR2)
        begun = re.compile(r"the new program starts \(pid (\d+)\)")
        self.successor = wait_until(
            lambda: next((n for n in map(int, begun.findall(self.proxy.log())) if n > before), 0), "a start"
        )
        wait_until(lambda: self.proxy.log().count("the new program is ready") == len(begun.findall(self.proxy.log())), "ready")

    def complete(self) -> None:
        """End the predecessor, and wait until the successor knows that it is alone."""
        assert self.proxy.stop() == 0
        self.proxy.wait_for_log(rf"goes on alone \(pid {self.successor}\)")

    def workers(self) -> list[int]:
        """Return the successor's workers."""
        return children_of(self.successor)

    def end(self) -> None:
        """Stop the successor."""
        if self.successor and is_running(self.successor):
            os.kill(self.successor, signal.SIGTERM)
            wait_until(lambda: not is_running(self.successor), "the successor has stopped")


@pytest.fixture
def upgrade(tmp_path: Path) -> Iterator[Upgrade]:
    """A proxy with a pid file and two addresses."""
    proxy = edge(tmp_path, pid_file="proxy.pid")
    proxy.file.write_text(with_bind(proxy.file.read_text(), f"127.0.0.1:0, unix:{tmp_path}/web.sock"))
    with proxy:
        it = Upgrade(proxy)
        yield it
        it.end()


def ask_by_unix_socket(path: Path) -> bytes:
    """Return what answers on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
        return answer


def test_the_successor_serves_on_the_same_addresses(upgrade: Upgrade, tmp_path: Path) -> None:
    port = upgrade.proxy.port()
    upgrade.begin()
    upgrade.complete()
    assert get(port) in upgrade.workers()
    assert ask_by_unix_socket(tmp_path / "web.sock").startswith(b"HTTP/1.1 200")
    wait_until(lambda: (tmp_path / "proxy.pid").read_text().strip() == str(upgrade.successor), "the pid file")
    assert not (tmp_path / "proxy.pid.2").exists()
    upgrade.end()
    assert not (tmp_path / "web.sock").exists()
    assert not (tmp_path / "proxy.pid").exists()


def test_workers_have_nothing_of_what_the_masters_talk_through(upgrade: Upgrade) -> None:
    upgrade.begin()
    for pid in upgrade.workers():
        pipes = [link for link in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if link.startswith("pipe:")]
        assert len(pipes) == 2 * len(set(pipes)), "a pipe of which it has one end is somebody else's"


def test_both_serve_until_one_is_told_to_stop(upgrade: Upgrade, tmp_path: Path) -> None:
    port = upgrade.proxy.port()
    upgrade.begin()
    both = {*upgrade.workers(), *upgrade.proxy.workers()}
    seen: set[int] = set()
    wait_until(lambda: seen.add(get(port)) or (seen & set(upgrade.workers()) and seen - set(upgrade.workers())), "both answer")
    assert seen <= both
    assert (tmp_path / "proxy.pid.2").read_text().strip() == str(upgrade.successor)
    assert (tmp_path / "proxy.pid").read_text().strip() == str(upgrade.proxy.pid)


def test_a_request_in_flight_ends_in_the_old_program(upgrade: Upgrade) -> None:
    with request_in_flight(upgrade.proxy, upgrade.proxy.port()) as client:
        old = upgrade.proxy.workers()
        upgrade.begin()
        upgrade.proxy.send(signal.SIGTERM)
        upgrade.proxy.wait_for_log("stopping: ")
        open_gate(upgrade.proxy)
        assert int(client.getresponse().read()) in old
        upgrade.proxy.wait()
        assert get(upgrade.proxy.port()) in upgrade.workers()


def test_it_can_be_taken_back(upgrade: Upgrade, tmp_path: Path) -> None:
    port = upgrade.proxy.port()
    upgrade.begin()
    upgrade.end()
    upgrade.proxy.wait_for_log("info: the new program .* is gone, this one goes on: ended with status 0")
    assert get(port) in upgrade.proxy.workers()
    assert ask_by_unix_socket(tmp_path / "web.sock").startswith(b"HTTP/1.1 200")
    assert not (tmp_path / "proxy.pid.2").exists()
    upgrade.begin()
    upgrade.complete()


def test_the_successor_opens_and_closes_what_changed(upgrade: Upgrade) -> None:
    more = free_port()
    upgrade.proxy.file.write_text(with_bind(ini(pid_file="proxy.pid"), f"127.0.0.1:{more}"))
    upgrade.begin()
    assert get(more) in upgrade.workers()
    upgrade.complete()
    with pytest.raises(ConnectionRefusedError):
        get(upgrade.proxy.port())


def test_a_wrong_file_costs_nothing(upgrade: Upgrade) -> None:
    upgrade.proxy.file.write_text("[listner:web]\n")
    upgrade.proxy.send(signal.SIGUSR2)
    upgrade.proxy.wait_for_log(r"error: the new program \(pid \d+\) is gone, this one goes on: ended with status 2")
    assert re.search(r"error: the new program: \S+greenproxy.ini:1: .*did you mean listener", upgrade.proxy.log())
    assert get(upgrade.proxy.port()) in upgrade.proxy.workers()


def test_workers_that_cannot_boot_cost_nothing(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "edge.py").write_text(
        "from gevent.monkey import is_module_patched\nassert not is_module_patched('socket')\n" + MODULE
    )
    upgrade.proxy.send(signal.SIGUSR2)
    upgrade.proxy.wait_for_log(r"the new program \(pid \d+\) is gone, this one goes on: ended with status 3")
    assert ask_by_unix_socket(tmp_path / "web.sock").startswith(b"HTTP/1.1 200")
    assert get(upgrade.proxy.port()) in upgrade.proxy.workers()


def test_a_second_one_is_refused_on_both_sides(upgrade: Upgrade) -> None:
    upgrade.begin()
    upgrade.proxy.send(signal.SIGUSR2)
    upgrade.proxy.wait_for_log(rf"USR2 is refused: the new program \(pid {upgrade.successor}\) runs already")
    os.kill(upgrade.successor, signal.SIGUSR2)
    upgrade.proxy.wait_for_log(rf"USR2 is refused: the program before this one \(pid {upgrade.proxy.pid}\) still runs")


def test_the_successor_survives_the_death_of_its_predecessor(upgrade: Upgrade, tmp_path: Path) -> None:
    port = upgrade.proxy.port()
    upgrade.begin()
    upgrade.proxy.send(signal.SIGKILL)
    upgrade.proxy.wait_for_log(rf"goes on alone \(pid {upgrade.successor}\)")
    wait_until(lambda: (tmp_path / "proxy.pid").read_text().strip() == str(upgrade.successor), "the pid file")
    wait_until(lambda: get(port) in upgrade.workers(), "the successor answers")


def test_a_reload_of_one_leaves_the_others_unix_socket(upgrade: Upgrade, tmp_path: Path) -> None:
    upgrade.begin()
    upgrade.proxy.file.write_text(ini(pid_file="proxy.pid"))
    os.kill(upgrade.successor, signal.SIGHUP)
    upgrade.proxy.wait_for_log("reloaded: ")
    upgrade.end()
    upgrade.proxy.wait_for_log("is gone, this one goes on")
    assert ask_by_unix_socket(tmp_path / "web.sock").startswith(b"HTTP/1.1 200")


def test_a_reload_that_is_under_way_when_it_takes_over_gets_its_pid_file(upgrade: Upgrade, tmp_path: Path) -> None:
    upgrade.begin()
    upgrade.proxy.file.write_text(ini(pid_file="other.pid"))
    (tmp_path / "edge.py").write_text(HANGS + MODULE)
    os.kill(upgrade.successor, signal.SIGHUP)
    hanging = wait_until(lambda: found if len(found := list(tmp_path.glob("hangs-*"))) == 2 else None, "two that hang")
    (tmp_path / "edge.py").write_text(MODULE)
    upgrade.complete()
    for mark in hanging:
        os.kill(int(mark.name.removeprefix("hangs-")), signal.SIGKILL)
    upgrade.proxy.wait_for_log("reloaded: ")
    wait_until(lambda: sorted(path.name for path in tmp_path.glob("*.pid*")) == ["other.pid"], "the pid file")
    assert (tmp_path / "other.pid").read_text().strip() == str(upgrade.successor)


def test_an_upgrade_follows_an_upgrade(upgrade: Upgrade) -> None:
    port = upgrade.proxy.port()
    upgrade.begin()
    upgrade.complete()
    os.kill(upgrade.successor, signal.SIGUSR2)
    third = int(wait_until(lambda: re.findall(r"the new program starts \(pid (\d+)\)", upgrade.proxy.log())[1:], "the third")[0])
    wait_until(lambda: upgrade.proxy.log().count("the new program is ready") == 2, "the third is ready")
    upgrade.end()
    upgrade.successor = third
    wait_until(lambda: get(port) in upgrade.workers(), "the third answers")


SYSTEMD = """
import os, socket, sys
path, count, *command = sys.argv[1:]
sock = socket.create_server(("127.0.0.1", 0)) if path == "-" else socket.socket(socket.AF_UNIX)
if path != "-":
    sock.bind(path)
    sock.listen(10)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)  # where it was 3 already
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "1"
os.execv(command[0], command)
"""


def test_socket_activation(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    proxy = edge(tmp_path)
    proxy.file.write_text(with_bind(proxy.file.read_text(), f"127.0.0.1:0, unix:{path}"))
    proxy.command = [sys.executable, "-c", SYSTEMD, str(path), "1", *proxy.command]
    with proxy:
        inode = path.stat().st_ino
        assert ask_by_unix_socket(path).startswith(b"HTTP/1.1 200")
        assert get(proxy.port()) in proxy.workers()
        assert proxy.stop() == 0
        assert path.stat().st_ino == inode  # it is systemd's, which listens on


def test_a_socket_that_systemd_gives_in_vain_is_told(tmp_path: Path) -> None:
    proxy = edge(tmp_path)
    proxy.command = [sys.executable, "-c", SYSTEMD, "-", "1", *proxy.command]
    with proxy:
        proxy.wait_for_log(r"systemd has given a socket on 127\.0\.0\.1:\d+, but no listener binds that: it is closed")
        assert proxy.stop() == 0


def test_the_service_manager_hears_of_everything(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)

        def hear(what: str) -> list[str]:
            while True:
                lines = manager.recv(4096).decode().splitlines()
                if any(line.startswith(what) for line in lines):
                    return lines

        proxy = edge(tmp_path)
        proxy.environ = {**proxy.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with proxy:
            assert f"MAINPID={proxy.pid}" in hear("READY=1")
            proxy.send(signal.SIGHUP)
            assert any(line.startswith("MONOTONIC_USEC=") for line in hear("RELOADING=1"))
            hear("READY=1")
            proxy.send(signal.SIGUSR2)
            successor = int(proxy.wait_for_log(r"the new program starts \(pid (\d+)\)")[1])
            proxy.wait_for_log("the new program is ready")
            proxy.stop()
            hear(f"MAINPID={successor}")
            assert f"MAINPID={successor}" in hear("READY=1")
            os.kill(successor, signal.SIGTERM)
            hear("STOPPING=1")
            wait_until(lambda: not is_running(successor), "the successor has stopped")


def test_process_1_refuses(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a process 1 without a container")
    (tmp_path / "edge.py").write_text(MODULE)
    (tmp_path / "greenproxy.ini").write_text(ini())
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", "greenproxy", "-c"]
    with Process([*command, str(tmp_path / "greenproxy.ini")], tmp_path) as proxy:
        proxy.wait_for_log("greenproxy is ready")
        (master,) = children_of(proxy.pid)
        os.kill(master, signal.SIGUSR2)
        proxy.wait_for_log(r"USR2 is refused: the container ends with this process \(pid 1\)")
        os.kill(master, signal.SIGTERM)
        assert proxy.wait() == 0
