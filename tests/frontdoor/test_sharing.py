"""Clients and the workers that share them: how evenly, and that none is lost, with one queue for all and with `reuse-port`."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.frontdoor.edge import BROKEN_IN_WORKERS, MODULE, edge, get, ini, request_in_flight
from tests.frontdoor.test_reload import reload, wait_until_reloaded, with_bind
from tests.frontdoor.test_workers import new_worker
from tests.processes import Proxy, is_running, wait_until

CLIENTS = 1000
_ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_ASK_ONCE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_LISTENING = "0A"


def ask(client: socket.socket, request: bytes = _ASK) -> int:
    """Return the process id of the worker that answers."""
    client.sendall(request)
    answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return int(answer.rpartition(b"\r\n")[2])


def one_by_one(port: int, count: int, stack: ExitStack) -> list[int]:
    """Connect clients that stay, each after the one before was answered; return who serves them."""
    found = []
    for _ in range(count):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        found.append(ask(client))
    return found


def at_once(port: int, count: int, stack: ExitStack) -> list[int]:
    """Connect clients that stay, all at the same time; return who serves them."""
    clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(count)]
    return [ask(client) for client in clients]


def spread(served_by: list[int], workers: list[int]) -> float:
    """Return (most - least) / mean of the clients per worker."""
    count = Counter(served_by)
    each = [count[worker] for worker in workers]
    return (max(each) - min(each)) / (sum(each) / len(each))


@pytest.fixture(scope="module", params=["shared", "reuse-port"])
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Two workers that nothing happens to."""
    folder = tmp_path_factory.mktemp("crowded")
    proxy = edge(folder, reuse_port="on" if request.param == "reuse-port" else "off")
    proxy.file.write_text(with_bind(proxy.file.read_text(), f"127.0.0.1:0, unix:{folder}/web.sock"))
    with proxy:
        yield proxy
        assert proxy.stop() == 0


@pytest.mark.parametrize("connect", [one_by_one, at_once])
def test_clients_that_stay_are_shared_evenly(crowded: Proxy, connect: object) -> None:
    assert callable(connect)
    most = 0.2 if "reuse-port = off" in crowded.file.read_text() else 0.4  # there, the kernel casts dice: 0.06 is one sigma
    with ExitStack() as stack:
        assert spread(connect(crowded.port(), CLIENTS, stack), crowded.workers()) <= most


def exclusive(pid: int) -> int:
    """Return for how many sockets the kernel wakes a process in turn with others, and not with all of them at once."""
    told = ""
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            told += file.read_text()
    return sum(bool(int(events, 16) & select.EPOLLEXCLUSIVE) for events in re.findall(r"^tfd:.* events:\s*(\w+)", told, re.M))


def test_of_the_workers_the_kernel_wakes_one_for_a_client(crowded: Proxy) -> None:
    for pid in crowded.workers():
        wait_until(lambda pid=pid: exclusive(pid) == 2, "both addresses are registered like that")  # type: ignore[misc]


def test_what_has_one_queue_all_the_same_is_told(crowded: Proxy) -> None:
    told = f"reuse-port does not hold for unix:{crowded.folder}/web.sock, whose queue the workers share: it is a Unix socket"
    assert (told in crowded.log()) == ("reuse-port = on" in crowded.file.read_text())


def test_that_each_worker_has_a_queue_is_told_with_the_address(crowded: Proxy) -> None:
    told = f"listening on http://127.0.0.1:{crowded.port()} (web), a queue for each worker (reuse-port)\n"
    assert (told in crowded.log()) == ("reuse-port = on" in crowded.file.read_text())


def test_an_address_that_gets_queues_by_a_reload_is_told(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        reload(proxy, ini(workers="2", reuse_port="on"))
        proxy.wait_for_log(rf"http://127\.0\.0\.1:{proxy.port()}: a queue for each worker \(reuse-port\)")


def test_a_worker_that_is_new_gets_the_next_clients(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, ExitStack() as stack:
        before = proxy.workers()
        first = one_by_one(proxy.port(), 100, stack)
        os.kill(before[0], signal.SIGKILL)
        new_worker(proxy, before)
        served_by = [each for each in first if each != before[0]]
        wait_until(lambda: get(proxy.port()) != before[1], "the new one serves")
        next_ones = one_by_one(proxy.port(), 100 - len(served_by), stack)
        assert Counter(next_ones)[before[1]] <= len(next_ones) / 4


@pytest.mark.parametrize("reuse_port", ["off", "on"])
def test_nobody_waits_for_a_worker_that_is_stuck(tmp_path: Path, reuse_port: str) -> None:
    with edge(tmp_path, reuse_port=reuse_port) as proxy, request_in_flight(proxy, proxy.port(), "/block"), ExitStack() as stack:
        stuck = set(proxy.workers()) - {get(proxy.port())}
        assert stuck.isdisjoint(one_by_one(proxy.port(), 20, stack))


@pytest.mark.parametrize("reuse_port", ["off", "on"])
def test_nobody_waits_for_a_worker_without_descriptors(tmp_path: Path, reuse_port: str) -> None:
    with edge(tmp_path, reuse_port=reuse_port) as proxy, ExitStack() as stack:
        poor, rich = proxy.workers()
        _, hard = resource.prlimit(poor, resource.RLIMIT_NOFILE)
        resource.prlimit(poor, resource.RLIMIT_NOFILE, (3, hard))
        assert set(one_by_one(proxy.port(), 6, stack)) == {rich}
        resource.prlimit(poor, resource.RLIMIT_NOFILE, (hard, hard))


# ------------------------------------------------------------------ reuse-port: nobody is lost


class Loop:
    """Clients that connect, ask and leave, again and again. `lost` has what went wrong."""

    def __init__(self, port: int) -> None:
        self.lost: list[str] = []
        self.answers = 0
        self._port = port
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), 20) as client:
                    ask(client, _ASK_ONCE)
                self.answers += 1
            except (OSError, AssertionError, ValueError) as error:
                self.lost.append(repr(error))

    def wait_for(self, more: int) -> None:
        """Wait for more answers."""
        wanted = self.answers + more
        wait_until(lambda: self.answers >= wanted, f"{more} more answers")

    def end(self) -> None:
        self._is_over.set()


@contextmanager
def loop(port: int, clients: int = 3) -> Iterator[Loop]:
    """Let clients come meanwhile; when the block ends, none of them may have been lost."""
    found = Loop(port)
    threads = [threading.Thread(target=found.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        found.wait_for(20)
        yield found
        found.wait_for(20)
    finally:
        found.end()
        for thread in threads:
            thread.join()
    assert found.lost == []


def queues(port: int) -> int:
    """Return how many sockets listen on a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(f":{port:04X}") and state == _LISTENING for _, local, _, state, *_ in lines)


def test_reloads_with_more_and_fewer_workers_or_without_it_lose_nobody(tmp_path: Path) -> None:
    with edge(tmp_path, reuse_port="on") as proxy, loop(proxy.port()) as clients:
        for times, (workers, value) in enumerate((("4", "on"), ("1", "on"), ("2", "off"), ("2", "on")), 1):
            reload(proxy, ini(workers=workers, reuse_port=value))
            wait_until_reloaded(proxy, times)
            clients.wait_for(20)
        assert queues(proxy.port()) == 4


def test_workers_more_and_less_lose_nobody(tmp_path: Path) -> None:
    with edge(tmp_path, reuse_port="on") as proxy, loop(proxy.port()) as clients:
        for signum, count in ((signal.SIGTTIN, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1)):
            proxy.send(signum)
            wait_until(lambda count=count: len(proxy.workers()) == count, f"{count} workers")  # type: ignore[misc]
            clients.wait_for(20)


def test_an_upgrade_loses_nobody(tmp_path: Path) -> None:
    with edge(tmp_path, reuse_port="on") as proxy:
        with loop(proxy.port()) as clients:
            proxy.send(signal.SIGUSR2)
            proxy.wait_for_log("the new program is ready")
            successor = int(proxy.wait_for_log(r"the new program starts \(pid (\d+)\)")[1])
            clients.wait_for(20)
            assert proxy.stop() == 0
            clients.wait_for(20)
        assert queues(proxy.port()) == 2
        os.kill(successor, signal.SIGTERM)
        wait_until(lambda: not is_running(successor), "the successor has stopped")


def test_who_waits_in_the_queue_of_a_dead_worker_is_served(tmp_path: Path) -> None:
    with edge(tmp_path, reuse_port="on") as proxy:
        for pid in proxy.workers():
            os.kill(pid, signal.SIGSTOP)
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port()), 20)) for _ in range(20)]
            for pid in proxy.workers():
                os.kill(pid, signal.SIGKILL)
            assert all(ask(client) for client in clients)


def test_a_reload_that_is_undone_leaves_no_queue(tmp_path: Path) -> None:
    with edge(tmp_path, reuse_port="on") as proxy:
        (tmp_path / "edge.py").write_text(BROKEN_IN_WORKERS + MODULE)
        with loop(proxy.port()):
            reload(proxy, ini(workers="5", reuse_port="on"))
            proxy.wait_for_log("reload undone")
        assert queues(proxy.port()) == 2
