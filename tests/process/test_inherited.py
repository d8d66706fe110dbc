"""Sockets that listen already: handed over by a master or by systemd, with real sockets and a real exec."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from greenproxy.config.settings import Address
from greenproxy.process.inherited import Inherited, hand_over, take
from greenproxy.process.listening import ListeningSocket
from greenproxy.process.notify import Notifier
from greenproxy.unix_socket import listen
from tests.fakes import memory_logger
from tests.processes import ROOT

VARIABLE = "_GREENPROXY_SOCKETS"

#: What the new program does: it takes the sockets, and tells what it found.
HEIR = """
import json, os
from greenproxy.process.inherited import take

found = take(os.environ)
print(json.dumps({
    "sockets": [[str(address), sock.fileno(), os.get_inheritable(sock.fileno()), bool(sock.file)]
                for address, sockets in found.sockets.items() for sock in sockets],
    "is_activated": found.is_activated,
    "predecessor": found.predecessor,
    "warnings": found.warnings,
    "left": [name for name in os.environ if name.startswith(("LISTEN_", "_GREENPROXY"))],
}))
"""

MASTER = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from greenproxy.config.settings import Address
from greenproxy.process.inherited import hand_over
from greenproxy.process.listening import open_doors
from greenproxy.config.settings import ListenerSettings

any_port, path = Address(host="127.0.0.1"), Address(path=sys.argv[1])
listener = ListenerSettings(name="web", bind=(any_port, any_port, path))
cfg = SimpleNamespace(backlog=5, umask=0, uid=os.geteuid(), gid=os.getegid())
(door,) = open_doors([listener], cfg)
environ = dict(os.environ, LISTEN_PID="1", LISTEN_FDS="2")
hand_over(zip(listener.bind, door.sockets), environ, 4711)
os.execve(sys.executable, [sys.executable, "-c", sys.argv[2]], environ)
"""

#: As systemd does it: descriptors from 3 on, among them one that is connected and one that is no socket.
SYSTEMD = """
import os, socket, sys

first, second = socket.create_server(("127.0.0.1", 0)), socket.create_server(("0.0.0.0", 0))
pair = socket.socketpair()
for number, fd in enumerate([first.fileno(), second.fileno(), pair[0].fileno(), os.open("/dev/null", os.O_RDONLY)], 3):
    os.dup2(fd, number + 20)
for number in range(3, 7):
    os.dup2(number + 20, number)
    os.close(number + 20)
environ = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="5", LISTEN_FDNAMES="a:b:c:d:e")
if os.path.exists(f"/proc/self/fd/7"):
    os.close(7)
os.execve(sys.executable, [sys.executable, "-c", sys.argv[1]], environ)
"""


def run(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script that becomes the heir, and return what that says."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


def test_sockets_of_a_master_outlive_exec_with_the_addresses_as_they_were_written(tmp_path: Path) -> None:
    said = run(MASTER, str(tmp_path / "sock"), HEIR)
    assert [(address, has_file) for address, _, _, has_file in said["sockets"]] == [
        ("127.0.0.1:0", False),
        ("127.0.0.1:0", False),
        (f"unix:{tmp_path}/sock", True),
    ]
    assert (said["predecessor"], said["is_activated"], said["warnings"]) == (4711, False, [])


def test_heir_keeps_neither_variables_nor_descriptors_for_its_children(tmp_path: Path) -> None:
    said = run(MASTER, str(tmp_path / "sock"), HEIR)
    assert said["left"] == []
    assert not any(is_inheritable for _, _, is_inheritable, _ in said["sockets"])


def test_sockets_of_systemd_are_known_by_where_they_listen_and_others_are_closed_with_a_warning() -> None:
    said = run(SYSTEMD, HEIR)
    (first, second) = said["sockets"]
    assert (said["is_activated"], said["left"]) == (True, [])
    assert (first[0].startswith("127.0.0.1:"), second[0].startswith("0.0.0.0:")) == (True, True)
    assert [fd for _, fd, _, _ in said["sockets"]] == [3, 4]
    assert said["warnings"] == [
        "descriptor 5 was handed over and is not used: it is no listening stream socket",
        "descriptor 6 was handed over and is not used: Socket operation on non-socket",
        "descriptor 7 was handed over and is not used: Bad file descriptor",
    ]


def test_what_is_for_another_process_is_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        letter = {"to": 1, "predecessor": 1, "sockets": [{"address": {}, "fd": server.fileno(), "file": None}]}
        environ = {VARIABLE: json.dumps(letter), "LISTEN_PID": "1", "LISTEN_FDS": "3"}
        assert take(environ) == Inherited()
        assert environ == {}
        assert server.fileno() >= 0


@pytest.mark.parametrize("said", ["x", "[]", "{}", '{"to": "x"}', '{"to": PID, "predecessor": 1, "sockets": [1]}'])
def test_what_cannot_be_read_is_a_warning(said: str) -> None:
    found = take({VARIABLE: said.replace("PID", str(os.getpid()))})
    assert found.sockets == {}
    assert found.warnings in ([], [f"{VARIABLE} in the environment cannot be read"])


def test_number_of_descriptors_that_is_none_is_a_warning() -> None:
    found = take({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"})
    assert found.warnings == ["LISTEN_FDS is no number: 'many'"]


def inherited(stack: ExitStack, *servers: socket.socket) -> Inherited:
    """Return what a process has that got these sockets from systemd."""
    found = Inherited(is_activated=True)
    for server in servers:
        found.add(ListeningSocket(stack.enter_context(server)))
    return found


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
def test_every_ipv4_address_is_found_however_it_is_written(stack: ExitStack, host: str) -> None:
    server = socket.create_server(("0.0.0.0", 0))
    wanted = Address(host=host, port=server.getsockname()[1])
    assert [sock.sock for sock in inherited(stack, server).at_hand([wanted])[wanted]] == [server]


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_socket_for_both_families_serves_either(stack: ExitStack, host: str) -> None:
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    wanted = Address(host=host, port=server.getsockname()[1])
    assert wanted in inherited(stack, server).at_hand([wanted])


def test_socket_for_ipv6_alone_does_not_serve_ipv4(stack: ExitStack) -> None:
    server = socket.create_server(("::", 0), family=socket.AF_INET6)
    found = inherited(stack, server)
    assert found.at_hand([Address(port=server.getsockname()[1])]) == {}
    assert found.at_hand([Address(host="::", port=server.getsockname()[1])])


def test_unix_socket_is_found_by_its_path(stack: ExitStack, tmp_path: Path) -> None:
    server, _ = listen(str(tmp_path / "sock"), 5)
    assert inherited(stack, server).at_hand([Address(path=str(tmp_path / "sock"))])


def test_each_socket_is_given_once(stack: ExitStack) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    wanted = Address(host="127.0.0.1", port=server.getsockname()[1])
    found = inherited(stack, server)
    assert len(found.at_hand([wanted, wanted])[wanted]) == 1
    assert found.at_hand([wanted]) == {}


def test_what_nobody_wants_is_closed_and_told(stack: ExitStack, tmp_path: Path) -> None:
    wanted, (unwanted, _) = socket.create_server(("127.0.0.1", 0)), listen(str(tmp_path / "sock"), 5)
    found = inherited(stack, wanted, unwanted)
    found.at_hand([Address(host="127.0.0.1", port=wanted.getsockname()[1])])
    log, told = memory_logger()
    found.close_rest(log)
    assert told == [f"systemd has given a socket on unix:{tmp_path}/sock, but no listener binds that: it is closed"]
    assert (wanted.fileno() >= 0, unwanted.fileno()) == (True, -1)
    assert (tmp_path / "sock").exists()


def test_hand_over_says_nothing_of_systemd_any_more() -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "HOME": "/"}
    hand_over([], environ, 4711)
    assert set(environ) == {"HOME", VARIABLE}


def test_new_program_takes_over_to_tell_the_service_manager_that_it_lives() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "4711"}
    hand_over([], environ, 4711)
    assert Notifier(environ).ping_every_s == 30
