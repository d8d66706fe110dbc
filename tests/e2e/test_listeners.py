"""Where clients may knock: several listeners, IPv4, IPv6 and Unix sockets, and how many may come in."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.client import RawClient, ask, get
from tests.conftest import MakeBackend, StartProxy
from tests.processes import wait_until

UPSTREAM = """
[upstream:shop]
backends = {backend}
health-interval = 0
"""


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


def test_listeners_have_their_own_upstreams(proxy: StartProxy, scripted: MakeBackend) -> None:
    shop, blog = scripted(name="shop"), scripted(name="blog")
    running = proxy(f"""
[listener:shop]
bind = 127.0.0.1:0
upstream = shop
[listener:blog]
bind = 127.0.0.1:0
upstream = blog
[upstream:shop]
backends = {shop.url}
health-interval = 0
[upstream:blog]
backends = {blog.url}
health-interval = 0
""")

    assert ask(running.address("shop"), get()).get("x-backend") == "shop"
    assert ask(running.address("blog"), get()).get("x-backend") == "blog"


def test_one_listener_has_several_addresses(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy("[listener:web]\nbind = 127.0.0.1:0, 127.0.0.2:0, unix:web.sock\n" + UPSTREAM.format(backend=scripted().url))
    second = re.search(r"127\.0\.0\.2:(\d+)", running.log())
    assert second

    assert ask(running.address(), get()).status == 200
    assert ask(("127.0.0.2", int(second[1])), get()).status == 200
    assert ask(str(running.folder / "web.sock"), get()).status == 200


@needs_ipv6
def test_ipv6_is_spoken_on_both_sides(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted(host="::1")
    running = proxy("[listener:web]\nbind = [::1]:0\n" + UPSTREAM.format(backend=backend.url))
    port = re.search(r"\[::1\]:(\d+)", running.log())
    assert port
    told = ask(("::1", int(port[1])), get())

    assert told.status == 200
    assert backend.requests[0].get("x-forwarded-for") == "::1"
    assert 'for="[::1]"' in (backend.requests[0].get("forwarded") or "")


def test_a_unix_socket_is_a_listener_and_a_backend(proxy: StartProxy, scripted: MakeBackend, tmp_path: Path) -> None:
    backend = scripted(path=str(tmp_path / "backend.sock"))
    running = proxy("[listener:web]\nbind = unix:web.sock\n" + UPSTREAM.format(backend=backend.url))
    with RawClient(str(running.folder / "web.sock")) as client:
        for _ in range(2):
            assert client.ask(get("/x")).json()["target"] == "/x"

    assert backend.accepted == 1
    wait_until(lambda: len(running.entries("/x")) == 2, "both are logged")


def test_a_unix_socket_is_removed_at_the_stop(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy("[listener:web]\nbind = unix:web.sock\n" + UPSTREAM.format(backend=scripted().url))
    assert running.stop() == 0

    assert not (running.folder / "web.sock").exists()


def test_every_ipv4_address_is_a_colon(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy("[listener:web]\nbind = :0\n" + UPSTREAM.format(backend=scripted().url))

    assert ask(("127.0.0.3", running.port()), get()).status == 200


def test_more_clients_than_worker_connections_wait_until_one_leaves(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(
        "[greenproxy]\nworker-connections = 3\n[listener:web]\nbind = 127.0.0.1:0\n" + UPSTREAM.format(backend=scripted().url)
    )
    address = running.address()
    inside = [RawClient(address) for _ in range(3)]
    try:
        assert [client.ask(get()).status for client in inside] == [200] * 3
        with RawClient(address) as outside:
            outside.send(get("/outside"))
            outside.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                outside.answer()
            outside.sock.settimeout(10)
            inside[0].sock.close()
            assert outside.answer().status == 200
    finally:
        for client in inside:
            client.sock.close()


def test_two_workers_serve_the_same_port(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy("[greenproxy]\nworkers = 2\n[listener:web]\nbind = 127.0.0.1:0\n" + UPSTREAM.format(backend=scripted().url))
    for _ in range(20):
        assert ask(running.address(), get("/two-workers")).status == 200

    wait_until(lambda: len(running.entries("/two-workers")) == 20, "a line for each")
    assert len(running.workers()) == 2


@pytest.mark.replaces_workers("max-requests ends them")
def test_a_worker_is_replaced_after_max_requests_and_no_request_is_lost(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(
        "[greenproxy]\nmax-requests = 20\n[listener:web]\nbind = 127.0.0.1:0\n" + UPSTREAM.format(backend=scripted().url)
    )
    first = running.workers()
    statuses = {ask(running.address(), get()).status for _ in range(60)}

    assert statuses == {200}
    wait_until(lambda: running.workers() and not set(first) & set(running.workers()), "another worker")
